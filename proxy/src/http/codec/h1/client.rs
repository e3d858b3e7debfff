//! The upstream side of HTTP/1: requests out, responses in.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::BytesMut;
use http::{Method, StatusCode, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    super::{
        super::message::{Frame, Incoming, RequestHead, ResponseHead},
        CodecError,
    },
    ClientSettings, WireBytes,
    body::{Body, Trailers},
    encode::{self, CRLF, Encoder, FrameFormat, Framing, put_header, put_headers},
    fields::{Bounds, CODEC_ERROR, bad},
    input::Input,
    name::NameWriter,
    response::{self, Asked},
};

/// One upstream connection. One exchange at a time: [`Self::send_head`] starts it, it is over when
/// [`Self::is_reusable`] says so or the connection is dropped.
#[derive(Debug)]
pub struct ClientConnection<IO> {
    io: IO,
    settings: ClientSettings,
    input: Input,
    encoder: Encoder,
    body: Body,
    asked: Asked,
    state: State,
    /// Of the current exchange, heads included.
    received: u64,
    /// What was sent before the current exchange.
    sent_before: u64,
    /// Exchanges started.
    requests: u32,
    keep_alive: bool,
    /// The client ended its CONNECT.
    hung_up: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    AwaitingHead,
    /// The final head was delivered.
    Body,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> ClientConnection<IO> {
    pub fn new(io: IO, settings: ClientSettings) -> Self {
        Self {
            io,
            settings,
            input: Input::default(),
            encoder: Encoder::default(),
            body: Body::Done,
            asked: Asked::Plain,
            state: State::Idle,
            received: 0,
            sent_before: 0,
            requests: 0,
            keep_alive: true,
            hung_up: false,
        }
    }

    pub fn io(&self) -> &IO {
        &self.io
    }

    /// Queues a request's head. `end`: there is no body. The bytes of an upgrade or CONNECT follow as frames, once it is
    /// accepted.
    pub fn send_head(&mut self, head: &RequestHead, end: bool) {
        self.state = State::AwaitingHead;
        self.received = 0;
        self.sent_before = self.encoder.output.total();
        self.requests = self.requests.saturating_add(1);
        let connect = head.method == Method::CONNECT;
        self.asked = match head.method {
            Method::HEAD => Asked::Head,
            Method::CONNECT => Asked::Connect,
            _ if head.upgrade.is_some() => Asked::Upgrade,
            _ => Asked::Plain,
        };
        let tunnel = connect || head.upgrade.is_some();
        let length = encode::content_length(&head.headers);
        self.hung_up = connect && end;
        self.encoder.framing = match length {
            _ if tunnel => Framing::UntilClose,
            _ if end => Framing::Done,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        // A head that promises a body that never comes would make the next request this one's body.
        self.encoder.broken |= end && !tunnel && length.is_some_and(|n| n > 0);
        // Methods of which nobody expects a body need not say that there is none.
        let bodiless = matches!(head.method, Method::GET | Method::HEAD | Method::DELETE | Method::TRACE);
        let add_zero = end && length.is_none() && !tunnel && !bodiless;
        let add_chunked = self.encoder.framing == Framing::Chunked;

        let (vectored, settings) = (self.io.is_write_vectored(), &self.settings);
        self.encoder.output.append(vectored, |out| {
            out.extend_from_slice(head.method.as_str().as_bytes());
            out.push(b' ');
            if connect {
                out.extend_from_slice(head.authority.as_bytes());
            } else {
                if settings.send_fully_qualified_url {
                    out.extend_from_slice(head.scheme.as_bytes());
                    out.extend_from_slice(b"://");
                    out.extend_from_slice(head.authority.as_bytes());
                }
                out.extend_from_slice(head.path.as_bytes());
            }
            out.extend_from_slice(b" HTTP/1.1\r\n");
            let mut names = NameWriter::new(Some(&head.spelling), settings.header_case);
            put_header(out, &mut names, "host", head.authority.as_bytes());
            put_headers(out, &mut names, &head.headers, |n| {
                encode::is_end_to_end(n) && *n != header::HOST
            });
            if let Some(upgrade) = &head.upgrade {
                put_header(out, &mut names, "connection", encode::upgrade_connection(&head.headers));
                put_header(out, &mut names, "upgrade", upgrade.as_bytes());
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

    /// Queues a piece of the request's body. `end`: it is the last.
    pub fn send_frame(&mut self, frame: Frame, end: bool) {
        let how = FrameFormat {
            vectored: self.io.is_write_vectored(),
            trailers: self.settings.enable_trailers,
            case: self.settings.header_case,
        };
        self.hung_up |= end && self.asked == Asked::Connect;
        self.encoder.send(frame, end, how);
    }

    /// Queues the end of the request's body.
    pub fn send_end(&mut self) {
        self.send_frame(Frame::Data(bytes::Bytes::new()), true);
    }

    /// Bytes queued, for the caller's watermark.
    pub fn queued(&self) -> usize {
        self.encoder.output.len()
    }

    /// Writes what is queued. Ready when all of it was written. After an error the upstream may still have answered: ask
    /// [`Self::poll_head`] before giving up.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CodecError>> {
        self.encoder
            .output
            .poll_flush(&mut self.io, cx)
            .map_err(|error| failed(&error))
    }

    /// The next head: any number of 1xx, then the final one with whether the message ends with it. A 101 or the 2xx of a
    /// CONNECT starts the tunnel: from then on [`Self::poll_body`] and [`Self::send_frame`] carry its bytes.
    ///
    /// # Errors
    /// `Closed`, `Io`: not a byte of the response came. `Protocol`: it was not HTTP/1, or broke off.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(ResponseHead, bool), CodecError>> {
        if self.hung_up {
            return self.poll_hang_up(cx);
        }
        loop {
            match self.decode_head().map_err(upstream) {
                Ok(None) => {}
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Err(error) => return Poll::Ready(Err(self.fail(error))),
            }
            match ready!(self.input.poll_read(&mut self.io, cx)) {
                Ok(0) => return Poll::Ready(Err(self.closed())),
                Ok(n) => self.received += n as u64,
                Err(error) => return Poll::Ready(Err(self.broken(&error))),
            }
        }
    }

    fn decode_head(&mut self) -> Result<Option<(ResponseHead, bool)>, CodecError> {
        let bounds = self.trailers().bounds;
        let Some(len) = self.input.head_len() else {
            bounds.check_size(self.input.len())?;
            if let Some(end) = memchr::memchr(b'\n', self.input.as_slice()) {
                response::status_line(&self.input.as_slice()[..end])?;
            }
            return Ok(None);
        };
        bounds.check_size(len)?;
        let response = response::decode(self.input.take(len), self.asked, &self.settings)?;
        self.keep_alive &= response.keep_alive;
        if response.head.status.is_informational() && response.head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Some((response.head, false)));
        }
        self.state = State::Body;
        if matches!(self.asked, Asked::Connect | Asked::Upgrade) && !matches!(response.body, Body::Tunnel) {
            // Refused: what was meant for the tunnel must not reach the upstream as a request.
            self.encoder.framing = Framing::Done;
            self.keep_alive = false;
        }
        self.body = response.body;
        Ok(Some((response.head, self.body.is_done())))
    }

    /// The next piece of the response's body.
    ///
    /// # Errors
    /// `Protocol`: the body broke off or is malformed.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, CodecError>> {
        if self.hung_up && matches!(self.body, Body::Tunnel) {
            return self.poll_hang_up(cx);
        }
        let trailers = self.trailers();
        loop {
            match self.body.decode(&mut self.input, trailers).map_err(upstream) {
                Ok(None) => {}
                Ok(Some(incoming)) => return Poll::Ready(Ok(incoming)),
                Err(error) => return Poll::Ready(Err(self.fail(error))),
            }
            match ready!(self.input.poll_read(&mut self.io, cx)) {
                // Nobody said how a tunnel ends: as in Envoy, its upstream's end is a broken connection.
                Ok(0) if matches!(self.body, Body::Tunnel) => return Poll::Ready(Err(self.fail(CodecError::Closed))),
                Ok(0) if self.body.close() => return Poll::Ready(Ok(Incoming::End)),
                Ok(0) => return Poll::Ready(Err(self.closed())),
                Ok(n) => self.received += n as u64,
                Err(error) => return Poll::Ready(Err(self.broken(&error))),
            }
        }
    }

    /// HTTP/1 has no half of a CONNECT: as in Envoy, its client's end is the connection's.
    fn poll_hang_up<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, CodecError>> {
        let error = ready!(self.poll_flush(cx)).err().unwrap_or(CodecError::Closed);
        Poll::Ready(Err(self.fail(error)))
    }

    /// Whether all of the response's body was delivered.
    pub fn body_complete(&self) -> bool {
        self.state == State::Body && self.body.is_done()
    }

    /// Bytes of the current exchange's response that came. 0: the request may be sent again if the connection was reused.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Of the current exchange, framing and all.
    pub fn wire_bytes(&self) -> WireBytes {
        WireBytes {
            received: self.received,
            sent: self.encoder.output.total() - self.sent_before,
        }
    }

    /// Exchanges started on this connection, for `max_requests_per_connection`; 2 or more: it was reused.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// Whether another request can be sent: both messages of the last exchange are complete and the upstream keeps the
    /// connection. Bytes after the response make it unusable: they would be taken for the next one's.
    pub fn is_reusable(&self) -> bool {
        let complete = self.state == State::Idle || (self.body_complete() && self.encoder.framing == Framing::Done);
        complete && self.keep_alive && !self.encoder.broken && self.encoder.output.is_empty() && self.input.is_empty()
    }

    /// Of an idle connection: ready when it can no longer be used, because the upstream closed it or sent something.
    pub fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.input.poll_read(&mut self.io, cx) {
            Poll::Pending if self.is_reusable() => Poll::Pending,
            _ => {
                self.keep_alive = false;
                Poll::Ready(())
            }
        }
    }

