//! The operators without argument.

use std::time::{Duration, Instant};

use http::HeaderMap;

use super::{Facts, put, put_some, put_text};
use crate::{address::Address, stream_info::TlsInfo};

type Write1 = fn(&mut String, &Facts<'_>) -> bool;

/// An operator without argument.
#[derive(Debug)]
pub(in crate::format) struct Plain {
    name: &'static str,
    pub(super) write: Write1,
    /// Its value is a number in JSON.
    pub(super) number: bool,
}

pub(super) fn find(name: &str) -> Option<&'static Plain> {
    PLAIN
        .binary_search_by_key(&name, |plain| plain.name)
        .ok()
        .map(|at| &PLAIN[at])
}

const fn number(name: &'static str, write: Write1) -> Plain {
    Plain {
        name,
        write,
        number: true,
    }
}

const fn text(name: &'static str, write: Write1) -> Plain {
    Plain {
        name,
        write,
        number: false,
    }
}

/// Known to Envoy, of what Pillion does not have.
const fn absent(name: &'static str) -> Plain {
    text(name, |_, _| false)
}

fn between(from: Option<Instant>, to: Option<Instant>) -> Option<Duration> {
    Some(to?.saturating_duration_since(from?))
}

fn millis(d: Option<Duration>) -> Option<u128> {
    d.map(|d| d.as_millis())
}

fn since_start(f: &Facts<'_>, to: Option<Instant>) -> Option<u128> {
    millis(between(Some(f.info.start), to))
}

fn downstream_tls<'a>(f: &Facts<'a>) -> Option<&'a TlsInfo> {
    f.info.connection.tls.as_deref()
}

