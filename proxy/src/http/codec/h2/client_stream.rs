//! A request and its response on an upstream connection.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use ::h2::{Reason, SendStream, client::ResponseFuture};
use bytes::Bytes;
use http::{HeaderValue, Response};

use super::{
    body::{Inbound, Outbound},
    client::Load,
    error::{End, count_error, reset, stream_error},
    head::check_limits,
    response,
    settings::HeadLimits,
};
use crate::http::{
    codec::CodecError,
    message::{Frame, Incoming, ResponseHead},
};

/// One exchange of a [`super::ClientConnection`]. Dropping it before both halves ended resets the stream with CANCEL.
///
/// An error [`CodecError::Refused`] says that the server did not process the request: it may be sent again elsewhere.
pub struct ClientStream {
    response: ResponseFuture,
    outbound: Outbound,
    /// Present once the final head arrived.
    inbound: Option<Inbound>,
    /// What an extended CONNECT asked for.
    upgrade: Option<HeaderValue>,
    limits: HeadLimits,
    load: Rc<Load>,
    failed: bool,
}

impl ClientStream {
    pub(super) fn new(
        response: ResponseFuture,
        send: SendStream<Bytes>,
        ended: bool,
        upgrade: Option<HeaderValue>,
        limits: HeadLimits,
        load: Rc<Load>,
    ) -> Self {
        let outbound = Outbound::new(send, ended);
        Self {
            response,
            outbound,
            inbound: None,
            upgrade,
            limits,
            load,
            failed: false,
        }
    }

    /// HTTP/2's stream id.
    pub fn id(&self) -> u32 {
        self.response.stream_id().as_u32()
    }

    /// Queues a piece of the request body. Trailers end it by themselves.
    ///
    /// # Errors
    /// Where the stream is gone; [`poll_head`](Self::poll_head) may still have a response that the server gave before.
    pub fn send_frame(&mut self, frame: Frame, end: bool) -> Result<(), CodecError> {
        match self.outbound.send(frame, end) {
            Ok(()) => Ok(()),
            // The reset that ended the stream is told by `poll_flush`, which knows NO_ERROR from a failure.
            Err(e) => match self.poll_flush(&mut Context::from_waker(std::task::Waker::noop())) {
                Poll::Ready(Err(e)) => Err(e),
                _ => Err(self.fail(stream_error(End::Client, &e))),
            },
        }
    }

    /// Bytes that wait for the server's window: stop reading the downstream when they are many.
    pub fn queued(&self) -> usize {
        self.outbound.queued()
    }

    /// Ready when all that was queued is on its way, or when the server wants no more of it (a reset with NO_ERROR, which may
    /// follow an early response).
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CodecError>> {
        let flushed = ready!(self.outbound.poll_flush(End::Client, cx));
        Poll::Ready(flushed.map_err(|e| self.fail(e)))
    }

    /// The next head: informational ones (1xx) first, then the final one, with whether nothing follows it. 200 to an extended
    /// CONNECT comes as 101 with an `upgrade` field. Not to be polled after the final head.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(ResponseHead, bool), CodecError>> {
        if let Poll::Ready(Some(informational)) = self.response.poll_informational(cx) {
            let read = informational
                .map_err(|e| stream_error(End::Client, &e))
                .and_then(|r| self.read(r, false));
            return Poll::Ready(read.map(|head| (head, false)).map_err(|e| self.fail(e)));
        }
        let response = match ready!(Pin::new(&mut self.response).poll(cx)) {
            Ok(response) => response,
            Err(e) => return Poll::Ready(Err(self.fail(stream_error(End::Client, &e)))),
        };
        let (parts, body) = response.into_parts();
        let inbound = Inbound::new(body);
        let ended = inbound.ended();
        self.inbound = Some(inbound);
        let read = self.read(Response::from_parts(parts, ()), true);
        Poll::Ready(read.map(|head| (head, ended)).map_err(|e| self.fail(e)))
    }

    /// Nothing follows the pieces that [`poll_body`](Self::poll_body) delivered: its next would be the end.
    pub fn body_over(&self) -> bool {
        self.inbound.as_ref().is_some_and(Inbound::over)
    }

    /// The next piece of the response body, after the final head. Its bytes go back to the server's window at once.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, CodecError>> {
        let Some(inbound) = &mut self.inbound else {
            debug_assert!(false, "a body without a head");
            return Poll::Pending;
        };
        let incoming = ready!(inbound.poll(End::Client, cx));
        if let Ok(Incoming::Frame(Frame::Trailers(trailers))) = &incoming
            && let Err(rejection) = check_limits(self.limits, trailers, (0, 0), &self.load.stats)
        {
            self.reset(rejection.reason);
            return Poll::Ready(Err(
                self.fail(End::Client.violation(rejection.details, rejection.sentence))
            ));
        }
        Poll::Ready(incoming.map_err(|e| self.fail(e)))
    }

    /// Ready once the server reset the stream or the connection failed; pending for ever after a clean end.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<CodecError> {
        let error = match ready!(self.outbound.poll_reset(cx)) {
            Ok(reason) => reset(reason),
            Err(e) => stream_error(End::Client, &e),
        };
        Poll::Ready(self.fail(error))
    }

    /// Resets the stream, whatever its state.
    pub fn reset(&mut self, reason: Reason) {
        self.outbound.reset(reason);
    }

    fn read(&mut self, response: Response<()>, last: bool) -> Result<ResponseHead, CodecError> {
        let upgrade = self.upgrade.as_ref().filter(|_| last);
        response::read(response, upgrade, self.limits, &self.load.stats).map_err(|rejection| {
            self.reset(rejection.reason);
            End::Client.violation(rejection.details, rejection.sentence)
        })
    }

    /// Counts the first error of the stream only.
    fn fail(&mut self, error: CodecError) -> CodecError {
        if !self.failed {
            self.failed = true;
            count_error(&self.load.stats, &error);
        }
        error
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        self.load.released();
    }
}
