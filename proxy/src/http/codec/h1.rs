//! HTTP/1.0 and HTTP/1.1, both sides.
//!
//! Strictness is Envoy 1.40's, byte for byte where it was recorded (`tests/verdicts.rs`), and stricter in a few places where
//! Envoy's leniency lets two proxies disagree on where a message ends; each such place says so.
//!
//! A connection holds no buffer while it is idle: bytes are read into the worker's scratch and copied out once, a head is one
//! `Bytes` of which the header values are slices, and what is written waits in a buffer borrowed from the worker's pool.

mod body;
mod chunked;
mod client;
mod encode;
mod fields;
mod fold;
mod hop;
mod input;
mod name;
mod output;
mod request;
mod response;
mod server;
mod target;
#[cfg(test)]
mod tests;
mod tunnel;

use http::HeaderValue;

use super::limits;
use crate::{cluster::HeaderCase, http::UnderscoreAction};

pub use client::ClientConnection;
pub use server::ServerConnection;
pub use tunnel::Tunnel;

/// Lets go of what the calling thread keeps for its next messages.
pub fn forget() {
    name::forget();
    output::forget();
}

/// Bytes of one exchange on the wire, framing and all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WireBytes {
    pub received: u64,
    pub sent: u64,
}

/// What a listener's HTTP connection manager says of HTTP/1. Defaults are Envoy's.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// `max_request_headers_kb`: the head, request line and final empty line included; and each trailer block.
    pub max_headers_kb: u32,
    /// `common_http_protocol_options.max_headers_count`, `Host` included.
    pub max_headers_count: u32,
    /// Without it anything but HTTP/1.1 is answered with 426.
    pub accept_http_10: bool,
    /// The authority of HTTP/1.0 requests without `Host`.
    pub default_host_for_http_10: Option<HeaderValue>,
    /// Whether `GET http://host/path` sets scheme, authority and path; off, it stays the path (and Envoy answers 404).
    pub allow_absolute_url: bool,
    /// `header_key_format`. With `Preserve`, heads that are received keep their spelling; an encoder that is given such a head
    /// writes it so, whatever its own format.
    pub header_case: HeaderCase,
    /// Off, trailers are checked and dropped, in both directions.
    pub enable_trailers: bool,
    /// Takes `Content-Length` beside `Transfer-Encoding: chunked` and ignores it; off, answers 400.
    pub allow_chunked_length: bool,
    pub headers_with_underscores: UnderscoreAction,
    /// Of requests in origin form: `https` where the listener terminates TLS.
    pub scheme: HeaderValue,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            max_headers_kb: limits::MAX_HEADERS_KB,
            max_headers_count: limits::MAX_HEADERS_COUNT,
            accept_http_10: false,
            default_host_for_http_10: None,
            allow_absolute_url: true,
            header_case: HeaderCase::Lower,
            enable_trailers: false,
            allow_chunked_length: false,
            headers_with_underscores: UnderscoreAction::Allow,
            scheme: HeaderValue::from_static("http"),
        }
    }
}

/// What a cluster says of HTTP/1. Defaults are Envoy's.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// `max_response_headers_kb`.
    pub max_headers_kb: u32,
    pub max_headers_count: u32,
    pub header_case: HeaderCase,
    pub enable_trailers: bool,
    pub allow_chunked_length: bool,
    /// Writes the target in absolute form (for upstreams that are forward proxies).
    pub send_fully_qualified_url: bool,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            max_headers_kb: limits::MAX_RESPONSE_HEADERS_KB,
            max_headers_count: limits::MAX_HEADERS_COUNT,
            header_case: HeaderCase::Lower,
            enable_trailers: false,
            allow_chunked_length: false,
            send_fully_qualified_url: false,
        }
    }
}
