//! Clusters: what an upstream service is, which of its endpoints takes a request, and when it must not take more.
//!
//! A [`Cluster`] is config and stands in the snapshot with its endpoints; its [`ClusterState`] (breakers, statistics) is keyed
//! by name and outlives every update. An [`Endpoint`] is config of one host; its [`EndpointState`] outlives EDS updates.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, ArcSwapOption};

pub mod balance;
mod breaker;
pub mod dns;
pub mod endpoint_set;
#[cfg(test)]
pub(crate) mod from_json;
mod keepalive;
pub mod original;
pub mod outlier;

pub use breaker::BreakerLimits;

use crate::{
    address::Address,
    istio::exchange::MetadataExchange,
    listener::SocketOption,
    metadata::{self, Metadata},
    stats,
    tls::{UpstreamTls, UpstreamTransport},
};

/// `envoy.config.cluster.v3.Cluster`, parsed.
#[derive(Debug)]
pub struct Cluster {
    pub name: Arc<str>,
    /// `alt_stat_name`, or the name: `cluster.<this>.` in statistics.
    pub stat_name: Arc<str>,
    pub discovery: Discovery,
    pub lb: LbPolicy,
    pub lb_config: LbConfig,
    /// Envoy's default: 5 s.
    pub connect_timeout: Duration,
    pub protocol: UpstreamProtocol,
    pub transport: TransportSockets,
    pub outlier: Option<OutlierDetection>,
    /// Idle connections close after this; `None`: never. Envoy's default: 1 h.
    pub idle_timeout: Option<Duration>,
    /// The same for connections of TCP proxies, from `TcpProtocolOptions`.
    pub tcp_idle_timeout: Option<Duration>,
    pub max_connection_duration: Option<Duration>,
    /// Of one stream; a route's own limit goes before it.
    pub max_stream_duration: Option<Duration>,
    /// 0: no limit.
    pub max_requests_per_connection: u32,
    pub max_response_headers_kb: u32,
    pub max_headers_count: u32,
    /// Bytes. Envoy's default: 1 MiB.
    pub per_connection_buffer_limit: u32,
    /// Connections of TCP proxies end when their host is ejected (`close_connections_on_host_health_failure`).
    pub close_on_host_failure: bool,
    pub bind: Option<BindConfig>,
    pub tcp_keepalive: Option<TcpKeepalive>,
    pub socket_options: Vec<SocketOption>,
    /// Send the request's host as SNI (`auto_sni`), and verify it (`auto_san_validation`).
    pub auto_sni: bool,
    pub auto_san_validation: bool,
    /// `override_auto_sni_header`: take the SNI from this header of the request instead of its host.
    pub auto_sni_header: Option<http::HeaderName>,
    /// `metadata.filter_metadata`.
    pub metadata: Option<Arc<Metadata>>,
    /// Istio's upstream network filter: its connections begin with an exchange of metadata.
    pub metadata_exchange: Option<MetadataExchange>,
    /// Hash of the received resource: an equal update is a no-op.
    pub hash: u64,
    /// Of this version alone: the one before serves its own until this one is warm.
    pub endpoints: ArcSwap<EndpointSet>,
    /// Where connections went, in place of `endpoints` for an ORIGINAL_DST cluster.
    pub originals: original::OriginalHosts,
    /// The version before, whose hosts' state this one takes over.
    pub replaces: Weak<Self>,
    pub state: Arc<ClusterState>,
}

/// Where endpoints come from.
#[derive(Debug, Clone)]
pub enum Discovery {
    /// Endpoints stand in the cluster.
    Static,
    Eds {
        service_name: Arc<str>,
        /// The config gives the name; else it is the cluster's.
        named: bool,
    },
    StrictDns(DnsConfig),
    LogicalDns(DnsConfig),
    OriginalDst {
        use_http_header: Option<http::HeaderName>,
        port_override: Option<u16>,
        cleanup_interval: Duration,
    },
}

