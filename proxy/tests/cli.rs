//! The command line as a launcher uses it: Envoy's own list of flags, the log's format and levels, how the process ends.

// Modules of a test program are public to it alone.
#![allow(unreachable_pub)]

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::peers;
use support::proxy::Proxy;

const BOOTSTRAP: &str = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n";

fn run(binary: &Path, arguments: &[&str]) -> Output {
    Command::new(binary)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", binary.display()))
}

/// The flags that a usage text lists: `--name <type>`, and whether each takes a value.
fn flags(help: &str) -> Vec<(String, bool)> {
    let listed = help.lines().filter_map(|line| line.strip_prefix("   -"));
    listed
        .filter_map(|line| {
            let flag = line.split(", ").last()?.trim_start_matches([' ', '-']);
            let (name, value) = flag.split_once(' ').unwrap_or((flag, ""));
            (!name.is_empty()).then(|| (format!("--{name}"), value.starts_with('<')))
        })
        .collect()
}

#[test]
fn every_flag_that_envoy_lists_is_taken() {
    let test = "every_flag_that_envoy_lists_is_taken";
    let (Some(envoy), Some(pillion)) = (peers::need(test, "envoy"), peers::pillion(test)) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (config, file) = (dir.path().join("bootstrap.yaml"), dir.path().join("file"));
    std::fs::write(&config, BOOTSTRAP).unwrap();
    let help = String::from_utf8(run(&envoy, &["--help"]).stdout).unwrap();
    let flags = flags(&help);
    assert!(flags.len() > 35, "{flags:?}");
    for (flag, takes_value) in flags {
        let value = match &*flag {
            "--mode" | "--config-path" => continue,
            "--drain-strategy" => "immediate",
            "--local-address-ip-version" => "v6",
            "--log-level" => "critical",
            "--component-log-level" => "upstream:debug,misc:off",
            "--config-yaml" => "node: {id: a}",
            "--stats-tag" => "pod:a-1",
            "--socket-mode" => "600",
            "--log-path" | "--admin-address-path" | "--base-id-path" => file.to_str().unwrap(),
            _ => "1",
        };
        let mut arguments = vec!["-c", config.to_str().unwrap(), "--mode", "validate", &flag];
        if takes_value {
            arguments.push(value);
        }
        let output = run(&pillion, &arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn the_version_has_five_parts_that_launchers_parse() {
    let test = "the_version_has_five_parts_that_launchers_parse";
    let Some(pillion) = peers::pillion(test) else { return };
    let version = String::from_utf8(run(&pillion, &["--version"]).stdout).unwrap();
    let parts: Vec<_> = version
        .trim()
        .strip_prefix("pillion  version: ")
        .unwrap()
        .split('/')
        .collect();
    assert_eq!(parts[1..], ["1.40.0", "Clean", "RELEASE", "rustls"]);
    assert!(
        parts[0].len() == 40 && parts[0].bytes().all(|b| b.is_ascii_hexdigit()),
        "{version}"
    );
}

#[test]
fn wrong_flags_are_refused_in_words_and_flags_without_meaning_are_said_once() {
    let test = "wrong_flags_are_refused_in_words_and_flags_without_meaning_are_said_once";
    let Some(pillion) = peers::pillion(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("bootstrap.yaml");
    std::fs::write(&config, BOOTSTRAP).unwrap();
    let say = |more: &[&str]| {
        let output = run(
            &pillion,
            &[&["-c", config.to_str().unwrap(), "--mode", "init_only"], more].concat(),
        );
        let said = [&*output.stdout, &*output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    for (flags, wanted) in [
        (&["--concurency", "1"][..], "--concurrency"),
        (&["-l", "loud"], "invalid log level specified 'loud'"),
        (&["--component-log-level", "x:info"], "invalid component specified 'x'"),
        (&["--use-dynamic-base-id", "--restart-epoch", "2"], "--restart-epoch=2"),
        (&["--log-path", "/nowhere/log"], "/nowhere/log"),
    ] {
        let (succeeded, said) = say(flags);
        assert!(!succeeded && said.contains(wanted), "{flags:?}: {said}");
    }
    let (succeeded, said) = say(&["--base-id", "7", "--enable-mutex-tracing", "--", "--whatever"]);
    let line = "accepted without effect: --base-id, --enable-mutex-tracing";
    assert!(succeeded && said.matches(line).count() == 1, "{said}");
    // Envoy's own format: brackets around time, thread, level and component.
    let line = said.lines().find(|said| said.contains(line)).unwrap();
    assert!(line.starts_with("[2") && line.contains("][info][main] ["), "{line}");
}

#[test]
fn the_log_is_written_where_and_as_it_is_asked_for() {
    let test = "the_log_is_written_where_and_as_it_is_asked_for";
    let Some(pillion) = peers::pillion(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("own.log");
    let format = r#"{"level":"%l","time":"%Y-%m-%dT%T.%fZ","scope":"envoy %n","msg":"%j"}"#;
    let flags = ["--base-id", "7", "-l", "info", "--log-format", format, "--log-path"];
    // `-l warning` is among the fixed flags of a started proxy, and a flag may stand once.
    let config = dir.path().join("bootstrap.yaml");
    std::fs::write(&config, BOOTSTRAP).unwrap();
    let fixed = ["-c", config.to_str().unwrap(), "--mode", "init_only"];
    let output = run(&pillion, &[&fixed[..], &flags, &[log.to_str().unwrap()]].concat());
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let lines = std::fs::read_to_string(&log).unwrap();
    let line: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&line["level"], &line["scope"]), (&"info".into(), &"envoy main".into()));
    assert!(line["msg"].as_str().unwrap().contains("--base-id"), "{line}");
}

#[test]
fn levels_change_by_component_at_run_time() {
    let test = "levels_change_by_component_at_run_time";
    let Some(pillion) = peers::pillion(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--concurrency", "1", "--component-log-level", "dns:trace"];
    let proxy = Proxy::start_with(&pillion, BOOTSTRAP, dir.path(), &flags);
    let logging = |query: &str| proxy.post(&format!("/logging{query}")).unwrap();
    let (_, before) = logging("");
    assert!(
        before.contains("\n  dns: trace\n") && before.contains("\n  upstream: warning\n"),
        "{before}"
    );
    assert!(
        logging("?paths=upstream:debug,dns:off")
            .1
            .contains("\n  upstream: debug\n")
    );
    assert!(logging("?admin=error").1.contains("\n  admin: error\n"));
    assert_eq!(logging("?level=loud").0, 400);
    assert_eq!(logging("?nobody=info").0, 400);
    let (_, after) = logging("?level=info");
    assert!(
        after
            .lines()
            .filter(|line| line.starts_with("  "))
            .all(|line| line.ends_with(": info")),
        "{after}"
    );
}

/// Without `--disable-hot-restart` the proxy must not outlive who started it.
#[test]
fn the_proxy_ends_with_its_launcher() {
    let test = "the_proxy_ends_with_its_launcher";
    let Some(pillion) = peers::pillion(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    let (config, admin, pid) = (
        dir.path().join("c.yaml"),
        dir.path().join("admin"),
        dir.path().join("pid"),
    );
    std::fs::write(&config, BOOTSTRAP).unwrap();
    let script = format!(
        "{} -c {} --concurrency 1 --admin-address-path {} & echo $! > {}; wait",
        pillion.display(),
        config.display(),
        admin.display(),
        pid.display()
    );
    let mut launcher = Command::new("sh")
        .args(["-c", &script])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait("the proxy's start", || {
        std::fs::read_to_string(&admin).is_ok_and(|text| !text.is_empty())
    });
    let address: std::net::SocketAddr = std::fs::read_to_string(&admin).unwrap().trim().parse().unwrap();
    assert_ne!(address.port(), 0, "the port that was bound is told");
    let pid = std::fs::read_to_string(&pid).unwrap().trim().to_owned();
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Gone, or waiting for an init that collects it.
    wait("the proxy's end", || state().is_empty() || state().contains(") Z "));
}

fn wait(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
