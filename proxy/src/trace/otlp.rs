//! OpenTelemetry: who samples, and spans as OTLP takes them (`opentelemetry.proto.collector.trace.v1`), put together by hand.

use std::time::{Duration, SystemTime};

use bytes::BufMut;
use http::HeaderValue;
use prost::encoding::{WireType, encode_key};

use super::{
    context::SpanContext,
    decision::Fraction,
    sender::{Collector, nanos},
    span::{Kind, Span, Tag, Tags, ValueType},
    tracer::{Begin, Propagation, below},
    w3c,
};
use crate::{
    config::wire,
    stats::{Group, OpenTelemetryStat},
    upstream::call::grpc::Destination,
};

/// `envoy.config.trace.v3.OpenTelemetryConfig`, parsed.
#[derive(Debug)]
pub struct Otlp {
    pub export: Export,
    /// Of one message; the server is not told.
    pub timeout: Duration,
    /// `None`: what the caller says, else the proxy's decision.
    pub sampler: Option<Sampler>,
    /// Spans that wait at most. Envoy's default: 1024.
    pub max_cache_size: u64,
    /// The `Resource` and, where it is told, the `InstrumentationScope` of every message, as they are sent.
    pub resource: Box<[u8]>,
    pub scope: Option<Box<[u8]>>,
    pub stats: Group<OpenTelemetryStat>,
}

#[derive(Debug)]
pub enum Export {
    Grpc(Destination),
    Http(Collector),
}

/// Of requests that the proxy decided to trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sampler {
    AlwaysOn,
    TraceIdRatio(Fraction),
    /// What the caller says; the other one where there is none.
    ParentBased(Box<Self>),
}

impl Sampler {
    fn samples(&self, caller: Option<&SpanContext>, trace_high: u64) -> bool {
        match self {
            Self::AlwaysOn => true,
            // Envoy takes the first bytes of the id for a number in the processor's order.
            Self::TraceIdRatio(fraction) => trace_high.swap_bytes() % fraction.denominator < fraction.numerator,
            Self::ParentBased(other) => caller.map_or_else(|| other.samples(None, trace_high), |caller| caller.sampled),
        }
    }
}

impl Otlp {
    pub(super) fn start(&self, begin: &Begin<'_>, random: impl Fn() -> u64) -> Option<(Span, Propagation)> {
        let caller = match w3c::extract(begin.headers) {
            w3c::Told::Malformed => return None,
            w3c::Told::Context(caller) => Some(caller),
            w3c::Told::Nothing => None,
        };
        let tracestate = caller.and_then(|_| begin.headers.get(w3c::TRACESTATE)).cloned();
        let mut context = match &caller {
            Some(caller) => below(caller, random()),
            None => SpanContext {
                trace_high: random(),
                trace_low: random(),
                span: random(),
                parent: 0,
                sampled: true,
            },
        };
        context.sampled = begin.traced
            && match &self.sampler {
                Some(sampler) => sampler.samples(caller.as_ref(), context.trace_high),
                None => context.sampled,
            };
        let propagation = Propagation::W3c {
            tracestate: tracestate.unwrap_or(HeaderValue::from_static("")),
        };
        Some((begin.span(context, begin.kind(), caller.is_some()), propagation))
    }

    /// Appends a span to those that wait.
    pub(super) fn write(&self, out: &mut Vec<u8>, span: &Span, end: SystemTime, tracestate: &[u8]) {
        wire::append(out, field::SPANS, &written(span, end, tracestate));
    }

    /// What is sent of spans that were appended.
    pub(super) fn body(&self, spans: &[u8]) -> Vec<u8> {
        let mut of_scope = Vec::with_capacity(spans.len());
        if let Some(scope) = &self.scope {
            wire::append(&mut of_scope, field::SCOPE, scope);
        }
        of_scope.put_slice(spans);
        let mut of_resource = Vec::with_capacity(of_scope.len() + self.resource.len());
        if !self.resource.is_empty() {
            wire::append(&mut of_resource, field::RESOURCE, &self.resource);
        }
        wire::append(&mut of_resource, field::SCOPE_SPANS, &of_scope);
        let mut request = Vec::with_capacity(of_resource.len());
        wire::append(&mut request, field::RESOURCE_SPANS, &of_resource);
        request
    }
}

/// A `Resource` of these attributes.
pub fn resource<'a>(attributes: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in attributes {
        wire::append(&mut out, field::ATTRIBUTES, &attribute(name, value, ValueType::String));
    }
    out
}

/// An `InstrumentationScope`.
pub fn scope(name: &str, version: &str) -> Vec<u8> {
    let mut out = Vec::new();
    wire::append(&mut out, field::KEY, name.as_bytes());
    wire::append(&mut out, field::VALUE, version.as_bytes());
    out
}