    /// [`Self::poll_idle`] without waiting, right before reuse.
    pub fn is_stale(&mut self) -> bool {
        self.poll_idle(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// Ends the writing side, for half-closed tunnels.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CodecError>> {
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx).map_err(|error| failed(&error))
    }

    /// The stream and the bytes read from it beyond the head, for a tunnel that needs no codec. Flush before.
    pub fn into_upgraded(self) -> (IO, BytesMut) {
        (self.io, self.input.into_inner())
    }

    #[cfg(test)]
    pub(super) fn buffered_capacity(&self) -> usize {
        self.input.capacity()
    }

    /// The end of the stream where a message was expected. Once a byte of it came, Envoy calls that a protocol error.
    fn closed(&mut self) -> CodecError {
        if self.received == 0 {
            return self.fail(CodecError::Closed);
        }
        let sentence = format!(
            "the upstream closed the connection within its response, after {} bytes",
            self.received
        );
        self.fail(bad(502, CODEC_ERROR, sentence))
    }

    fn broken(&mut self, error: &io::Error) -> CodecError {
        if self.received == 0 {
            return self.fail(failed(error));
        }
        let sentence = format!(
            "the connection failed within the upstream's response, after {} bytes: {error}",
            self.received
        );
        self.fail(bad(502, CODEC_ERROR, sentence))
    }

    fn fail(&mut self, error: CodecError) -> CodecError {
        self.keep_alive = false;
        error
    }

    fn trailers(&self) -> Trailers {
        let bounds = Bounds::new(self.settings.max_headers_kb, self.settings.max_headers_count);
        Trailers {
            enabled: self.settings.enable_trailers,
            bounds,
        }
    }
}

/// What a server would answer with 4xx is a 502 where an upstream did it.
fn upstream(error: CodecError) -> CodecError {
    match error {
        CodecError::Protocol { details, sentence, .. } => bad(502, details, sentence),
        other => other,
    }
}

fn failed(error: &io::Error) -> CodecError {
    CodecError::Io(error.to_string())
}
