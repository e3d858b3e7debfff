//! HTTP: a downstream stream from its codec through the filters to the router and back.
//!
//! `connection` owns a downstream connection and its codec, `stream` one request, `filter` what runs on it; the last
//! filter is the router, which picks route, cluster and endpoint and drives the upstream exchange.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::HeaderValue;
use ipnet::IpNet;

pub mod admission;
pub mod cached_route;
pub mod codec;
pub mod connection;
pub mod decimal;
pub mod filter;
pub mod local_reply;
pub mod message;
pub mod response;
pub mod stream;
pub mod tracing;

use crate::{
    access_log::AccessLog,
    cluster::{HeaderCase, Http2Options},
    route::{RouteConfiguration, scope::ScopedRoutes},
    stats,
    trace::Tracing,
};

/// `HttpConnectionManager`, parsed.
#[derive(Debug)]
pub struct HttpConnectionManager {
    /// `http.<this>.` in statistics.
    pub stat_prefix: Arc<str>,
    pub codec: CodecType,
    pub routes: RouteSource,
    pub filters: Vec<filter::HttpFilter>,
    pub access_log: Vec<AccessLog>,
    /// Send an access-log line when the request arrives, not only at its end.
    pub access_log_on_new_request: bool,
    pub http1: Http1Server,
    pub http2: Http2Options,
    /// KiB.
    pub max_request_headers_kb: u32,
    pub max_headers_count: u32,
    pub headers_with_underscores: UnderscoreAction,
    /// `None`: no limit. Envoy's default: 1 h.
    pub idle_timeout: Option<Duration>,
    pub max_connection_duration: Option<Duration>,
    /// 0: no limit.
    pub max_requests_per_connection: u32,
    pub max_stream_duration: Option<Duration>,
    /// Envoy's default: 5 min; `None`: none.
    pub stream_idle_timeout: Option<Duration>,
    pub request_timeout: Option<Duration>,
    pub request_headers_timeout: Option<Duration>,
    /// Grace between the first GOAWAY and the last. Envoy's default: 5 s.
    pub drain_timeout: Duration,
    /// After a response that closes the connection, wait this long for the peer to close. Envoy's default: 1 s.
    pub delayed_close_timeout: Option<Duration>,
    pub server_name: HeaderValue,
    pub server_header: ServerHeader,
    pub use_remote_address: bool,
    pub xff_num_trusted_hops: u32,
    pub skip_xff_append: bool,
    pub internal_address: InternalAddress,
    pub via: Option<HeaderValue>,
    pub generate_request_id: bool,
    pub preserve_external_request_id: bool,
    pub always_set_request_id_in_response: bool,
    pub request_id: RequestId,
    pub forward_client_cert: ForwardClientCert,
    pub set_client_cert: SetClientCert,
    pub proxy_100_continue: bool,
    pub normalize_path: bool,
    pub merge_slashes: bool,
    pub escaped_slashes: EscapedSlashes,
    pub strip_matching_host_port: bool,
    pub strip_any_host_port: bool,
    pub strip_trailing_host_dot: bool,
    /// (upgrade type lower-case, enabled).
    pub upgrades: Vec<(Box<str>, bool)>,
    pub represent_ipv4_remote_address_as_ipv4_mapped_ipv6: bool,
    pub append_x_forwarded_port: bool,
    pub scheme_to_overwrite: Option<HeaderValue>,
    pub scheme_match_upstream: bool,
    /// HTTP/1 requests that are not HTTP end the stream, not the connection.
    pub stream_error_on_invalid_http_message: bool,
    pub local_reply: LocalReply,
    pub stats: stats::Group<stats::HttpStat>,
    /// `listener.<address>.http.<stat_prefix>.`, where a listener holds it.
    pub listener_stats: Option<stats::Group<stats::ListenerHttpStat>>,
    pub tracing: Option<Tracing>,
    pub suppress_envoy_headers: bool,
    pub hash: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecType {
    /// By ALPN, else by the first bytes.
    Auto,
    Http1,
    Http2,
}

#[derive(Debug)]
pub enum RouteSource {
    Inline(Arc<RouteConfiguration>),
    /// By name, from the snapshot.
    Rds(Arc<str>),
    /// By what the request says.
    Scoped(Box<ScopedRoutes>),
}

#[derive(Debug, Clone)]
pub struct Http1Server {
    pub accept_http_10: bool,
    pub default_host_for_http_10: Option<HeaderValue>,
    pub header_case: HeaderCase,
    pub enable_trailers: bool,
    pub allow_chunked_length: bool,
    pub allow_absolute_url: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnderscoreAction {
    Allow,
    RejectRequest,
    DropHeader,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerHeader {
    Overwrite,
    AppendIfAbsent,
    PassThrough,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardClientCert {
    Sanitize,
    ForwardOnly,
    AppendForward,
    SanitizeSet,
    AlwaysForwardOnly,
}

/// `UuidRequestIdConfig`: what an `x-request-id` says besides being unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    /// Write why the request is traced into the id.
    pub pack_trace_reason: bool,
    /// Decide by the id whether the request is traced.
    pub use_for_trace_sampling: bool,
}

impl Default for RequestId {
    fn default() -> Self {
        Self {
            pack_trace_reason: true,
            use_for_trace_sampling: true,
        }
    }
}

/// `set_current_client_cert_details`.
#[derive(Debug, Clone, Copy, Default)]
pub struct SetClientCert {
    pub subject: bool,
    pub cert: bool,
    pub chain: bool,
    pub dns: bool,
    pub uri: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EscapedSlashes {
    KeepUnchanged,
    RejectRequest,
    UnescapeAndRedirect,
    UnescapeAndForward,
}

/// Which peers count as internal. Envoy's default: RFC 1918 and loopback... none since 1.33 unless configured.
#[derive(Debug, Clone, Default)]
pub struct InternalAddress {
    pub unix_sockets: bool,
    pub cidr_ranges: Vec<IpNet>,
}

impl InternalAddress {
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.cidr_ranges.iter().any(|range| range.contains(&ip))
    }
}

/// `local_reply_config`, parsed.
#[derive(Debug, Default)]
pub struct LocalReply {
    pub mappers: Vec<LocalReplyMapper>,
    pub body: Option<ReplyBody>,
}

impl LocalReply {
    /// Replies stay as they are.
    pub fn is_plain(&self) -> bool {
        self.mappers.is_empty() && self.body.is_none()
    }
}

#[derive(Debug)]
pub struct LocalReplyMapper {
    pub filter: crate::access_log::Filter,
    pub status: Option<http::StatusCode>,
    pub body: Option<String>,
    pub format: Option<ReplyBody>,
    pub headers: Vec<crate::route::header_edit::HeaderAddition>,
}

#[derive(Debug)]
pub struct ReplyBody {
    pub format: crate::access_log::LogFormat,
    pub content_type: Option<HeaderValue>,
}