/// In order of their names.
static PLAIN: &[Plain] = &[
    text("ACCESS_LOG_TYPE", |o, f| {
        // Lines are written at an end only.
        let http = f.info.protocol.is_some();
        put(o, if http { "DownstreamEnd" } else { "TcpConnectionEnd" })
    }),
    number("BYTES_RECEIVED", |o, f| put(o, f.info.bytes.received)),
    number("BYTES_RETRANSMITTED", |o, _| put(o, 0)),
    number("BYTES_SENT", |o, f| put(o, f.info.bytes.sent)),
    number("CONNECTION_ID", |o, f| put(o, f.info.connection.id)),
    text("CONNECTION_TERMINATION_DETAILS", |o, f| {
        put_text(o, f.info.connection_termination_details.as_deref())
    }),
    text("CUSTOM_FLAGS", |_, _| true),
    number("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", |o, f| {
        put(o, f.info.bytes.request_headers)
    }),
    number("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", |o, f| {
        put(o, f.info.bytes.response_headers)
    }),
    absent("DOWNSTREAM_DETECTED_CLOSE_TYPE"),
    text("DOWNSTREAM_DIRECT_LOCAL_ADDRESS", |o, f| {
        put(o, &f.info.connection.direct_local_address)
    }),
    text("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID", |_, _| true),
    number("DOWNSTREAM_DIRECT_LOCAL_PORT", |o, f| {
        put(o, f.info.connection.direct_local_address.port())
    }),
    text("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", |o, f| {
        put(o, &f.info.connection.remote_address)
    }),
    number("DOWNSTREAM_DIRECT_REMOTE_PORT", |o, f| {
        put(o, f.info.connection.remote_address.port())
    }),
    absent("DOWNSTREAM_HANDSHAKE_DURATION"),
    number("DOWNSTREAM_HEADER_BYTES_RECEIVED", |o, f| {
        put(o, f.info.bytes.request_headers)
    }),
    number("DOWNSTREAM_HEADER_BYTES_SENT", |o, f| {
        put(o, f.info.bytes.response_headers)
    }),
    text("DOWNSTREAM_LOCAL_ADDRESS", |o, f| {
        put(o, &f.info.connection.local_address)
    }),
    text("DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID", |_, _| true),
    absent("DOWNSTREAM_LOCAL_CLOSE_REASON"),
    number("DOWNSTREAM_LOCAL_PORT", |o, f| {
        put(o, f.info.connection.local_address.port())
    }),
    text("DOWNSTREAM_REMOTE_ADDRESS", |o, f| put(o, &f.info.remote_address)),
    number("DOWNSTREAM_REMOTE_PORT", |o, f| put(o, f.info.remote_address.port())),
    text("DOWNSTREAM_TLS_CIPHER", |o, f| {
        put_text(o, downstream_tls(f).map(|t| t.cipher))
    }),
    absent("DOWNSTREAM_TLS_GROUP"),
    absent("DOWNSTREAM_TLS_SESSION_ID"),
    text("DOWNSTREAM_TLS_VERSION", |o, f| {
        put_text(o, downstream_tls(f).map(|t| t.version))
    }),
    absent("DOWNSTREAM_TRANSPORT_FAILURE_REASON"),
    number("DOWNSTREAM_WIRE_BYTES_RECEIVED", |o, f| {
        put(o, f.info.bytes.downstream_wire_received)
    }),
    number("DOWNSTREAM_WIRE_BYTES_SENT", |o, f| {
        put(o, f.info.bytes.downstream_wire_sent)
    }),
    number("DURATION", |o, f| put_some(o, since_start(f, f.info.times.end))),
    text("FILTER_CHAIN_NAME", |o, f| {
        put_text(o, Some(&f.info.connection.filter_chain_name))
    }),
    text("HOSTNAME", |o, _| put_text(o, crate::sys::hostname().as_deref())),
    text("LOCAL_REPLY_BODY", |o, f| put(o, f.local_reply_body)),
    number("PACKETS_RETRANSMITTED", |o, _| put(o, 0)),
    text("PROTOCOL", |o, f| put_text(o, f.info.protocol.map(|p| p.as_str()))),
    number("REQUEST_DURATION", |o, f| {
        put_some(o, since_start(f, f.info.times.last_downstream_rx))
    }),
    number("REQUEST_HEADERS_BYTES", |o, f| put(o, request_bytes(f))),
    number("REQUEST_TX_DURATION", |o, f| {
        put_some(o, since_start(f, f.info.times.last_upstream_tx))
    }),
    number("RESPONSE_CODE", |o, f| put(o, f.info.response_code.unwrap_or(0))),
    number("RESPONSE_DURATION", |o, f| {
        put_some(o, since_start(f, f.info.times.first_upstream_rx))
    }),
    number("RESPONSE_HEADERS_BYTES", |o, f| put(o, response_bytes(f))),
    number("RESPONSE_TRAILERS_BYTES", |o, f| {
        put(o, f.response_trailers.map_or(0, bytes))
    }),
    number("RESPONSE_TX_DURATION", |o, f| {
        let times = &f.info.times;
        put_some(o, millis(between(times.first_upstream_rx, times.last_downstream_tx)))
    }),
    absent("ROUNDTRIP_DURATION"),
    text("ROUTE_NAME", |o, f| {
        put_text(o, f.info.route.as_deref().map(|r| &*r.name))
    }),
    absent("SPAN_ID"),
    text("STREAM_ID", |o, f| {
        put_text(o, f.info.request_id.as_ref().and_then(|v| v.to_str().ok()))
    }),
    absent("TLS_JA3_FINGERPRINT"),
    absent("TLS_JA4_FINGERPRINT"),
    absent("TRACE_ID"),
    text("UNIQUE_ID", |o, _| put(o, unique_id())),
    text("UPSTREAM_CLUSTER", |o, f| {
        put_text(o, f.info.upstream.cluster.as_deref().map(|c| &*c.stat_name))
    }),
    text("UPSTREAM_CLUSTER_RAW", |o, f| {
        put_text(o, f.info.upstream.cluster.as_deref().map(|c| &*c.name))
    }),
    number("UPSTREAM_CONNECTION_ID", |o, f| put(o, f.info.upstream.connection_id)),
    absent("UPSTREAM_CONNECTION_IDS_ATTEMPTED"),
    number("UPSTREAM_CONNECTION_POOL_READY_DURATION", |o, f| {
        let connect = f.info.times.upstream_connect;
        put_some(o, millis(connect.map(|(from, to)| to.saturating_duration_since(from))))
    }),
    number("UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", |o, f| {
        put(o, f.info.bytes.response_headers)
    }),
    number("UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", |o, f| {
        put(o, f.info.bytes.request_headers)
    }),
    absent("UPSTREAM_DETECTED_CLOSE_TYPE"),
    number("UPSTREAM_HEADER_BYTES_RECEIVED", |o, f| {
        put(o, f.info.bytes.response_headers)
    }),
    number("UPSTREAM_HEADER_BYTES_SENT", |o, f| {
        put(o, f.info.bytes.request_headers)
    }),
    text("UPSTREAM_HOST", |o, f| {
        put_some(o, f.info.upstream.endpoint.as_deref().map(|e| &e.address))
    }),
    absent("UPSTREAM_HOSTS_ATTEMPTED"),
    absent("UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT"),
    text("UPSTREAM_HOST_NAME", |o, f| put_some(o, host_name(f))),
    absent("UPSTREAM_HOST_NAMES_ATTEMPTED"),
    absent("UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT"),
    text("UPSTREAM_HOST_NAME_WITHOUT_PORT", |o, f| {
        let name = host_name(f);
        put_some(o, name.as_deref().map(crate::http::admission::host_without_port))
    }),
    text("UPSTREAM_LOCAL_ADDRESS", |o, f| {
        put_some(o, f.info.upstream.local_address.as_ref())
    }),
    absent("UPSTREAM_LOCAL_CLOSE_REASON"),
    number("UPSTREAM_LOCAL_PORT", |o, f| {
        put_some(o, f.info.upstream.local_address.as_ref().map(Address::port))
    }),
    text("UPSTREAM_PROTOCOL", |o, f| {
        put_text(o, f.info.upstream.protocol.map(|p| p.as_str()))
    }),
    text("UPSTREAM_REMOTE_ADDRESS", |o, f| {
        put_some(o, upstream_remote_address(f))
    }),
    text("UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", |_, f| {
        upstream_remote_address(f).is_some()
    }),
    number("UPSTREAM_REMOTE_PORT", |o, f| {
        put_some(o, upstream_remote_address(f).map(Address::port))
    }),
    number("UPSTREAM_REQUEST_ATTEMPT_COUNT", |o, f| {
        put(o, f.info.upstream.attempts)
    }),
    absent("UPSTREAM_SERVER_NAME"),
    text("UPSTREAM_TLS_CIPHER", |o, f| {
        put_text(o, f.info.upstream.tls.as_deref().map(|t| t.cipher))
    }),
    absent("UPSTREAM_TLS_GROUP"),
    absent("UPSTREAM_TLS_SESSION_ID"),
    text("UPSTREAM_TLS_VERSION", |o, f| {
        put_text(o, f.info.upstream.tls.as_deref().map(|t| t.version))
    }),
    text("UPSTREAM_TRANSPORT_FAILURE_REASON", |o, f| {
        // Without blanks, so that log lines can be split at them.
        let reason = f.info.upstream.transport_failure.as_deref();
        put_some(o, reason.map(|reason| reason.replace(' ', "_")))
    }),
    number("UPSTREAM_WIRE_BYTES_RECEIVED", |o, f| {
        put(o, f.info.bytes.upstream_wire_received)
    }),
    number("UPSTREAM_WIRE_BYTES_SENT", |o, f| {
        put(o, f.info.bytes.upstream_wire_sent)
    }),
    text("VIRTUAL_CLUSTER_NAME", |o, f| put_text(o, virtual_cluster(f))),
];