#[derive(Debug, Clone)]
pub struct DnsConfig {
    /// Envoy's default: 5 s.
    pub refresh_rate: Duration,
    pub respect_ttl: bool,
    pub failure_refresh: Option<(Duration, Duration)>,
    pub jitter: Duration,
    pub family: DnsFamily,
    /// Names to resolve, by locality and priority, as configured in `load_assignment`.
    pub targets: Arc<[DnsTarget]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsFamily {
    Auto,
    V4Only,
    V6Only,
    V4Preferred,
    All,
}

/// One name of a DNS cluster with the endpoint attributes that its addresses inherit.
#[derive(Debug, Clone)]
pub struct DnsTarget {
    pub host: Box<str>,
    pub port: u16,
    pub priority: u32,
    pub locality: Arc<Locality>,
    /// 0: none given.
    pub locality_weight: u32,
    pub template: EndpointConfig,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LbPolicy {
    RoundRobin,
    /// Power of `choices` choices (default 2); `active_request_bias` applies where weights differ.
    LeastRequest {
        choices: u32,
        active_request_bias: f64,
    },
    Random,
    RingHash {
        minimum_size: u64,
        maximum_size: u64,
        murmur: bool,
    },
    Maglev {
        table_size: u64,
    },
    /// The cluster itself tells the host (ORIGINAL_DST).
    ClusterProvided,
}

#[derive(Debug, Clone)]
pub struct LbConfig {
    /// Percent of healthy hosts below which health is ignored. Envoy's default: 50.
    pub healthy_panic_threshold: f64,
    pub fail_traffic_on_panic: bool,
    pub locality_weighted: bool,
    pub close_connections_on_host_set_change: bool,
    pub use_hostname_for_hashing: bool,
    pub ignore_new_hosts_until_first_hc: bool,
}

#[derive(Debug, Clone)]
pub enum UpstreamProtocol {
    Http1(Http1Options),
    Http2(Http2Options),
    /// As the downstream connection speaks.
    UseDownstream {
        http1: Http1Options,
        http2: Http2Options,
    },
    /// ALPN decides (`auto_config`).
    Auto {
        http1: Http1Options,
        http2: Http2Options,
    },
}

#[derive(Debug, Clone, Default)]
pub struct Http1Options {
    pub header_case: HeaderCase,
    pub enable_trailers: bool,
    pub allow_chunked_length: bool,
    /// Requests carry the whole URL, as to a forward proxy.
    pub send_fully_qualified_url: bool,
}

/// How header names are written in HTTP/1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderCase {
    #[default]
    Lower,
    Proper,
    Preserve,
}

#[derive(Debug, Clone)]
pub struct Http2Options {
    pub max_concurrent_streams: u32,
    /// Bytes.
    pub initial_stream_window: u32,
    pub initial_connection_window: u32,
    /// Bytes.
    pub hpack_table_size: u32,
    pub floods: crate::http::codec::h2::FloodLimits,
    pub allow_connect: bool,
    pub keepalive: Option<Http2Keepalive>,
}

#[derive(Debug, Clone, Copy)]
pub struct Http2Keepalive {
    pub interval: Option<Duration>,
    pub timeout: Duration,
    pub interval_jitter_percent: f64,
    pub connection_idle_interval: Option<Duration>,
}

/// `transport_socket_matches` in order, then `transport_socket`.
#[derive(Debug, Clone)]
pub struct TransportSockets {
    pub matches: Vec<TransportSocketMatch>,
    pub default: UpstreamTransport,
}

impl TransportSockets {
    /// Whether none of `matches` took the endpoint.
    pub fn is_default(&self, endpoint: &Endpoint) -> bool {
        match (&self.default, &endpoint.transport) {
            (UpstreamTransport::Raw, UpstreamTransport::Raw) => true,
            (UpstreamTransport::Tls(default), UpstreamTransport::Tls(own)) => Arc::ptr_eq(default, own),
            _ => false,
        }
    }

