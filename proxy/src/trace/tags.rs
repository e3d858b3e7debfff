//! The tags that every span has, with Envoy's names.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use xds_client::grpc::{GRPC_MESSAGE, GRPC_STATUS};

use super::span::{Span, Tags};
use crate::{
    address::Address,
    failure::{ResetReason, ResponseFlags},
    format::Facts,
    http::{
        local_reply::is_grpc,
        message::{Protocol, RequestHead},
    },
    stream_info::{StreamInfo, Times},
    worker::Node,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const CLIENT_TRACE_ID: HeaderName = HeaderName::from_static("x-client-trace-id");
const DOWNSTREAM_CLUSTER: HeaderName = HeaderName::from_static("x-envoy-downstream-service-cluster");
const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Tags that a downstream span has without any of the config's.
pub const TYPICAL: usize = 20;

/// Where the proxy runs.
pub fn local(tags: &mut Tags, node: &Node) {
    tags.set("node_id", &*node.id);
    tags.set("zone", &*node.zone);
}

/// A request as the client sent it and what came of it. `max_path`: of the path in the URL.
pub fn downstream(span: &mut Span, facts: &Facts<'_>, max_path: usize, verbose: bool) {
    let (tags, info) = (&mut span.tags, facts.info);
    if let Some(request) = facts.request {
        of_request(tags, request, info, max_path);
    }
    tags.set("request_size", info.bytes.received.to_string());
    tags.set("response_size", info.bytes.sent.to_string());
    common(tags, info);
    let code = info.response_code.unwrap_or(0);
    outcome(tags, code, info.flags);
    if let Some(response) = facts.response {
        grpc_status(tags, &response.headers);
    }
    if let Some(trailers) = facts.response_trailers {
        grpc_status(tags, trailers);
    }
    error_of(tags, code);
    if verbose {
        moments(span, &info.times, true);
    }
}

fn of_request(tags: &mut Tags, request: &RequestHead, info: &StreamInfo, max_path: usize) {
    let header = |name: &HeaderName| request.headers.get(name).map(text);
    if let Some(id) = header(&REQUEST_ID).filter(|id| !id.is_empty()) {
        tags.set("guid:x-request-id", id);
    }
    tags.set("http.url", url(request, max_path));
    tags.set("http.method", request.method.as_str());
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    tags.set("downstream_cluster", or_none(header(&DOWNSTREAM_CLUSTER)));
    tags.set("user_agent", or_none(header(&header::USER_AGENT)));
    tags.set("http.protocol", info.protocol.map_or("-", Protocol::as_str));
    tags.set("peer.address", host(&info.connection.remote_address));
    if let Some(id) = header(&CLIENT_TRACE_ID) {
        tags.set("guid:x-client-trace-id", id);
    }
    if is_grpc(request) {
        tags.set("grpc.path", request.path_str());
        tags.set("grpc.authority", request.authority_str());
        tags.set("grpc.content_type", header(&header::CONTENT_TYPE).unwrap_or_default());
        if let Some(timeout) = header(&GRPC_TIMEOUT) {
            tags.set("grpc.timeout", timeout);
        }
    }
}

/// As the client asked for it, whatever the route made of it.
fn url(request: &RequestHead, max_path: usize) -> String {
    let original = request.headers.get(ORIGINAL_PATH);
    let path = String::from_utf8_lossy(original.unwrap_or(&request.path).as_bytes());
    let cut = (0..=max_path.min(path.len()))
        .rev()
        .find(|at| path.is_char_boundary(*at));
    let path = &path[..cut.unwrap_or(0)];
    if request.path.is_empty() {
        return String::new();
    }
    format!("{}://{}{path}", text(&request.scheme), request.authority_str())
}

/// Of both sides of the proxy.
fn common(tags: &mut Tags, info: &StreamInfo) {
    tags.set("component", "proxy");
    if let Some(cluster) = &info.upstream.cluster {
        tags.set("upstream_cluster", &*cluster.name);
        tags.set("upstream_cluster.name", &*cluster.stat_name);
    }
}

fn outcome(tags: &mut Tags, code: u16, flags: ResponseFlags) {
    tags.set("http.status_code", code.to_string());
    tags.set("response_flags", flags.to_string());
}

fn error_of(tags: &mut Tags, code: u16) {
    if code == 0 || code >= 500 {
        tags.set("error", "true");
    }
}

/// How an attempt at an upstream ended.
#[derive(Debug, Default)]
pub struct Attempt {
    /// `None`: nothing was answered.
    pub code: Option<u16>,
    /// Given up by the proxy, for a better one or because nobody waits any more.
    pub canceled: bool,
    /// What broke it.
    pub reset: Option<ResetReason>,
    /// A connection was there for it.
    pub connected: bool,
    /// Of this attempt alone.
    pub flags: ResponseFlags,
}

/// An attempt at an upstream. Tags that it began with stand before.
pub fn upstream(span: &mut Span, attempt: &Attempt, facts: &Facts<'_>, verbose: bool) {
    let (tags, info) = (&mut span.tags, facts.info);
    if let Some(reason) = attempt.reset {
        tags.set("error", "true");
        tags.set("error.reason", reason.words());
    }
    if attempt.canceled {
        tags.set("canceled", "true");
    }
    let protocol = info.upstream.protocol.filter(|_| attempt.connected);
    tags.set("http.protocol", protocol.map_or("-", Protocol::as_str));
    if let Some(endpoint) = &info.upstream.endpoint {
        let address = endpoint.address.to_string();
        tags.set("upstream_address", address.clone());
        tags.set("peer.address", address);
    }
    common(tags, info);
    let code = attempt.code.unwrap_or(0);
    outcome(tags, code, attempt.flags);
    for fields in [facts.response.map(|r| &r.headers), facts.response_trailers]
        .into_iter()
        .flatten()
    {
        grpc_status(tags, fields);
    }
    error_of(tags, code);
    if verbose {
        let times = Times {
            // What the last attempt of a stream read is told of it alone.
            last_upstream_rx: info.times.last_upstream_rx.filter(|_| !attempt.canceled),
            ..info.times
        };
        moments(span, &times, false);
    }
}

fn grpc_status(tags: &mut Tags, fields: &HeaderMap) {
    /// UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
    const ERRORS: [&str; 7] = ["2", "4", "8", "12", "13", "14", "15"];
    let Some(status) = fields.get(GRPC_STATUS).map(text) else {
        return;
    };
    if ERRORS.contains(&&*status) {
        tags.set("error", "true");
    }
    tags.set("grpc.status_code", status);
    if let Some(message) = fields.get(GRPC_MESSAGE) {
        tags.set("grpc.message", text(message));
    }
}

fn moments(span: &mut Span, times: &Times, downstream: bool) {
    if downstream {
        span.event(times.last_downstream_rx, "last_downstream_rx_byte_received");
    }
    span.event(times.first_upstream_tx, "first_upstream_tx_byte_sent");
    span.event(times.last_upstream_tx, "last_upstream_tx_byte_sent");
    span.event(times.first_upstream_rx, "first_upstream_rx_byte_received");
    span.event(times.last_upstream_rx, "last_upstream_rx_byte_received");
    if downstream {
        span.event(times.first_downstream_tx, "first_downstream_tx_byte_sent");
        span.event(times.last_downstream_tx, "last_downstream_tx_byte_sent");
    }
}

/// Without the port.
fn host(address: &Address) -> String {
    match address.ip() {
        Some(ip) => ip.ip().to_string(),
        None => address.to_string(),
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
