//! The process's own log: to standard error or `--log-path`, at a level that admin can change.

use std::sync::{Mutex, OnceLock};

use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::{access_log::file, bootstrap::ApplicationLogFormat, cli::Args};

/// The filter in force; `/logging` replaces it.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Starts the log. Later calls have no effect.
///
/// # Errors
/// Where `--log-path` cannot be opened.
pub fn start(args: &Args, format: Option<&ApplicationLogFormat>) -> anyhow::Result<()> {
    let (filter, handle) = reload::Layer::new(filter(&args.log_level, &args.component_log_level));
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
fn filter(level: &str, components: &str) -> EnvFilter {
    let mut directives = vec![rust_level(level).to_owned()];
    for pair in components.split(',').filter(|pair| !pair.is_empty()) {
        if let Some((component, level)) = pair.split_once(':') {
            directives.push(format!("pillion::{component}={}", rust_level(level)));
        }
    }
    EnvFilter::new(directives.join(","))
}

fn rust_level(level: &str) -> &str {
    match level {
        "warning" => "warn",
        "critical" => "error",
        other => other,
    }
}

/// Replaces the level of everything, as `/logging?level=` does.
pub fn set_level(level: &str) {
    if let Some(handle) = FILTER.get() {
        // The subscriber lives as long as the process.
        let _ = handle.reload(filter(level, ""));
    }
}
