//! A downstream connection.

use std::{
    cell::Cell,
    rc::Rc,
    task::{Context, Poll},
};

use ::h2::{
    Reason, RecvStream,
    server::{self, SendResponse},
};
use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    error::{End, HEADERS_TOO_LARGE, INVALID_FIELD, connection_error, count_error},
    frames::{News, Watch},
    head::Rejection,
    keepalive::Pinger,
    refused::Refused,
    request::RequestReader,
    server_stream::{Asked, ServerStream},
    settings::{HeadLimits, ServerSettings},
    wire::Wire,
};
use crate::{
    http::{
        codec::{CodecError, limits},
        message::RequestHead,
    },
    stats::{Group, Http2Stat},
};

/// Details of the error that ends a connection whose client floods it with resets: Envoy counts
/// `downstream_rq_too_many_premature_resets`.
pub const TOO_MANY_PREMATURE_RESETS: &str = "too_many_premature_resets";

/// The server's end of one HTTP/2 connection. Polling [`poll_accept`](Self::poll_accept) drives everything: reads, writes,
/// windows, PINGs; its streams make no progress unless it is polled, and wake its task when they have something to write.
pub struct ServerConnection<IO> {
    h2: server::Connection<Wire<IO>, Bytes>,
    reader: RequestReader,
    pinger: Option<Pinger>,
    news: Rc<News>,
    shared: Rc<Shared>,
    /// Closing because of floods, which is said once.
    calmed: bool,
    /// What ended the connection, until it is said.
    ended: Option<Result<(), CodecError>>,
    done: bool,
}

/// What a client sent next.
// One a request, moved once: a box for the larger variant would cost more than it saves.
#[allow(clippy::large_enum_variant)]
pub enum Accepted {
    Request(RequestHead, ServerStream),
    /// A head that Envoy's codec refuses: its stream was reset, counted, and remains to be logged.
    Refused(Refusal),
}

/// Why a head was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the client was answered with; 0: with a reset.
    pub status: u16,
    /// Envoy's `response_code_details`.
    pub details: &'static str,
    pub sentence: String,
}

