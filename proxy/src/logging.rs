//! The process's own log: to standard error or `--log-path`, at a level that admin can change.

use std::{
    collections::BTreeMap,
    sync::{Mutex, OnceLock, PoisonError},
};

use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::{access_log::file, bootstrap::ApplicationLogFormat, cli::Args};

/// The filter in force; `/logging` replaces it.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();
/// What the filter was made of.
static IN_FORCE: Mutex<Levels> = Mutex::new(Levels {
    all: String::new(),
    components: BTreeMap::new(),
});

/// Envoy's names of levels.
pub const LEVELS: [&str; 7] = ["trace", "debug", "info", "warning", "error", "critical", "off"];

/// Envoy's components that exist here, and where each is: its log lines' targets.
const COMPONENTS: [(&str, &[&str]); 21] = [
    ("admin", &["pillion::admin"]),
    ("client", &["pillion::upstream"]),
    (
        "config",
        &[
            "pillion::config",
            "pillion::bootstrap",
            "pillion::control",
            "xds_client",
        ],
    ),
    ("conn_handler", &["pillion::listener", "pillion::worker"]),
    ("connection", &["pillion::io", "pillion::tls", "certs"]),
    ("dns", &["pillion::cluster::dns"]),
    ("ext_authz", &["pillion::http::filter::ext_authz"]),
    ("file", &["pillion::access_log", "certs::source"]),
    ("filter", &["pillion::tcp"]),
    ("health_checker", &["pillion::cluster::health_check"]),
    ("hc", &["pillion::cluster::health_check"]),
    ("http", &["pillion::http"]),
    ("http2", &["pillion::http::codec::h2"]),
    ("jwt", &["pillion::http::filter::jwt_authn"]),
    ("main", &["pillion::server", "pillion::launch"]),
    ("pool", &["pillion::upstream::pool"]),
    ("rbac", &["pillion::http::filter::rbac"]),
    ("router", &["pillion::http::filter::router", "pillion::route"]),
    ("secret", &["pillion::control::resources::secrets"]),
    ("stats", &["pillion::stats"]),
    ("upstream", &["pillion::cluster"]),
];

/// Envoy's components that have no counterpart: their levels are taken and change nothing.
const ABSENT: [&str; 24] = [
    "assert",
    "backtrace",
    "cache_filter",
    "compression",
    "credential_injector",
    "decompression",
    "ext_proc",
    "forward_proxy",
    "golang",
    "grpc",
    "happy_eyeballs",
    "init",
    "io",
    "key_value_store",
    "lua",
    "matcher",
    "misc",
    "oauth2",
    "rds",
    "redis",
    "runtime",
    "tracing",
    "udp",
    "wasm",
];

struct Levels {
    all: String,
    components: BTreeMap<&'static str, String>,
}

/// Starts the log. Later calls have no effect.
///
/// # Errors
/// Where `--log-path` cannot be opened.
pub fn start(args: &Args, format: Option<&ApplicationLogFormat>) -> anyhow::Result<()> {
    let levels = read_levels(&args.log_level, &args.component_log_level);
    let (filter, handle) = reload::Layer::new(filter(&levels));
    *IN_FORCE.lock().unwrap_or_else(PoisonError::into_inner) = levels;
    let registry = tracing_subscriber::registry().with(filter);
    let path = args.log_path.as_ref().map(|p| p.to_string_lossy().into_owned());
    let sink = Mutex::new(file::open(path.as_deref().unwrap_or("/dev/stderr"))?);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(sink)
        .with_ansi(false)
        .with_target(true);
    // A second start in one process (tests) keeps the first log.
    let started = match format {
        Some(ApplicationLogFormat::Json(_)) => registry.with(layer.json()).try_init(),
        Some(ApplicationLogFormat::Text(_)) | None => registry.with(layer).try_init(),
    };
    if started.is_ok() {
        // Set once: `started` is.
        let _ = FILTER.set(handle);
    }
    Ok(())
}

