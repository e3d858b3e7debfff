//! Envoy's names for the parts of a proxy, and which modules here are what: `--component-log-level` and `%n` use them.

use tracing_subscriber::filter::{LevelFilter, Targets};

/// Every logger that Envoy knows, in its order, with the targets of ours that it stands for. One without targets is
/// accepted and silent: launchers name what they know.
const COMPONENTS: &[(&str, &[&str])] = &[
    ("a2a", &[]),
    ("admin", &["pillion::admin"]),
    ("ai_protocol_manager", &[]),
    ("alternate_protocols_cache", &[]),
    ("aws", &[]),
    ("assert", &[]),
    ("backtrace", &[]),
    ("basic_auth", &[]),
    ("cache_filter", &[]),
    ("client", &["pillion::http::codec"]),
    (
        "config",
        &[
            "pillion::config",
            "pillion::control",
            "pillion::bootstrap",
            "xds_client",
        ],
    ),
    (
        "connection",
        &["pillion::tls", "pillion::io", "pillion::listener", "certs"],
    ),
    ("conn_handler", &["pillion::listener::accept"]),
    ("compression", &[]),
    ("credential_injector", &[]),
    ("decompression", &[]),
    ("dns", &["pillion::cluster::dns"]),
    ("dubbo", &[]),
    ("envoy_bug", &[]),
    ("ext_authz", &[]),
    ("ext_proc", &[]),
    ("rocketmq", &[]),
    ("file", &["pillion::access_log::file", "certs::source"]),
    ("filter", &["pillion::tcp", "pillion::listener::inspect"]),
    ("forward_proxy", &[]),
    ("geolocation", &[]),
    ("grpc", &["xds_client::link", "xds_client::connection"]),
    ("happy_eyeballs", &[]),
    ("hc", &["pillion::cluster::health_check"]),
    ("health_checker", &[]),
    ("http", &["pillion::http"]),
    ("http2", &["pillion::http::codec::h2", "h2"]),
    ("hystrix", &[]),
    ("init", &["pillion::control::resources"]),
    ("io", &[]),
    ("jwt", &[]),
    ("json_rpc", &[]),
    ("kafka", &[]),
    ("key_value_store", &[]),
    ("lua", &[]),
    ("local_rate_limit", &[]),
    (
        "main",
        &[
            "pillion::server",
            "pillion::launch",
            "pillion::worker",
            "pillion::drain",
        ],
    ),
    ("matcher", &["pillion::matcher"]),
    ("mcp", &[]),
    ("misc", &[]),
    ("mongo", &[]),
    ("multi_connection", &[]),
    ("notification", &[]),
    ("oauth2", &[]),
    ("quic", &[]),
    ("quic_stream", &[]),
    ("pool", &["pillion::upstream::pool"]),
    ("rate_limit_quota", &[]),
    ("rbac", &[]),
    ("rds", &["pillion::config::route"]),
    ("redis", &[]),
    ("router", &["pillion::route", "pillion::http::filter::router"]),
    ("runtime", &["pillion::config::runtime"]),
    ("stats", &["pillion::stats"]),
    ("secret", &["pillion::config::secret"]),
    ("sse", &[]),
    ("tap", &[]),
    ("testing", &[]),
    ("thrift", &[]),
    ("tracing", &[]),
    ("upstream", &["pillion::cluster", "pillion::upstream"]),
    ("udp", &[]),
    ("wasm", &[]),
    ("websocket", &[]),
    ("golang", &[]),
    ("stats_sinks", &[]),
    ("dynamic_modules", &[]),
    ("ip_tagging", &[]),
];

/// Envoy's levels, the least severe first.
pub const LEVELS: [&str; 7] = ["trace", "debug", "info", "warning", "error", "critical", "off"];

/// What each level lets through. Nothing is more severe than an error here, so that only `off` silences one.
const FILTERS: [LevelFilter; LEVELS.len()] = [
    LevelFilter::TRACE,
    LevelFilter::DEBUG,
    LevelFilter::INFO,
    LevelFilter::WARN,
    LevelFilter::ERROR,
    LevelFilter::ERROR,
    LevelFilter::OFF,
];

