//! Routing: a `RouteConfiguration` and the pure decision which of its routes takes a request.
//!
//! `scope` picks the configuration where there are several, `select` virtual host and route, `matcher` says whether one route takes a request, `action` what a route does
//! with it; `header_edit`, `rewrite` and `finalize` change heads, `retry` and `timeout` decide about attempts. Nothing
//! here does I/O.

use std::sync::Arc;

use hashbrown::HashMap;

pub mod action;
pub mod finalize;
pub mod header_edit;
pub mod matcher;
pub mod per_filter;
pub mod redirect;
pub mod retry;
pub mod rewrite;
pub mod scope;
pub mod select;
pub mod timeout;

pub use action::HashPolicy;
pub use action::{Action, RetryPolicy, RouteAction};
pub use finalize::{finalize_request, finalize_response, hash, host_from_endpoint};
pub use matcher::RouteMatch;
pub use select::{RouteFacts, Selection, select, target, upgrade_allowed};

use header_edit::HeaderEdits;

use crate::{
    http::{filter::cors::CorsPolicy, message::RequestHead},
    stats::{Group, RouteStat},
    trace::{Decorator, RouteTracing},
};

/// `envoy.config.route.v3.RouteConfiguration`, parsed.
#[derive(Debug, Clone)]
pub struct RouteConfiguration {
    pub name: Arc<str>,
    pub virtual_hosts: Vec<Arc<VirtualHost>>,
    pub hosts: HostIndex,
    /// Removed from requests that come from outside.
    pub internal_only_headers: Vec<http::HeaderName>,
    /// Of routes and virtual hosts that have none.
    pub mirrors: Arc<[action::Mirror]>,
    pub header_edits: Arc<HeaderEdits>,
    pub per_filter: Arc<per_filter::PerFilter>,
    /// Where set, the most specific level's header edits are applied last (Envoy's default: first).
    pub most_specific_header_mutations_wins: bool,
    pub ignore_port_in_host_matching: bool,
    /// Envoy's `vhost_header`: match on this header instead of the authority.
    pub vhost_header: Option<http::HeaderName>,
    pub ignore_path_parameters_in_path_matching: bool,
    /// More virtual hosts come by VHDS, on demand too.
    pub vhds: bool,
    /// Content hash of the received resource: an equal update is a no-op.
    pub hash: u64,
}

/// Virtual hosts by domain, in Envoy's search order: exact, longest suffix (`*.x`), longest prefix (`x.*`), `*`.
/// Values index `virtual_hosts`; domains are lower-case.
#[derive(Debug, Default, Clone)]
pub struct HostIndex {
    pub exact: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
    /// (suffix after the `*`, virtual host), longest first.
    pub suffixes: Vec<(Box<str>, u32)>,
    /// (prefix before the `*`, virtual host), longest first.
    pub prefixes: Vec<(Box<str>, u32)>,
    pub any: Option<u32>,
}

#[derive(Debug)]
pub struct VirtualHost {
    pub name: Arc<str>,
    pub domains: Vec<Box<str>>,
    pub routes: Vec<Arc<Route>>,
    pub require_tls: TlsRequirement,
    pub header_edits: HeaderEdits,
    /// The older place of a policy for the filter.
    pub cors: Option<Arc<CorsPolicy>>,
    /// Of routes that have none.
    pub mirrors: Vec<action::Mirror>,
    pub per_filter: per_filter::PerFilter,
    pub include_request_attempt_count: bool,
    pub include_attempt_count_in_response: bool,
    pub include_is_timeout_retry_header: bool,
    pub virtual_clusters: Vec<VirtualCluster>,
    /// `vhost.<name>.vcluster.other.`: requests that none of `virtual_clusters` claims, where there are any.
    pub other: Option<Group<RouteStat>>,
    pub per_request_buffer_limit: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsRequirement {
    None,
    ExternalOnly,
    All,
}

/// A named subset of a virtual host's traffic with statistics of its own.
#[derive(Debug)]
pub struct VirtualCluster {
    pub name: Arc<str>,
    /// All must match.
    pub headers: Vec<matcher::HeaderMatcher>,
    /// `vhost.<virtual host>.vcluster.<name>.`
    pub stats: Group<RouteStat>,
}

impl VirtualHost {
    /// Under which virtual cluster a request counts: the first that claims it.
    pub fn virtual_cluster(&self, request: &RequestHead) -> Option<&Group<RouteStat>> {
        let claims = |cluster: &&VirtualCluster| cluster.headers.iter().all(|matcher| matcher.matches(request));
        let claimed = self.virtual_clusters.iter().find(claims);
        claimed.map(|cluster| &cluster.stats).or(self.other.as_ref())
    }
}

#[derive(Debug)]
pub struct Route {
    /// `%ROUTE_NAME%`; empty where the config names none.
    pub name: Arc<str>,
    pub matches: RouteMatch,
    pub action: Action,
    pub header_edits: HeaderEdits,
    pub per_filter: per_filter::PerFilter,
    /// `vhost.<virtual host>.route.<stat_prefix>.`, where the route has one.
    pub stats: Option<Group<RouteStat>>,
    pub per_request_buffer_limit: Option<u32>,
    /// `metadata.filter_metadata`, as JSON, for formatters and filters.
    pub metadata: Option<Arc<serde_json::Value>>,
    pub decorator: Option<Decorator>,
    pub tracing: Option<Box<RouteTracing>>,
}

/// `cors`-like shared pieces stay with their filters; this one is used by redirects and rewrites alike.
#[derive(Debug, Clone)]
pub struct RegexRewrite {
    pub pattern: crate::matcher::Regex,
    pub substitution: Box<str>,
}
