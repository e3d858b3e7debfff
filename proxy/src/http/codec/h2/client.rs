//! An upstream connection: a handle that starts streams, and the driver that moves bytes.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use ::h2::client;
use bytes::Bytes;
use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    client_stream::ClientStream,
    error::{End, connection_error, count_error, stream_error},
    frames::{News, Watch},
    keepalive::Pinger,
    request,
    settings::{ClientSettings, HeadLimits},
    wire::Wire,
};
use crate::{
    http::{codec::CodecError, message::RequestHead},
    stats::{Group, Http2Stat},
};

/// A handle on the client's end of one HTTP/2 connection; clones share it. The connection closes in order once all handles and
/// streams are dropped.
#[derive(Clone)]
pub struct ClientConnection(Rc<Shared>);

/// Drives the connection: spawn it. It ends when the connection does; dropping it cuts the connection.
pub struct ClientDriver<IO> {
    h2: client::Connection<Wire<IO>, Bytes>,
    pinger: Option<Pinger>,
    news: Rc<News>,
    load: Rc<Load>,
}

struct Shared {
    send: RefCell<client::SendRequest<Bytes>>,
    load: Rc<Load>,
    limits: HeadLimits,
    max_streams: usize,
    idle_interval: Duration,
}

/// How busy a connection is. Apart from [`Shared`], so that neither driver nor streams keep the connection open.
pub(super) struct Load {
    pub(super) stats: Group<Http2Stat>,
    active: Cell<usize>,
    idle_since: Cell<Instant>,
    closed: Cell<bool>,
    ping_wanted: Cell<bool>,
    driver: RefCell<Option<Waker>>,
    /// Tasks that wait for room.
    waiters: RefCell<Vec<Waker>>,
}

impl ClientConnection {
    /// Sends the preface; does not wait for the server's.
    ///
    /// # Errors
    /// Where the preface cannot be written.
    pub async fn handshake<IO: AsyncRead + AsyncWrite + Unpin>(
        io: IO,
        settings: &ClientSettings,
        stats: Group<Http2Stat>,
    ) -> Result<(Self, ClientDriver<IO>), CodecError> {
        let news = Rc::new(News::default());
        let watch = Watch::new(End::Client, settings.floods, stats.clone(), Rc::clone(&news));
        let handshake = settings.builder().handshake(Wire::new(io, watch));
        let (send, mut h2) = handshake.await.map_err(|e| connection_error(End::Client, &e))?;
        stats.inc(Http2Stat::Nghttp2UpstreamConnections);
        let pinger = settings
            .keepalive
            .and_then(|keepalive| Some(Pinger::new(keepalive, h2.ping_pong()?, Rc::clone(&news))));
        let load = Rc::new(Load::new(stats));
        let shared = Shared {
            send: RefCell::new(send),
            load: Rc::clone(&load),
            limits: settings.head_limits(),
            max_streams: settings.max_concurrent_streams as usize,
            idle_interval: settings.keepalive.map_or(Duration::ZERO, |k| k.idle_interval),
        };
        Ok((Self(Rc::new(shared)), ClientDriver { h2, pinger, news, load }))
    }

    /// Streams may be started, now or when others end: the connection has not failed, and the server sent no GOAWAY.
    pub fn is_open(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !self.0.load.closed.get() && !matches!(self.0.send.borrow_mut().poll_ready(&mut cx), Poll::Ready(Err(_)))
    }

    /// A stream may be started now.
    pub fn has_capacity(&self) -> bool {
        self.is_open() && self.active() < self.max_streams()
    }

