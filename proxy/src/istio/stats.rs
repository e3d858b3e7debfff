//! `istio.stats`: Istio's standard metrics, with up to 25 labels that tell both ends of a request or connection.
//!
//! `labels` says what they are, `overrides` what Telemetry changes. A worker finds the series of a request by a small
//! key of what its labels hang on ([`Memory`]); only a combination that it never met is spelled out and looked up.

mod labels;
mod memory;
mod overrides;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use labels::LABELS;
use labels::{Ends, Group};
pub use memory::Memory;
pub use overrides::Overrides;

use crate::{
    format::Facts,
    http::stream::Stream,
    listener::TrafficDirection,
    stats::{LabelledKind, Series, Store},
    stream_info::StreamInfo,
    worker::{Node, Worker},
};

/// `stats.PluginConfig`, parsed.
#[derive(Debug)]
pub struct IstioStats {
    /// Tells configs apart.
    pub number: u64,
    /// `reporter: SERVER_GATEWAY`; otherwise the listener's direction decides.
    pub gateway: bool,
    /// Without a service known for the cluster, the request's host is not taken for one.
    pub disable_host_header_fallback: bool,
    /// `None`: TCP connections are counted at their end only. Istio's default: 5 s.
    pub tcp_reporting_duration: Option<Duration>,
    pub overrides: Option<Box<Overrides>>,
}

/// The metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    Requests,
    RequestDuration,
    RequestBytes,
    ResponseBytes,
    RequestMessages,
    ResponseMessages,
    TcpOpened,
    TcpClosed,
    TcpSent,
    TcpReceived,
}

impl Metric {
    /// With the names that Telemetry has for them; `istio_` goes before.
    pub const ALL: [(Self, &str); 10] = [
        (Self::Requests, "requests_total"),
        (Self::RequestDuration, "request_duration_milliseconds"),
        (Self::RequestBytes, "request_bytes"),
        (Self::ResponseBytes, "response_bytes"),
        (Self::RequestMessages, "request_messages_total"),
        (Self::ResponseMessages, "response_messages_total"),
        (Self::TcpOpened, "tcp_connections_opened_total"),
        (Self::TcpClosed, "tcp_connections_closed_total"),
        (Self::TcpSent, "tcp_sent_bytes_total"),
        (Self::TcpReceived, "tcp_received_bytes_total"),
    ];

    fn kind(self) -> LabelledKind {
        match self {
            Self::RequestDuration | Self::RequestBytes | Self::ResponseBytes => LabelledKind::Histogram,
            _ => LabelledKind::Counter,
        }
    }
}

/// Label sets that one metric tells apart.
const MAX_SERIES: usize = 10_000;
/// The name that Istio's metrics stand under; Prometheus output leaves it out.
const NAMESPACE: &str = "istiocustom.istio_";
const BUILD: &str = "istiocustom.istio_build";

/// A series each, unless Telemetry drops the metric.
type Counted = Option<Arc<Series>>;

/// Of requests.
#[derive(Debug)]
pub struct HttpSeries {
    requests: Counted,
    duration: Counted,
    request_bytes: Counted,
    response_bytes: Counted,
}

/// Of gRPC calls.
#[derive(Debug)]
pub struct MessageSeries {
    pub requests: Counted,
    pub responses: Counted,
}

/// Of TCP connections.
#[derive(Debug)]
pub struct TcpSeries {
    pub opened: Counted,
    pub closed: Counted,
    pub sent: Counted,
    pub received: Counted,
}

