//! One worker's spans for one collector: gathered, and sent when there are enough of them or when it is time.
//!
//! What a collector does not take in time is lost and counted, never waited for.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::sync::{Notify, watch};

use super::{
    decision::integer,
    otlp::{Export, Otlp},
    span::Span,
    tracer::{Exporter, Propagation, Tracer},
    zipkin::{Encoding, LocalEndpoint, Zipkin},
};
use crate::{
    stats::{OpenTelemetryStat, ZipkinStat},
    upstream::call::{self, Cause, Request, grpc},
    worker::Worker,
};

/// Where spans go over HTTP.
#[derive(Debug)]
pub struct Collector {
    pub cluster: Box<str>,
    pub authority: HeaderValue,
    pub path: HeaderValue,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Envoy's defaults of runtime keys.
const MIN_FLUSH_SPANS: u64 = 5;
const FLUSH_INTERVAL_MS: u64 = 5000;
const REQUEST_TIMEOUT_MS: u64 = 5000;

/// Requests whose answers are awaited; a collector that is slower loses what comes then.
const MAX_REQUESTS: usize = 64;

/// Collectors answer with little.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");

/// Spans that wait, and whoever sends them.
pub struct SpanSender {
    shared: Rc<Shared>,
}

struct Shared {
    exporter: Arc<Exporter>,
    /// As the exporter wrote them, one after the other.
    buffer: RefCell<Vec<u8>>,
    /// How many.
    spans: Cell<u64>,
    /// Of those that are enough for a request: what it will hold, and how many.
    batches: RefCell<Vec<(Vec<u8>, u64)>>,
    full: Notify,
    ended: Cell<bool>,
    requests: Cell<usize>,
}

impl SpanSender {
    /// Starts the sender on the worker.
    pub fn start(tracer: &Tracer, worker: &Rc<Worker>) -> Self {
        let shared = Rc::new(Shared {
            exporter: tracer.exporter.clone(),
            buffer: RefCell::default(),
            spans: Cell::new(0),
            batches: RefCell::default(),
            full: Notify::new(),
            ended: Cell::new(false),
            requests: Cell::new(0),
        });
        tokio::task::spawn_local(run(shared.clone(), worker.clone(), tracer.in_use.subscribe()));
        Self { shared }
    }

    /// Its tracer is no longer used.
    pub fn has_ended(&self) -> bool {
        self.shared.ended.get()
    }

