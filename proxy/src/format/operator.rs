//! The operators of formats: what each `%...%` prints.

use std::{
    fmt::{Display, Write},
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::{Facts, time};
use crate::{
    address::Address,
    http::message::RequestHead,
    route::matcher::HeaderField,
    stream_info::{Times, TlsInfo},
};

/// One operator with its argument.
#[derive(Debug)]
pub(super) enum Operator {
    /// Takes no argument: looked up in [`PLAIN`].
    Plain(Plain),
    /// First header, then the alternative.
    Request(HeaderField, Option<HeaderField>),
    Response(HeaderName, Option<HeaderName>),
    Trailer(HeaderName, Option<HeaderName>),
    StartTime(Option<Box<str>>),
    /// `DYNAMIC_METADATA(namespace:key:...)`.
    DynamicMetadata(Box<str>, Vec<Box<str>>),
    ClusterMetadata(Box<str>, Vec<Box<str>>),
    RouteMetadata(Box<str>, Vec<Box<str>>),
    UpstreamMetadata(Box<str>, Vec<Box<str>>),
    /// `RESPONSE_FLAGS` and `RESPONSE_FLAGS_LONG`.
    Flags {
        long: bool,
    },
    Environment(Box<str>),
    GrpcStatus,
    CommonDuration(Moment, Moment, Unit),
    PathWithoutQuery,
    Certificate {
        upstream: bool,
        local: bool,
        field: CertificateField,
    },
    ValidityTime {
        start: bool,
        format: Option<Box<str>>,
    },
}

type Write1 = fn(&mut String, &Facts<'_>) -> bool;

/// An operator without argument.
#[derive(Debug)]
pub(super) struct Plain {
    write: Write1,
    /// Its value is a number in JSON.
    number: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificateField {
    Subject,
    Issuer,
    UriSan,
    DnsSan,
    Serial,
    Fingerprint256,
}

/// Moments that `COMMON_DURATION` names.
#[derive(Debug, Clone, Copy)]
pub(super) enum Moment {
    DownstreamStart,
    DownstreamRxEnd,
    UpstreamConnectStart,
    UpstreamConnectEnd,
    UpstreamTxStart,
    UpstreamTxEnd,
    UpstreamRxStart,
    UpstreamRxEnd,
    DownstreamTxStart,
    DownstreamTxEnd,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

fn put(out: &mut String, value: impl Display) -> bool {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
    true
}

fn put_some(out: &mut String, value: Option<impl Display>) -> bool {
    value.is_some_and(|value| put(out, value))
}

fn put_text(out: &mut String, value: Option<&str>) -> bool {
    match value.filter(|v| !v.is_empty()) {
        Some(value) => {
            out.push_str(value);
            true
        }
        None => false,
    }
}

fn ip_only(address: &Address) -> String {
    address.ip().map_or_else(|| address.to_string(), |a| a.ip().to_string())
}

fn between(from: Option<Instant>, to: Option<Instant>) -> Option<Duration> {
    Some(to?.saturating_duration_since(from?))
}

fn millis(d: Option<Duration>) -> Option<u128> {
    d.map(|d| d.as_millis())
}

fn downstream_tls<'a>(f: &Facts<'a>) -> Option<&'a TlsInfo> {
    f.info.connection.tls.as_deref()
}

/// (name, JSON number, what it prints). Alphabetical.
const PLAIN: &[(&str, bool, Write1)] = &[
    ("BYTES_RECEIVED", true, |o, f| put(o, f.info.bytes.received)),
    ("BYTES_SENT", true, |o, f| put(o, f.info.bytes.sent)),
    ("CONNECTION_ID", true, |o, f| put(o, f.info.connection.id)),
    ("CONNECTION_TERMINATION_DETAILS", false, |o, f| {
        put_text(o, f.info.connection_termination_details.as_deref())
    }),
    ("DOWNSTREAM_DIRECT_LOCAL_ADDRESS", false, |o, f| {
        put(o, &f.info.connection.direct_local_address)
    }),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", false, |o, f| {
        put(o, &f.info.connection.remote_address)
    }),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", false, |o, f| {
        put(o, ip_only(&f.info.connection.remote_address))
    }),
    ("DOWNSTREAM_HEADER_BYTES_RECEIVED", true, |o, f| {
        put(o, f.info.bytes.request_headers)
    }),
    ("DOWNSTREAM_HEADER_BYTES_SENT", true, |o, f| {
        put(o, f.info.bytes.response_headers)
    }),
    ("DOWNSTREAM_LOCAL_ADDRESS", false, |o, f| {
        put(o, &f.info.connection.local_address)
    }),
    ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", false, |o, f| {
        put(o, ip_only(&f.info.connection.local_address))
    }),
    ("DOWNSTREAM_LOCAL_PORT", true, |o, f| {
        put(o, f.info.connection.local_address.port())
    }),
    ("DOWNSTREAM_REMOTE_ADDRESS", false, |o, f| {
        put(o, &f.info.remote_address)
    }),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", false, |o, f| {
        put(o, ip_only(&f.info.remote_address))
    }),
    ("DOWNSTREAM_REMOTE_PORT", true, |o, f| {
        put(o, f.info.remote_address.port())
    }),
    ("DOWNSTREAM_TLS_CIPHER", false, |o, f| {
        put_text(o, downstream_tls(f).map(|t| t.cipher))
    }),
    ("DOWNSTREAM_TLS_VERSION", false, |o, f| {
        put_text(o, downstream_tls(f).map(|t| t.version))
    }),
    ("DOWNSTREAM_TRANSPORT_FAILURE_REASON", false, |_, _| false),
    ("DOWNSTREAM_WIRE_BYTES_RECEIVED", true, |o, f| {
        put(o, f.info.bytes.downstream_wire_received)
    }),
    ("DOWNSTREAM_WIRE_BYTES_SENT", true, |o, f| {
        put(o, f.info.bytes.downstream_wire_sent)
    }),
    ("DURATION", true, |o, f| {
        put_some(o, millis(between(Some(f.info.start), f.info.times.end)))
    }),
    ("FILTER_CHAIN_NAME", false, |o, f| {
        put_text(o, Some(&f.info.connection.filter_chain_name))
    }),
    ("HOSTNAME", false, |o, _| put_text(o, crate::sys::hostname().as_deref())),
    ("LOCAL_REPLY_BODY", false, |o, f| put_text(o, Some(f.local_reply_body))),
    ("PROTOCOL", false, |o, f| {
        put_text(o, f.info.protocol.map(|p| p.as_str()))
    }),
    ("REQUESTED_SERVER_NAME", false, |o, f| {
        put_text(o, f.info.connection.requested_server_name.as_deref())
    }),
    ("REQUEST_DURATION", true, |o, f| {
        put_some(o, millis(between(Some(f.info.start), f.info.times.last_downstream_rx)))
    }),
    ("REQUEST_HEADERS_BYTES", true, |o, f| {
        put(o, f.info.bytes.request_headers)
    }),
    ("REQUEST_TX_DURATION", true, |o, f| {
        put_some(o, millis(between(Some(f.info.start), f.info.times.last_upstream_tx)))
    }),
    ("RESPONSE_CODE", true, |o, f| put(o, f.info.response_code.unwrap_or(0))),
    ("RESPONSE_CODE_DETAILS", false, |o, f| {
        put_text(o, f.info.response_code_details.as_deref())
    }),
    ("RESPONSE_DURATION", true, |o, f| {
        put_some(o, millis(between(Some(f.info.start), f.info.times.first_upstream_rx)))
    }),
    ("RESPONSE_HEADERS_BYTES", true, |o, f| {
        put(o, f.info.bytes.response_headers)
    }),
    ("RESPONSE_TRAILERS_BYTES", true, |o, f| {
        put(o, f.info.bytes.response_trailers)
    }),
    ("RESPONSE_TX_DURATION", true, |o, f| {
        put_some(
            o,
            millis(between(f.info.times.first_upstream_rx, f.info.times.last_downstream_tx)),
        )
    }),
    ("ROUNDTRIP_DURATION", true, |_, _| false),
    ("ROUTE_NAME", false, |o, f| {
        put_text(o, f.info.route.as_deref().map(|r| &*r.name))
    }),
    ("STREAM_ID", false, |o, f| {
        put_text(o, f.info.request_id.as_ref().and_then(|v| v.to_str().ok()))
    }),
    ("UNIQUE_ID", false, |o, f| {
        put_text(o, f.info.request_id.as_ref().and_then(|v| v.to_str().ok()))
    }),
    ("UPSTREAM_CLUSTER", false, |o, f| {
        put_text(o, f.info.upstream.cluster.as_deref().map(|c| &*c.stat_name))
    }),
    ("UPSTREAM_CLUSTER_RAW", false, |o, f| {
        put_text(o, f.info.upstream.cluster.as_deref().map(|c| &*c.name))
    }),
    ("UPSTREAM_CONNECTION_ID", true, |o, f| {
        put(o, f.info.upstream.connection_id)
    }),
    ("UPSTREAM_CONNECTION_POOL_READY_DURATION", true, |o, f| {
        put_some(
            o,
            millis(
                f.info
                    .times
                    .upstream_connect
                    .map(|(a, b)| b.saturating_duration_since(a)),
            ),
        )
    }),
    ("UPSTREAM_HEADER_BYTES_RECEIVED", true, |o, f| {
        put(o, f.info.bytes.response_headers)
    }),
    ("UPSTREAM_HEADER_BYTES_SENT", true, |o, f| {
        put(o, f.info.bytes.request_headers)
    }),
    ("UPSTREAM_HOST", false, |o, f| {
        put_some(o, f.info.upstream.endpoint.as_deref().map(|e| &e.address))
    }),
    ("UPSTREAM_HOST_NAME", false, upstream_host_name),
    ("UPSTREAM_HOST_NAME_WITHOUT_PORT", false, |o, f| {
        put_text(o, f.info.upstream.endpoint.as_deref().map(|e| &*e.config.hostname))
    }),
    ("UPSTREAM_LOCAL_ADDRESS", false, |o, f| {
        put_some(o, f.info.upstream.local_address.as_ref())
    }),
    ("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", false, |o, f| {
        put_some(o, f.info.upstream.local_address.as_ref().map(ip_only))
    }),
    ("UPSTREAM_LOCAL_PORT", true, |o, f| {
        put_some(o, f.info.upstream.local_address.as_ref().map(Address::port))
    }),
    ("UPSTREAM_PROTOCOL", false, |o, f| {
        put_text(o, f.info.upstream.protocol.map(|p| p.as_str()))
    }),
    ("UPSTREAM_REMOTE_ADDRESS", false, |o, f| {
        put_some(o, f.info.upstream.endpoint.as_deref().map(|e| &e.address))
    }),
    ("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", false, |o, f| {
        put_some(o, f.info.upstream.endpoint.as_deref().map(|e| ip_only(&e.address)))
    }),
    ("UPSTREAM_REMOTE_PORT", true, |o, f| {
        put_some(o, f.info.upstream.endpoint.as_deref().map(|e| e.address.port()))
    }),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", true, |o, f| {
        put(o, f.info.upstream.attempts)
    }),
    ("UPSTREAM_TLS_CIPHER", false, |o, f| {
        put_text(o, f.info.upstream.tls.as_deref().map(|t| t.cipher))
    }),
    ("UPSTREAM_TLS_VERSION", false, |o, f| {
        put_text(o, f.info.upstream.tls.as_deref().map(|t| t.version))
    }),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", false, transport_failure),
    ("UPSTREAM_WIRE_BYTES_RECEIVED", true, |o, f| {
        put(o, f.info.bytes.upstream_wire_received)
    }),
    ("UPSTREAM_WIRE_BYTES_SENT", true, |o, f| {
        put(o, f.info.bytes.upstream_wire_sent)
    }),
    ("VIRTUAL_CLUSTER_NAME", false, |_, _| false),
];

