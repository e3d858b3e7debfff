//! A request and its trace: the decision when it comes, what its upstreams are told, its spans when it ends.
//!
//! Without tracing in the config none of it costs more than a look; without a provider nothing is kept of a request.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{HeaderMap, HeaderName, StatusCode};

use super::{
    admission::request_id,
    message::ResponseHead,
    stream::{Stream, StreamEnd},
};
use crate::{
    failure::{ResetReason, ResponseFlags},
    format::{Facts, Format},
    listener::TrafficDirection,
    stats::HttpStat,
    trace::{
        Operations, Reason, RouteTracing, Span, Tracer, Tracing, custom_tag, decision,
        tags::{self, Attempt},
        tracer::{Begin, Propagation, below},
    },
};

const CLIENT_TRACE_ID: HeaderName = HeaderName::from_static("x-client-trace-id");
const FORCE_TRACE: HeaderName = HeaderName::from_static("x-envoy-force-trace");
const DECORATOR_OPERATION: HeaderName = HeaderName::from_static("x-envoy-decorator-operation");

/// The spans of a request that a tracer knows of.
#[derive(Debug)]
pub struct Spans {
    tracer: Arc<Tracer>,
    propagation: Propagation,
    span: Span,
    /// The router was told to begin a span for each attempt, whatever the connection manager says.
    pub start_child_span: bool,
    /// Of the attempt whose answer is awaited or relayed.
    upstream: Option<Upstream>,
}

#[derive(Debug)]
struct Upstream {
    span: Span,
    /// As it was answered.
    code: Option<StatusCode>,
}

/// What a response has to do with the names of spans.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Decoration {
    #[default]
    None,
    /// It tells the client what its route calls the operation.
    Tell,
    /// It may tell what the server calls the operation.
    Heed,
}

/// Decides, once its first route is chosen.
pub fn begin(stream: &mut Stream<'_>) {
    let Some(tracing) = &stream.manager.tracing else {
        return;
    };
    // A request that begins anew was decided on before.
    if stream.info.trace_reason.is_some() {
        return;
    }
    let worker = stream.worker;
    let route = stream.info.route.clone();
    let of_route = route.as_deref().and_then(|route| route.tracing.as_deref());
    let headers = &stream.request.headers;
    let decision = decision::decide(&decision::Facts {
        sampling: of_route.map_or(&tracing.sampling, |own| &own.sampling),
        settings: stream.manager.request_id,
        request_id: stream.info.request_id.as_ref().map(|id| id.as_bytes()),
        has_client_trace_id: headers.contains_key(CLIENT_TRACE_ID),
        has_force_trace: headers.contains_key(FORCE_TRACE),
        runtime: &worker.snapshot().runtime,
        random: worker.random(),
    });
    if let Some(digit) = decision.digit {
        request_id::tell(&mut stream.request, &mut stream.info, digit);
    }
    stream.info.trace_reason = Some(decision.reason);
    let egress = stream.info.connection.direction == TrafficDirection::Outbound;
    if let Some(tracer) = tracing.tracer.as_ref().or(worker.shared.tracer.as_ref()) {
        let begin = Begin {
            headers: &stream.request.headers,
            traced: decision.reason.is_traced(),
            egress,
            spawns: tracing.spawn_upstream_span,
            start_time: stream.info.start_time,
            start: stream.info.start,
        };
        let started = tracer.start(&begin, || worker.random());
        stream.spans = started.map(|(span, propagation)| {
            Box::new(Spans {
                tracer: tracer.clone(),
                propagation,
                span,
                start_child_span: false,
                upstream: None,
            })
        });
    }
    name(stream, tracing, of_route, egress);
}

/// Names the span, and tells or hears the name where nobody configured one.
fn name(stream: &mut Stream<'_>, tracing: &Tracing, of_route: Option<&RouteTracing>, egress: bool) {
    if let Some(spans) = &mut stream.spans
        && spans.span.context.sampled
    {
        spans.span.name = spans.tracer.name(stream.request.authority_str(), egress);
        spans.span.tags.reserve(tags::TYPICAL);
        tags::local(&mut spans.span.tags, &stream.worker.shared.node);
    }
    if let Some(format) = operation(tracing, of_route, |operations| operations.downstream.as_ref()) {
        return rename(stream, |stream| printed(format, &stream.facts()));
    }
    let route = stream.info.route.clone();
    let decorator = route.as_deref().and_then(|route| route.decorator.as_ref());
    if let Some(decorator) = decorator {
        rename(stream, |_| text(&decorator.operation));
    }
    let told = decorator.filter(|decorator| decorator.propagate);
    if egress {
        stream.kept.decoration = Decoration::Heed;
        if let Some(decorator) = told {
            let headers = &mut stream.request.headers;
            headers.insert(DECORATOR_OPERATION, decorator.operation.clone());
        }
        return;
    }
    match stream.request.headers.remove(DECORATOR_OPERATION) {
        Some(operation) if !operation.is_empty() => rename(stream, |_| text(&operation)),
        _ if told.is_some() => stream.kept.decoration = Decoration::Tell,
        _ => {}
    }
}