/// Names and values, without what a protocol writes around them.
fn bytes(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

fn request_bytes(f: &Facts<'_>) -> usize {
    f.request.map_or(0, |request| {
        let pseudo = [
            (":authority", request.authority.len()),
            (":path", request.path.len()),
            (":method", request.method.as_str().len()),
            (":scheme", request.scheme.len()),
        ];
        let pseudo: usize = pseudo.iter().map(|(name, value)| name.len() + value).sum();
        pseudo + bytes(&request.headers)
    })
}

fn response_bytes(f: &Facts<'_>) -> usize {
    f.response.map_or(0, |response| {
        ":status".len() + response.status.as_str().len() + bytes(&response.headers)
    })
}

/// Where the connection went; nowhere before there is one.
pub(super) fn upstream_remote_address<'a>(f: &Facts<'a>) -> Option<&'a Address> {
    let upstream = &f.info.upstream;
    upstream.local_address.as_ref()?;
    upstream.endpoint.as_deref().map(|e| &e.address)
}

/// Of forwarded requests only.
fn virtual_cluster<'a>(f: &Facts<'a>) -> Option<&'a str> {
    f.info.route.as_deref()?.forward()?;
    let request = f.request?;
    let clusters = &f.info.virtual_host.as_deref()?.virtual_clusters;
    let matching = clusters
        .iter()
        .find(|c| c.headers.iter().all(|header| header.matches(request)));
    matching.map(|c| &*c.name)
}

/// A fresh UUID, of the chance in the keys of the standard library's hashers.
fn unique_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    let random = || RandomState::new().hash_one(());
    let uuid = crate::http::admission::uuid(random(), random());
    uuid.to_str().unwrap_or_default().to_owned()
}

fn host_name(f: &Facts<'_>) -> Option<String> {
    let endpoint = f.info.upstream.endpoint.as_deref()?;
    Some(match &*endpoint.config.hostname {
        "" => endpoint.address.to_string(),
        name => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_because_they_are_in_order() {
        assert!(PLAIN.is_sorted_by_key(|plain| plain.name));
        assert!(find("ROUTE_NAME").is_some() && find("ROUTE").is_none());
    }
}