/// Envoy's levels and components as a filter. Components that this build does not have are dropped.
fn filter(levels: &Levels) -> EnvFilter {
    let mut directives = vec![rust_level(&levels.all).to_owned()];
    for (component, level) in &levels.components {
        let targets = COMPONENTS
            .iter()
            .find(|(name, _)| name == component)
            .map_or(&[][..], |(_, targets)| targets);
        directives.extend(targets.iter().map(|target| format!("{target}={}", rust_level(level))));
    }
    EnvFilter::new(directives.join(","))
}

/// `a:debug,b:info`; what is not known is read over.
fn read_levels(level: &str, components: &str) -> Levels {
    let pairs = components.split(',').filter_map(|pair| pair.split_once(':'));
    Levels {
        all: level.to_owned(),
        components: pairs
            .filter_map(|(component, level)| Some((known(component)?, level.to_owned())))
            .collect(),
    }
}

fn known(component: &str) -> Option<&'static str> {
    let present = COMPONENTS.iter().map(|(name, _)| *name);
    present.chain(ABSENT).find(|name| *name == component)
}

fn rust_level(level: &str) -> &str {
    match level {
        "warning" => "warn",
        "critical" => "error",
        other => other,
    }
}

/// Components and their levels, by name.
pub fn levels() -> Vec<(&'static str, String)> {
    let levels = IN_FORCE.lock().unwrap_or_else(PoisonError::into_inner);
    let names = COMPONENTS.iter().map(|(name, _)| *name).chain(ABSENT);
    let mut all: Vec<_> = names
        .map(|name| (name, levels.components.get(name).unwrap_or(&levels.all).clone()))
        .collect();
    all.sort_unstable();
    all
}

/// Replaces the level of everything, as `/logging?level=` does.
///
/// # Errors
/// In Envoy's words, as the others here.
pub fn set_level(level: &str) -> Result<(), &'static str> {
    let level = level_of(level)?;
    change(|levels| {
        level.clone_into(&mut levels.all);
        levels.components.clear();
    });
    Ok(())
}

/// Replaces the level of one component.
///
/// # Errors
/// A name or level that is not known.
pub fn set_component(component: &str, level: &str) -> Result<(), &'static str> {
    set_paths(&format!("{component}:{level}"))
}

/// Replaces the levels of components: `http:debug,config:trace`; all or none.
///
/// # Errors
/// A name or level that is not known, or missing.
pub fn set_paths(paths: &str) -> Result<(), &'static str> {
    let mut wanted = Vec::new();
    for pair in paths.split(',') {
        let (component, level) = pair.split_once(':').unwrap_or((pair, ""));
        if component.is_empty() || level.is_empty() {
            return Err("empty logger name or empty logger level");
        }
        let level = level_of(level)?;
        wanted.push((known(component).ok_or("unknown logger name")?, level));
    }
    change(|levels| {
        for (component, level) in wanted {
            levels.components.insert(component, level.to_owned());
        }
    });
    Ok(())
}

fn level_of(level: &str) -> Result<&'static str, &'static str> {
    LEVELS
        .into_iter()
        .find(|known| *known == level)
        .ok_or("unknown logger level")
}

fn change(change: impl FnOnce(&mut Levels)) {
    let mut levels = IN_FORCE.lock().unwrap_or_else(PoisonError::into_inner);
    change(&mut levels);
    if let Some(handle) = FILTER.get() {
        // The subscriber lives as long as the process.
        let _ = handle.reload(filter(&levels));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_become_targets() {
        let levels = read_levels("info", "upstream:debug,http:trace,nope:debug,wasm:trace,,");
        let filter = filter(&levels).to_string();
        let mut directives: Vec<&str> = filter.split(',').collect();
        directives.sort_unstable();
        assert_eq!(directives, ["info", "pillion::cluster=debug", "pillion::http=trace"]);
    }

    #[test]
    fn all_of_a_list_or_none() {
        assert_eq!(set_paths("nope:debug"), Err("unknown logger name"));
        assert_eq!(set_paths("http:loud"), Err("unknown logger level"));
        assert_eq!(set_paths("http"), Err("empty logger name or empty logger level"));
        assert_eq!(set_paths("http:debug,nope:info"), Err("unknown logger name"));
        assert!(levels().iter().all(|(_, level)| level != "debug"));
        assert_eq!(set_level("nope"), Err("unknown logger level"));
    }
}
