//! Entries as Envoy makes them (`envoy.data.accesslog.v3`).

use std::{collections::BTreeMap, time::Instant};

use http::HeaderMap;
use xds_api::{
    Message,
    envoy::{
        config::core::v3::{self as core, RequestMethod},
        data::accesslog::v3::{
            self as pb, AccessLogCommon, AccessLogType, ConnectionProperties, HttpAccessLogEntry,
            HttpRequestProperties, HttpResponseProperties, TcpAccessLogEntry, http_access_log_entry::HttpVersion,
        },
    },
    json::{ReadOptions, to_wire},
    pb::{Duration, Timestamp},
};

use super::{HttpShape, tls};
use crate::{
    address::Address,
    failure::ResponseFlags,
    format::Facts,
    http::{
        admission::request_id::uuid,
        message::{Protocol, RequestHead, ResponseHead},
    },
    stream_info::StreamInfo,
};

pub(super) fn http(shape: &HttpShape, facts: &Facts<'_>) -> Vec<u8> {
    let entry = HttpAccessLogEntry {
        common_properties: Some(common(facts, AccessLogType::DownstreamEnd).into()),
        protocol_version: match facts.info.protocol {
            None => HttpVersion::ProtocolUnspecified,
            Some(Protocol::Http10) => HttpVersion::Http10,
            Some(Protocol::Http11) => HttpVersion::Http11,
            Some(Protocol::Http2) => HttpVersion::Http2,
        }
        .into(),
        request: Some(request(shape, facts).into()),
        response: Some(response(shape, facts).into()),
    };
    entry.encode_to_vec()
}

/// `random` makes the stream's id, which a connection does not have otherwise.
pub(super) fn tcp(facts: &Facts<'_>, random: impl Fn() -> u64) -> Vec<u8> {
    let bytes = &facts.info.bytes;
    let kind = match facts.info.protocol {
        Some(_) => AccessLogType::DownstreamEnd,
        None => AccessLogType::TcpConnectionEnd,
    };
    let mut common = common(facts, kind);
    if common.stream_id.is_empty() {
        common.stream_id = text(uuid(random(), random()).as_bytes());
    }
    let entry = TcpAccessLogEntry {
        common_properties: Some(common.into()),
        connection_properties: Some(ConnectionProperties {
            received_bytes: bytes.received,
            sent_bytes: bytes.sent,
        }),
    };
    entry.encode_to_vec()
}

fn common(facts: &Facts<'_>, kind: AccessLogType) -> AccessLogCommon {
    let info = facts.info;
    let (connection, upstream, times) = (&info.connection, &info.upstream, &info.times);
    let since = |moment: Option<Instant>| moment.map(|moment| duration(moment.saturating_duration_since(info.start)));
    AccessLogCommon {
        downstream_remote_address: Some(address(&info.remote_address)),
        downstream_direct_remote_address: Some(address(&connection.remote_address)),
        downstream_local_address: Some(address(&connection.local_address)),
        tls_properties: connection
            .tls
            .as_deref()
            .map(|tls| tls::properties(tls, connection).into()),
        start_time: Some(Timestamp::from(info.start_time)),
        time_to_last_rx_byte: since(times.last_downstream_rx),
        time_to_first_upstream_tx_byte: since(times.first_upstream_tx),
        time_to_last_upstream_tx_byte: since(times.last_upstream_tx),
        time_to_first_upstream_rx_byte: since(times.first_upstream_rx),
        time_to_last_upstream_rx_byte: since(times.last_upstream_rx),
        time_to_first_downstream_tx_byte: since(times.first_downstream_tx),
        time_to_last_downstream_tx_byte: since(times.last_downstream_tx),
        duration: since(times.end),
        upstream_remote_address: upstream.endpoint.as_ref().map(|endpoint| address(&endpoint.address)),
        upstream_local_address: upstream.local_address.as_ref().map(address),
        upstream_cluster: upstream
            .cluster
            .as_ref()
            .map_or_else(String::new, |c| c.name.to_string()),
        response_flags: (!info.flags.is_empty()).then(|| flags(info.flags)),
        metadata: metadata(info).map(Box::new),
        upstream_transport_failure_reason: upstream.transport_failure.as_deref().unwrap_or_default().to_owned(),
        route_name: info
            .route
            .as_ref()
            .map_or_else(String::new, |route| route.name.to_string()),
        upstream_request_attempt_count: upstream.attempts,
        connection_termination_details: info
            .connection_termination_details
            .as_deref()
            .unwrap_or_default()
            .to_owned(),
        stream_id: info
            .request_id
            .as_ref()
            .map_or_else(String::new, |id| text(id.as_bytes())),
        downstream_wire_bytes_sent: info.bytes.downstream_wire_sent,
        downstream_wire_bytes_received: info.bytes.downstream_wire_received,
        upstream_wire_bytes_sent: info.bytes.upstream_wire_sent,
        upstream_wire_bytes_received: info.bytes.upstream_wire_received,
        access_log_type: kind.into(),
        ..AccessLogCommon::default()
    }
}

