//! HTTP/2: streams side by side on one connection, each a task of its own.

use std::cell::Cell;

use super::{Connection, Waited, drains, wait};
use crate::{
    drain::DrainOrders,
    http::{
        codec::{CodecError, ServerStream, h2},
        stream::{self, Stream},
    },
    io,
    stats::HttpStat,
    timer::Timer,
};

impl Connection {
    pub(super) async fn serve_http2(self, socket: io::Stream, drain: DrainOrders) {
        let stats = &self.manager.stats;
        stats.inc(HttpStat::DownstreamCxHttp2Total);
        stats.gauge_add(HttpStat::DownstreamCxHttp2Active, 1);
        self.http2_streams(socket, drain).await;
        stats.gauge_add(HttpStat::DownstreamCxHttp2Active, -1);
    }

    async fn http2_streams(&self, socket: io::Stream, mut drain: DrainOrders) {
        let manager = &self.manager;
        let codec_stats = self.worker.http2_stats();
        let settings = manager.http2_settings();
        let handshake = h2::ServerConnection::handshake(socket, &settings, codec_stats);
        let mut codec = match self.hear(handshake, &mut drain).await {
            Some(Ok(codec)) => codec,
            Some(Err(e)) => {
                if let CodecError::Protocol { .. } = e {
                    manager.stats.inc(HttpStat::DownstreamCxProtocolError);
                }
                tracing::debug!(connection = self.info.id, "no HTTP/2 connection: {e}");
                return;
            }
            None => return,
        };
        let deadline = manager.max_connection_duration.map(|d| self.info.start + d);
        let mut order = drain.order();
        let mut requests = 0_u32;
        let mut going = false;
        let timer = Cell::new(Timer::default());
        loop {
            if !going && (self.is_spent(requests) || drains(order, &self.worker, &manager.stats)) {
                going = true;
                codec.graceful_shutdown();
            }
            let close_at = [deadline, order.and_then(|o| o.deadline())].into_iter().flatten().min();
            let idle = manager.idle_timeout.filter(|_| codec.active_streams() == 0);
            let waited = { wait(|cx| codec.poll_accept(cx), &mut drain, idle, close_at, &timer).await };
            let (head, down) = match waited {
                Waited::Request(Some(Ok(h2::Accepted::Request(head, down)))) => (head, down),
                Waited::Request(Some(Ok(h2::Accepted::Refused(refusal)))) => {
                    requests += 1;
                    manager.stats.inc(HttpStat::DownstreamRqHttp2Total);
                    stream::dismissed(&self.worker, manager, &self.info, refusal);
                    continue;
                }
                Waited::Request(Some(Err(e))) => {
                    manager.stats.inc(match e {
                        CodecError::Protocol {
                            details: h2::TOO_MANY_PREMATURE_RESETS,
                            ..
                        } => HttpStat::DownstreamRqTooManyPrematureResets,
                        _ => HttpStat::DownstreamCxProtocolError,
                    });
                    tracing::debug!(connection = self.info.id, "HTTP/2 connection failed: {e}");
                    break;
                }
                Waited::Request(None) => {
                    self.counted.ended_by_peer();
                    break;
                }
                Waited::Drain(new) => {
                    order = Some(new);
                    continue;
                }
                Waited::Idle => {
                    manager.stats.inc(HttpStat::DownstreamCxIdleTimeout);
                    codec.graceful_shutdown();
                    going = true;
                    continue;
                }
                Waited::Deadline if going => break,
                Waited::Deadline => {
                    codec.graceful_shutdown();
                    going = true;
                    continue;
                }
            };
            requests += 1;
            manager.stats.inc(HttpStat::DownstreamRqHttp2Total);
            let (worker, manager, info) = (self.worker.clone(), self.manager.clone(), self.info.clone());
            // Boxed first: the runtime moves a task's future several times.
            tokio::task::spawn_local(Box::pin(async move {
                let done = down.request_ended();
                let mut stream = Box::new(Stream::new(
                    &worker,
                    &manager,
                    &info,
                    ServerStream::Http2(down),
                    head,
                    done,
                ));
                stream.serve().await;
            }));
        }
    }
}
