//! Who the client is: `x-forwarded-for`, `-proto`, `-port`, and which `x-envoy-*` headers it may send.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::{
    address::Address,
    http::{HttpConnectionManager, message::RequestHead},
    stream_info::StreamInfo,
};

const XFF: HeaderName = HeaderName::from_static("x-forwarded-for");
const XFP: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const EXTERNAL_ADDRESS: HeaderName = HeaderName::from_static("x-envoy-external-address");
const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");

/// Headers that only internal clients may set; Envoy's docs, "HTTP header sanitizing" (CVE-2024-45806).
const INTERNAL_ONLY: [HeaderName; 15] = [
    HeaderName::from_static("x-envoy-retriable-status-codes"),
    HeaderName::from_static("x-envoy-retriable-header-names"),
    HeaderName::from_static("x-envoy-retry-on"),
    HeaderName::from_static("x-envoy-retry-grpc-on"),
    HeaderName::from_static("x-envoy-max-retries"),
    HeaderName::from_static("x-envoy-upstream-alt-stat-name"),
    HeaderName::from_static("x-envoy-upstream-rq-timeout-alt-response"),
    HeaderName::from_static("x-envoy-upstream-rq-timeout-ms"),
    HeaderName::from_static("x-envoy-upstream-rq-per-try-timeout-ms"),
    HeaderName::from_static("x-envoy-expected-rq-timeout-ms"),
    HeaderName::from_static("x-envoy-force-trace"),
    HeaderName::from_static("x-envoy-ip-tags"),
    HeaderName::from_static("x-envoy-original-url"),
    HeaderName::from_static("x-envoy-hedge-on-per-try-timeout"),
    HeaderName::from_static("x-envoy-upstream-stream-duration-ms"),
];

/// Headers that no client at the edge may set.
const EDGE_ONLY: [HeaderName; 4] = [
    HeaderName::from_static("x-envoy-original-path"),
    HeaderName::from_static("x-envoy-decorator-operation"),
    HeaderName::from_static("x-envoy-downstream-service-cluster"),
    HeaderName::from_static("x-envoy-downstream-service-node"),
];

/// Sets the client's address in `info` and the forwarding headers; whether this is an edge request (external, and the
/// proxy is the first hop). `own_address`: this machine's, told instead of a loopback client's.
pub(super) fn identify(
    manager: &HttpConnectionManager,
    request: &mut RequestHead,
    info: &mut StreamInfo,
    own_address: Option<IpAddr>,
) -> bool {
    let told = join(request, &XFF);
    let connection = info.connection.clone();
    let peer = connection.remote_address.ip().map(|a| a.ip());
    let scheme = if connection.tls.is_some() { "https" } else { "http" };
    let trusted = manager.xff_num_trusted_hops as usize;
    let mut client = None;
    let single;
    if manager.use_remote_address {
        single = !told;
        if told && trusted > 0 {
            client = nth_from_right(request, trusted - 1).map(|(ip, _)| ip);
        }
        if !manager.skip_xff_append {
            // A client on this machine is known to others by the machine's own address.
            let known_as = |peer: IpAddr| {
                if peer.is_loopback() {
                    own_address.unwrap_or(peer)
                } else {
                    peer
                }
            };
            if let Some(peer) = peer {
                append(request, known_as(peer));
            }
        }
    } else {
        let found = if told { nth_from_right(request, trusted) } else { None };
        single = found.is_some_and(|(_, single)| single);
        client = found.map(|(ip, _)| ip);
    }
    if let Some(ip) = client {
        info.remote_address = Address::Ip(SocketAddr::new(ip, 0));
    }
    let is_first = manager.use_remote_address && trusted == 0;
    set_scheme(request, scheme, is_first, manager.scheme_to_overwrite.as_ref());
    if manager.append_x_forwarded_port && !request.headers.contains_key(X_FORWARDED_PORT) {
        request
            .headers
            .insert(X_FORWARDED_PORT, HeaderValue::from(connection.local_address.port()));
    }
    let internal = single
        && match &info.remote_address {
            Address::Ip(a) => manager.internal_address.contains(a.ip()),
            Address::Pipe(_) => manager.internal_address.unix_sockets,
            Address::Internal(_) => false,
        };
    let edge = !internal && manager.use_remote_address;
    sanitize(request, internal, edge);
    if edge
        && let Some(ip) = info.remote_address.ip()
        && let Ok(value) = HeaderValue::try_from(ip.ip().to_string())
    {
        request.headers.insert(EXTERNAL_ADDRESS, value);
    }
    edge
}

