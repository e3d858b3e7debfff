//! Zipkin: its spans' ids, and spans as its collectors take them (API v2, JSON and protobuf).

use std::{net::IpAddr, time::SystemTime};

use serde::Serialize;

use super::{
    b3,
    context::{SpanContext, Text},
    sender::{Collector, micros},
    span::{Kind, Span, Tags},
    tracer::{Begin, Propagation, below},
    w3c,
};
use crate::{
    config::wire,
    stats::{Group, ZipkinStat},
};

/// `envoy.config.trace.v3.ZipkinConfig`, parsed.
#[derive(Debug)]
pub struct Zipkin {
    pub collector: Collector,
    pub encoding: Encoding,
    /// Traces that begin here have ids of 128 bits.
    pub trace_id_128bit: bool,
    /// Such ids begin with the time in seconds.
    pub timestamp_trace_ids: bool,
    /// A server's span has its client's id. Envoy's default: true.
    pub shared_span_context: bool,
    /// The older name of `spawn_upstream_span`, without the spans.
    pub split_spans_for_request: bool,
    /// `traceparent` is written too, and read where there is no B3.
    pub w3c: bool,
    pub stats: Group<ZipkinStat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Proto,
}

/// Of the proxy, in its spans.
#[derive(Debug, Clone, Copy)]
pub struct LocalEndpoint<'a> {
    pub service: &'a str,
    pub address: Option<IpAddr>,
}

impl Zipkin {
    pub(super) fn start(&self, begin: &Begin<'_>, random: impl Fn() -> u64) -> Option<(Span, Propagation)> {
        let told = b3::extract(begin.headers);
        let mut sampled = told.sampled;
        let caller = match told.context {
            b3::Context::Malformed => return None,
            b3::Context::Span(caller) => Some(caller),
            b3::Context::Nothing if self.w3c && !told.single => match w3c::extract(begin.headers) {
                w3c::Told::Context(caller) => {
                    sampled = sampled.or(Some(caller.sampled));
                    Some(caller)
                }
                w3c::Told::Nothing | w3c::Told::Malformed => None,
            },
            b3::Context::Nothing => None,
        };
        let sampled = sampled.unwrap_or(begin.traced);
        let kind = if self.split_spans_for_request {
            Kind::Server
        } else {
            begin.kind()
        };
        let context = match caller {
            Some(caller) => self.continued(&SpanContext { sampled, ..caller }, kind, random),
            None => self.root(sampled, begin.start_time, random),
        };
        let propagation = Propagation::B3 {
            single: told.single,
            w3c: self.w3c,
        };
        Some((begin.span(context, kind, caller.is_some()), propagation))
    }

    fn root(&self, sampled: bool, start: SystemTime, random: impl Fn() -> u64) -> SpanContext {
        let span = random();
        let trace_high = match (self.trace_id_128bit, self.timestamp_trace_ids) {
            (false, _) => 0,
            (true, false) => random(),
            (true, true) => ((micros(start) / 1_000_000) << u32::BITS) | (random() >> u32::BITS),
        };
        SpanContext {
            trace_high,
            trace_low: span,
            span,
            parent: 0,
            sampled,
        }
    }

    /// The context of a span that `caller` called, which may be its other side.
    pub(super) fn continued(&self, caller: &SpanContext, kind: Kind, random: impl Fn() -> u64) -> SpanContext {
        if kind == Kind::Server && self.shared_span_context {
            *caller
        } else {
            below(caller, random())
        }
    }

    /// Appends a span to those that wait.
    pub(super) fn write(&self, out: &mut Vec<u8>, span: &Span, end: SystemTime, local: LocalEndpoint<'_>) {
        let shared = span.kind == Kind::Server && self.shared_span_context;
        match self.encoding {
            Encoding::Json => {
                if !out.is_empty() {
                    out.push(b',');
                }
                write_json(out, span, shared, end, local);
            }
            Encoding::Proto => wire::append(out, SPANS, &proto(span, shared, end, local)),
        }
    }

    /// What is sent of spans that were appended.
    pub(super) fn body(&self, spans: Vec<u8>) -> Vec<u8> {
        match self.encoding {
            Encoding::Json => [b"[", &*spans, b"]"].concat(),
            Encoding::Proto => spans,
        }
    }
}

/// What was marked at the end of a span when that was still an annotation; Envoy tells it to this day.
fn mark(kind: Kind) -> &'static str {
    match kind {
        Kind::Client => "cr",
        Kind::Server => "ss",
    }
}

/// (microseconds since 1970, what).
fn annotations(span: &Span, end: SystemTime) -> impl Iterator<Item = (u64, &'static str)> {
    let events = span
        .events
        .iter()
        .map(|(after, what)| (micros(span.start_time + *after), *what));
    events.chain([(micros(end), mark(span.kind))])
}

fn duration(span: &Span, end: SystemTime) -> u64 {
    micros(end).saturating_sub(micros(span.start_time))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonSpan<'a> {
    trace_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<&'a str>,
    id: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    timestamp: u64,
    duration: u64,
    local_endpoint: JsonEndpoint<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    shared: bool,
    annotations: Vec<JsonAnnotation>,
    #[serde(serialize_with = "json_tags")]
    tags: &'a Tags,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonEndpoint<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    service_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6: Option<IpAddr>,
    port: u16,
}