fn upstream_host_name(out: &mut String, f: &Facts<'_>) -> bool {
    let endpoint = f.info.upstream.endpoint.as_deref();
    endpoint.is_some_and(|e| {
        if e.config.hostname.is_empty() {
            put(out, &e.address)
        } else {
            put(out, &e.config.hostname)
        }
    })
}

/// Envoy writes the reason without blanks, so that log lines can be split at them.
fn transport_failure(out: &mut String, f: &Facts<'_>) -> bool {
    let reason = f.info.upstream.transport_failure.as_deref();
    reason.is_some_and(|reason| put(out, reason.replace(' ', "_")))
}

impl Operator {
    pub(super) fn parse(name: &str, argument: Option<&str>) -> Result<Self, String> {
        if let Some((_, number, write)) = PLAIN.iter().find(|(n, ..)| *n == name) {
            return Ok(Self::Plain(Plain {
                write: *write,
                number: *number,
            }));
        }
        let wanted = || {
            argument
                .filter(|a| !a.is_empty())
                .ok_or("an argument in parentheses is wanted".to_owned())
        };
        let optional = || argument.filter(|a| !a.is_empty()).map(Into::into);
        if let Some(field) = certificate_operator(name) {
            return Ok(field);
        }
        Ok(match name {
            "REQ" => {
                let (first, second) = alternatives(wanted()?, field)?;
                Self::Request(first, second)
            }
            "RESP" => {
                let (first, second) = alternatives(wanted()?, header)?;
                Self::Response(first, second)
            }
            "TRAILER" => {
                let (first, second) = alternatives(wanted()?, header)?;
                Self::Trailer(first, second)
            }
            "START_TIME" => Self::StartTime(optional()),
            "DYNAMIC_METADATA" => path(wanted()?, Self::DynamicMetadata),
            "CLUSTER_METADATA" => path(wanted()?, Self::ClusterMetadata),
            "UPSTREAM_METADATA" => path(&metadata_argument(wanted()?), Self::UpstreamMetadata),
            "METADATA" => {
                let argument = wanted()?;
                let (kind, rest) = argument.split_once(':').unwrap_or((argument, ""));
                match kind {
                    "DYNAMIC" => path(rest, Self::DynamicMetadata),
                    "CLUSTER" => path(rest, Self::ClusterMetadata),
                    "ROUTE" => path(rest, Self::RouteMetadata),
                    "UPSTREAM_HOST" => path(rest, Self::UpstreamMetadata),
                    _ => {
                        return Err(format!(
                            "{kind:?} is not a kind of metadata: DYNAMIC, ROUTE, CLUSTER, UPSTREAM_HOST"
                        ));
                    }
                }
            }
            "RESPONSE_FLAGS" => Self::Flags { long: false },
            "RESPONSE_FLAGS_LONG" => Self::Flags { long: true },
            "ENVIRONMENT" => Self::Environment(wanted()?.into()),
            "GRPC_STATUS" | "GRPC_STATUS_NUMBER" => Self::GrpcStatus,
            "REQ_WITHOUT_QUERY" | "PATH" => Self::PathWithoutQuery,
            "COMMON_DURATION" => common_duration(wanted()?)?,
            "DOWNSTREAM_PEER_CERT_V_START" => Self::ValidityTime {
                start: true,
                format: optional(),
            },
            "DOWNSTREAM_PEER_CERT_V_END" => Self::ValidityTime {
                start: false,
                format: optional(),
            },
            _ => return Err("this operator is not known".to_owned()),
        })
    }

