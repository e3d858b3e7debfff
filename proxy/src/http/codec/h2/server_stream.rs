//! A request and its response on a downstream connection.

use std::{
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use ::h2::{Reason, RecvStream, server::SendResponse};
use bytes::Bytes;

use super::{
    body::{Inbound, Outbound},
    error::{End, count_error, reset, stream_error},
    head::check_limits,
    response,
    server::Shared,
};
use crate::{
    http::{
        codec::{CodecError, limits::H2_PREMATURE_LIFETIME},
        message::{Frame, Incoming, RequestHead, ResponseHead},
    },
    stats::{Group, Http2Stat},
};

/// One request of a [`super::ServerConnection`]. Dropping it before both halves ended resets the stream: NO_ERROR where only the
/// request body is unread, CANCEL otherwise.
pub struct ServerStream {
    inbound: Inbound,
    respond: SendResponse<Bytes>,
    /// Present once the response head was sent.
    outbound: Option<Outbound>,
    asked: Asked,
    shared: Rc<Shared>,
    started: Instant,
    fate: Fate,
}

/// What a request wants of its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Plain,
    Connect,
    /// Extended CONNECT.
    Upgrade,
}

impl Asked {
    pub(super) fn of(head: &RequestHead) -> Self {
        match head.method {
            _ if head.upgrade.is_some() => Self::Upgrade,
            http::Method::CONNECT => Self::Connect,
            _ => Self::Plain,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Running,
    /// By an error that was counted.
    Failed {
        by_peer: bool,
    },
}

impl ServerStream {
    pub(super) fn new(asked: Asked, body: RecvStream, respond: SendResponse<Bytes>, shared: Rc<Shared>) -> Self {
        shared.opened();
        Self {
            inbound: Inbound::new(body),
            respond,
            outbound: None,
            asked,
            shared,
            started: Instant::now(),
            fate: Fate::Running,
        }
    }

    /// HTTP/2's stream id.
    pub fn id(&self) -> u32 {
        self.respond.stream_id().as_u32()
    }

    /// The request was a CONNECT, extended or not.
    pub fn is_tunnel(&self) -> bool {
        self.asked != Asked::Plain
    }

    /// The request has no (further) body and no trailers.
    pub fn request_ended(&self) -> bool {
        self.inbound.ended()
    }

    /// Nothing follows the pieces that [`poll_body`](Self::poll_body) delivered: its next would be the end.
    pub fn body_over(&self) -> bool {
        self.inbound.over()
    }

    /// The next piece of the request body. Its bytes go back to the client's window at once: hold what you take within bounds.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, CodecError>> {
        let incoming = ready!(self.inbound.poll(End::Server, cx));
        if let Ok(Incoming::Frame(Frame::Trailers(trailers))) = &incoming {
            self.stats().inc(Http2Stat::Trailers);
            if let Err(rejection) = check_limits(self.shared.limits, trailers, (0, 0), self.stats()) {
                self.reset(rejection.reason);
                return Poll::Ready(Err(
                    self.failed(End::Server.violation(rejection.details, rejection.sentence))
                ));
            }
        }
        Poll::Ready(incoming.map_err(|e| self.failed(e)))
    }

    /// Sends a 1xx head; before [`send_head`](Self::send_head) only.
    ///
    /// # Errors
    /// Where the stream is gone, or the status is 101, which HTTP/2 does not have.
    pub fn send_informational(&mut self, head: &ResponseHead) -> Result<(), CodecError> {
        let head = response::write(head.clone(), false)?;
        self.respond.send_informational(head).map_err(|e| self.send_failed(&e))
    }

    /// Sends the response head; `end` where nothing follows. 101 to an extended CONNECT goes out as 200.
    ///
    /// # Errors
    /// Where the stream is gone, or where HTTP/2 cannot say it (101 to a plain request).
    pub fn send_head(&mut self, head: ResponseHead, end: bool) -> Result<(), CodecError> {
        let head = response::write(head, self.asked == Asked::Upgrade)?;
        let stream = self
            .respond
            .send_response(head, end)
            .map_err(|e| self.send_failed(&e))?;
        self.outbound = Some(Outbound::new(stream, end));
        Ok(())
    }

    /// Queues a piece of the response body, after the head. Trailers end it by themselves.
    ///
    /// # Errors
    /// Where the stream is gone.
    pub fn send_frame(&mut self, frame: Frame, end: bool) -> Result<(), CodecError> {
        let Some(outbound) = &mut self.outbound else {
            debug_assert!(false, "a body without a head");
            return Ok(());
        };
        outbound.send(frame, end).map_err(|e| self.send_failed(&e))
    }

    /// Bytes that wait for the client's window: stop reading the upstream when they are many.
    pub fn queued(&self) -> usize {
        self.outbound.as_ref().map_or(0, Outbound::queued)
    }

    /// Ready when all that was queued is on its way.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CodecError>> {
        let Some(outbound) = &mut self.outbound else {
            return Poll::Ready(Ok(()));
        };
        let flushed = ready!(outbound.poll_flush(End::Server, cx));
        Poll::Ready(flushed.map_err(|e| self.failed(e)))
    }

    /// Ready once the client reset the stream or the connection failed; pending for ever after a clean end.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<CodecError> {
        let polled = match &mut self.outbound {
            Some(outbound) => outbound.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        let error = match ready!(polled) {
            // The reason alone does not tell whether the client or `h2`, finding its message malformed, reset the stream.
            Ok(reason) => match self.inbound.poll_error(cx) {
                Some(e) => stream_error(End::Server, &e),
                None => reset(reason),
            },
            Err(e) => stream_error(End::Server, &e),
        };
        Poll::Ready(self.failed(error))
    }

    /// The connection goes away once its streams are over. Takes effect with what is sent next.
    pub fn leave(&self) {
        self.shared.leaving.set(true);
    }

    /// Resets the stream, whatever its state.
    pub fn reset(&mut self, reason: Reason) {
        match &mut self.outbound {
            Some(outbound) => outbound.reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    fn stats(&self) -> &Group<Http2Stat> {
        &self.shared.stats
    }

    fn send_failed(&mut self, error: &::h2::Error) -> CodecError {
        let error = match self
            .inbound
            .poll_error(&mut Context::from_waker(std::task::Waker::noop()))
        {
            Some(cause) => stream_error(End::Server, &cause),
            None => stream_error(End::Server, error),
        };
        self.failed(error)
    }

    /// Counts the first error of the stream only.
    fn failed(&mut self, error: CodecError) -> CodecError {
        if self.fate == Fate::Running {
            count_error(self.stats(), &error);
            self.fate = Fate::Failed {
                by_peer: matches!(error, CodecError::Reset(_) | CodecError::Refused),
            };
        }
        error
    }
}

impl Drop for ServerStream {
    fn drop(&mut self) {
        let answered = self.outbound.as_ref().is_some_and(Outbound::ended);
        let by_peer = self.fate == Fate::Failed { by_peer: true };
        self.shared
            .closed(by_peer && !answered && self.started.elapsed() < H2_PREMATURE_LIFETIME);
    }
}
