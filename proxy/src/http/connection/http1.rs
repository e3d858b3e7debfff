//! HTTP/1: requests one after another on one connection.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::Sleep;

use super::{Connection, Waited, wait};
use crate::{
    drain::DrainOrders,
    http::{
        codec::{CodecError, ServerStream, h1},
        local_reply::LocalReply,
        message::{Protocol, RequestHead},
        stream::{Stream, StreamEnd},
    },
    io,
    stats::HttpStat,
    timer::Timer,
};

/// Envoy's `response_code_details` of a head that took too long.
const HEADER_TIMEOUT: &str = "request_header_timeout";

impl Connection {
    /// Its size is what an idle connection costs: nothing that only a request needs lives across a wait.
    pub(super) fn serve_http1(self, stream: io::Stream, mut drain: DrainOrders) -> impl Future<Output = ()> {
        self.worker.http1_stats();
        let settings = self.manager.http1_settings(self.info.tls.is_some());
        let mut codec = h1::ServerConnection::new(stream, settings);
        async move {
            let stats = &self.manager.stats;
            stats.inc(HttpStat::DownstreamCxHttp1Total);
            stats.gauge_add(HttpStat::DownstreamCxHttp1Active, 1);
            let refused = self.http1_streams(&mut codec, &mut drain).await;
            Box::pin(self.close(codec, refused)).await;
            stats.gauge_add(HttpStat::DownstreamCxHttp1Active, -1);
        }
    }