    /// Appends the value; false where it is absent.
    pub(super) fn write(&self, out: &mut String, facts: &Facts<'_>) -> bool {
        match self {
            Self::Plain(plain) => (plain.write)(out, facts),
            Self::Request(first, second) => {
                let Some(request) = facts.request else { return false };
                std::iter::once(first).chain(second).any(|f| put_field(out, f, request))
            }
            Self::Response(first, second) => {
                put_header(out, facts.response.map(|r| &r.headers), first, second.as_ref())
            }
            Self::Trailer(first, second) => put_header(out, facts.response_trailers, first, second.as_ref()),
            Self::StartTime(format) => {
                time::write(out, facts.info.start_time, format.as_deref());
                true
            }
            Self::DynamicMetadata(namespace, keys) => {
                let map = facts.info.dynamic_metadata.as_deref();
                put_json(out, map.and_then(|m| m.get(&**namespace)).and_then(|v| walk(v, keys)))
            }
            Self::RouteMetadata(namespace, keys) => {
                let metadata = facts.info.route.as_deref().and_then(|r| r.metadata.as_deref());
                put_json(
                    out,
                    metadata.and_then(|m| m.get(&**namespace)).and_then(|v| walk(v, keys)),
                )
            }
            Self::ClusterMetadata(namespace, keys) => {
                let metadata = facts
                    .info
                    .upstream
                    .cluster
                    .as_deref()
                    .and_then(|c| c.metadata.as_deref());
                put_json(
                    out,
                    metadata.and_then(|m| m.get(&**namespace)).and_then(|v| walk(v, keys)),
                )
            }
            Self::UpstreamMetadata(namespace, keys) => {
                let metadata = facts
                    .info
                    .upstream
                    .endpoint
                    .as_deref()
                    .and_then(|e| e.config.metadata.as_deref());
                put_json(
                    out,
                    metadata.and_then(|m| m.get(&**namespace)).and_then(|v| walk(v, keys)),
                )
            }
            Self::Flags { long: false } => put(out, facts.info.flags),
            Self::Flags { long: true } => put(out, facts.info.flags.long()),
            Self::Environment(name) => put_text(out, std::env::var(&**name).ok().as_deref()),
            Self::GrpcStatus => put_some(out, facts.grpc_status()),
            Self::PathWithoutQuery => put_text(out, facts.request.map(RequestHead::path_only)),
            Self::CommonDuration(from, to, unit) => {
                let d = between(from.of(facts), to.of(facts));
                put_some(out, d.map(|d| unit.of(d)))
            }
            Self::Certificate { upstream, local, field } => {
                let tls = if *upstream {
                    facts.info.upstream.tls.as_deref()
                } else {
                    facts.info.connection.tls.as_deref()
                };
                tls.is_some_and(|tls| put_certificate(out, tls, *local, *field))
            }
            Self::ValidityTime { start, format } => {
                let peer = downstream_tls(facts).and_then(|t| t.peer.as_ref());
                let Some(certificate) = peer.map(|p| &p.certificate) else {
                    return false;
                };
                let at: SystemTime = if *start {
                    certificate.not_before
                } else {
                    certificate.not_after
                };
                time::write(out, at, format.as_deref());
                true
            }
        }
    }