    /// The TLS contexts among them.
    pub fn tls_contexts(&self) -> impl Iterator<Item = &Arc<UpstreamTls>> {
        let transports = self.matches.iter().map(|m| &m.transport).chain([&self.default]);
        transports.filter_map(|transport| match transport {
            UpstreamTransport::Tls(tls) => Some(tls),
            UpstreamTransport::Raw => None,
        })
    }
}

#[derive(Debug, Clone)]
pub struct TransportSocketMatch {
    pub name: Arc<str>,
    /// All must stand in the endpoint's `envoy.transport_socket_match` metadata; empty: matches all.
    pub criteria: metadata::Object,
    pub transport: UpstreamTransport,
}

#[derive(Debug, Clone)]
pub struct BindConfig {
    pub source: std::net::SocketAddr,
    pub extra_sources: Vec<std::net::IpAddr>,
    pub freebind: Option<bool>,
    pub socket_options: Vec<SocketOption>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TcpKeepalive {
    pub probes: Option<u32>,
    pub time: Option<Duration>,
    pub interval: Option<Duration>,
}

/// `envoy.config.cluster.v3.OutlierDetection`, defaults filled in as Envoy's.
#[derive(Debug, Clone)]
pub struct OutlierDetection {
    pub consecutive_5xx: u32,
    pub enforcing_consecutive_5xx: u32,
    pub consecutive_gateway_failure: u32,
    pub enforcing_consecutive_gateway_failure: u32,
    pub consecutive_local_origin_failure: u32,
    pub enforcing_consecutive_local_origin_failure: u32,
    pub split_external_local_origin_errors: bool,
    pub interval: Duration,
    pub base_ejection_time: Duration,
    pub max_ejection_time: Duration,
    pub max_ejection_time_jitter: Duration,
    pub max_ejection_percent: u32,
    pub always_eject_one_host: bool,
    pub enforcing_success_rate: u32,
    pub enforcing_local_origin_success_rate: u32,
    pub success_rate_minimum_hosts: u32,
    pub success_rate_request_volume: u32,
    /// Thousandths.
    pub success_rate_stdev_factor: u32,
    pub enforcing_failure_percentage: u32,
    pub enforcing_failure_percentage_local_origin: u32,
    pub failure_percentage_threshold: u32,
    pub failure_percentage_minimum_hosts: u32,
    pub failure_percentage_request_volume: u32,
    pub successful_active_health_check_uneject_host: bool,
    /// `cluster.<name>.outlier_detection.`
    pub stats: stats::Group<stats::OutlierDetectionStat>,
}

/// Routing priority: selects the circuit breaker's thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Priority {
    #[default]
    Default,
    High,
}

/// What outlives a cluster's config. One per name, made when the cluster is first known.
#[derive(Debug)]
pub struct ClusterState {
    pub name: Arc<str>,
    pub stats: stats::Group<stats::ClusterStat>,
    pub breakers: [Breaker; 2],
    /// The newest [`EndpointSet::version`].
    pub endpoint_version: AtomicU64,
    /// Bumped by every change of health or ejection, so that workers rebuild what they derived from `endpoints`.
    pub health_generation: AtomicU64,
    /// Hosts ejected now, across workers.
    pub ejected: AtomicU32,
    /// When success rates were judged last; 0: never.
    pub outlier_interval_ms: AtomicU64,
    /// Of consistent hashing, shared by the workers.
    pub tables: ArcSwapOption<balance::Tables>,
    pub added_via_api: bool,
}

/// Counts and limits of one priority, exact across workers. Limits are stored here so that an update applies at once.
#[derive(Debug)]
pub struct Breaker {
    pub connections: Limit,
    pub pending: Limit,
    pub requests: Limit,
    pub retries: Limit,
    pub connection_pools: Limit,
    /// `retry_budget`: (budget percent in hundredths, minimum retry concurrency); replaces the `retries` limit.
    pub retry_budget: ArcSwapOption<RetryBudget>,
    /// The `remaining_*` gauges, where the config asks for them.
    pub remaining: ArcSwapOption<stats::Group<stats::RemainingStat>>,
}

#[derive(Debug, Clone, Copy)]
pub struct RetryBudget {
    pub percent: f64,
    pub min_retry_concurrency: u32,
}

/// A count with a ceiling.
#[derive(Debug)]
pub struct Limit {
    pub now: AtomicU32,
    pub max: AtomicU32,
}

/// All endpoints of a cluster at one moment.
#[derive(Debug, Default)]
pub struct EndpointSet {
    /// Grows with every change, over all versions of the cluster: workers rebuild balancers when it differs. 0: none yet.
    pub version: u64,
    /// By priority, 0 first.
    pub priorities: Vec<PrioritySet>,
    /// Percent. Envoy's default: 140.
    pub overprovisioning_factor: u32,
    /// `ClusterLoadAssignment.policy.drop_overloads`, in millionths, by category.
    pub drop_overloads: Vec<(Box<str>, u32)>,
}

#[derive(Debug, Default)]
pub struct PrioritySet {
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Groups of `endpoints` by locality, with the locality's weight (0: none given).
    pub localities: Vec<LocalityEndpoints>,
}

#[derive(Debug)]
pub struct LocalityEndpoints {
    pub locality: Arc<Locality>,
    pub weight: u32,
    pub endpoints: Vec<Arc<Endpoint>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Locality {
    pub region: Box<str>,
    pub zone: Box<str>,
    pub sub_zone: Box<str>,
}

/// One host of a cluster.
#[derive(Debug)]
pub struct Endpoint {
    pub address: Address,
    pub locality: Arc<Locality>,
    pub priority: u32,
    pub config: EndpointConfig,
    /// Which transport socket its metadata chose.
    pub transport: UpstreamTransport,
    pub state: Arc<EndpointState>,
}

/// What config says of an endpoint besides its address.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// For `auto_host_rewrite`, `/clusters` and hashing; empty: none.
    pub hostname: Arc<str>,
    /// At least 1.
    pub weight: u32,
    pub health: EdsHealth,
    pub metadata: Option<Arc<Metadata>>,
    pub canary: bool,
    /// Further addresses of the same host (dual stack), tried in order.
    pub additional_addresses: Vec<Address>,
}

/// `core.v3.HealthStatus`, as the control plane says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdsHealth {
    Unknown,
    Healthy,
    Unhealthy,
    Draining,
    Timeout,
    Degraded,
}

