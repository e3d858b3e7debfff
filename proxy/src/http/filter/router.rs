//! The router: the last filter. Picks route, cluster and endpoint, and drives the upstream exchange.

/// `envoy.extensions.filters.http.router.v3.Router`, parsed.
#[derive(Debug, Clone, Default)]
pub struct Router {
    /// Do not add `x-envoy-*` headers to requests and responses.
    pub suppress_envoy_headers: bool,
    pub respect_expected_rq_timeout: bool,
    pub suppress_grpc_request_failure_code_stats: bool,
    /// Count the upstream's response also where the proxy answered.
    pub dynamic_stats: bool,
    /// Names of headers that must be valid: an invalid `x-envoy-*` value is answered 400.
    pub strict_check_headers: Vec<http::HeaderName>,
}