/// Numbers of fields, from `ExportTraceServiceRequest` inwards.
mod field {
    pub(super) const RESOURCE_SPANS: u32 = 1;
    /// Of `ResourceSpans`.
    pub(super) const RESOURCE: u32 = 1;
    pub(super) const SCOPE_SPANS: u32 = 2;
    /// Of `ScopeSpans`.
    pub(super) const SCOPE: u32 = 1;
    pub(super) const SPANS: u32 = 2;
    /// Of `Resource`.
    pub(super) const ATTRIBUTES: u32 = 1;
    /// Of `KeyValue`, and the name and version of `InstrumentationScope`.
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    /// Of `AnyValue`.
    pub(super) const STRING: u32 = 1;
    pub(super) const BOOL: u32 = 2;
    pub(super) const INT: u32 = 3;
    pub(super) const DOUBLE: u32 = 4;
    /// Of `Span`.
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const TRACE_STATE: u32 = 3;
    pub(super) const PARENT_SPAN_ID: u32 = 4;
    pub(super) const NAME: u32 = 5;
    pub(super) const KIND: u32 = 6;
    pub(super) const START: u32 = 7;
    pub(super) const END: u32 = 8;
    pub(super) const SPAN_ATTRIBUTES: u32 = 9;
    pub(super) const EVENTS: u32 = 11;
    pub(super) const STATUS: u32 = 15;
    pub(super) const FLAGS: u32 = 16;
    /// Of `Event`.
    pub(super) const TIME: u32 = 1;
    pub(super) const EVENT_NAME: u32 = 2;
    /// Of `Status`.
    pub(super) const CODE: u32 = 3;
}

fn written(span: &Span, end: SystemTime, tracestate: &[u8]) -> Vec<u8> {
    const SERVER: u64 = 2;
    const CLIENT: u64 = 3;
    let context = &span.context;
    let mut out = Vec::new();
    let trace_id = [context.trace_high.to_be_bytes(), context.trace_low.to_be_bytes()].concat();
    wire::append(&mut out, field::TRACE_ID, &trace_id);
    wire::append(&mut out, field::SPAN_ID, &context.span.to_be_bytes());
    if !tracestate.is_empty() {
        wire::append(&mut out, field::TRACE_STATE, tracestate);
    }
    if context.parent != 0 {
        wire::append(&mut out, field::PARENT_SPAN_ID, &context.parent.to_be_bytes());
    }
    wire::append(&mut out, field::NAME, span.name.as_bytes());
    let kind = match span.kind {
        Kind::Server => SERVER,
        Kind::Client => CLIENT,
    };
    wire::append_varint(&mut out, field::KIND, kind);
    wire::append_fixed64(&mut out, field::START, nanos(span.start_time));
    wire::append_fixed64(&mut out, field::END, nanos(end));
    for Tag {
        name,
        value,
        value_type,
    } in span.tags.iter()
    {
        wire::append(&mut out, field::SPAN_ATTRIBUTES, &attribute(name, value, *value_type));
    }
    for (after, what) in &span.events {
        let mut event = Vec::new();
        wire::append_fixed64(&mut event, field::TIME, nanos(span.start_time + *after));
        wire::append(&mut event, field::EVENT_NAME, what.as_bytes());
        wire::append(&mut out, field::EVENTS, &event);
    }
    if let Some(failed) = status(&span.tags, span.kind) {
        const ERROR: u64 = 2;
        let mut status = Vec::new();
        if failed {
            wire::append_varint(&mut status, field::CODE, ERROR);
        }
        wire::append(&mut out, field::STATUS, &status);
    }
    encode_key(field::FLAGS, WireType::ThirtyTwoBit, &mut out);
    out.put_u32_le(flags(span));
    out
}

/// W3C's flags, and whether the parent is another process's.
fn flags(span: &Span) -> u32 {
    const SAMPLED: u32 = 1;
    const HAS_IS_REMOTE: u32 = 0x100;
    const IS_REMOTE: u32 = 0x200;
    let sampled = if span.context.sampled { SAMPLED } else { 0 };
    let remote = if span.remote_parent { IS_REMOTE } else { 0 };
    sampled | HAS_IS_REMOTE | remote
}

/// Whether the span failed, as OpenTelemetry's conventions for HTTP and gRPC have it; `None`: nothing is said. To a client
/// every refusal is a failure, to a server only its own.
fn status(tags: &Tags, kind: Kind) -> Option<bool> {
    /// UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
    const SERVERS_OWN: [&str; 6] = ["2", "4", "12", "13", "14", "15"];
    let least = match kind {
        Kind::Client => 400,
        Kind::Server => 500,
    };
    let code: u16 = tags.get("http.status_code")?.parse().ok()?;
    let http = (code >= least).then_some(true);
    let grpc = tags.get("grpc.status_code").map(|code| match kind {
        Kind::Client => code != "0",
        Kind::Server => SERVERS_OWN.contains(&code),
    });
    match (http, grpc) {
        (Some(true), _) => Some(true),
        (_, grpc) => grpc,
    }
}

fn attribute(name: &str, value: &str, value_type: ValueType) -> Vec<u8> {
    let mut any = Vec::new();
    let typed = match value_type {
        ValueType::String => None,
        ValueType::Int => value
            .parse()
            .ok()
            .map(|int: i64| wire::append_varint(&mut any, field::INT, int as u64)),
        ValueType::Bool => value
            .parse()
            .ok()
            .map(|bool: bool| wire::append_varint(&mut any, field::BOOL, bool.into())),
        ValueType::Double => value
            .parse()
            .ok()
            .map(|double: f64| wire::append_fixed64(&mut any, field::DOUBLE, double.to_bits())),
    };
    if typed.is_none() {
        wire::append(&mut any, field::STRING, value.as_bytes());
    }
    let mut out = Vec::new();
    wire::append(&mut out, field::KEY, name.as_bytes());
    wire::append(&mut out, field::VALUE, &any);
    out
}
