//! `envoy.filters.http.grpc_stats`: gRPC calls and their messages, by cluster and, where asked, by method.
//!
//! The filter only decides where to count. The router shows every piece of a body to [`Grpc`], which is kept with the
//! stream and which Istio's metrics read too.

use std::rc::Rc;

use http::HeaderMap;

use super::super::{cached_route, local_reply, message::ResponseHead, stream::Stream};
use crate::{
    istio::stats::{MessageSeries, add},
    stats::{Group, GrpcStat},
};

/// `envoy.extensions.filters.http.grpc_stats.v3.FilterConfig`, parsed.
#[derive(Debug)]
pub struct GrpcStats {
    /// The counts are there for other filters.
    pub emit_filter_state: bool,
    pub methods: Methods,
    /// Record how long the upstream took.
    pub upstream_stats: bool,
}

/// Which methods count under their own names; all others count together.
#[derive(Debug)]
pub enum Methods {
    None,
    All,
    Listed(Box<[Service]>),
}

/// A gRPC service, and those of its methods that count.
#[derive(Debug)]
pub struct Service {
    pub name: Box<str>,
    pub methods: Box<[Box<str>]>,
}

/// A gRPC call.
#[derive(Debug, Default)]
pub struct Grpc {
    /// As its response told.
    pub status: Option<u32>,
    requests: Messages,
    responses: Messages,
    /// The response is gRPC: its body is messages.
    answered: bool,
    counted: Option<Counted>,
    /// Messages are Istio's business too.
    pub shared: bool,
    istio: Option<Rc<MessageSeries>>,
}

#[derive(Debug)]
struct Counted {
    stats: Group<GrpcStat>,
    upstream: bool,
}

/// Messages of one direction, found by their frames: a byte, then the length in four.
#[derive(Debug, Default)]
struct Messages {
    count: u64,
    /// Of them told to Istio's metrics.
    told: u64,
    /// Bytes of the frame's head that were seen.
    head: u8,
    length: u32,
}

const HEAD_BYTES: u8 = 5;

impl Messages {
    /// How many messages began in `data`.
    fn feed(&mut self, mut data: &[u8]) -> u64 {
        let before = self.count;
        while let Some((&byte, rest)) = data.split_first() {
            if self.head == HEAD_BYTES {
                let taken = data.len().min(self.length as usize);
                self.length -= taken as u32;
                data = &data[taken..];
                if self.length == 0 {
                    self.head = 0;
                }
                continue;
            }
            match self.head {
                0 => self.count += 1,
                _ => self.length = self.length << 8 | u32::from(byte),
            }
            self.head += 1;
            if self.head == HEAD_BYTES && self.length == 0 {
                self.head = 0;
            }
            data = rest;
        }
        self.count - before
    }

    /// What was not told yet.
    fn news(&mut self) -> u64 {
        self.count - std::mem::replace(&mut self.told, self.count)
    }
}

/// Whether a request begins a gRPC call.
pub fn is_call(stream: &Stream<'_>) -> bool {
    !stream.request.path.is_empty() && local_reply::is_grpc(&stream.request)
}

pub(super) fn run(filter: &GrpcStats, stream: &mut Stream<'_>) {
    if !is_call(stream) {
        return;
    }
    let counted = filter.group(stream).map(|stats| Counted {
        stats,
        upstream: filter.upstream_stats,
    });
    let grpc = stream.kept.grpc.get_or_insert_default();
    grpc.counted = counted;
    grpc.shared = filter.emit_filter_state;
}

impl GrpcStats {
    fn group(&self, stream: &mut Stream<'_>) -> Option<Group<GrpcStat>> {
        let cluster = cached_route::cluster(stream)?.clone();
        let local = stream.worker.local_cluster(&cluster);
        let method = self.method(stream.request.path_only())?;
        Some(local.grpc_stats(&stream.worker.shared.stats, &cluster.stat_name, method))
    }

    /// `service.Name/Method` where it counts under its name, else nothing; `None`: it is no method's path.
    fn method<'p>(&self, path: &'p str) -> Option<&'p str> {
        let name = path.strip_prefix('/')?;
        let (service, method) = name.split_once('/')?;
        if service.is_empty() || method.is_empty() || method.contains('/') {
            return None;
        }
        let named = match &self.methods {
            Methods::None => false,
            Methods::All => true,
            Methods::Listed(services) => services
                .iter()
                .filter(|known| *known.name == *service)
                .any(|known| known.methods.iter().any(|known| **known == *method)),
        };
        Some(if named { name } else { "" })
    }
}

