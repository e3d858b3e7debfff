//! The downstream side of HTTP/1: requests in, responses out.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use http::{HeaderValue, Method, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    super::{
        super::message::{Frame, Incoming, Protocol, RequestHead, ResponseHead},
        CodecError,
        limits::MAX_PIPELINED,
    },
    ServerSettings, WireBytes,
    body::{Body, Trailers},
    encode::{self, CRLF, Encoder, FrameFormat, Framing, put_header, put_headers, put_status_line},
    fields::Bounds,
    input::Input,
    name::NameWriter,
    request,
    response::Asked,
};

/// One downstream connection. One request at a time; pipelined ones wait in the input.
///
/// The order of calls for each request: [`Self::poll_request`], then [`Self::poll_body`] and the `send_*` functions in any
/// order with [`Self::poll_flush`], then [`Self::finish_request`].
#[derive(Debug)]
pub struct ServerConnection<IO> {
    io: IO,
    settings: Arc<ServerSettings>,
    input: Input,
    encoder: Encoder,
    body: Body,
    /// Of the request.
    upgrade: Option<HeaderValue>,
    asked: Asked,
    http10: bool,
    /// No request follows the current one.
    closing: bool,
    /// The final head was sent.
    answered: bool,
    /// What was received and sent before the current request.
    before: WireBytes,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> ServerConnection<IO> {
    pub fn new(io: IO, settings: Arc<ServerSettings>) -> Self {
        Self {
            io,
            settings,
            input: Input::default(),
            encoder: Encoder::default(),
            body: Body::Done,
            upgrade: None,
            asked: Asked::Plain,
            http10: false,
            closing: false,
            answered: false,
            before: WireBytes::default(),
        }
    }

    /// Of the current request and its response, framing and all.
    pub fn wire_bytes(&self) -> WireBytes {
        WireBytes {
            received: self.input.decoded() - self.before.received,
            sent: self.encoder.output.total() - self.before.sent,
        }
    }

    pub fn io(&self) -> &IO {
        &self.io
    }

    /// The next request's head. None where the client closed between requests, or where the connection was to close.
    ///
    /// # Errors
    /// `Protocol`: send the local reply (`Connection: close` is added), flush, close. Others: close.
    pub fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<RequestHead>, CodecError>> {
        while !self.closing {
            match self.decode_request() {
                Ok(None) => {}
                Ok(Some(head)) => return Poll::Ready(Ok(Some(head))),
                Err(error) => {
                    self.closing = true;
                    return Poll::Ready(Err(error));
                }
            }
            match ready!(self.input.poll_read(&mut self.io, cx)) {
                Ok(0) if self.input.is_empty() => return Poll::Ready(Ok(None)),
                Ok(0) => return Poll::Ready(Err(CodecError::Closed)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(failed(&error))),
            }
        }
        Poll::Ready(Ok(None))
    }

    /// Whether part of a head has arrived: the time for `request_headers_timeout` runs.
    pub fn head_started(&self) -> bool {
        !self.input.is_empty()
    }

    fn decode_request(&mut self) -> Result<Option<RequestHead>, CodecError> {
        self.before = WireBytes {
            received: self.input.decoded(),
            sent: self.encoder.output.total(),
        };
        // RFC 9112 section 2.2: empty lines before a request line are ignored.
        let blank = self
            .input
            .as_slice()
            .iter()
            .take_while(|b| matches!(b, b'\r' | b'\n'))
            .count();
        if blank > 0 {
            self.input.skip(blank);
        }
        let bounds = self.trailers().bounds;
        let Some(len) = self.input.head_len() else {
            bounds.check_size(self.input.len())?;
            if let Some(end) = memchr::memchr(b'\n', self.input.as_slice()) {
                request::check_line(&self.input.as_slice()[..end], &self.settings)?;
            }
            return Ok(None);
        };
        bounds.check_size(len)?;
        let request = request::decode(self.input.take(len), &self.settings)?;
        self.body = request.body;
        self.closing = !request.keep_alive;
        self.http10 = request.head.protocol == Protocol::Http10;
        self.asked = match request.head.method {
            Method::HEAD => Asked::Head,
            Method::CONNECT => Asked::Connect,
            _ if request.head.upgrade.is_some() => Asked::Upgrade,
            _ => Asked::Plain,
        };
        self.upgrade.clone_from(&request.head.upgrade);
        Ok(Some(request.head))
    }

    /// Whether any of the request's body is still to come. Of an upgrade or CONNECT always true: its "body" is the tunnel,
    /// and must not be asked for before the upgrade is accepted.
    pub fn request_has_body(&self) -> bool {
        !self.body.is_done()
    }

    /// The next piece of the request's body. Reads only when called: not calling is the back-pressure.
    ///
    /// # Errors
    /// `Protocol`: answer with its status if nothing was sent yet, then close. `Closed`: the client went away.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, CodecError>> {
        let trailers = self.trailers();
        loop {
            match self.body.decode(&mut self.input, trailers) {
                Ok(None) => {}
                Ok(Some(incoming)) => return Poll::Ready(Ok(incoming)),
                Err(error) => {
                    self.closing = true;
                    return Poll::Ready(Err(error));
                }
            }
            match ready!(self.input.poll_read(&mut self.io, cx)) {
                // Of a tunnel too: Envoy's client has no half of it.
                Ok(0) => return Poll::Ready(Err(CodecError::Closed)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(failed(&error))),
            }
        }
    }

