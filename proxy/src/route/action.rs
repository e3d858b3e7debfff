//! What a route does with the request that it took.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use smallvec::SmallVec;

use super::{RegexRewrite, header_edit::HeaderEdits, matcher::HeaderMatcher, per_filter::PerFilter};
use crate::{cluster::Priority, http::filter::cors::CorsPolicy};

#[derive(Debug)]
pub enum Action {
    Route(Box<RouteAction>),
    Redirect(Box<Redirect>),
    DirectResponse(Box<DirectResponse>),
    /// A route for something that Pillion does not do with requests (`non_forwarding_action`).
    NonForwarding,
}

/// `envoy.config.route.v3.RouteAction`, parsed.
#[derive(Debug)]
pub struct RouteAction {
    pub target: Target,
    /// What an unknown cluster is answered with: 503 unless configured.
    pub cluster_not_found: StatusCode,
    pub path_rewrite: Option<PathRewrite>,
    pub host_rewrite: Option<HostRewrite>,
    pub append_x_forwarded_host: bool,
    /// Whole exchange, from the end of the request to the end of the response. `None`: no limit. Envoy's default: 15 s.
    pub timeout: Option<Duration>,
    /// Overrides the connection manager's stream idle timeout; `Some(ZERO)` disables it.
    pub idle_timeout: Option<Duration>,
    pub max_stream_duration: Option<MaxStreamDuration>,
    /// Deprecated `max_grpc_timeout`: cap on `grpc-timeout`, `Some(ZERO)` means no cap; `None`: `grpc-timeout` is not honoured.
    pub max_grpc_timeout: Option<Duration>,
    pub grpc_timeout_offset: Option<Duration>,
    pub retry: Option<Arc<RetryPolicy>>,
    pub priority: Priority,
    pub hash_policy: Vec<HashPolicy>,
    pub mirrors: Vec<Mirror>,
    /// The older place of a policy for the filter.
    pub cors: Option<Arc<CorsPolicy>>,
    /// (upgrade type lower-case, enabled): overrides the connection manager's list.
    pub upgrades: SmallVec<[(Box<str>, bool); 1]>,
    /// Of the upgrade type CONNECT: the tunnel ends here, and its bytes go to the cluster as they are.
    pub connect: Option<ConnectConfig>,
    /// `metadata_match` criteria under `envoy.lb`, for subset balancing.
    pub metadata_match: Option<Arc<serde_json::Value>>,
    pub include_vh_rate_limits: bool,
}

/// `UpgradeConfig.ConnectConfig`, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectConfig {
    /// POST is ended here like CONNECT.
    pub allow_post: bool,
}

impl RouteAction {
    /// Whether a request of this method becomes a connection without HTTP.
    pub fn terminates(&self, method: &Method) -> bool {
        self.connect
            .is_some_and(|config| *method == Method::CONNECT || (config.allow_post && *method == Method::POST))
    }
}

#[derive(Debug)]
pub enum Target {
    Cluster(Arc<str>),
    /// The cluster is named by this request header.
    Header(HeaderName),
    Weighted(WeightedClusters),
}

#[derive(Debug)]
pub struct WeightedClusters {
    pub clusters: Vec<WeightedCluster>,
    /// Sum of the weights; never 0.
    pub total_weight: u32,
    /// `weighted_clusters.header_name`: the random value comes from this request header.
    pub random_value_header: Option<HeaderName>,
}

#[derive(Debug)]
pub struct WeightedCluster {
    pub name: Arc<str>,
    /// Set where the cluster is named by a header (`cluster_header`).
    pub cluster_header: Option<HeaderName>,
    pub weight: u32,
    pub runtime_key: Option<Box<str>>,
    pub header_edits: HeaderEdits,
    pub per_filter: PerFilter,
    pub host_rewrite: Option<HeaderValue>,
    pub metadata_match: Option<Arc<serde_json::Value>>,
}