    /// Ready when a stream may be started; an error when none ever will.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), CodecError>> {
        if !self.is_open() {
            return Poll::Ready(Err(CodecError::Refused));
        }
        if self.active() < self.max_streams() {
            return Poll::Ready(Ok(()));
        }
        self.0.load.wait(cx);
        Poll::Pending
    }

    /// Streams that were started and not yet dropped.
    pub fn active(&self) -> usize {
        self.0.load.active.get()
    }

    /// The smaller of the configured limit and what the server's SETTINGS say by now.
    pub fn max_streams(&self) -> usize {
        self.0.send.borrow().current_max_send_streams().min(self.0.max_streams)
    }

    /// The server announced extended CONNECT (RFC 8441); false until its SETTINGS arrived.
    pub fn allows_upgrades(&self) -> bool {
        self.0.send.borrow().is_extended_connect_protocol_enabled()
    }

    /// Sends a request head; `end` where nothing follows. An upgrade goes out as extended CONNECT, whatever the server announced,
    /// as Envoy's does.
    ///
    /// # Errors
    /// `Refused` where the connection takes no more streams (nothing was sent); `Protocol` where HTTP/2 cannot say it.
    pub fn start(&self, head: &RequestHead, end: bool) -> Result<ClientStream, CodecError> {
        let upgrade: Option<HeaderValue> = head.upgrade.clone();
        let request = request::write(head)?;
        let sent = self.0.send.borrow_mut().send_request(request, end);
        let (response, send) = sent.map_err(|e| match stream_error(End::Client, &e) {
            CodecError::Protocol {
                status,
                details,
                sentence,
            } if !e.is_library() => CodecError::Protocol {
                status,
                details,
                sentence,
            },
            _ => CodecError::Refused,
        })?;
        self.0.ping_if_idle();
        self.0.load.opened();
        Ok(ClientStream::new(
            response,
            send,
            end,
            upgrade,
            self.0.limits,
            Rc::clone(&self.0.load),
        ))
    }
}

impl Shared {
    fn ping_if_idle(&self) {
        let load = &self.load;
        let idle = load.active.get() == 0 && !self.idle_interval.is_zero();
        if idle && load.idle_since.get().elapsed() >= self.idle_interval {
            load.ping_wanted.set(true);
            if let Some(waker) = load.driver.borrow().as_ref() {
                waker.wake_by_ref();
            }
        }
    }
}

impl Load {
    fn new(stats: Group<Http2Stat>) -> Self {
        Self {
            stats,
            active: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            closed: Cell::new(false),
            ping_wanted: Cell::new(false),
            driver: RefCell::new(None),
            waiters: RefCell::new(Vec::new()),
        }
    }

    fn opened(&self) {
        self.active.set(self.active.get() + 1);
        self.stats.gauge_add(Http2Stat::StreamsActive, 1);
    }

    /// A stream is over.
    pub(super) fn released(&self) {
        self.active.set(self.active.get().saturating_sub(1));
        if self.active.get() == 0 {
            self.idle_since.set(Instant::now());
        }
        self.stats.gauge_add(Http2Stat::StreamsActive, -1);
        self.wake_waiters();
    }

    fn wait(&self, cx: &Context<'_>) {
        let mut waiters = self.waiters.borrow_mut();
        if !waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
            waiters.push(cx.waker().clone());
        }
    }

    fn wake_waiters(&self) {
        for waker in self.waiters.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    fn remember_driver(&self, cx: &Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        match driver.as_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *driver = Some(cx.waker().clone()),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for ClientDriver<IO> {
    /// `Ok` where the connection ended in order.
    type Output = Result<(), CodecError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(pinger) = &mut this.pinger {
            this.load.remember_driver(cx);
            if this.load.ping_wanted.replace(false) {
                pinger.ping_now();
            }
            if pinger.poll(cx).is_ready() {
                this.load.stats.inc(Http2Stat::KeepaliveTimeout);
                return Poll::Ready(Err(CodecError::Io(
                    "the server left a keepalive PING unanswered".into(),
                )));
            }
        }
        let polled = Pin::new(&mut this.h2).poll(cx);
        // SETTINGS may have raised the limit of streams, or GOAWAY ended all waiting.
        this.load.wake_waiters();
        polled.map_err(|e| {
            let flood = this.news.flood.get().map(|flood| flood.error(End::Client));
            let error = flood.unwrap_or_else(|| connection_error(End::Client, &e));
            count_error(&this.load.stats, &error);
            error
        })
    }
}

impl<IO> Drop for ClientDriver<IO> {
    fn drop(&mut self) {
        self.load.closed.set(true);
        self.load.wake_waiters();
    }
}
