use std::cell::Cell;

use http::HeaderName;

use super::*;
use crate::{
    stats::{Prefix, StatsConfig, Store},
    trace::{
        decision::Fraction,
        otlp::{Export, Sampler},
        sender::Collector,
        zipkin::Encoding,
    },
};

fn collector() -> Collector {
    Collector {
        cluster: "c".into(),
        authority: HeaderValue::from_static("c"),
        path: HeaderValue::from_static("/"),
        headers: Vec::new(),
    }
}

fn zipkin(change: impl FnOnce(&mut Zipkin)) -> Tracer {
    let mut zipkin = Zipkin {
        collector: collector(),
        encoding: Encoding::Json,
        trace_id_128bit: false,
        timestamp_trace_ids: false,
        shared_span_context: true,
        split_spans_for_request: false,
        w3c: false,
        stats: Store::new(1, StatsConfig::default()).group(Prefix::root("tracing.zipkin.")),
    };
    change(&mut zipkin);
    Tracer::new(Exporter::Zipkin(zipkin), 0)
}

fn otlp(sampler: Option<Sampler>) -> Tracer {
    let otlp = Otlp {
        export: Export::Http(collector()),
        timeout: std::time::Duration::from_secs(1),
        sampler,
        max_cache_size: 1,
        resource: Box::default(),
        scope: None,
        stats: Store::new(1, StatsConfig::default()).group(Prefix::root("tracing.opentelemetry.")),
    };
    Tracer::new(Exporter::Otlp(Box::new(otlp)), 0)
}

const B3: &[(&str, &str)] = &[
    ("x-b3-traceid", "00000000000000aa00000000000000bb"),
    ("x-b3-spanid", "cc"),
    ("x-b3-parentspanid", "dd"),
];
const CALLER: SpanContext = SpanContext {
    trace_high: 0xaa,
    trace_low: 0xbb,
    span: 0xcc,
    parent: 0xdd,
    sampled: true,
};
const W3C: (&str, &str) = ("traceparent", "00-00000000000000aa00000000000000bb-00000000000000cc-00");