fn request(shape: &HttpShape, facts: &Facts<'_>) -> HttpRequestProperties {
    let bytes = &facts.info.bytes;
    let mut properties = HttpRequestProperties {
        request_body_bytes: bytes.received,
        request_headers: logged(&shape.request_headers, |name| request_field(facts.request?, name)),
        ..HttpRequestProperties::default()
    };
    let Some(request) = facts.request else {
        return properties;
    };
    let header = |name: &str| {
        request
            .headers
            .get(name)
            .map_or_else(String::new, |v| text(v.as_bytes()))
    };
    properties.request_method = method(request).into();
    properties.scheme = text(request.scheme.as_bytes());
    properties.authority = text(request.authority.as_bytes());
    properties.path = text(request.path.as_bytes());
    properties.user_agent = header("user-agent");
    properties.referer = header("referer");
    properties.forwarded_for = header("x-forwarded-for");
    properties.request_id = header("x-request-id");
    properties.original_path = header("x-envoy-original-path");
    properties.request_headers_bytes = request_size(request);
    properties
}

fn response(shape: &HttpShape, facts: &Facts<'_>) -> HttpResponseProperties {
    let info = facts.info;
    HttpResponseProperties {
        response_code: info.response_code.map(u32::from),
        response_headers_bytes: facts.response.map_or(0, response_size),
        response_body_bytes: info.bytes.sent,
        response_headers: logged(&shape.response_headers, |name| response_field(facts.response?, name)),
        response_trailers: logged(&shape.response_trailers, |name| joined(facts.response_trailers?, name)),
        response_code_details: info.response_code_details.as_deref().unwrap_or_default().to_owned(),
        ..HttpResponseProperties::default()
    }
}

/// Fields that were asked for, where the message has them.
fn logged(wanted: &[Box<str>], field: impl Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let found = wanted.iter().filter_map(|name| Some((name.to_string(), field(name)?)));
    found.filter(|(_, value)| !value.is_empty()).collect()
}

fn request_field(request: &RequestHead, name: &str) -> Option<String> {
    match name {
        ":method" => Some(request.method.to_string()),
        ":path" => Some(text(request.path.as_bytes())),
        ":authority" | "host" => Some(text(request.authority.as_bytes())),
        ":scheme" => Some(text(request.scheme.as_bytes())),
        _ => joined(&request.headers, name),
    }
}

fn response_field(response: &ResponseHead, name: &str) -> Option<String> {
    match name {
        ":status" => Some(response.status.as_str().to_owned()),
        _ => joined(&response.headers, name),
    }
}

