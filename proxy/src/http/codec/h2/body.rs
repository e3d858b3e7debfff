//! The two directions of a stream's body: what arrives, with its window, and what waits to be sent.

use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
};

use ::h2::{Reason, RecvStream, SendStream};
use bytes::Bytes;
use http::HeaderMap;

use super::error::{End, reset, stream_error};
use crate::http::{
    codec::{CodecError, limits::H2_SEND_BUFFER},
    message::{Frame, Incoming},
};

/// The receiving half.
pub(super) struct Inbound {
    stream: RecvStream,
    ended: bool,
}

impl Inbound {
    pub(super) fn new(stream: RecvStream) -> Self {
        let ended = stream.is_end_stream();
        Self { stream, ended }
    }

    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Nothing follows what was delivered, though the end itself may not have been.
    pub(super) fn over(&self) -> bool {
        self.ended || self.stream.is_end_stream()
    }

    /// The next piece. Its bytes return to the window now: the caller bounds what it holds by not polling.
    pub(super) fn poll(&mut self, end: End, cx: &mut Context<'_>) -> Poll<Result<Incoming, CodecError>> {
        while !self.ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    // It fails only where more is released than arrived.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Ok(Incoming::Frame(Frame::Data(data))));
                }
                Some(Err(e)) => return Poll::Ready(Err(stream_error(end, &e))),
                None => {
                    let trailers = ready!(self.stream.poll_trailers(cx)).map_err(|e| stream_error(end, &e))?;
                    self.ended = true;
                    if let Some(trailers) = trailers {
                        return Poll::Ready(Ok(Incoming::Frame(Frame::Trailers(trailers))));
                    }
                }
            }
        }
        Poll::Ready(Ok(Incoming::End))
    }

    /// The error that ended this half, once the peer or `h2` reset the stream. Throws away what was buffered.
    pub(super) fn poll_error(&mut self, cx: &mut Context<'_>) -> Option<::h2::Error> {
        loop {
            match self.stream.poll_data(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(e))) => return Some(e),
                Poll::Ready(None) | Poll::Pending => return None,
            }
        }
    }
}

/// The sending half: a queue that drains as the peer's windows open.
pub(super) struct Outbound {
    stream: SendStream<Bytes>,
    queue: VecDeque<Bytes>,
    queued: usize,
    ending: Ending,
}

enum Ending {
    Open,
    /// END_STREAM follows the queue.
    Queued(Option<HeaderMap>),
    Sent,
}

impl Outbound {
    pub(super) fn new(stream: SendStream<Bytes>, ended: bool) -> Self {
        let ending = if ended { Ending::Sent } else { Ending::Open };
        Self {
            stream,
            queue: VecDeque::new(),
            queued: 0,
            ending,
        }
    }

    /// Bytes that wait here for a window.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// END_STREAM was handed to `h2`.
    pub(super) fn ended(&self) -> bool {
        matches!(self.ending, Ending::Sent)
    }

    /// Queues a piece; what the windows admit goes to `h2` at once.
    pub(super) fn send(&mut self, frame: Frame, end: bool) -> Result<(), ::h2::Error> {
        if !matches!(self.ending, Ending::Open) {
            debug_assert!(false, "a frame after the end of the body");
            return Ok(());
        }
        match frame {
            Frame::Data(data) => self.send_data(data, end),
            Frame::Trailers(trailers) if self.queue.is_empty() => {
                self.ending = Ending::Sent;
                self.stream.send_trailers(trailers)
            }
            Frame::Trailers(trailers) => {
                self.ending = Ending::Queued(Some(trailers));
                Ok(())
            }
        }
    }

    fn send_data(&mut self, mut data: Bytes, end: bool) -> Result<(), ::h2::Error> {
        if self.queue.is_empty() && !data.is_empty() {
            let granted = self.reserve(data.len()).min(data.len());
            if granted == data.len() {
                return self.write(data, end);
            }
            if granted > 0 {
                self.stream.send_data(data.split_to(granted), false)?;
            }
        }
        if self.queue.is_empty() && data.is_empty() {
            return if end { self.write(data, true) } else { Ok(()) };
        }
        if !data.is_empty() {
            self.queued += data.len();
            self.queue.push_back(data);
        }
        if end {
            self.ending = Ending::Queued(None);
        }
        Ok(())
    }

    /// Drains the queue; `Ready(Ok)` when it is empty. A peer that says NO_ERROR wants no more of this half (RFC 9113 section
    /// 8.1) and ends it without failing the other.
    pub(super) fn poll_flush(&mut self, end: End, cx: &mut Context<'_>) -> Poll<Result<(), CodecError>> {
        while let Some(wanted) = self.queue.front().map(Bytes::len) {
            let mut granted = self.stream.capacity();
            if granted == 0 {
                granted = self.reserve(wanted);
            }
            if granted == 0 {
                granted = match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(granted)) => granted,
                    Some(Err(e)) => return Poll::Ready(Err(stream_error(end, &e))),
                    None => return self.poll_gone(end, cx),
                };
            }
            if let Err(e) = self.write_front(granted.min(wanted)) {
                return match self.poll_gone(end, cx) {
                    Poll::Ready(outcome) => Poll::Ready(outcome),
                    Poll::Pending => Poll::Ready(Err(stream_error(end, &e))),
                };
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ready once the stream was reset, by the peer or by `h2`, or the connection failed.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, ::h2::Error>> {
        self.stream.poll_reset(cx)
    }

    pub(super) fn reset(&mut self, reason: Reason) {
        self.clear();
        self.stream.send_reset(reason);
    }

    fn poll_gone(&mut self, end: End, cx: &mut Context<'_>) -> Poll<Result<(), CodecError>> {
        self.clear();
        match self.stream.poll_reset(cx) {
            Poll::Ready(Ok(Reason::NO_ERROR)) => Poll::Ready(Ok(())),
            Poll::Ready(Ok(reason)) => Poll::Ready(Err(reset(reason))),
            Poll::Ready(Err(e)) => Poll::Ready(Err(stream_error(end, &e))),
            Poll::Pending => Poll::Ready(Err(CodecError::Closed)),
        }
    }

    fn write_front(&mut self, n: usize) -> Result<(), ::h2::Error> {
        let Some(front) = self.queue.front_mut() else {
            return Ok(());
        };
        let data = front.split_to(n);
        self.queued -= n;
        if front.is_empty() {
            self.queue.pop_front();
        }
        if !self.queue.is_empty() {
            return self.stream.send_data(data, false);
        }
        match std::mem::replace(&mut self.ending, Ending::Open) {
            Ending::Queued(None) => self.write(data, true),
            Ending::Queued(Some(trailers)) => {
                self.stream.send_data(data, false)?;
                self.ending = Ending::Sent;
                self.stream.send_trailers(trailers)
            }
            other => {
                self.ending = other;
                self.stream.send_data(data, false)
            }
        }
    }

    fn write(&mut self, data: Bytes, end: bool) -> Result<(), ::h2::Error> {
        if end {
            self.ending = Ending::Sent;
        }
        self.stream.send_data(data, end)
    }

    /// Asks for room for `wanted` bytes and says how much there is. Never for more than `h2` may buffer: a stream that reserved
    /// the connection's whole window without using it would starve the others.
    fn reserve(&mut self, wanted: usize) -> usize {
        self.stream.reserve_capacity(wanted.min(H2_SEND_BUFFER));
        self.stream.capacity()
    }

    fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.queued = 0;
        self.ending = Ending::Sent;
    }
}