    /// The value in JSON: numbers as numbers, absent as null.
    pub(super) fn value(&self, facts: &Facts<'_>) -> Value {
        let mut text = String::new();
        if !self.write(&mut text, facts) {
            return Value::Null;
        }
        let number = match self {
            Self::Plain(plain) => plain.number,
            Self::GrpcStatus | Self::CommonDuration(..) => true,
            Self::DynamicMetadata(..)
            | Self::RouteMetadata(..)
            | Self::ClusterMetadata(..)
            | Self::UpstreamMetadata(..) => {
                return serde_json::from_str(&text).unwrap_or(Value::String(text));
            }
            _ => false,
        };
        match text.parse::<u64>() {
            Ok(n) if number => Value::from(n),
            _ => Value::String(text),
        }
    }
}

fn alternatives<T>(argument: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<(T, Option<T>), String> {
    match argument.split_once('?') {
        Some((first, second)) => Ok((parse(first)?, Some(parse(second)?))),
        None => Ok((parse(argument)?, None)),
    }
}

fn header(name: &str) -> Result<HeaderName, String> {
    name.parse().map_err(|_| format!("{name:?} is not a header name"))
}

fn field(name: &str) -> Result<HeaderField, String> {
    Ok(match &*name.to_ascii_lowercase() {
        ":method" => HeaderField::Method,
        ":path" => HeaderField::Path,
        ":authority" | "host" => HeaderField::Authority,
        ":scheme" => HeaderField::Scheme,
        ":protocol" => HeaderField::Protocol,
        other => HeaderField::Name(header(other)?),
    })
}

/// `["namespace", "key"]`, the older form of the argument, as `namespace:key`.
fn metadata_argument(argument: &str) -> String {
    match serde_json::from_str::<Vec<String>>(argument) {
        Ok(parts) => parts.join(":"),
        Err(_) => argument.to_owned(),
    }
}

fn path(argument: &str, make: fn(Box<str>, Vec<Box<str>>) -> Operator) -> Operator {
    let mut parts = argument.split(':').map(Box::from);
    make(parts.next().unwrap_or_default(), parts.collect())
}

fn walk<'a>(value: &'a Value, keys: &[Box<str>]) -> Option<&'a Value> {
    keys.iter().try_fold(value, |at, key| at.get(&**key))
}