/// Random numbers are 1, 2, 3...
fn started(
    tracer: &Tracer,
    fields: &[(&'static str, &'static str)],
    change: impl FnOnce(&mut Begin<'_>),
) -> Option<Span> {
    let field =
        |(name, value): &(&'static str, &'static str)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let headers: HeaderMap = fields.iter().map(field).collect();
    let mut begin = Begin {
        headers: &headers,
        traced: true,
        egress: true,
        spawns: false,
        start_time: SystemTime::UNIX_EPOCH,
        start: Instant::now(),
    };
    change(&mut begin);
    let last = Cell::new(0);
    let random = || {
        last.set(last.get() + 1);
        last.get()
    };
    tracer.start(&begin, random).map(|(span, _)| span)
}

fn context(
    tracer: &Tracer,
    fields: &[(&'static str, &'static str)],
    change: impl FnOnce(&mut Begin<'_>),
) -> SpanContext {
    started(tracer, fields, change).unwrap().context
}

#[test]
fn zipkins_first_span_has_the_id_of_its_trace() {
    let first = SpanContext {
        trace_high: 0,
        trace_low: 1,
        span: 1,
        parent: 0,
        sampled: true,
    };
    assert_eq!(context(&zipkin(|_| {}), &[], |_| {}), first);
    let long = zipkin(|z| z.trace_id_128bit = true);
    assert_eq!(context(&long, &[], |_| {}).trace_high, 2);
    let dated = zipkin(|z| (z.trace_id_128bit, z.timestamp_trace_ids) = (true, true));
    let at = |begin: &mut Begin<'_>| begin.start_time += std::time::Duration::from_secs(0x1234);
    assert_eq!(context(&dated, &[], at).trace_high, 0x1234 << 32);
    assert!(!context(&zipkin(|_| {}), &[], |b| b.traced = false).sampled);
}

#[test]
fn zipkins_servers_share_their_clients_span() {
    let below = SpanContext {
        span: 1,
        parent: 0xcc,
        ..CALLER
    };
    let tracer = zipkin(|_| {});
    assert_eq!(context(&tracer, B3, |_| {}), below);
    assert_eq!(context(&tracer, B3, |b| b.egress = false), CALLER);
    // A proxy that shows its attempts is a server to its client, wherever it stands.
    assert_eq!(context(&tracer, B3, |b| b.spawns = true), CALLER);
    let alone = zipkin(|z| z.shared_span_context = false);
    assert_eq!(context(&alone, B3, |b| b.egress = false), below);
    let split = zipkin(|z| z.split_spans_for_request = true);
    assert_eq!(started(&split, B3, |_| {}).unwrap().kind, Kind::Server);
}

#[test]
fn what_b3_says_of_sampling_goes_before_the_decision() {
    let tracer = zipkin(|_| {});
    assert!(context(&tracer, &[("x-b3-sampled", "1")], |b| b.traced = false).sampled);
    assert!(!context(&tracer, &[("x-b3-sampled", "0")], |_| {}).sampled);
    assert!(context(&tracer, &[("b3", "d")], |b| b.traced = false).sampled);
    assert!(!context(&tracer, B3, |b| b.traced = false).sampled);
    assert!(started(&tracer, &[("b3", "x")], |_| {}).is_none());
}

#[test]
fn zipkin_reads_w3c_where_it_is_told_to_and_there_is_no_b3() {
    assert_eq!(context(&zipkin(|_| {}), &[W3C], |_| {}).trace_low, 1);
    let tracer = zipkin(|z| z.w3c = true);
    let read = context(&tracer, &[W3C], |_| {});
    assert_eq!((read.trace_low, read.parent, read.sampled), (0xbb, 0xcc, false));
    // Of sampling B3 has the last word, even by itself.
    assert!(context(&tracer, &[W3C, ("x-b3-sampled", "1")], |_| {}).sampled);
    assert_eq!(context(&tracer, &[W3C, ("b3", "1")], |_| {}).trace_low, 1);
    // What is malformed is no context, while malformed B3 makes the request none of ours.
    assert_eq!(context(&tracer, &[("traceparent", "x")], |_| {}).trace_low, 1);
    assert!(started(&tracer, &[W3C, ("x-b3-traceid", "zz"), ("x-b3-spanid", "1")], |_| {}).is_none());
}

#[test]
fn opentelemetry_samples_what_proxy_and_caller_both_want() {
    let plain = otlp(None);
    let sampled = ("traceparent", "00-00000000000000aa00000000000000bb-00000000000000cc-01");
    for (field, traced, expected) in [(sampled, true, true), (W3C, true, false), (sampled, false, false)] {
        let context = context(&plain, &[field], |b| b.traced = traced);
        assert_eq!((context.parent, context.sampled), (0xcc, expected));
    }
    assert!(context(&plain, &[], |_| {}).sampled);
    assert!(!context(&plain, &[], |b| b.traced = false).sampled);
    assert!(started(&plain, &[("traceparent", "x")], |_| {}).is_none());
}

#[test]
fn a_sampler_overrules_the_caller_and_not_the_proxy() {
    let always = otlp(Some(Sampler::AlwaysOn));
    assert!(context(&always, &[W3C], |_| {}).sampled);
    assert!(!context(&always, &[W3C], |b| b.traced = false).sampled);
    let parent = otlp(Some(Sampler::ParentBased(Box::new(Sampler::AlwaysOn))));
    assert!(!context(&parent, &[W3C], |_| {}).sampled);
    assert!(context(&parent, &[], |_| {}).sampled);
    let number = 0xaa_u64.swap_bytes() % 100;
    let share = |numerator| {
        otlp(Some(Sampler::TraceIdRatio(Fraction {
            numerator,
            denominator: 100,
        })))
    };
    assert!(!context(&share(number), &[W3C], |_| {}).sampled);
    assert!(context(&share(number + 1), &[W3C], |_| {}).sampled);
}

#[test]
fn spans_of_attempts_are_below_that_of_the_request() {
    let now = (SystemTime::UNIX_EPOCH, Instant::now());
    let tracer = zipkin(|_| {});
    let server = started(&tracer, B3, |b| b.egress = false).unwrap();
    let own = tracer.child(&server, true, now, || 7);
    assert_eq!(
        (own.context.span, own.context.parent, own.kind),
        (7, 0xcc, Kind::Client)
    );
    // Told from the server's side it shares the server's ids, as Envoy has it.
    let side = tracer.child(&server, false, now, || 7);
    assert_eq!((side.context, side.kind), (server.context, Kind::Server));
}
