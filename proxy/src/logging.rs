//! The process's own log: to standard error or `--log-path`, in Envoy's format, at levels that admin can change.

use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::Context as _;
use tracing_subscriber::{Registry, filter::Targets, layer::SubscriberExt, reload, util::SubscriberInitExt};

mod components;
mod pattern;

pub use components::{LEVELS, LevelError, Levels};
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

/// Components and their levels, in Envoy's order, as `/logging` lists them; none before the log was started.
pub fn levels() -> Vec<(&'static str, &'static str)> {
    LOG.get()
        .map_or_else(Vec::new, |log| lock(&log.levels).iter().collect())
}

/// Changes levels; where `change` refuses, nothing changes.
fn change(change: impl FnOnce(&mut Levels) -> Result<(), LevelError>) -> Result<(), &'static str> {
    let Some(log) = LOG.get() else { return Ok(()) };
    let mut levels = lock(&log.levels);
    let mut next = levels.clone();
    change(&mut next).map_err(|e| e.for_admin())?;
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
/// In the words of Envoy's admin interface, as the others here.
pub fn set_level(level: &str) -> Result<(), &'static str> {
    change(|levels| {
        *levels = Levels::new(level, "")?;
        Ok(())
    })
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
    let whole =
        |pair: &str| matches!(pair.split_once(':'), Some((name, level)) if !name.is_empty() && !level.is_empty());
    if !paths.split(',').all(whole) {
        return Err("empty logger name or empty logger level");
    }
    change(|levels| levels.set_all(paths))
}