    /// Ready when the client has gone away while its response is awaited (Envoy takes a half-close for that too). Bytes of
    /// pipelined requests are kept, up to a bound, past which the client is not watched.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<CodecError> {
        while self.input.len() < MAX_PIPELINED {
            match ready!(self.input.poll_read(&mut self.io, cx)) {
                Ok(0) => return Poll::Ready(CodecError::Closed),
                Ok(_) => {}
                Err(error) => return Poll::Ready(failed(&error)),
            }
        }
        Poll::Pending
    }

    /// Queues a 1xx other than 101.
    pub fn send_informational(&mut self, head: &ResponseHead) {
        let (vectored, http10, case) = (self.io.is_write_vectored(), self.http10, self.settings.header_case);
        self.encoder.output.append(vectored, |out| {
            put_status_line(out, http10, head.status);
            let mut names = NameWriter::new(Some(&head.spelling), case);
            put_headers(out, &mut names, &head.headers, |n| {
                encode::is_end_to_end(n) && *n != header::CONTENT_LENGTH
            });
            out.extend_from_slice(CRLF);
        });
    }

    /// Queues the final head. `end`: there is no body. A 101 to an upgrade and a 2xx to CONNECT start the tunnel: from then on
    /// [`Self::poll_body`] and [`Self::send_frame`] carry its bytes.
    pub fn send_head(&mut self, head: &ResponseHead, end: bool) {
        self.answered = true;
        let status = head.status;
        let switched = self.asked == Asked::Upgrade && status == StatusCode::SWITCHING_PROTOCOLS && !end;
        let tunnel = switched || (self.asked == Asked::Connect && status.is_success());
        if tunnel {
            self.closing = true;
        } else if !self.request_complete() {
            // Envoy does not wait for the rest of a request that was answered: the client hears that it need not send it.
            self.closing = true;
        }
        let bodiless = status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = encode::content_length(&head.headers);
        let keep_length = !switched && !status.is_informational() && status != StatusCode::NO_CONTENT;
        self.encoder.framing = match length {
            _ if tunnel => Framing::UntilClose,
            _ if end || bodiless || self.asked == Asked::Head => Framing::Done,
            Some(length) => Framing::Length(length),
            None if self.http10 => Framing::UntilClose,
            None => Framing::Chunked,
        };
        // A head that promises a body that never comes would make the next response this one's body.
        let body_expected = !tunnel && !bodiless && self.asked != Asked::Head;
        self.closing |= end && body_expected && length.is_some_and(|n| n > 0);
        let until_close = self.encoder.framing == Framing::UntilClose;
        self.closing |= until_close;
        let add_zero = length.is_none() && end && body_expected;
        let add_chunked = self.encoder.framing == Framing::Chunked
            || (length.is_none() && self.asked == Asked::Head && !bodiless && !self.http10);

        let (vectored, http10, closing, case) = (
            self.io.is_write_vectored(),
            self.http10,
            self.closing,
            self.settings.header_case,
        );
        let upgrade = self.upgrade.take().filter(|_| switched);
        self.encoder.output.append(vectored, |out| {
            put_status_line(out, http10, status);
            let mut names = NameWriter::new(Some(&head.spelling), case);
            let keep = |n: &http::HeaderName| encode::is_end_to_end(n) && (keep_length || *n != header::CONTENT_LENGTH);
            put_headers(out, &mut names, &head.headers, keep);
            if switched {
                put_header(out, &mut names, "connection", encode::upgrade_connection(&head.headers));
                let agreed = head.headers.get(header::UPGRADE).or(upgrade.as_ref());
                put_header(out, &mut names, "upgrade", agreed.map_or(b"", HeaderValue::as_bytes));
            } else if closing && !tunnel {
                put_header(out, &mut names, "connection", b"close");
            } else if http10 && !tunnel {
                put_header(out, &mut names, "connection", b"keep-alive");
            }
            if add_zero {
                put_header(out, &mut names, "content-length", b"0");
            }
            if add_chunked {
                put_header(out, &mut names, "transfer-encoding", b"chunked");
            }
            out.extend_from_slice(CRLF);
        });
    }

    /// Queues a piece of the response's body. `end`: it is the last.
    pub fn send_frame(&mut self, frame: Frame, end: bool) {
        let how = FrameFormat {
            vectored: self.io.is_write_vectored(),
            trailers: self.settings.enable_trailers,
            case: self.settings.header_case,
        };
        self.encoder.send(frame, end, how);
    }

    /// Queues the end of the response's body.
    pub fn send_end(&mut self) {
        self.send_frame(Frame::Data(bytes::Bytes::new()), true);
    }

    /// Bytes queued, for the caller's watermark.
    pub fn queued(&self) -> usize {
        self.encoder.output.len()
    }

    /// Writes what is queued. Ready when all of it was written.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CodecError>> {
        self.encoder
            .output
            .poll_flush(&mut self.io, cx)
            .map_err(|error| failed(&error))
    }

    /// The current response is the last; if its head is not sent yet, it says so.
    pub fn close_after_response(&mut self) {
        self.closing = true;
    }

    /// Whether the final head was sent, so that an error can no longer be answered.
    pub fn answered(&self) -> bool {
        self.answered
    }

    /// Whether another request can follow the current one.
    pub fn should_keep_alive(&self) -> bool {
        !self.closing && !self.encoder.broken
    }

    /// Ends the exchange after its response was sent. Whether another request can follow; if not, flush, then
    /// [`Self::poll_shutdown`] and for Envoy's `delayed_close_timeout` [`Self::poll_discard`].
    ///
    /// A request of which something is still to come ends the connection, but for what was read already.
    pub fn finish_request(&mut self) -> bool {
        let trailers = self.trailers();
        while !self.body.is_done() && matches!(self.body.decode(&mut self.input, trailers), Ok(Some(_))) {}
        self.closing |= !self.body.is_done() || self.encoder.framing != Framing::Done;
        self.body = Body::Done;
        self.encoder.framing = Framing::Done;
        self.asked = Asked::Plain;
        self.upgrade = None;
        self.http10 = false;
        self.answered = false;
        self.should_keep_alive()
    }

    /// Flushes and ends the writing side.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CodecError>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx).map_err(|error| failed(&error))
    }

    /// Reads and drops what the client still sends; ready when it has closed too. Closing a socket with unread bytes makes
    /// the kernel reset it, and the client may then lose the response.
    pub fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.input = Input::default();
            match ready!(self.input.poll_read(&mut self.io, cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
    }

    /// The stream and the bytes read from it beyond the head, for a tunnel that needs no codec. Flush before.
    pub fn into_upgraded(self) -> (IO, BytesMut) {
        (self.io, self.input.into_inner())
    }

    #[cfg(test)]
    pub(super) fn buffered_capacity(&self) -> usize {
        self.input.capacity()
    }

    fn request_complete(&self) -> bool {
        match self.body {
            Body::Done => true,
            Body::Length(left) => left <= self.input.len() as u64,
            _ => false,
        }
    }

    fn trailers(&self) -> Trailers {
        let bounds = Bounds::new(self.settings.max_headers_kb, self.settings.max_headers_count);
        Trailers {
            enabled: self.settings.enable_trailers,
            bounds,
        }
    }
}

fn failed(error: &io::Error) -> CodecError {
    CodecError::Io(error.to_string())
}
