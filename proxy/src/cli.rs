//! The command line: Envoy's flags, so that a launcher need not know the difference.

use std::{ffi::OsString, path::PathBuf};

use clap::{Parser, ValueEnum};

/// The version of Envoy whose behaviour and API this build follows; control planes and launchers are told it.
pub const ENVOY_VERSION: &str = "1.40.0";

/// Envoy-compatible sidecar proxy.
#[derive(Debug, Parser)]
#[command(name = "pillion", disable_version_flag = true)]
pub struct Args {
    /// Path to the bootstrap, YAML or JSON.
    #[arg(short = 'c', long = "config-path", value_name = "FILE")]
    pub config_path: Option<PathBuf>,
    /// Bootstrap as text, merged over --config-path.
    #[arg(long, value_name = "YAML")]
    pub config_yaml: Option<String>,
    /// What to do with the configuration.
    #[arg(long, value_enum, default_value = "serve")]
    pub mode: Mode,
    /// Worker threads; 0 counts as 1. Default: the CPUs that the process may use, capped by the cgroup's quota.
    #[arg(long, value_name = "N")]
    pub concurrency: Option<u32>,
    /// Overrides node.id.
    #[arg(long, default_value = "")]
    pub service_node: String,
    /// Overrides node.cluster.
    #[arg(long, default_value = "")]
    pub service_cluster: String,
    /// Overrides node.locality.zone.
    #[arg(long, default_value = "")]
    pub service_zone: String,
    /// trace, debug, info, warning|warn, error, critical or off.
    #[arg(short = 'l', long, default_value = "info")]
    pub log_level: String,
    /// Levels by component, e.g. upstream:debug,config:trace.
    #[arg(long, default_value = "")]
    pub component_log_level: String,
    /// How lines of the log look, in spdlog's syntax.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub log_format: String,
    /// Write the log to this file rather than to standard error.
    #[arg(long, value_name = "FILE")]
    pub log_path: Option<PathBuf>,
    /// Seconds that drains take.
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    pub drain_time_s: u64,
    /// How draining connections are told.
    #[arg(long, value_enum, default_value = "gradual")]
    pub drain_strategy: Strategy,
    /// Accepted; there is no hot restart.
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    pub parent_shutdown_time_s: u64,
    /// Address family of the node's own address: v4 or v6.
    #[arg(long, default_value = "v4", value_parser = ["v4", "v6"])]
    pub local_address_ip_version: String,
    /// Milliseconds between flushes of access-log files.
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    pub file_flush_interval_msec: u64,
    /// KiB that are buffered at most before an access-log file is flushed.
    #[arg(long, default_value_t = 64, value_name = "KB")]
    pub file_flush_min_size_kb: u64,
    /// Do not end with the launcher.
    #[arg(long)]
    pub disable_hot_restart: bool,
    /// Accepted; there is no hot restart.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub base_id: u32,
    #[arg(long, hide_short_help = true)]
    pub use_dynamic_base_id: bool,
    #[arg(long, value_name = "FILE")]
    pub base_id_path: Option<PathBuf>,
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub restart_epoch: u32,
    #[arg(long)]
    pub skip_hot_restart_on_no_parent: bool,
    #[arg(long)]
    pub skip_hot_restart_parent_stats: bool,
    /// Prints the hot restart version and exits.
    #[arg(long)]
    pub hot_restart_version: bool,
    #[arg(long, value_name = "PATH")]
    pub socket_path: Option<String>,
    #[arg(long, value_name = "MODE")]
    pub socket_mode: Option<String>,
    /// Ignore unknown fields of the bootstrap.
    #[arg(long, alias = "allow-unknown-fields")]
    pub allow_unknown_static_fields: bool,
    /// Reject resources with unknown fields.
    #[arg(long)]
    pub reject_unknown_dynamic_fields: bool,
    #[arg(long)]
    pub ignore_unknown_dynamic_fields: bool,
    #[arg(long)]
    pub skip_deprecated_logs: bool,
    /// Write the admin address, as host:port, to this file.
    #[arg(long, value_name = "FILE")]
    pub admin_address_path: Option<PathBuf>,
    /// Count workers by the CPU affinity mask.
    #[arg(long)]
    pub cpuset_threads: bool,
    #[arg(long)]
    pub enable_core_dump: bool,
    #[arg(long)]
    pub enable_mutex_tracing: bool,
    #[arg(long)]
    pub enable_fine_grain_logging: bool,
    #[arg(long)]
    pub log_format_escaped: bool,
    #[arg(long)]
    pub log_stacktrace_single_entry: bool,
    /// Extensions to reject, comma-separated.
    #[arg(long, value_name = "NAMES")]
    pub disable_extensions: Option<String>,
    /// tag:value for all statistics; may be repeated.
    #[arg(long, value_name = "TAG:VALUE", value_parser = tag)]
    pub stats_tag: Vec<(String, String)>,
    /// Prints the version and exits.
    #[arg(long)]
    pub version: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    Serve,
    Validate,
    /// Read the configuration, start, and end.
    #[value(name = "init_only")]
    InitOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    Gradual,
    Immediate,
}