#[derive(Serialize)]
struct JsonAnnotation {
    timestamp: u64,
    value: &'static str,
}

fn json_tags<S: serde::Serializer>(tags: &Tags, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(told(tags))
}

/// Zipkin knows no empty tags.
fn told(tags: &Tags) -> impl Iterator<Item = (&str, &str)> {
    tags.iter()
        .filter(|tag| !tag.value.is_empty())
        .map(|tag| (&*tag.name, &*tag.value))
}

const PORT: u16 = 0;

fn write_json(out: &mut Vec<u8>, span: &Span, shared: bool, end: SystemTime, local: LocalEndpoint<'_>) {
    let id = |number| Text::<16>::new().hex(number);
    let context = &span.context;
    let (trace_id, span_id, parent_id) = (
        Text::<32>::new().trace_id(context),
        id(context.span),
        id(context.parent),
    );
    let whole = JsonSpan {
        trace_id: trace_id.as_str(),
        parent_id: (context.parent != 0).then_some(parent_id.as_str()),
        id: span_id.as_str(),
        kind: match span.kind {
            Kind::Client => "CLIENT",
            Kind::Server => "SERVER",
        },
        name: &span.name,
        timestamp: micros(span.start_time),
        duration: duration(span, end),
        local_endpoint: JsonEndpoint {
            service_name: local.service,
            ipv4: local.address.filter(IpAddr::is_ipv4),
            ipv6: local.address.filter(IpAddr::is_ipv6),
            port: PORT,
        },
        shared,
        annotations: annotations(span, end)
            .map(|(timestamp, value)| JsonAnnotation { timestamp, value })
            .collect(),
        tags: &span.tags,
    };
    // Writing to memory cannot fail.
    let _ = serde_json::to_writer(out, &whole);
}

/// Numbers of fields: of `zipkin.proto3.ListOfSpans`, and of what stands in it.
const SPANS: u32 = 1;
mod field {
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const PARENT_ID: u32 = 2;
    pub(super) const ID: u32 = 3;
    pub(super) const KIND: u32 = 4;
    pub(super) const NAME: u32 = 5;
    pub(super) const TIMESTAMP: u32 = 6;
    pub(super) const DURATION: u32 = 7;
    pub(super) const LOCAL_ENDPOINT: u32 = 8;
    pub(super) const ANNOTATIONS: u32 = 10;
    pub(super) const TAGS: u32 = 11;
    pub(super) const SHARED: u32 = 13;
    /// Of `Endpoint`.
    pub(super) const SERVICE_NAME: u32 = 1;
    pub(super) const IPV4: u32 = 2;
    pub(super) const IPV6: u32 = 3;
    /// Of `Annotation`, and of an entry of the tags.
    pub(super) const FIRST: u32 = 1;
    pub(super) const SECOND: u32 = 2;
}

/// The ids of spans are written in the processor's order, lowest byte first, as Envoy writes them.
fn proto(span: &Span, shared: bool, end: SystemTime, local: LocalEndpoint<'_>) -> Vec<u8> {
    const CLIENT: u64 = 1;
    const SERVER: u64 = 2;
    let context = &span.context;
    let mut out = Vec::new();
    let mut trace_id = [context.trace_high.to_be_bytes(), context.trace_low.to_be_bytes()].concat();
    if context.trace_high == 0 {
        trace_id.drain(..size_of::<u64>());
    }
    wire::append(&mut out, field::TRACE_ID, &trace_id);
    if context.parent != 0 {
        wire::append(&mut out, field::PARENT_ID, &context.parent.to_le_bytes());
    }
    wire::append(&mut out, field::ID, &context.span.to_le_bytes());
    let kind = match span.kind {
        Kind::Client => CLIENT,
        Kind::Server => SERVER,
    };
    wire::append_varint(&mut out, field::KIND, kind);
    wire::append(&mut out, field::NAME, span.name.as_bytes());
    wire::append_fixed64(&mut out, field::TIMESTAMP, micros(span.start_time));
    wire::append_varint(&mut out, field::DURATION, duration(span, end));
    let mut endpoint = Vec::new();
    wire::append(&mut endpoint, field::SERVICE_NAME, local.service.as_bytes());
    match local.address {
        Some(IpAddr::V4(ip)) => wire::append(&mut endpoint, field::IPV4, &ip.octets()),
        Some(IpAddr::V6(ip)) => wire::append(&mut endpoint, field::IPV6, &ip.octets()),
        None => {}
    }
    wire::append(&mut out, field::LOCAL_ENDPOINT, &endpoint);
    for (timestamp, value) in annotations(span, end) {
        let mut annotation = Vec::new();
        wire::append_fixed64(&mut annotation, field::FIRST, timestamp);
        wire::append(&mut annotation, field::SECOND, value.as_bytes());
        wire::append(&mut out, field::ANNOTATIONS, &annotation);
    }
    for (name, value) in told(&span.tags) {
        let mut entry = Vec::new();
        wire::append(&mut entry, field::FIRST, name.as_bytes());
        wire::append(&mut entry, field::SECOND, value.as_bytes());
        wire::append(&mut out, field::TAGS, &entry);
    }
    if shared {
        wire::append_varint(&mut out, field::SHARED, 1);
    }
    out
}