    /// Serves requests until the connection must close; with the error where one could not be parsed.
    async fn http1_streams(
        &self,
        codec: &mut h1::ServerConnection<io::Stream>,
        drain: &mut DrainOrders,
    ) -> Option<CodecError> {
        let manager = &self.manager;
        let mut longest = manager.max_connection_duration.map(|d| self.info.start + d);
        // Idle or old, a connection that was used goes on for `drain_timeout`, as Envoy's does.
        let mut leaving: Option<Instant> = None;
        let mut requests = 0_u32;
        let order = Cell::new(drain.order());
        let timer = Cell::new(Timer::default());
        loop {
            // What has come already is still answered.
            let no_patience = order.get().is_some_and(|o| o.close_idle) && !codec.head_started();
            let drained = order.get().and_then(|o| o.deadline());
            let close_at = [longest, leaving, drained].into_iter().flatten().min();
            let idle = if no_patience {
                Some(Duration::ZERO)
            } else {
                manager.idle_timeout.filter(|_| leaving.is_none())
            };
            let mut head_timer: Option<Pin<Box<Sleep>>> = None;
            let next = |cx: &mut Context<'_>| match codec.poll_request(cx) {
                Poll::Pending => self.poll_head_timer(codec.head_started(), &mut head_timer, cx).map(Err),
                ready => ready,
            };
            // Its outcome is large: no wait may find it still there.
            let head = match wait(next, drain, idle, close_at, &timer).await {
                Waited::Request(Ok(Some(head))) => head,
                Waited::Request(Ok(None)) => {
                    self.counted.ended_by_peer();
                    return None;
                }
                Waited::Request(Err(e)) => return Some(e),
                Waited::Drain(new) => {
                    order.set(Some(new));
                    continue;
                }
                Waited::Idle if no_patience && codec.head_started() => continue,
                Waited::Idle if no_patience => return None,
                Waited::Idle => {
                    manager.stats.inc(HttpStat::DownstreamCxIdleTimeout);
                    leaving = Some(Instant::now() + manager.drain_timeout);
                    if requests == 0 && !codec.head_started() {
                        return None;
                    }
                    continue;
                }
                Waited::Deadline if longest.is_some() && close_at == longest => {
                    manager.stats.inc(HttpStat::DownstreamCxMaxDurationReached);
                    longest = None;
                    leaving = leaving.or(Some(Instant::now() + manager.drain_timeout));
                    if requests == 0 && !codec.head_started() {
                        return None;
                    }
                    continue;
                }
                Waited::Deadline => return None,
            };
            requests += 1;
            manager.stats.inc(HttpStat::DownstreamRqHttp1Total);
            let done = !codec.request_has_body();
            let last = self.is_spent(requests);
            let closing_at = leaving.or(longest.map(|at| at + manager.drain_timeout));
            let end = {
                let down = ServerStream::Http1(&mut *codec);
                let mut stream = Box::new(Stream::new(&self.worker, manager, &self.info, down, head, done));
                stream.last = last;
                stream.drain = Some(&order);
                stream.timer = Some(&timer);
                stream.closing_at = closing_at;
                // Apart from its stream: what is boxed is copied there, and two small boxes come cheaper than a large one.
                let mut serving = Box::pin(stream.serve());
                let mut cut = Timer::default();
                poll_fn(|cx| {
                    while let Poll::Ready(new) = drain.poll_next(cx) {
                        order.set(Some(new));
                    }
                    let over = order.get().and_then(|o| o.deadline());
                    if over.is_some_and(|at| cut.poll(at, cx).is_ready()) {
                        return Poll::Ready(StreamEnd::Broken);
                    }
                    serving.as_mut().poll(cx)
                })
                .await
            };
            if end == StreamEnd::Left {
                self.counted.ended_by_peer();
            }
            if end != StreamEnd::Complete || !codec.finish_request() {
                return None;
            }
        }
    }

    /// Ready when a head that has begun takes longer than `request_headers_timeout`.
    fn poll_head_timer(
        &self,
        started: bool,
        timer: &mut Option<Pin<Box<Sleep>>>,
        cx: &mut Context<'_>,
    ) -> Poll<CodecError> {
        let Some(limit) = self.manager.request_headers_timeout.filter(|_| started) else {
            return Poll::Pending;
        };
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().poll(cx).map(|()| CodecError::Protocol {
            status: http::StatusCode::REQUEST_TIMEOUT.as_u16(),
            details: HEADER_TIMEOUT,
            sentence: format!("the request's head took longer than request_headers_timeout {limit:?}"),
        })
    }

    /// Answers a request that could not be parsed, and logs it.
    async fn refuse(&self, codec: &mut h1::ServerConnection<io::Stream>, error: &CodecError) {
        if let CodecError::Closed = error {
            let request = RequestHead::unparsed(Protocol::Http11);
            let down = ServerStream::Http1(codec);
            Stream::new(&self.worker, &self.manager, &self.info, down, request, true).abandon(error);
            return;
        }
        let CodecError::Protocol {
            status,
            details,
            sentence,
        } = error
        else {
            return;
        };
        self.manager.stats.inc(HttpStat::DownstreamCxProtocolError);
        let request = RequestHead::unparsed(Protocol::Http11);
        let reply = match *details {
            HEADER_TIMEOUT => LocalReply::new(
                http::StatusCode::REQUEST_TIMEOUT,
                "request header timeout",
                HEADER_TIMEOUT,
            )
            .closing(),
            details => LocalReply::unparsable(*status, details, sentence),
        };
        let stream = Stream::new(
            &self.worker,
            &self.manager,
            &self.info,
            ServerStream::Http1(codec),
            request,
            true,
        );
        Box::pin(stream.refuse(reply)).await;
    }

    /// Answers what could not be parsed, and closes so that the peer can read what was sent: FIN, then a wait for the peer's
    /// own (`delayed_close_timeout`).
    async fn close(&self, mut codec: h1::ServerConnection<io::Stream>, refused: Option<CodecError>) {
        if let Some(error) = refused {
            self.refuse(&mut codec, &error).await;
        }
        let linger = async {
            poll_fn(|cx| codec.poll_shutdown(cx)).await?;
            poll_fn(|cx| codec.poll_discard(cx)).await;
            Ok::<_, CodecError>(())
        };
        let Some(patience) = self.manager.delayed_close_timeout else {
            return;
        };
        if tokio::time::timeout(patience, linger).await.is_err() {
            self.manager.stats.inc(HttpStat::DownstreamCxDelayedCloseTimeout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_connection_costs_about_a_kilobyte() {
        let size = size_of_future(Connection::serve_http1);
        assert!(size <= 1024, "{size}");
    }
}