/// `:scheme` is what the connection is, or what a trusted `x-forwarded-proto` says; the header tells the same, unless it was
/// trusted. Nothing is trusted where the proxy `is_first`.
fn set_scheme(request: &mut RequestHead, scheme: &'static str, is_first: bool, overwrite: Option<&HeaderValue>) {
    let scheme = HeaderValue::from_static(scheme);
    if let Some(scheme) = overwrite.or(is_first.then_some(&scheme)) {
        request.headers.insert(XFP, scheme.clone());
        request.scheme = scheme.clone();
        return;
    }
    let forwarded = request.headers.entry(XFP).or_insert_with(|| scheme.clone());
    let known = matches!(forwarded.as_bytes(), b"http" | b"https");
    request.scheme = if known { forwarded.clone() } else { scheme };
}

fn sanitize(request: &mut RequestHead, internal: bool, edge: bool) {
    let refused = |name: &&HeaderName| {
        name.as_str().starts_with("x-envoy-")
            && ((edge && EDGE_ONLY.contains(*name))
                || (!internal && (**name == INTERNAL || INTERNAL_ONLY.contains(*name))))
    };
    // Requests carry few x-envoy-* headers, if any: one pass over the names is cheaper than twenty look-ups.
    let found: SmallVec<[HeaderName; 2]> = request.headers.keys().filter(refused).cloned().collect();
    for name in &found {
        request.headers.remove(name);
    }
    if internal {
        request.headers.insert(INTERNAL, HeaderValue::from_static("true"));
    }
}

/// The address `skip` places from the right end of `x-forwarded-for`, and whether it is the only one.
fn nth_from_right(request: &RequestHead, skip: usize) -> Option<(IpAddr, bool)> {
    let mut values = request.headers.get_all(XFF).iter().rev();
    let single = request
        .headers
        .get_all(XFF)
        .iter()
        .map(|v| v.as_bytes().split(|b| *b == b',').count())
        .sum::<usize>()
        == 1;
    let entry = values.try_fold(skip, |left, value| {
        let mut parts = value.to_str().unwrap_or("").rsplit(',');
        let count = parts.clone().count();
        if left < count {
            Err(parts.nth(left).unwrap_or("").trim().to_owned())
        } else {
            Ok(left - count)
        }
    });
    let text = entry.err()?;
    text.parse().ok().map(|ip| (ip, single))
}

/// Several lines of one of these headers become one, joined as Envoy joins them. Whether there is any.
fn join(request: &mut RequestHead, name: &HeaderName) -> bool {
    let mut lines = request.headers.get_all(name).iter();
    let (first, second) = (lines.next().is_some(), lines.next().is_some());
    if second {
        let joined = crate::route::matcher::joined(&request.headers, name).map(std::borrow::Cow::into_owned);
        if let Some(value) = joined.and_then(|joined| HeaderValue::try_from(joined).ok()) {
            request.headers.insert(name, value);
        }
    }
    first
}

fn append(request: &mut RequestHead, peer: IpAddr) {
    let peer = peer.to_string();
    let joined = request.headers.get(XFF).map(|v| {
        let mut joined = Vec::with_capacity(v.len() + 1 + peer.len());
        joined.extend_from_slice(v.as_bytes());
        joined.push(b',');
        joined.extend_from_slice(peer.as_bytes());
        joined
    });
    if let Ok(value) = HeaderValue::try_from(joined.unwrap_or_else(|| peer.into_bytes())) {
        request.headers.insert(XFF, value);
    }
}
