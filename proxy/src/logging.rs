//! The process's own log: to standard error or `--log-path`, in Envoy's format, at levels that admin can change.

use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::Context as _;
use tracing_subscriber::{Registry, filter::Targets, layer::SubscriberExt, reload, util::SubscriberInitExt};

mod components;
mod pattern;

pub use components::{LevelError, Levels};
use pattern::Pattern;

use crate::{access_log::file, bootstrap::ApplicationLogFormat, cli::Args};

/// The log in force; `/logging` changes its levels.
static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    levels: Mutex<Levels>,
    filter: reload::Handle<Targets, Registry>,
}

/// Starts the log. Later calls have no effect.
///
/// # Errors
/// Where `--log-path` cannot be opened, or a level is none, or the format is given twice.
pub fn start(args: &Args, format: Option<&ApplicationLogFormat>) -> anyhow::Result<()> {
    let levels = Levels::new(&args.log_level, &args.component_log_level)?;
    let pattern = pattern(args, format)?;
    let (filter, handle) = reload::Layer::new(levels.targets());
    let path = args.log_path.as_ref().map(|p| p.to_string_lossy().into_owned());
    let path = path.as_deref().unwrap_or("/dev/stderr");
    let sink = file::open(path).with_context(|| format!("--log-path: cannot open {path}"))?;
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(Mutex::new(sink))
        .with_ansi(false)
        .event_format(pattern);
    // A second start in one process (tests) keeps the first log.
    let started = tracing_subscriber::registry().with(filter).with(layer).try_init();
    if started.is_ok() {
        let levels = Mutex::new(levels);
        // Set once: `started` is.
        let _ = LOG.set(Log { levels, filter: handle });
    }
    Ok(())
}

/// `--log-format`, or the bootstrap's, or Envoy's default.
fn pattern(args: &Args, format: Option<&ApplicationLogFormat>) -> anyhow::Result<Pattern> {
    let text = match (&*args.log_format, format) {
        ("", None) => pattern::DEFAULT,
        (text, None) => text,
        ("", Some(ApplicationLogFormat::Text(text))) => text,
        // A JSON object whose values are patterns is a pattern itself.
        ("", Some(ApplicationLogFormat::Json(json))) => &serde_json::to_string(json)?,
        (_, Some(_)) => anyhow::bail!("application_log_config.log_format: stands beside --log-format; keep one"),
    };
    Ok(Pattern::new(text, args.log_format_escaped))
}

/// What every component logs now; `None` before the log was started.
pub fn levels() -> Option<Levels> {
    LOG.get().map(|log| lock(&log.levels).clone())
}

/// Changes levels, as `/logging` does.
///
/// # Errors
/// What `change` refuses; nothing changes then.
pub fn change(change: impl FnOnce(&mut Levels) -> Result<(), LevelError>) -> Result<(), LevelError> {
    let Some(log) = LOG.get() else { return Ok(()) };
    let mut levels = lock(&log.levels);
    let mut next = levels.clone();
    change(&mut next)?;
    // The subscriber lives as long as the process.
    let _ = log.filter.reload(next.targets());
    *levels = next;
    Ok(())
}

/// Levels are whole at every step, whatever panicked.
fn lock(levels: &Mutex<Levels>) -> std::sync::MutexGuard<'_, Levels> {
    levels.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Replaces the level of everything, as `/logging?level=` does.
///
/// # Errors
/// No level of Envoy's.
pub fn set_level(level: &str) -> Result<(), LevelError> {
    change(|levels| {
        *levels = Levels::new(level, "")?;
        Ok(())
    })
}