impl From<Strategy> for crate::drain::DrainStrategy {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::Gradual => Self::Gradual,
            Strategy::Immediate => Self::Immediate,
        }
    }
}

/// Envoy's five parts, which launchers parse: revision, version, state of the tree, build type, TLS library.
pub fn version() -> String {
    format!("{}/{ENVOY_VERSION}/{TREE}/{BUILD}/{TLS}", revision())
}

/// As Envoy tells it in a node's build version, by its keys.
pub fn build() -> [(&'static str, &'static str); 4] {
    [
        ("build.type", BUILD),
        ("revision.sha", revision()),
        ("revision.status", TREE),
        ("ssl.version", TLS),
    ]
}

const TREE: &str = "Clean";
const BUILD: &str = "RELEASE";
const TLS: &str = "rustls";

/// The revision that was built, or zeros where the build did not know.
fn revision() -> &'static str {
    option_env!("PILLION_REVISION").unwrap_or("0000000000000000000000000000000000000000")
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value))
            if !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric()) && !value.contains('.') =>
        {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("tag:value, with an alphanumeric tag and no dot in the value".to_owned()),
    }
}

impl Args {
    /// The process's arguments. What follows `--` or `--ignore_rest`, which is its other name, is dropped.
    ///
    /// # Errors
    /// What to print, for `--help` too.
    pub fn read() -> Result<Self, clap::Error> {
        Self::try_parse_from(kept(std::env::args_os()))
    }

    /// What Envoy refuses although every flag by itself is right.
    ///
    /// # Errors
    /// In Envoy's words.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.use_dynamic_base_id && self.restart_epoch > 0 {
            anyhow::bail!(
                "error: cannot use --restart-epoch={} with --use-dynamic-base-id",
                self.restart_epoch
            );
        }
        crate::logging::Levels::new(&self.log_level, &self.component_log_level)?;
        Ok(())
    }

    /// Flags that were given and mean nothing here; said once in the log.
    pub fn without_meaning(&self) -> Vec<&'static str> {
        let given = [
            ("--use-dynamic-base-id", self.use_dynamic_base_id),
            ("--base-id", self.base_id != 0),
            ("--base-id-path", self.base_id_path.is_some()),
            ("--restart-epoch", self.restart_epoch != 0),
            ("--skip-hot-restart-on-no-parent", self.skip_hot_restart_on_no_parent),
            ("--skip-hot-restart-parent-stats", self.skip_hot_restart_parent_stats),
            ("--socket-path", self.socket_path.is_some()),
            ("--socket-mode", self.socket_mode.is_some()),
            ("--enable-mutex-tracing", self.enable_mutex_tracing),
            ("--enable-fine-grain-logging", self.enable_fine_grain_logging),
            ("--log-stacktrace-single-entry", self.log_stacktrace_single_entry),
            ("--disable-extensions", self.disable_extensions.is_some()),
            ("--enable-core-dump", self.enable_core_dump),
        ];
        given
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(name, _)| name)
            .collect()
    }
}

fn kept(args: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    args.take_while(|arg| arg != "--" && arg != "--ignore_rest")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        let args = std::iter::once("pillion").chain(args.iter().copied());
        Args::try_parse_from(kept(args.map(OsString::from)))
    }

    #[test]
    fn pilot_agents_command_line_is_understood() {
        let args = parse(&[
            "-c",
            "etc/istio/proxy/envoy-rev.json",
            "--drain-time-s",
            "45",
            "--drain-strategy",
            "immediate",
            "--local-address-ip-version",
            "v4",
            "--file-flush-interval-msec",
            "1000",
            "--disable-hot-restart",
            "--allow-unknown-static-fields",
            "-l",
            "warning",
            "--component-log-level",
            "misc:error",
            "--skip-deprecated-logs",
            "--concurrency",
            "1",
        ])
        .unwrap();
        assert_eq!((args.drain_time_s, args.concurrency), (45, Some(1)));
        assert_eq!(args.drain_strategy, Strategy::Immediate);
        assert!(args.without_meaning().is_empty());
    }

    #[test]
    fn what_follows_two_dashes_is_ignored_and_unknown_flags_are_not() {
        assert!(parse(&["-c", "x", "--", "--whatever", "y"]).is_ok());
        let error = parse(&["--drain-tim-s", "4"]).unwrap_err().to_string();
        assert!(error.contains("--drain-time-s"), "{error}");
        assert!(parse(&["-c", "x", "--ignore_rest", "--whatever"]).is_ok());
        assert!(parse(&["-c", "x", "whatever"]).is_err());
        assert!(parse(&["-l", "loud"]).unwrap().check().is_err());
        assert_eq!(parse(&["--mode", "init_only"]).unwrap().mode, Mode::InitOnly);
        let both = parse(&["--use-dynamic-base-id", "--restart-epoch", "1"]).unwrap();
        assert!(both.check().is_err());
    }
}