impl IstioStats {
    /// With a number of its own.
    pub fn new() -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        Self {
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            gateway: false,
            disable_host_header_fallback: false,
            tcp_reporting_duration: None,
            overrides: None,
        }
    }

    fn reporter(&self, info: &StreamInfo) -> Reporter {
        match info.connection.direction {
            _ if self.gateway => Reporter::Gateway,
            TrafficDirection::Inbound => Reporter::Server,
            TrafficDirection::Outbound | TrafficDirection::Unspecified => Reporter::Client,
        }
    }

    /// A request is over.
    pub fn request(&self, stream: &Stream<'_>) {
        let facts = stream.facts();
        let grpc = stream
            .kept
            .grpc
            .as_ref()
            .map(|grpc| grpc.status.or_else(|| facts.grpc_status()));
        let series = self.find(
            &facts,
            stream.worker,
            |memory| &memory.http,
            Group::Http { grpc },
            |make| HttpSeries {
                requests: make(Metric::Requests),
                duration: make(Metric::RequestDuration),
                request_bytes: make(Metric::RequestBytes),
                response_bytes: make(Metric::ResponseBytes),
            },
        );
        let info = &stream.info;
        add(&series.requests, 1);
        if let Some(end) = info.times.end {
            record(&series.duration, (end - info.start).as_millis() as u64);
        }
        // HTTP/2 counts no bytes of the wire: as HTTP/1 would have written it.
        let (wire, bytes) = (stream.down.wire_bytes(), &info.bytes);
        let weighed = |wire: u64, head: u64, body: u64| if wire > 0 { wire } else { head + body };
        record(
            &series.request_bytes,
            weighed(wire.received, bytes.request_headers, bytes.received),
        );
        record(
            &series.response_bytes,
            weighed(wire.sent, bytes.response_headers, bytes.sent),
        );
    }

    /// Where the messages of a gRPC call count, once it is known who answers it.
    pub fn messages(&self, stream: &Stream<'_>) -> std::rc::Rc<MessageSeries> {
        let facts = Facts {
            node: Some(&stream.worker.shared.node),
            request: stream.heard(),
            ..Facts::of_connection(&stream.info)
        };
        self.find(
            &facts,
            stream.worker,
            |memory| &memory.messages,
            Group::Messages,
            |make| MessageSeries {
                requests: make(Metric::RequestMessages),
                responses: make(Metric::ResponseMessages),
            },
        )
    }

    /// Where a TCP connection counts.
    pub fn connection(&self, info: &StreamInfo, worker: &Worker) -> std::rc::Rc<TcpSeries> {
        let facts = Facts {
            node: Some(&worker.shared.node),
            ..Facts::of_connection(info)
        };
        self.find(
            &facts,
            worker,
            |memory| &memory.tcp,
            Group::Tcp,
            |make| TcpSeries {
                opened: make(Metric::TcpOpened),
                closed: make(Metric::TcpClosed),
                sent: make(Metric::TcpSent),
                received: make(Metric::TcpReceived),
            },
        )
    }

    fn find<S>(
        &self,
        facts: &Facts<'_>,
        worker: &Worker,
        of: impl Fn(&Memory) -> &memory::Known<S>,
        group: Group,
        make: impl FnOnce(&dyn Fn(Metric) -> Counted) -> S,
    ) -> std::rc::Rc<S> {
        let istio = worker.istio();
        let reporter = self.reporter(facts.info);
        let fallback = match reporter {
            Reporter::Client if facts.info.upstream.peer.is_none() => {
                let endpoint = facts.info.upstream.endpoint.as_deref();
                endpoint.and_then(|endpoint| istio.from_endpoint(endpoint))
            }
            _ => None,
        };
        let ends = Ends::new(self, reporter, facts, fallback.as_deref());
        let values = self.overrides.as_ref().map(|overrides| overrides.evaluate(facts));
        let key = ends.key(self.number, &group, &istio.series.hasher, values.as_deref());
        if let Some(known) = of(&istio.series).get(&key) {
            return known;
        }
        let own = istio.series.own(&worker.shared.node);
        let labels = ends.labels(own, &group);
        let store = &worker.shared.stats;
        let series = make(&|metric| {
            let labels = match (&self.overrides, &values) {
                (Some(overrides), Some(values)) => overrides.apply(metric, &labels, values)?,
                _ => labels.pairs(),
            };
            Some(metric_of(store, metric).with(&labels))
        });
        of(&istio.series).put(key, series)
    }
}

impl Default for IstioStats {
    fn default() -> Self {
        Self::new()
    }
}

/// Which end of the connection this proxy stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reporter {
    Client,
    Server,
    /// Before many workloads, whichever direction.
    Gateway,
}

pub fn add(series: &Counted, n: u64) {
    if let Some(series) = series {
        series.add(n);
    }
}

fn record(series: &Counted, value: u64) {
    if let Some(series) = series {
        series.record(value);
    }
}

fn metric_of(store: &Store, metric: Metric) -> Arc<crate::stats::Labelled> {
    let (_, name) = Metric::ALL[metric as usize];
    store.labelled(&format!("{NAMESPACE}{name}"), metric.kind(), MAX_SERIES)
}

/// Makes `istio_build`, which [`announce`] lets show.
pub fn prepare(store: &Store, node: &Node) {
    let version = node.metadata.get("ISTIO_VERSION").and_then(serde_json::Value::as_str);
    let labels = [("component", "proxy"), ("tag", version.unwrap_or(labels::UNKNOWN))];
    store.labelled(BUILD, LabelledKind::Gauge, 1).with(&labels).set(1);
}

/// A filter of this kind was configured.
pub fn announce(store: &Store) {
    store.labelled(BUILD, LabelledKind::Gauge, 1).show();
}

#[cfg(test)]
mod tests;