/// Where there is a span that will tell it. An empty name is none.
fn rename(stream: &mut Stream<'_>, name: impl FnOnce(&Stream<'_>) -> String) {
    if !tells(stream) {
        return;
    }
    let name = name(stream);
    if let Some(spans) = &mut stream.spans
        && !name.is_empty()
    {
        spans.span.name = name;
    }
}

/// A response head on its way down. Only now is the decision counted, as in Envoy: not of requests that are never answered,
/// and of those that were refused before anybody decided.
pub fn answer(stream: &mut Stream<'_>, head: &mut ResponseHead) {
    if stream.manager.tracing.is_none() {
        return;
    }
    stream.manager.stats.inc(match stream.info.trace_reason {
        None | Some(Reason::NotTraceable) => HttpStat::TracingNotTraceable,
        Some(Reason::Sampling) => HttpStat::TracingRandomSampling,
        Some(Reason::ServiceForced) => HttpStat::TracingServiceForced,
        Some(Reason::ClientForced) => HttpStat::TracingClientEnabled,
    });
    match stream.kept.decoration {
        Decoration::None => {}
        Decoration::Tell => {
            if let Some(decorator) = stream.info.route.as_deref().and_then(|route| route.decorator.as_ref()) {
                head.headers.insert(DECORATOR_OPERATION, decorator.operation.clone());
            }
        }
        Decoration::Heed => {
            if let Some(operation) = head.headers.remove(DECORATOR_OPERATION) {
                rename(stream, |_| text(&operation));
            }
        }
    }
}

/// An attempt at an endpoint begins: its request tells of the trace.
pub fn attempt(stream: &mut Stream<'_>) {
    let (Some(spans), Some(tracing)) = (&stream.spans, &stream.manager.tracing) else {
        return;
    };
    let worker = stream.worker;
    let spawns = tracing.spawn_upstream_span;
    let mut upstream = None;
    if spawns || spans.start_child_span {
        let now = (SystemTime::now(), Instant::now());
        let mut span = spans.tracer.child(&spans.span, spawns, now, || worker.random());
        if span.context.sampled {
            let route = stream.info.route.clone();
            let of_route = route.as_deref().and_then(|route| route.tracing.as_deref());
            let named = operation(tracing, of_route, |operations| operations.upstream.as_ref());
            span.name = named.map(|format| printed(format, &stream.facts())).unwrap_or_default();
            if span.name.is_empty() {
                let cluster = stream.info.upstream.cluster.as_ref();
                span.name = format!("router {} egress", cluster.map_or("", |cluster| &*cluster.stat_name));
            }
            let retries = stream.info.upstream.attempts.saturating_sub(1);
            if retries > 0 {
                span.tags.set("retry.count", retries.to_string());
            }
        }
        upstream = Some(Upstream { span, code: None });
    }
    let Some(spans) = &mut stream.spans else { return };
    if !tracing.no_context_propagation {
        let context = upstream
            .as_ref()
            .map_or(&spans.span.context, |upstream| &upstream.span.context);
        spans.propagation.inject(&mut stream.request.headers, context);
    }
    spans.upstream = upstream;
}

/// A copy of the request tells of the trace as an attempt does. `sampled`: as the route has it, else as the request is.
pub fn copy(stream: &Stream<'_>, headers: &mut HeaderMap, sampled: Option<bool>) {
    let (Some(spans), Some(tracing)) = (&stream.spans, &stream.manager.tracing) else {
        return;
    };
    if !tracing.no_context_propagation {
        let of = &spans.span.context;
        let mut context = below(of, stream.worker.random());
        context.sampled = sampled.unwrap_or(of.sampled);
        spans.propagation.inject(headers, &context);
    }
}

/// How an attempt ended that is not relayed.
#[derive(Debug, Clone, Copy)]
pub enum Ended {
    Reset(ResetReason),
    /// Its own time was over.
    PerTryTimeout,
    /// Nobody waits for it any more.
    Abandoned,
}

/// The attempt was answered; whether the answer is relayed shows later.
pub fn answered(stream: &mut Stream<'_>, head: &ResponseHead) {
    if let Some(upstream) = stream.spans.as_mut().and_then(|spans| spans.upstream.as_mut()) {
        upstream.code = Some(head.status);
    }
}

