//! One HTTP/2 connection to a management server. It is driven here and not by a gRPC library's channel, because only who
//! drives a connection learns why it ended (GOAWAY's reason, a ping without answer), and because such a channel reconnects
//! behind one's back.

use crate::target::Io;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

/// What a server may send ahead of the reader on a stream, and on all streams together: enough to keep a link across a
/// data centre full, small enough that a stalled reader costs little. Messages may be larger.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How long a stream that lost its connection waits to hear why; a turn of the runtime suffices.
const END_GRACE: Duration = Duration::from_millis(100);

/// HTTP/2 pings on a connection from which nothing has come for `interval`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    pub interval: Duration,
    pub timeout: Duration,
}

/// A connection, shared by streams.
#[derive(Clone)]
pub(crate) struct Connection {
    requests: SendRequest<Requests>,
    ended: watch::Receiver<Option<Ended>>,
}

/// The body of a stream: what is sent on it, until its sender is gone.
pub(crate) struct Requests(pub(crate) UnboundedReceiver<Bytes>);

impl Body for Requests {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(cx)
            .map(|sent| sent.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Why a connection ended.
#[derive(Clone)]
pub(crate) struct Ended {
    pub(crate) reason: String,
    /// The server found the client too busy (ENHANCE_YOUR_CALM), which for gRPC servers means: too many pings.
    pub(crate) calm_asked_for: bool,
}

impl Connection {
    /// Says hello on `io`; the connection then lives in a task of its own until its last user is gone.
    pub(crate) async fn open(io: Box<dyn Io>, keepalive: Option<Keepalive>) -> Result<Self, hyper::Error> {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        if let Some(Keepalive { interval, timeout }) = keepalive {
            builder
                .keep_alive_interval(interval)
                .keep_alive_timeout(timeout)
                .keep_alive_while_idle(true);
        }
        let (requests, connection) = builder.handshake(TokioIo::new(io)).await?;
        let (end, ended) = watch::channel(None);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                let (reason, calm_asked_for) = (chain(&error), asks_for_calm(&error));
                end.send_replace(Some(Ended { reason, calm_asked_for }));
            }
        });
        Ok(Self { requests, ended })
    }

    /// Opens a stream; the response's head may come long after the first of its requests.
    pub(crate) async fn send(&mut self, request: http::Request<Requests>) -> hyper::Result<http::Response<Incoming>> {
        self.requests.ready().await?;
        self.requests.send_request(request).await
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.ended.same_channel(&other.ended)
    }

    /// Why the connection ended, if it does so soon with an error: its streams may hear of the end first.
    pub(crate) async fn ended(&mut self) -> Option<Ended> {
        let ended = self.ended.wait_for(Option::is_some);
        tokio::time::timeout(END_GRACE, ended).await.ok()?.ok()?.clone()
    }
}

fn asks_for_calm(error: &hyper::Error) -> bool {
    let mut source = StdError::source(error);
    while let Some(error) = source {
        if error.downcast_ref::<h2::Error>().and_then(h2::Error::reason) == Some(h2::Reason::ENHANCE_YOUR_CALM) {
            return true;
        }
        source = error.source();
    }
    false
}

/// An error with its causes, each said once.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}