/// A string as it is, anything else as JSON.
fn put_json(out: &mut String, value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => put(out, text),
        Some(other) => put(out, other),
    }
}

fn put_field(out: &mut String, field: &HeaderField, request: &RequestHead) -> bool {
    let HeaderField::Name(name) = field else {
        return field
            .value(request)
            .is_some_and(|v| put(out, String::from_utf8_lossy(&v)));
    };
    request
        .headers
        .get(name)
        .is_some_and(|v| put(out, String::from_utf8_lossy(v.as_bytes())))
}

fn put_header(out: &mut String, headers: Option<&HeaderMap>, first: &HeaderName, second: Option<&HeaderName>) -> bool {
    let Some(headers) = headers else { return false };
    let value = std::iter::once(first).chain(second).find_map(|name| headers.get(name));
    value.is_some_and(|v| put(out, String::from_utf8_lossy(v.as_bytes())))
}

fn certificate_operator(name: &str) -> Option<Operator> {
    let (upstream, rest) = match name.strip_prefix("UPSTREAM_") {
        Some(rest) => (true, rest),
        None => (false, name.strip_prefix("DOWNSTREAM_")?),
    };
    let (local, rest) = match rest.strip_prefix("LOCAL_") {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix("PEER_")?),
    };
    let field = match rest {
        "SUBJECT" => CertificateField::Subject,
        "ISSUER" => CertificateField::Issuer,
        "URI_SAN" => CertificateField::UriSan,
        "DNS_SAN" => CertificateField::DnsSan,
        "SERIAL" => CertificateField::Serial,
        "FINGERPRINT_256" => CertificateField::Fingerprint256,
        _ => return None,
    };
    Some(Operator::Certificate { upstream, local, field })
}