/// The attempt is over, if there was one. `head`: as it was answered, where the answer is not the stream's.
pub fn attempt_over(stream: &mut Stream<'_>, ended: Ended, head: Option<&ResponseHead>) {
    let attempt = match ended {
        Ended::Reset(reason) => Attempt {
            reset: Some(reason),
            connected: !matches!(
                reason,
                ResetReason::ConnectFailure | ResetReason::ConnectTimeout | ResetReason::Overflow
            ),
            flags: reason.flag(),
            ..Attempt::default()
        },
        Ended::PerTryTimeout => Attempt {
            canceled: true,
            connected: true,
            flags: ResponseFlags::UPSTREAM_REQUEST_TIMEOUT,
            ..Attempt::default()
        },
        Ended::Abandoned => Attempt {
            canceled: true,
            connected: true,
            ..Attempt::default()
        },
    };
    end_upstream(stream, attempt, head);
}

fn end_upstream(stream: &mut Stream<'_>, mut attempt: Attempt, head: Option<&ResponseHead>) {
    let Some(Upstream { mut span, code }) = stream.spans.as_mut().and_then(|spans| spans.upstream.take()) else {
        return;
    };
    if !span.context.sampled {
        return;
    }
    attempt.code = code.map(|code| code.as_u16());
    let Some(tracing) = &stream.manager.tracing else { return };
    let facts = match head {
        Some(head) => Facts {
            response: Some(head),
            response_trailers: None,
            ..stream.facts()
        },
        None => stream.facts(),
    };
    tags::upstream(&mut span, &attempt, &facts, tracing.verbose);
    report(stream, tracing, &mut span, &facts);
}

/// The stream is over: its spans go to the collector.
pub fn end(stream: &mut Stream<'_>, end: StreamEnd) {
    if stream.spans.is_none() {
        return;
    }
    let flags = stream.info.flags;
    let broke = [
        ResetReason::ConnectionTermination,
        ResetReason::RemoteReset,
        ResetReason::ProtocolError,
    ];
    let broke = broke.into_iter().find(|reason| flags.contains(reason.flag()));
    let whole = matches!(end, StreamEnd::Complete | StreamEnd::Answered);
    if !whole {
        // What broke off has no last byte.
        stream.info.times.last_upstream_rx = None;
        stream.info.times.last_downstream_tx = None;
    }
    let attempt = Attempt {
        canceled: !whole && broke.is_none(),
        reset: broke.filter(|_| !whole),
        connected: true,
        flags: broke.filter(|_| !whole).map(ResetReason::flag).unwrap_or_default(),
        code: None,
    };
    end_upstream(stream, attempt, None);
    let Some(mut spans) = stream.spans.take() else { return };
    if let Some(tracing) = &stream.manager.tracing
        && spans.span.context.sampled
    {
        let facts = stream.facts();
        let span = &mut spans.span;
        tags::downstream(span, &facts, tracing.max_path_tag_length, tracing.verbose);
        custom_tags(stream, tracing, span, &facts);
        let sender = stream.worker.span_sender(&spans.tracer);
        sender.report(stream.worker, span, &spans.propagation, Instant::now());
    }
}

/// Whether a span will tell of the response.
pub fn tells(stream: &Stream<'_>) -> bool {
    stream.spans.as_ref().is_some_and(|spans| spans.span.context.sampled)
}

fn report(stream: &Stream<'_>, tracing: &Tracing, span: &mut Span, facts: &Facts<'_>) {
    custom_tags(stream, tracing, span, facts);
    if let Some(spans) = &stream.spans {
        let sender = stream.worker.span_sender(&spans.tracer);
        sender.report(stream.worker, span, &spans.propagation, Instant::now());
    }
}

fn custom_tags(stream: &Stream<'_>, tracing: &Tracing, span: &mut Span, facts: &Facts<'_>) {
    let of_route = stream.info.route.as_deref().and_then(|route| route.tracing.as_deref());
    let of_route = of_route.map_or(&[][..], |own| &own.custom_tags);
    custom_tag::apply(&mut span.tags, of_route, &tracing.custom_tags, facts);
}

/// The route's, else the connection manager's.
fn operation<'a>(
    tracing: &'a Tracing,
    of_route: Option<&'a RouteTracing>,
    which: impl Fn(&'a Operations) -> Option<&'a Format>,
) -> Option<&'a Format> {
    of_route
        .and_then(|own| which(&own.operations))
        .or_else(|| which(&tracing.operations))
}

fn printed(format: &Format, facts: &Facts<'_>) -> String {
    let mut text = String::new();
    format.write(&mut text, facts);
    text
}

fn text(value: &http::HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