/// What the streams of a connection tell it.
pub(super) struct Shared {
    pub(super) stats: Group<Http2Stat>,
    /// Of trailers too.
    pub(super) limits: HeadLimits,
    /// Streams handed out and not yet dropped.
    active: Cell<usize>,
    closed: Cell<u32>,
    premature: Cell<u32>,
    /// A stream asked that the connection go away.
    pub(super) leaving: Cell<bool>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> ServerConnection<IO> {
    /// Exchanges prefaces.
    ///
    /// # Errors
    /// Where the client speaks something else or goes away. The wait for a silent client is unbounded: the caller has a timeout.
    pub async fn handshake(io: IO, settings: &ServerSettings, stats: Group<Http2Stat>) -> Result<Self, CodecError> {
        let news = Rc::new(News::default());
        let watch = Watch::new(End::Server, settings.floods, stats.clone(), Rc::clone(&news));
        let wire = Wire::accept(io, watch).await?;
        let mut h2 = match settings.builder().handshake(wire).await {
            Ok(h2) => h2,
            Err(e) => return Err(connection_error(End::Server, &e)),
        };
        stats.inc(Http2Stat::Nghttp2DownstreamConnections);
        let pinger = settings
            .keepalive
            .and_then(|keepalive| Some(Pinger::new(keepalive, h2.ping_pong()?, Rc::clone(&news))));
        let reader = RequestReader::new(settings.head_limits(), settings.headers_with_underscores);
        Ok(Self {
            h2,
            reader,
            pinger,
            news,
            shared: Rc::new(Shared::new(stats, settings.head_limits())),
            calmed: false,
            ended: None,
            done: false,
        })
    }

    /// The next request. `None` when the connection has ended; an error ends it too.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Accepted, CodecError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        if self.pinger.as_mut().is_some_and(|pinger| pinger.poll(cx).is_ready()) {
            self.shared.stats.inc(Http2Stat::KeepaliveTimeout);
            return self.fail(CodecError::Io("the client left a keepalive PING unanswered".into()));
        }
        if self.shared.leaving.take() {
            self.graceful_shutdown();
        }
        if !self.calmed && self.shared.floods() {
            self.calmed = true;
            self.shutdown(Reason::ENHANCE_YOUR_CALM);
        }
        if self.ended.is_none() {
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    return Poll::Ready(Some(Ok(self.accept(request, respond))));
                }
                Poll::Ready(Some(Err(e))) => self.ended = Some(Err(self.connection_failed(&e))),
                Poll::Ready(None) if self.calmed => {
                    let sentence = "the client reset more than half of its streams early".to_owned();
                    self.ended = Some(Err(End::Server.violation(TOO_MANY_PREMATURE_RESETS, sentence)));
                }
                Poll::Ready(None) => self.ended = Some(Ok(())),
                Poll::Pending => {}
            }
        }
        // By now every head that was read is handed out or refused.
        if let Some(refusal) = self.next_refusal() {
            return Poll::Ready(Some(Ok(Accepted::Refused(refusal))));
        }
        match self.ended.take() {
            None => Poll::Pending,
            Some(Ok(())) => {
                self.done = true;
                Poll::Ready(None)
            }
            Some(Err(error)) => self.fail(error),
        }
    }

    fn accept(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) -> Accepted {
        self.news.heads.borrow_mut().claimed(respond.stream_id().as_u32());
        let (parts, body) = request.into_parts();
        let read = self.reader.read(parts, &self.shared.stats);
        let asked = read.as_ref().map_or(Asked::Plain, Asked::of);
        let mut stream = ServerStream::new(asked, body, respond, Rc::clone(&self.shared));
        match read {
            Ok(head) => Accepted::Request(head, stream),
            Err(rejection) => {
                if rejection.reason == Reason::PROTOCOL_ERROR {
                    self.shared.stats.inc(Http2Stat::RxMessagingError);
                }
                stream.reset(rejection.reason);
                let Rejection { details, sentence, .. } = rejection;
                Accepted::Refused(Refusal {
                    status: 0,
                    details,
                    sentence,
                })
            }
        }
    }

    fn connection_failed(&self, e: &::h2::Error) -> CodecError {
        if let Some(flood) = self.news.flood.get() {
            return flood.error(End::Server);
        }
        let error = connection_error(End::Server, e);
        if let CodecError::Protocol { .. } = error {
            let too_large = e.reason() == Some(Reason::ENHANCE_YOUR_CALM);
            self.news.heads.borrow_mut().give_up(if too_large {
                Refused::FarTooLarge
            } else {
                Refused::Malformed
            });
        }
        error
    }

    /// A head that `h2` refused by itself; it tells nobody why.
    fn next_refusal(&mut self) -> Option<Refusal> {
        let refused = self.news.heads.borrow_mut().next_refused()?;
        let stats = &self.shared.stats;
        Some(match refused {
            Refused::Malformed => {
                // The connection's own error is counted where it is said.
                if self.ended.is_none() {
                    stats.inc(Http2Stat::RxMessagingError);
                }
                Refusal {
                    status: 0,
                    details: INVALID_FIELD,
                    sentence: "the client broke a rule of HTTP/2 in the request's head, or right behind it".to_owned(),
                }
            }
            Refused::TooLarge | Refused::FarTooLarge => {
                stats.inc(Http2Stat::HeaderListSizeTooLarge);
                let answered = refused == Refused::TooLarge;
                let status = answered.then_some(http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
                Refusal {
                    status: status.map_or(0, |status| status.as_u16()),
                    details: HEADERS_TOO_LARGE,
                    sentence: "the head is far larger than the limit".to_owned(),
                }
            }
        })
    }

    /// Starts to drain: GOAWAY for all streams, then, one round trip later, the final one. Streams run to their end, after which
    /// [`poll_accept`](Self::poll_accept) returns `None`.
    pub fn graceful_shutdown(&mut self) {
        self.h2.graceful_shutdown();
    }

    /// Ends all streams: GOAWAY with `reason`, then close. Keep polling until it is written.
    pub fn shutdown(&mut self, reason: Reason) {
        self.h2.abrupt_shutdown(reason);
    }

    /// Requests that were handed out and are not over.
    pub fn active_streams(&self) -> usize {
        self.shared.active.get()
    }

    fn fail<T>(&mut self, error: CodecError) -> Poll<Option<Result<T, CodecError>>> {
        self.done = true;
        count_error(&self.shared.stats, &error);
        Poll::Ready(Some(Err(error)))
    }
}

impl Shared {
    fn new(stats: Group<Http2Stat>, limits: HeadLimits) -> Self {
        Self {
            stats,
            limits,
            active: Cell::new(0),
            closed: Cell::new(0),
            premature: Cell::new(0),
            leaving: Cell::new(false),
        }
    }

    pub(super) fn opened(&self) {
        self.active.set(self.active.get() + 1);
        self.stats.gauge_add(Http2Stat::StreamsActive, 1);
    }

    pub(super) fn closed(&self, premature: bool) {
        self.active.set(self.active.get().saturating_sub(1));
        self.stats.gauge_add(Http2Stat::StreamsActive, -1);
        self.closed.set(self.closed.get().saturating_add(1));
        if premature {
            self.premature.set(self.premature.get().saturating_add(1));
        }
    }

    /// Envoy's rule against rapid reset: more than half of the streams were reset early, of enough streams to tell. It fires
    /// before that many have passed, once the rest could not change the verdict.
    fn floods(&self) -> bool {
        let total = self.closed.get().max(limits::H2_PREMATURE_RESET_TOTAL);
        self.premature.get() > 0 && self.premature.get().saturating_mul(2) >= total
    }
}