fn put_certificate(out: &mut String, tls: &TlsInfo, local: bool, field: CertificateField) -> bool {
    let certificate = if local {
        tls.local.as_ref()
    } else {
        tls.peer.as_ref().map(|p| &p.certificate)
    };
    let Some(certificate) = certificate else { return false };
    let join = |names: &mut dyn Iterator<Item = &str>| names.collect::<Vec<_>>().join(",");
    let text = match field {
        CertificateField::Subject => certificate.subject.clone(),
        CertificateField::Issuer => certificate.issuer.clone(),
        CertificateField::UriSan => join(&mut certificate.uris()),
        CertificateField::DnsSan => join(&mut certificate.dns_names()),
        CertificateField::Serial => certificate.serial.clone(),
        CertificateField::Fingerprint256 => certs::certificate::hex(&certificate.sha256),
    };
    put_text(out, Some(&text))
}

fn common_duration(argument: &str) -> Result<Operator, String> {
    let mut parts = argument.split(':');
    let (from, to, unit) = (
        parts.next().unwrap_or(""),
        parts.next().unwrap_or(""),
        parts.next().unwrap_or("ms"),
    );
    let moment =
        |name: &str| Moment::parse(name).ok_or(format!("{name:?} is not a moment that is kept, such as DS_RX_BEG"));
    let unit = match unit {
        "ms" => Unit::Millis,
        "us" => Unit::Micros,
        "ns" => Unit::Nanos,
        other => return Err(format!("{other:?} is not a unit: ms, us or ns")),
    };
    Ok(Operator::CommonDuration(moment(from)?, moment(to)?, unit))
}

impl Unit {
    fn of(self, d: Duration) -> u128 {
        match self {
            Self::Millis => d.as_millis(),
            Self::Micros => d.as_micros(),
            Self::Nanos => d.as_nanos(),
        }
    }
}

impl Moment {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "DS_RX_BEG" => Self::DownstreamStart,
            "DS_RX_END" => Self::DownstreamRxEnd,
            "US_CX_BEG" => Self::UpstreamConnectStart,
            "US_CX_END" => Self::UpstreamConnectEnd,
            "US_TX_BEG" => Self::UpstreamTxStart,
            "US_TX_END" => Self::UpstreamTxEnd,
            "US_RX_BEG" => Self::UpstreamRxStart,
            "US_RX_END" => Self::UpstreamRxEnd,
            "DS_TX_BEG" => Self::DownstreamTxStart,
            "DS_TX_END" => Self::DownstreamTxEnd,
            _ => return None,
        })
    }

    fn of(self, facts: &Facts<'_>) -> Option<Instant> {
        let times: &Times = &facts.info.times;
        match self {
            Self::DownstreamStart => Some(facts.info.start),
            Self::DownstreamRxEnd => times.last_downstream_rx,
            Self::UpstreamConnectStart => times.upstream_connect.map(|(at, _)| at),
            Self::UpstreamConnectEnd => times.upstream_connect.map(|(_, at)| at),
            Self::UpstreamTxStart => times.first_upstream_tx,
            Self::UpstreamTxEnd => times.last_upstream_tx,
            Self::UpstreamRxStart => times.first_upstream_rx,
            Self::UpstreamRxEnd => times.last_upstream_rx,
            Self::DownstreamTxStart => times.first_downstream_tx,
            Self::DownstreamTxEnd => times.last_downstream_tx,
        }
    }
}