/// All values of a name, with commas between them.
fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<String> = headers
        .get_all(name)
        .iter()
        .map(|value| text(value.as_bytes()))
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Names and values, as Envoy counts a header map.
fn size(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

fn request_size(request: &RequestHead) -> u64 {
    let pseudo = [
        (":method", request.method.as_str().len()),
        (":scheme", request.scheme.len()),
        (":authority", request.authority.len()),
        (":path", request.path.len()),
    ];
    let pseudo = pseudo.into_iter().filter(|(_, length)| *length > 0);
    (size(&request.headers) + pseudo.map(|(name, length)| name.len() + length).sum::<usize>()) as u64
}

fn response_size(response: &ResponseHead) -> u64 {
    const STATUS: usize = ":status200".len();
    (size(&response.headers) + STATUS) as u64
}

fn method(request: &RequestHead) -> RequestMethod {
    match request.method.as_str() {
        "GET" => RequestMethod::Get,
        "HEAD" => RequestMethod::Head,
        "POST" => RequestMethod::Post,
        "PUT" => RequestMethod::Put,
        "DELETE" => RequestMethod::Delete,
        "CONNECT" => RequestMethod::Connect,
        "OPTIONS" => RequestMethod::Options,
        "TRACE" => RequestMethod::Trace,
        "PATCH" => RequestMethod::Patch,
        _ => RequestMethod::MethodUnspecified,
    }
}

fn address(address: &Address) -> Box<core::Address> {
    use core::{address::Address as Kind, envoy_internal_address::AddressNameSpecifier, socket_address::PortSpecifier};
    let kind = match address {
        Address::Ip(ip) => Kind::SocketAddress(
            core::SocketAddress {
                address: ip.ip().to_string(),
                port_specifier: Some(PortSpecifier::PortValue(ip.port().into())),
                ..core::SocketAddress::default()
            }
            .into(),
        ),
        Address::Pipe(path) => Kind::Pipe(
            core::Pipe {
                path: path.to_string(),
                ..core::Pipe::default()
            }
            .into(),
        ),
        Address::Internal(name) => Kind::EnvoyInternalAddress(
            core::EnvoyInternalAddress {
                address_name_specifier: Some(AddressNameSpecifier::ServerListenerName(name.to_string())),
                ..core::EnvoyInternalAddress::default()
            }
            .into(),
        ),
    };
    Box::new(core::Address { address: Some(kind) })
}

fn metadata(info: &StreamInfo) -> Option<core::Metadata> {
    let dynamic = info.dynamic_metadata.as_deref()?;
    let json = serde_json::json!({"filter_metadata": dynamic});
    let wire = to_wire("envoy.config.core.v3.Metadata", &json, ReadOptions::default());
    wire.ok().and_then(|(bytes, _)| core::Metadata::decode(&bytes[..]).ok())
}

fn flags(flags: ResponseFlags) -> pb::ResponseFlags {
    use pb::response_flags::{Unauthorized, unauthorized::Reason};
    type F = ResponseFlags;
    let has = |flag| flags.contains(flag);
    pb::ResponseFlags {
        failed_local_healthcheck: has(F::FAILED_LOCAL_HEALTH_CHECK),
        no_healthy_upstream: has(F::NO_HEALTHY_UPSTREAM),
        upstream_request_timeout: has(F::UPSTREAM_REQUEST_TIMEOUT),
        local_reset: has(F::LOCAL_RESET),
        upstream_remote_reset: has(F::UPSTREAM_REMOTE_RESET),
        upstream_connection_failure: has(F::UPSTREAM_CONNECTION_FAILURE),
        upstream_connection_termination: has(F::UPSTREAM_CONNECTION_TERMINATION),
        upstream_overflow: has(F::UPSTREAM_OVERFLOW),
        no_route_found: has(F::NO_ROUTE_FOUND),
        delay_injected: has(F::DELAY_INJECTED),
        fault_injected: has(F::FAULT_INJECTED),
        rate_limited: has(F::RATE_LIMITED),
        unauthorized_details: has(F::UNAUTHORIZED_EXTERNAL_SERVICE).then(|| Unauthorized {
            reason: Reason::ExternalService.into(),
        }),
        rate_limit_service_error: has(F::RATE_LIMIT_SERVICE_ERROR),
        downstream_connection_termination: has(F::DOWNSTREAM_CONNECTION_TERMINATION),
        upstream_retry_limit_exceeded: has(F::UPSTREAM_RETRY_LIMIT_EXCEEDED),
        stream_idle_timeout: has(F::STREAM_IDLE_TIMEOUT),
        invalid_envoy_request_headers: has(F::INVALID_ENVOY_REQUEST_HEADERS),
        downstream_protocol_error: has(F::DOWNSTREAM_PROTOCOL_ERROR),
        upstream_max_stream_duration_reached: has(F::UPSTREAM_MAX_STREAM_DURATION_REACHED),
        response_from_cache_filter: has(F::RESPONSE_FROM_CACHE_FILTER),
        no_filter_config_found: has(F::NO_FILTER_CONFIG_FOUND),
        duration_timeout: has(F::DURATION_TIMEOUT),
        upstream_protocol_error: has(F::UPSTREAM_PROTOCOL_ERROR),
        no_cluster_found: has(F::NO_CLUSTER_FOUND),
        overload_manager: has(F::OVERLOAD_MANAGER),
        dns_resolution_failure: has(F::DNS_RESOLUTION_FAILED),
        downstream_remote_reset: has(F::DOWNSTREAM_REMOTE_RESET),
    }
}

fn duration(taken: std::time::Duration) -> Duration {
    Duration {
        seconds: taken.as_secs().cast_signed(),
        nanos: taken.subsec_nanos().cast_signed(),
    }
}

/// A protobuf string is UTF-8.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