#[derive(Debug)]
pub enum PathRewrite {
    /// Replaces what the route's matcher matched (prefix, or the whole path).
    Prefix(Box<str>),
    /// Applied to the path without query.
    Regex(RegexRewrite),
}

#[derive(Debug)]
pub enum HostRewrite {
    Literal(HeaderValue),
    /// The host name of the chosen endpoint (STRICT_DNS, LOGICAL_DNS).
    Auto,
    Header(HeaderName),
    /// Made from the path without query.
    PathRegex(RegexRewrite),
}

#[derive(Debug, Clone, Copy)]
pub struct MaxStreamDuration {
    /// `Some(ZERO)`: explicitly none.
    pub max_stream_duration: Option<Duration>,
    pub grpc_timeout_header_max: Option<Duration>,
    pub grpc_timeout_header_offset: Option<Duration>,
}

#[derive(Debug)]
pub struct Mirror {
    pub cluster: Arc<str>,
    pub cluster_header: Option<HeaderName>,
    pub runtime_fraction: Option<super::matcher::RuntimeFraction>,
    pub trace_sampled: Option<bool>,
    pub disable_shadow_host_suffix_append: bool,
    /// In place of the host and its suffix.
    pub host_rewrite: Option<HeaderValue>,
}

#[derive(Debug)]
pub struct HashPolicy {
    pub input: HashInput,
    /// Stop at this policy where it produced a hash.
    pub terminal: bool,
}

#[derive(Debug)]
pub enum HashInput {
    Header {
        name: HeaderName,
        rewrite: Option<RegexRewrite>,
    },
    Cookie {
        name: Box<str>,
        ttl: Option<Duration>,
        path: Box<str>,
        attributes: Vec<(Box<str>, Box<str>)>,
    },
    SourceIp,
    QueryParameter(Box<str>),
    FilterState(Box<str>),
}

/// `envoy.config.route.v3.RetryPolicy`, parsed.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    pub retry_on: RetryOn,
    pub num_retries: u32,
    pub per_try_timeout: Option<Duration>,
    pub per_try_idle_timeout: Option<Duration>,
    pub retriable_status_codes: Vec<StatusCode>,
    pub retriable_headers: Vec<Arc<HeaderMatcher>>,
    pub retriable_request_headers: Vec<Arc<HeaderMatcher>>,
    /// `previous_hosts` predicate: do not pick a host that was tried.
    pub avoid_previous_hosts: bool,
    pub omit_canary_hosts: bool,
    pub host_selection_max_attempts: u32,
    /// `previous_priorities`: number of attempts after which the priority load is recomputed.
    pub previous_priorities_update: Option<u32>,
    /// Default 25 ms.
    pub back_off_base: Duration,
    /// Default 10 times the base.
    pub back_off_max: Duration,
    pub rate_limited_back_off: Option<RateLimitedBackOff>,
}

#[derive(Debug, Clone)]
pub struct RateLimitedBackOff {
    /// (header, value is a Unix timestamp rather than seconds).
    pub reset_headers: Vec<(HeaderName, bool)>,
    pub max_interval: Duration,
}

/// The conditions of `retry_on` and `retry_grpc_on`, a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryOn(pub u32);

#[derive(Debug)]
pub struct Redirect {
    pub https: bool,
    pub scheme: Option<Box<str>>,
    pub host: Option<Box<str>>,
    pub port: Option<u16>,
    pub path: RedirectPath,
    pub strip_query: bool,
    pub code: StatusCode,
}

#[derive(Debug)]
pub enum RedirectPath {
    Keep,
    Path(Box<str>),
    Prefix(Box<str>),
    Regex(RegexRewrite),
}

#[derive(Debug)]
pub struct DirectResponse {
    pub status: StatusCode,
    pub body: Bytes,
    /// Makes the body instead; `%LOCAL_REPLY_BODY%` is `body`.
    pub format: Option<crate::http::ReplyBody>,
}
