//! A downstream HTTP connection: which codec it speaks, and its streams one after another or side by side.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use tokio::io::AsyncReadExt;

mod counted;
mod http1;
mod http2;

pub use counted::Counted;

use super::{
    CodecType, HttpConnectionManager,
    codec::{h1, h2},
};
use crate::{
    cluster::Http2Keepalive,
    drain::{DrainOrder, DrainOrders, DrainWatch},
    io,
    stats::{Group, HttpStat},
    stream_info::ConnectionInfo,
    timer::Timer,
    worker::Worker,
};

/// How an HTTP/2 connection begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Everything that the streams of one connection share.
struct Connection {
    worker: Rc<Worker>,
    manager: Arc<HttpConnectionManager>,
    info: Rc<ConnectionInfo>,
    counted: Counted,
}

/// Serves a connection until it closes. What waits for its first bytes makes room for what serves it.
pub fn serve(
    worker: Rc<Worker>,
    manager: Arc<HttpConnectionManager>,
    info: Rc<ConnectionInfo>,
    stream: io::Stream,
    drain: DrainWatch,
    counted: Counted,
) -> impl Future<Output = ()> {
    let connection = Connection {
        worker,
        manager,
        info,
        counted,
    };
    let begun = Box::pin(connection.begin(stream, drain.orders()));
    async move {
        if let Some(streams) = begun.await {
            streams.await;
        }
    }
}

/// What ended the wait for a request.
enum Waited<T> {
    Request(T),
    Drain(DrainOrder),
    Idle,
    /// `max_connection_duration`, or the end of a drain.
    Deadline,
}