    /// Takes a span that ended at `end`.
    pub fn report(&self, worker: &Worker, span: &Span, propagation: &Propagation, end: Instant) {
        let shared = &self.shared;
        let end = span.start_time + end.saturating_duration_since(span.start);
        let mut buffer = shared.buffer.borrow_mut();
        match &*shared.exporter {
            Exporter::Zipkin(zipkin) => {
                let local = LocalEndpoint {
                    service: &worker.shared.node.cluster,
                    address: worker.shared.own_address,
                };
                zipkin.write(&mut buffer, span, end, local);
            }
            Exporter::Otlp(otlp) if shared.spans.get() >= otlp.max_cache_size => {
                return otlp.stats.inc(OpenTelemetryStat::SpansDropped);
            }
            Exporter::Otlp(otlp) => {
                let tracestate = match propagation {
                    Propagation::W3c { tracestate } => tracestate.as_bytes(),
                    Propagation::B3 { .. } => b"",
                };
                otlp.write(&mut buffer, span, end, tracestate);
            }
        }
        shared.spans.set(shared.spans.get() + 1);
        let key = match &*shared.exporter {
            Exporter::Zipkin(_) => "tracing.zipkin.min_flush_spans",
            Exporter::Otlp(_) => "tracing.opentelemetry.min_flush_spans",
        };
        drop(buffer);
        if shared.spans.get() >= runtime(worker, key, MIN_FLUSH_SPANS) {
            shared.close_batch();
            shared.full.notify_one();
        }
    }
}

impl Shared {
    /// What waits is enough, or has waited long enough.
    fn close_batch(&self) {
        let (spans, buffer) = (self.spans.take(), self.buffer.take());
        if spans > 0 {
            self.batches.borrow_mut().push((buffer, spans));
        }
    }
}

/// Until the tracer is used no more.
async fn run(shared: Rc<Shared>, worker: Rc<Worker>, mut in_use: watch::Receiver<()>) {
    let key = match &*shared.exporter {
        Exporter::Zipkin(_) => "tracing.zipkin.flush_interval_ms",
        Exporter::Otlp(_) => "tracing.opentelemetry.flush_interval_ms",
    };
    let mut timer = std::pin::pin!(tokio::time::sleep(interval(&worker, key)));
    loop {
        tokio::select! {
            () = shared.full.notified() => {}
            () = &mut timer => {
                match &*shared.exporter {
                    Exporter::Zipkin(zipkin) => zipkin.stats.inc(ZipkinStat::TimerFlushed),
                    Exporter::Otlp(otlp) => otlp.stats.inc(OpenTelemetryStat::TimerFlushed),
                }
                timer.set(tokio::time::sleep(interval(&worker, key)));
                shared.close_batch();
            }
            // Nothing is ever sent on it: that it changed says that the tracer is gone.
            _ = in_use.changed() => {
                shared.ended.set(true);
                shared.close_batch();
            }
        }
        for (buffer, spans) in shared.batches.take() {
            flush(&shared, &worker, buffer, spans);
        }
        if shared.ended.get() {
            return;
        }
    }
}

fn interval(worker: &Worker, key: &str) -> Duration {
    Duration::from_millis(runtime(worker, key, FLUSH_INTERVAL_MS).max(1))
}

fn flush(shared: &Rc<Shared>, worker: &Rc<Worker>, buffer: Vec<u8>, spans: u64) {
    let dropped = shared.requests.get() >= MAX_REQUESTS;
    match &*shared.exporter {
        Exporter::Zipkin(zipkin) if dropped => zipkin.stats.inc(ZipkinStat::ReportsDropped),
        Exporter::Otlp(otlp) if dropped => otlp.stats.add(OpenTelemetryStat::SpansDropped, spans),
        Exporter::Zipkin(zipkin) => zipkin.stats.add(ZipkinStat::SpansSent, spans),
        Exporter::Otlp(otlp) => otlp.stats.add(OpenTelemetryStat::SpansSent, spans),
    }
    if dropped {
        return;
    }
    let (shared, worker) = (shared.clone(), worker.clone());
    shared.requests.set(shared.requests.get() + 1);
    tokio::task::spawn_local(async move {
        match &*shared.exporter {
            Exporter::Zipkin(zipkin) => zipkin.send(&worker, buffer).await,
            Exporter::Otlp(otlp) => otlp.send(&worker, &buffer).await,
        }
        shared.requests.set(shared.requests.get() - 1);
    });
}

impl Zipkin {
    async fn send(&self, worker: &Rc<Worker>, spans: Vec<u8>) {
        let content_type = match self.encoding {
            Encoding::Json => JSON,
            Encoding::Proto => PROTOBUF,
        };
        let timeout = runtime(worker, "tracing.zipkin.request_timeout", REQUEST_TIMEOUT_MS);
        let mut request = self.collector.request(content_type, self.body(spans));
        request.timeout = Some(Duration::from_millis(timeout));
        let counter = match call::call(worker, &self.collector.cluster, request).await {
            Ok(response) if response.status == StatusCode::ACCEPTED => ZipkinStat::ReportsSent,
            Ok(_) => ZipkinStat::ReportsDropped,
            Err(failure) => {
                tracing::debug!(cluster = &*self.collector.cluster, "spans were not sent: {failure}");
                match failure.cause {
                    Cause::NoCluster => ZipkinStat::ReportsSkippedNoCluster,
                    Cause::TooLarge => ZipkinStat::ReportsFailed,
                    // Envoy's calls have answers of its own where there are no others: anything but 202.
                    Cause::NoHealthyEndpoint | Cause::Reset(_) | Cause::Timeout => ZipkinStat::ReportsDropped,
                }
            }
        };
        self.stats.inc(counter);
    }
}

impl Otlp {
    async fn send(&self, worker: &Rc<Worker>, spans: &[u8]) {
        let body = self.body(spans);
        let (cluster, sent) = match &self.export {
            Export::Grpc(destination) => {
                let call = grpc::unary(worker, destination, EXPORT, &body, MAX_RESPONSE_BYTES);
                let sent = match tokio::time::timeout(self.timeout, call).await {
                    Ok(answer) => answer.map(drop).map_err(|status| status.to_string()),
                    Err(_) => Err(format!("no answer within {:?}", self.timeout)),
                };
                (&destination.cluster, sent)
            }
            Export::Http(collector) => {
                let mut request = collector.request(PROTOBUF, body);
                request.timeout = Some(self.timeout);
                let answer = call::call(worker, &collector.cluster, request).await;
                let sent = match answer {
                    Ok(response) if response.status.is_success() => Ok(()),
                    Ok(response) => Err(format!("HTTP status {}", response.status.as_u16())),
                    Err(failure) => Err(failure.to_string()),
                };
                (&collector.cluster, sent)
            }
        };
        if let Err(problem) = sent {
            tracing::debug!(cluster = &**cluster, "spans were not sent: {problem}");
        }
    }
}

impl Collector {
    fn request(&self, content_type: HeaderValue, body: Vec<u8>) -> Request {
        let (authority, path) = (self.authority.clone(), self.path.clone());
        let mut request = Request::new(Method::POST, authority, path, MAX_RESPONSE_BYTES);
        request.headers.insert(header::CONTENT_TYPE, content_type);
        request.headers.extend(self.headers.iter().cloned());
        request.body = body.into();
        request
    }
}

fn runtime(worker: &Worker, key: &str, default: u64) -> u64 {
    worker.snapshot().runtime.get(key).and_then(integer).unwrap_or(default)
}

/// Since 1970.
pub(super) fn micros(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

pub(super) fn nanos(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}