/// The response's head.
pub(super) fn encode(stream: &mut Stream<'_>, head: &ResponseHead) {
    let Some(grpc) = &mut stream.kept.grpc else { return };
    let content_type = head
        .headers
        .get(http::header::CONTENT_TYPE)
        .map(http::HeaderValue::as_bytes);
    grpc.answered =
        head.status == http::StatusCode::OK && content_type.is_some_and(|value| value.starts_with(b"application/grpc"));
    grpc.told(&head.headers);
}

impl Grpc {
    /// A piece of the request's body.
    pub fn request_data(&mut self, data: &[u8]) {
        let began = self.requests.feed(data);
        if began > 0 {
            self.count(GrpcStat::RequestMessageCount, began);
        }
    }

    /// A piece of the response's body.
    pub fn response_data(&mut self, data: &[u8]) {
        if !self.answered {
            return;
        }
        let began = self.responses.feed(data);
        if began > 0 {
            self.count(GrpcStat::ResponseMessageCount, began);
        }
    }

    fn count(&mut self, stat: GrpcStat, began: u64) {
        if let Some(counted) = &self.counted {
            counted.stats.add(stat, began);
        }
        self.tell();
    }

    /// The response's head or trailers.
    pub fn told(&mut self, headers: &HeaderMap) {
        let Some(status) = headers.get("grpc-status").and_then(|value| value.to_str().ok()) else {
            return;
        };
        self.status = status.parse().ok();
        let Some(counted) = &self.counted else { return };
        let success = self.status == Some(0);
        match self.status {
            Some(code) if code <= u32::from(u16::MAX) => counted.stats.inc_code(GrpcStat::Status, code as u16),
            _ => {}
        }
        counted
            .stats
            .inc(if success { GrpcStat::Success } else { GrpcStat::Failure });
        counted.stats.inc(GrpcStat::Total);
    }

    /// Istio's metrics learned where this call's messages count.
    pub fn count_in(&mut self, series: Rc<MessageSeries>) {
        self.istio = Some(series);
        self.tell();
    }

    fn tell(&mut self) {
        if let Some(series) = &self.istio {
            add(&series.requests, self.requests.news());
            add(&series.responses, self.responses.news());
        }
    }

    /// Whether messages wait for someone to say where they count.
    pub fn is_untold(&self) -> bool {
        self.shared && self.istio.is_none()
    }
}

/// The stream is over.
pub(super) fn ended(stream: &Stream<'_>) {
    let Some(counted) = stream.kept.grpc.as_ref().and_then(|grpc| grpc.counted.as_ref()) else {
        return;
    };
    let times = &stream.info.times;
    let sent = times
        .last_upstream_tx
        .or(times.last_downstream_rx)
        .or(times.first_upstream_tx);
    if let (true, Some(sent), Some(answered)) = (counted.upstream, sent, times.last_upstream_rx) {
        let taken = answered.saturating_duration_since(sent);
        counted.stats.record(GrpcStat::UpstreamRqTime, taken.as_millis() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let body = [
            &[0, 0, 0, 0, 3][..],
            b"abc",
            &[1, 0, 0, 0, 0],
            &[0, 0, 0, 1, 0],
            &[7; 256],
        ]
        .concat();
        for cut in 1..body.len() {
            let mut messages = Messages::default();
            let counted: u64 = body.chunks(cut).map(|piece| messages.feed(piece)).sum();
            assert_eq!((counted, messages.count), (3, 3), "{cut}");
        }
        let mut messages = Messages::default();
        assert_eq!(messages.feed(&[0]), 1, "with its first byte");
        assert_eq!((messages.news(), messages.news()), (1, 0));
    }

    #[test]
    fn methods_count_by_name_where_the_config_says() {
        let filter = |methods| GrpcStats {
            emit_filter_state: false,
            methods,
            upstream_stats: false,
        };
        let listed = filter(Methods::Listed(
            [Service {
                name: "a.B".into(),
                methods: ["C".into()].into(),
            }]
            .into(),
        ));
        assert_eq!(listed.method("/a.B/C"), Some("a.B/C"));
        assert_eq!(listed.method("/a.B/D"), Some(""));
        assert_eq!(filter(Methods::All).method("/a.B/D"), Some("a.B/D"));
        assert_eq!(filter(Methods::All).method("/a/b/c"), None);
        assert_eq!(filter(Methods::None).method("/a.B/C"), Some(""));
    }
}
