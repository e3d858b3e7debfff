//! What stands before a stat's own name: `cluster.<name>.`, `listener.<address>.ssl.`.
//!
//! The name in the middle is shared with its owner, so that 10,000 clusters do not hold their names twice.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A scope's full name, ending with a dot, in three pieces.
#[derive(Clone, Debug)]
pub struct Prefix {
    root: &'static str,
    name: Arc<str>,
    tail: &'static str,
}

/// Envoy writes `_` for these in names (`Utility::sanitizeStatsName`): addresses and URLs hold them.
const UNFIT: [char; 2] = [':', '\0'];

impl Prefix {
    /// A scope with a fixed name, such as `server.`.
    pub fn root(root: &'static str) -> Self {
        Self::new(root, "", "")
    }

    /// `root`, `name`, `tail` one after the other; the caller places the dots.
    pub fn new(root: &'static str, name: impl Into<Arc<str>>, tail: &'static str) -> Self {
        let name = name.into();
        let name = if name.contains(UNFIT) {
            sanitize(&name).into()
        } else {
            name
        };
        Self { root, name, tail }
    }

    /// `cluster.<name>.`; `name` is `alt_stat_name` where the cluster has one.
    pub fn cluster(name: impl Into<Arc<str>>) -> Self {
        Self::new("cluster.", name, ".")
    }

    /// `cluster.<name>.<tail>`, for a part of a cluster that not every cluster has: `ssl.`, `http2.`.
    pub fn cluster_part(name: impl Into<Arc<str>>, tail: ClusterPart) -> Self {
        Self::new("cluster.", name, tail.tail())
    }

    /// `listener.<address>.`; the listener's `stat_prefix` replaces the address.
    pub fn listener(address: impl Into<Arc<str>>) -> Self {
        Self::new("listener.", address, ".")
    }

    /// `listener.<address>.ssl.`
    pub fn listener_ssl(address: impl Into<Arc<str>>) -> Self {
        Self::new("listener.", address, ".ssl.")
    }

    /// `listener.<address>.server_ssl_socket_factory.`
    pub fn listener_ssl_factory(address: impl Into<Arc<str>>) -> Self {
        Self::new("listener.", address, ".server_ssl_socket_factory.")
    }

    /// `listener.<address>.http.<stat_prefix>.`: a connection manager's responses per listener.
    pub fn listener_http(address: &str, stat_prefix: &str) -> Self {
        Self::new("listener.", format!("{address}.http.{stat_prefix}"), ".")
    }

    /// `http.<stat_prefix>.`
    pub fn http(stat_prefix: impl Into<Arc<str>>) -> Self {
        Self::new("http.", stat_prefix, ".")
    }

    /// `http.<stat_prefix>.<filter>`: an HTTP filter's own stats; `filter` ends with a dot.
    pub fn http_filter(stat_prefix: impl Into<Arc<str>>, filter: &'static str) -> Self {
        Self::new("http.", format!("{}.", stat_prefix.into()), filter)
    }

    /// `http.<stat_prefix>.rds.<route>.`
    pub fn rds(stat_prefix: &str, route: &str) -> Self {
        Self::new("http.", format!("{stat_prefix}.rds.{route}"), ".")
    }

    /// `tcp.<stat_prefix>.`
    pub fn tcp(stat_prefix: impl Into<Arc<str>>) -> Self {
        Self::new("tcp.", stat_prefix, ".")
    }

    /// `cluster.<name>.grpc.<service>.<method>.`; `method` is `service/method`, or empty.
    pub fn grpc(cluster: &str, method: &str) -> Self {
        let method = method.replace('/', ".");
        let dot = if method.is_empty() { "" } else { "." };
        Self::new("cluster.", format!("{cluster}.grpc{dot}{method}"), ".")
    }

    /// `vhost.<virtual host>.vcluster.<virtual cluster>.`
    pub fn virtual_cluster(virtual_host: &str, virtual_cluster: &str) -> Self {
        Self::new("vhost.", format!("{virtual_host}.vcluster.{virtual_cluster}"), ".")
    }

    /// `vhost.<virtual host>.route.<stat_prefix>.`
    pub fn route(virtual_host: &str, stat_prefix: &str) -> Self {
        Self::new("vhost.", format!("{virtual_host}.route.{stat_prefix}"), ".")
    }

    /// `sds.<secret>.`
    pub fn sds(secret: impl Into<Arc<str>>) -> Self {
        Self::new("sds.", secret, ".")
    }

    /// `<scope>certificate.<name>.`, under a `…ssl.` scope. Envoy leaves this name as it is.
    pub fn certificate(ssl: &str, name: &str) -> Self {
        Self {
            root: "",
            name: format!("{ssl}certificate.{name}").into(),
            tail: ".",
        }
    }

    pub(super) fn len(&self) -> usize {
        self.root.len() + self.name.len() + self.tail.len()
    }

    pub(super) fn push_to(&self, out: &mut String) {
        out.push_str(self.root);
        out.push_str(&self.name);
        out.push_str(self.tail);
    }

    pub(super) fn bytes(&self) -> impl Iterator<Item = u8> + '_ {
        self.root.bytes().chain(self.name.bytes()).chain(self.tail.bytes())
    }

    /// Whether every name under `self` is also a name under `outer`.
    pub(super) fn is_within(&self, outer: &Self) -> bool {
        let mut own = self.bytes();
        outer.bytes().all(|byte| own.next() == Some(byte))
    }
}

/// The parts of a cluster's stats that hang on its config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterPart {
    Ssl,
    SslFactory,
    Http1,
    Http2,
    HealthCheck,
    OutlierDetection,
    RemainingDefault,
    RemainingHigh,
}

impl ClusterPart {
    fn tail(self) -> &'static str {
        match self {
            Self::Ssl => ".ssl.",
            Self::SslFactory => ".client_ssl_socket_factory.",
            Self::Http1 => ".http1.",
            Self::Http2 => ".http2.",
            Self::HealthCheck => ".health_check.",
            Self::OutlierDetection => ".outlier_detection.",
            Self::RemainingDefault => ".circuit_breakers.default.",
            Self::RemainingHigh => ".circuit_breakers.high.",
        }
    }
}

fn sanitize(name: &str) -> String {
    name.replace("://", "_").replace(":/", "_").replace(UNFIT, "_")
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.root, self.name, self.tail)
    }
}

impl Ord for Prefix {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl PartialOrd for Prefix {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Prefix {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Prefix {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_urls_are_made_fit() {
        assert_eq!(Prefix::listener("127.0.0.1:80").to_string(), "listener.127.0.0.1_80.");
        assert_eq!(Prefix::listener("[::1]:80").to_string(), "listener.[__1]_80.");
        assert_eq!(Prefix::cluster("http://a:1").to_string(), "cluster.http_a_1.");
        assert_eq!(
            Prefix::cluster("outbound|80||web").to_string(),
            "cluster.outbound|80||web."
        );
    }

    #[test]
    fn order_and_nesting_are_those_of_the_whole_text() {
        let outer = Prefix::cluster("a");
        assert!(Prefix::cluster_part("a", ClusterPart::Ssl).is_within(&outer));
        assert!(Prefix::cluster("a.b").is_within(&outer));
        assert!(!Prefix::cluster("ab").is_within(&outer));
        assert!(Prefix::cluster("a") < Prefix::cluster("ab"));
        assert_eq!(
            Prefix::new("cluster.", "a", ".ssl."),
            Prefix::cluster_part("a", ClusterPart::Ssl)
        );
    }
}
