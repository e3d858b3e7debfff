//! Which route takes a request: virtual host, then the first route that matches. Pure, and traced for `explain`.

use std::sync::Arc;

use super::{
    Action, HostIndex, Route, RouteAction, RouteConfiguration, TlsRequirement, VirtualHost,
    action::{Target, WeightedCluster},
    scope::{Scope, ScopeKeyBuilder},
};
use crate::{http::message::RequestHead, stream_info::TlsInfo};

/// The facts of the decision.
#[derive(Clone, Copy)]
pub struct RouteFacts<'a> {
    pub request: &'a RequestHead,
    pub tls: Option<&'a TlsInfo>,
    /// One random number for the whole decision: fractions and weights.
    pub random: u64,
    pub runtime: &'a serde_json::Map<String, serde_json::Value>,
    pub dynamic_metadata: Option<&'a serde_json::Map<String, serde_json::Value>>,
}

/// The decision.
#[derive(Debug)]
pub enum Selection<'a> {
    Route(&'a Arc<VirtualHost>, &'a Arc<Route>),
    /// The virtual host demands TLS (`require_tls`).
    TlsRedirect,
    /// No virtual host, or no route of it, takes the request.
    None,
}

/// Records the steps of a decision. The unit type records nothing and costs nothing.
pub trait Trace {
    fn scope(&mut self, _key: &ScopeKeyBuilder, _found: Option<&Scope>) {}
    fn virtual_host(&mut self, _host: &str, _found: Option<&VirtualHost>) {}
    fn route(&mut self, _route: &Route, _failed: Option<&'static str>) {}
}

impl Trace for () {}

/// Selects the route of a request.
pub fn select<'a>(config: &'a RouteConfiguration, facts: &RouteFacts<'_>, trace: &mut impl Trace) -> Selection<'a> {
    let request = facts.request;
    let header = config
        .vhost_header
        .as_ref()
        .and_then(|name| request.headers.get(name))
        .and_then(|v| v.to_str().ok());
    let host = header.unwrap_or_else(|| request.authority_str());
    let host = if config.ignore_port_in_host_matching {
        crate::http::admission::host_without_port(host)
    } else {
        host
    };
    let found = config.hosts.find(host).map(|i| &config.virtual_hosts[i]);
    trace.virtual_host(host, found.map(|v| &**v));
    let Some(virtual_host) = found else {
        return Selection::None;
    };
    if !tls_satisfied(virtual_host, request) {
        return Selection::TlsRedirect;
    }
    let path = if config.ignore_path_parameters_in_path_matching {
        without_parameters(request.path_only())
    } else {
        request.path_only()
    };
    for route in &virtual_host.routes {
        let failed = route.matches.first_failure(path, facts);
        trace.route(route, failed);
        if failed.is_none() {
            return Selection::Route(virtual_host, route);
        }
    }
    Selection::None
}

fn tls_satisfied(virtual_host: &VirtualHost, request: &RequestHead) -> bool {
    let over_tls = || {
        request
            .headers
            .get("x-forwarded-proto")
            .is_some_and(|v| v.as_bytes() == b"https")
    };
    match virtual_host.require_tls {
        TlsRequirement::None => true,
        TlsRequirement::All => over_tls(),
        TlsRequirement::ExternalOnly => {
            over_tls()
                || request
                    .headers
                    .get("x-envoy-internal")
                    .is_some_and(|v| v.as_bytes() == b"true")
        }
    }
}

/// The path up to its first `;`.
fn without_parameters(path: &str) -> &str {
    path.split(';').next().unwrap_or(path)
}

impl HostIndex {
    /// Index of the virtual host for `host`, ASCII case ignored: exact, longest suffix, longest prefix, any.
    pub fn find(&self, host: &str) -> Option<usize> {
        // Authorities are lower-case almost always; only others pay for a copy.
        let lowered;
        let host = if host.bytes().any(|b| b.is_ascii_uppercase()) {
            lowered = host.to_ascii_lowercase();
            &*lowered
        } else {
            host
        };
        let exact = if self.exact.is_empty() {
            None
        } else {
            self.exact.get(host)
        };
        // A wildcard stands for at least one character.
        let longer = |pattern: &str| host.len() > pattern.len();
        exact
            .copied()
            .or_else(|| {
                self.suffixes
                    .iter()
                    .find(|(s, _)| longer(s) && host.ends_with(&**s))
                    .map(|(_, i)| *i)
            })
            .or_else(|| {
                self.prefixes
                    .iter()
                    .find(|(p, _)| longer(p) && host.starts_with(&**p))
                    .map(|(_, i)| *i)
            })
            .or(self.any)
            .map(|i| i as usize)
    }
}

/// The cluster that a forwarding route sends a request to.
#[derive(Debug, Clone)]
pub struct ChosenTarget {
    pub cluster: Arc<str>,
    /// Index among the weighted clusters.
    pub weighted: Option<usize>,
}

/// Picks the cluster; `None` where it is named by a header that the request does not carry.
pub fn target(action: &RouteAction, facts: &RouteFacts<'_>) -> Option<ChosenTarget> {
    let from_header = |name: &http::HeaderName| {
        let value = facts.request.headers.get(name)?.to_str().ok()?;
        (!value.is_empty()).then(|| Arc::from(value))
    };
    match &action.target {
        Target::Cluster(name) => Some(ChosenTarget {
            cluster: name.clone(),
            weighted: None,
        }),
        Target::Header(name) => Some(ChosenTarget {
            cluster: from_header(name)?,
            weighted: None,
        }),
        Target::Weighted(set) => {
            let given = set
                .random_value_header
                .as_ref()
                .and_then(|name| facts.request.headers.get(name));
            let given = given.and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
            let total = match set.clusters.iter().any(|c| c.runtime_key.is_some()) {
                true => set.clusters.iter().map(|c| c.weight(facts.runtime)).sum(),
                false => u64::from(set.total_weight),
            };
            let mut point = given.unwrap_or(facts.random).checked_rem(total)?;
            for (i, cluster) in set.clusters.iter().enumerate() {
                let weight = cluster.weight(facts.runtime);
                if point < weight {
                    let name = match &cluster.cluster_header {
                        Some(header) => from_header(header)?,
                        None => cluster.name.clone(),
                    };
                    return Some(ChosenTarget {
                        cluster: name,
                        weighted: Some(i),
                    });
                }
                point -= weight;
            }
            None
        }
    }
}

impl WeightedCluster {
    /// The configured weight, or the runtime's (`runtime_key_prefix`).
    fn weight(&self, runtime: &serde_json::Map<String, serde_json::Value>) -> u64 {
        let key = self.runtime_key.as_deref();
        let overridden = key.and_then(|key| runtime.get(key)).and_then(serde_json::Value::as_u64);
        overridden.unwrap_or(u64::from(self.weight))
    }
}

/// Whether a route (or else its connection manager) allows an upgrade of this kind.
pub fn upgrade_allowed(kind: &[u8], route: &[(Box<str>, bool)], manager: &[(Box<str>, bool)]) -> bool {
    let find = |list: &[(Box<str>, bool)]| {
        list.iter()
            .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(kind))
            .map(|(_, enabled)| *enabled)
    };
    find(route).or_else(|| find(manager)).unwrap_or(false)
}

impl Route {
    pub fn forward(&self) -> Option<&RouteAction> {
        match &self.action {
            Action::Route(action) => Some(action),
            _ => None,
        }
    }
}