/// The component that a target belongs to: the one with the longest of the prefixes that fit.
pub(super) fn of_target(target: &str) -> &'static str {
    let fits = |prefix: &&&str| {
        target
            .strip_prefix(**prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    COMPONENTS
        .iter()
        .flat_map(|(name, prefixes)| prefixes.iter().filter(fits).map(move |prefix| (prefix.len(), *name)))
        .max_by_key(|(length, _)| *length)
        .map_or("misc", |(_, name)| name)
}

/// What every component logs.
#[derive(Debug, Clone)]
pub struct Levels([(&'static str, LevelFilter); COMPONENTS.len()]);

/// Why a level or a component is not taken, in Envoy's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    #[error("error: invalid log level specified '{0}'")]
    Level(String),
    #[error("error: invalid component specified '{0}'")]
    Component(String),
    #[error("error: component log level not correctly specified '{0}'")]
    Pair(String),
}

impl LevelError {
    /// In the words of Envoy's admin interface.
    pub(super) fn for_admin(&self) -> &'static str {
        match self {
            Self::Level(_) => "unknown logger level",
            Self::Component(_) => "unknown logger name",
            Self::Pair(_) => "empty logger name or empty logger level",
        }
    }
}

impl Levels {
    /// `--log-level` for all, then `--component-log-level` (`upstream:debug,config:trace`).
    ///
    /// # Errors
    /// What Envoy does not know either.
    pub fn new(level: &str, components: &str) -> Result<Self, LevelError> {
        let (name, filter) = parse(level)?;
        let mut levels = Self([(name, filter); COMPONENTS.len()]);
        levels.set_all(components)?;
        Ok(levels)
    }

    /// Sets several, written `name:level,name:level`; none where one of them is wrong.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn set_all(&mut self, pairs: &str) -> Result<(), LevelError> {
        let mut next = self.clone();
        for pair in pairs.split(',').filter(|pair| !pair.is_empty()) {
            let (component, level) = pair.split_once(':').ok_or_else(|| LevelError::Pair(pair.to_owned()))?;
            next.set(component, level)?;
        }
        *self = next;
        Ok(())
    }

    /// # Errors
    /// An unknown component or level.
    pub fn set(&mut self, component: &str, level: &str) -> Result<(), LevelError> {
        let level = parse(level)?;
        let place = COMPONENTS
            .iter()
            .zip(&mut self.0)
            .find(|((name, _), _)| *name == component);
        let (_, slot) = place.ok_or_else(|| LevelError::Component(component.to_owned()))?;
        *slot = level;
        Ok(())
    }

    /// Components with their levels, as `/logging` lists them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        COMPONENTS
            .iter()
            .zip(&self.0)
            .map(|((name, _), (level, _))| (*name, *level))
    }

    /// What no component claims logs as `misc`.
    pub(super) fn targets(&self) -> Targets {
        let mut targets = Targets::new();
        for ((name, prefixes), (_, filter)) in COMPONENTS.iter().zip(&self.0) {
            if *name == "misc" {
                targets = targets.with_default(*filter);
            }
            targets = targets.with_targets(prefixes.iter().map(|prefix| (*prefix, *filter)));
        }
        targets
    }
}

fn parse(level: &str) -> Result<(&'static str, LevelFilter), LevelError> {
    let name = if level == "warn" { "warning" } else { level };
    let known = LEVELS.into_iter().zip(FILTERS).find(|(known, _)| *known == name);
    known.ok_or_else(|| LevelError::Level(level.to_owned()))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn a_component_has_its_own_level_and_the_longest_prefix_wins() {
        let targets = Levels::new("warning", "upstream:debug,dns:trace,admin:off")
            .unwrap()
            .targets();
        for (target, level, enabled) in [
            ("pillion::cluster::outlier", Level::DEBUG, true),
            ("pillion::cluster::outlier", Level::TRACE, false),
            ("pillion::cluster::dns", Level::TRACE, true),
            ("pillion::upstream::pool", Level::INFO, false),
            ("pillion::admin::respond", Level::ERROR, false),
            ("pillion::http::stream", Level::INFO, false),
            ("somebody_else", Level::WARN, true),
        ] {
            assert_eq!(targets.would_enable(target, &level), enabled, "{target} {level}");
        }
        assert_eq!(of_target("pillion::cluster::dns"), "dns");
        assert_eq!(of_target("pillion::clusters"), "misc");
    }

    #[test]
    fn what_envoy_refuses_is_refused_in_its_words() {
        let error = |level, components| Levels::new(level, components).unwrap_err().to_string();
        assert_eq!(error("loud", ""), "error: invalid log level specified 'loud'");
        assert_eq!(error("info", "foo:info"), "error: invalid component specified 'foo'");
        assert_eq!(
            error("info", "upstream"),
            "error: component log level not correctly specified 'upstream'"
        );
        let mut levels = Levels::new("warn", "").unwrap();
        assert!(levels.set_all("upstream:debug,x:info").is_err());
        assert!(
            levels.iter().all(|(_, level)| level == "warning"),
            "half of it was taken"
        );
    }
}