/// What is learned about a host; carried over by address when endpoints change.
#[derive(Debug, Default)]
pub struct EndpointState {
    pub active_requests: AtomicU32,
    pub active_connections: AtomicU32,
    pub ejected: AtomicBool,
    pub failed_active_health_check: AtomicBool,
    pub removed: AtomicBool,
    pub counters: EndpointCounters,
    pub outlier: OutlierCounters,
}

/// `/clusters` shows these for each host.
#[derive(Debug, Default)]
pub struct EndpointCounters {
    pub cx_total: AtomicU64,
    pub cx_connect_fail: AtomicU64,
    pub rq_total: AtomicU64,
    pub rq_success: AtomicU64,
    pub rq_error: AtomicU64,
    pub rq_timeout: AtomicU64,
}

#[derive(Debug, Default)]
pub struct OutlierCounters {
    pub consecutive_5xx: AtomicU32,
    pub consecutive_gateway_failure: AtomicU32,
    pub consecutive_local_origin_failure: AtomicU32,
    pub interval_total: AtomicU32,
    pub interval_success: AtomicU32,
    /// `/clusters` shows it.
    pub ejections: AtomicU32,
    /// Grows with each ejection, shrinks with each interval without one: the next lasts this many times the base.
    pub ejections_in_a_row: AtomicU32,
    pub ejected_until_ms: AtomicU64,
    /// Milliseconds since the process started; 0: never ejected.
    pub last_ejection_ms: AtomicU64,
    pub last_unejection_ms: AtomicU64,
}

impl Cluster {
    /// Whether a request is refused by `drop_overloads`, for which `random` decides; `Some(true)`: every request is.
    pub fn drops(&self, random: u64) -> Option<bool> {
        const MILLION: u64 = 1_000_000;
        let set = self.endpoints.load();
        let dropping = set
            .drop_overloads
            .iter()
            .find(|(_, millionths)| random % MILLION < u64::from(*millionths));
        dropping.map(|(_, millionths)| u64::from(*millionths) >= MILLION)
    }
}