/// Waits for the next request, the drain's next order, idleness or the connection's end.
async fn wait<T>(
    request: impl FnMut(&mut std::task::Context<'_>) -> Poll<T>,
    drain: &mut DrainOrders,
    idle: Option<Duration>,
    close_at: Option<Instant>,
    kept: &Cell<Timer>,
) -> Waited<T> {
    let mut request = pin!(poll_fn(request));
    let now = Instant::now();
    let idle_at = idle.map(|d| now + d);
    let wake_at = [idle_at, close_at].into_iter().flatten().min();
    let mut timer = kept.take();
    let waited = poll_fn(|cx| {
        if let Poll::Ready(request) = request.as_mut().poll(cx) {
            return Poll::Ready(Waited::Request(request));
        }
        if let Poll::Ready(order) = drain.poll_next(cx) {
            return Poll::Ready(Waited::Drain(order));
        }
        match wake_at.map(|at| timer.poll(at, cx)) {
            Some(Poll::Ready(())) if close_at == wake_at => Poll::Ready(Waited::Deadline),
            Some(Poll::Ready(())) => Poll::Ready(Waited::Idle),
            _ => Poll::Pending,
        }
    })
    .await;
    kept.set(timer);
    waited
}

impl Connection {
    /// The connection's streams, once it is known which codec they speak; `None` where the client said nothing, in time.
    async fn begin(self, mut stream: io::Stream, mut drain: DrainOrders) -> Option<Pin<Box<dyn Future<Output = ()>>>> {
        let chosen = self.hear(self.choose_codec(&mut stream), &mut drain).await;
        Some(if chosen.flatten()? {
            Box::pin(self.serve_http2(stream, drain))
        } else {
            Box::pin(self.serve_http1(stream, drain))
        })
    }

    /// Waits for what the client says first; `None` where it does not, in time.
    async fn hear<F: Future>(&self, first: F, drain: &mut DrainOrders) -> Option<F::Output> {
        let mut first = pin!(first);
        let mut order = None;
        let timer = Cell::new(Timer::default());
        loop {
            let close_at = order.and_then(|o: DrainOrder| o.deadline());
            let heard = |cx: &mut std::task::Context<'_>| first.as_mut().poll(cx);
            match wait(heard, drain, self.manager.idle_timeout, close_at, &timer).await {
                Waited::Request(heard) => return Some(heard),
                // A request may be on its way: it is still served.
                Waited::Drain(new) if !new.close_idle => order = Some(new),
                Waited::Drain(_) | Waited::Deadline => return None,
                Waited::Idle => {
                    self.manager.stats.inc(HttpStat::DownstreamCxIdleTimeout);
                    return None;
                }
            }
        }
    }

    /// Whether the connection speaks HTTP/2; `None` where it closed before it said anything.
    async fn choose_codec(&self, stream: &mut io::Stream) -> Option<bool> {
        match self.manager.codec {
            CodecType::Http1 => return Some(false),
            CodecType::Http2 => return Some(true),
            CodecType::Auto => {}
        }
        match self.info.tls.as_ref().and_then(|t| t.alpn.as_deref()) {
            Some("h2" | "istio-h2") => return Some(true),
            Some("http/1.1" | "http/1.0" | "istio-http/1.1" | "istio-http/1.0") => return Some(false),
            _ => {}
        }
        let mut seen = BytesMut::with_capacity(PREFACE.len());
        let http2 = loop {
            if !PREFACE.starts_with(&seen) {
                break false;
            }
            if seen.len() == PREFACE.len() {
                break true;
            }
            let limit = (PREFACE.len() - seen.len()) as u64;
            let wait = (&mut *stream).take(limit).read_buf(&mut seen).await;
            if wait.ok()? == 0 {
                if seen.is_empty() {
                    return None;
                }
                break false;
            }
        };
        stream.unread(seen.freeze());
        Some(http2)
    }

    /// Whether this request is the connection's last.
    fn is_spent(&self, requests: u32) -> bool {
        let most = self.manager.max_requests_per_connection;
        let spent = most != 0 && requests >= most;
        if spent {
            self.manager.stats.inc(HttpStat::DownstreamCxMaxRequestsReached);
        }
        spent
    }
}

/// Whether a drain tells the connection to go now.
pub fn drains(order: Option<DrainOrder>, worker: &Worker, stats: &Group<HttpStat>) -> bool {
    let draining = order.is_some_and(|o| o.applies(Instant::now(), worker.random()));
    if draining {
        stats.inc(HttpStat::DownstreamCxDrainClose);
    }
    draining
}

impl HttpConnectionManager {
    /// Codec settings of this connection manager's HTTP/1 connections; `tls`: the listener terminates TLS.
    pub fn http1_settings(&self, tls: bool) -> Arc<h1::ServerSettings> {
        let options = &self.http1;
        Arc::new(h1::ServerSettings {
            max_headers_kb: self.max_request_headers_kb,
            max_headers_count: self.max_headers_count,
            accept_http_10: options.accept_http_10,
            default_host_for_http_10: options.default_host_for_http_10.clone(),
            allow_absolute_url: options.allow_absolute_url,
            header_case: options.header_case,
            enable_trailers: options.enable_trailers,
            allow_chunked_length: options.allow_chunked_length,
            headers_with_underscores: self.headers_with_underscores,
            scheme: http::HeaderValue::from_static(if tls { "https" } else { "http" }),
        })
    }

    /// Codec settings of this connection manager's HTTP/2 connections.
    pub fn http2_settings(&self) -> h2::ServerSettings {
        h2::ServerSettings {
            max_concurrent_streams: self.http2.max_concurrent_streams,
            initial_stream_window: self.http2.initial_stream_window,
            initial_connection_window: self.http2.initial_connection_window,
            hpack_table_size: self.http2.hpack_table_size,
            floods: self.http2.floods,
            max_headers_kb: self.max_request_headers_kb,
            max_headers_count: self.max_headers_count,
            allow_connect: self.http2.allow_connect,
            headers_with_underscores: self.headers_with_underscores,
            keepalive: self.http2.keepalive.map(Http2Keepalive::for_codec),
        }
    }
}
