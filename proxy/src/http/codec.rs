//! The two codecs, and every protocol limit in one table.
//!
//! Both sides are poll-based, so that one task can drive a downstream stream and its upstream exchange together without
//! splitting, channels or boxes: `poll_*` registers the task's waker, `send_*` only queues bytes, `poll_flush` writes them.

use std::task::{Context, Poll};

use super::message::{Frame, Incoming, ResponseHead, Spelling};

pub mod h1;
pub mod h2;
pub mod limits;

/// Why a codec gave up on a message. The router or the connection turns it into a [`crate::failure::Failure`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The peer closed the connection where a message was incomplete.
    #[error("connection closed by the peer")]
    Closed,
    /// The socket failed.
    #[error("connection failed: {0}")]
    Io(String),
    /// The peer reset the stream.
    #[error("stream reset by the peer (HTTP/2 error code {0})")]
    Reset(u32),
    /// HTTP/2 REFUSED_STREAM, or a GOAWAY that did not cover the stream: nothing was processed.
    #[error("stream refused by the peer")]
    Refused,
    /// The bytes are not HTTP as Envoy accepts it. `status` is what a server answers with; `details` is the
    /// `response_code_details` that Envoy 1.40 gives (e.g. `http1.codec_error`).
    #[error("{sentence}")]
    Protocol {
        status: u16,
        details: &'static str,
        sentence: String,
    },
}

/// One downstream stream, whatever its protocol.
// One a request, on the stack of its task: a box for the larger variant would cost more than it saves.
#[allow(clippy::large_enum_variant)]
pub enum ServerStream<'a> {
    Http1(&'a mut h1::ServerConnection<crate::io::Stream>),
    Http2(h2::ServerStream),
}

impl ServerStream<'_> {
    /// The next piece of the request body.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, CodecError>> {
        match self {
            Self::Http1(c) => c.poll_body(cx),
            Self::Http2(s) => s.poll_body(cx),
        }
    }

    /// Nothing follows the pieces of the body that were delivered: the last of them can be sent with the end.
    pub fn body_over(&self) -> bool {
        match self {
            Self::Http1(c) => !c.request_has_body(),
            Self::Http2(s) => s.body_over(),
        }
    }

    /// Queues a 1xx head.
    ///
    /// # Errors
    /// The connection's.
    pub fn send_informational(&mut self, head: &ResponseHead) -> Result<(), CodecError> {
        match self {
            Self::Http1(c) => {
                c.send_informational(head);
                Ok(())
            }
            Self::Http2(s) => s.send_informational(head),
        }
    }

    /// Queues the final head; `end`: there is no body. `kept`: the headers stay in `head`, for logs.
    ///
    /// # Errors
    /// The connection's.
    pub fn send_head(&mut self, head: &mut ResponseHead, end: bool, kept: bool) -> Result<(), CodecError> {
        match self {
            Self::Http1(c) => {
                c.send_head(head, end);
                Ok(())
            }
            Self::Http2(s) => {
                let headers = if kept {
                    head.headers.clone()
                } else {
                    std::mem::take(&mut head.headers)
                };
                let head = ResponseHead {
                    status: head.status,
                    headers,
                    spelling: Spelling::default(),
                    protocol: head.protocol,
                };
                s.send_head(head, end)
            }
        }
    }

    /// Queues a piece of the response body.
    ///
    /// # Errors
    /// The connection's.
    pub fn send_frame(&mut self, frame: Frame, end: bool) -> Result<(), CodecError> {
        match self {
            Self::Http1(c) => {
                c.send_frame(frame, end);
                Ok(())
            }
            Self::Http2(s) => s.send_frame(frame, end),
        }
    }

    /// Bytes queued and not written.
    pub fn queued(&self) -> usize {
        match self {
            Self::Http1(c) => c.queued(),
            Self::Http2(s) => s.queued(),
        }
    }

    /// Writes what is queued; ready when all of it is written.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CodecError>> {
        match self {
            Self::Http1(c) => c.poll_flush(cx),
            Self::Http2(s) => s.poll_flush(cx),
        }
    }

    /// Ready when the client is gone, while nothing is read from it.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<CodecError> {
        match self {
            Self::Http1(c) => c.poll_closed(cx),
            Self::Http2(s) => s.poll_closed(cx),
        }
    }

    /// Bytes on the wire; of HTTP/2 they are not known.
    pub fn wire_bytes(&self) -> h1::WireBytes {
        match self {
            Self::Http1(c) => c.wire_bytes(),
            Self::Http2(_) => h1::WireBytes::default(),
        }
    }

    /// The connection takes no further request after this response. HTTP/2 connections are told by GOAWAY instead.
    pub fn close_after_response(&mut self) {
        if let Self::Http1(c) = self {
            c.close_after_response();
        }
    }

    /// The connection takes no further request, whatever its protocol.
    pub fn leave(&mut self) {
        match self {
            Self::Http1(c) => c.close_after_response(),
            Self::Http2(s) => s.leave(),
        }
    }

    /// Ends the stream short of its end, so that the client sees that it was cut.
    pub async fn cut(&mut self) {
        match self {
            Self::Http1(c) => c.close_after_response(),
            Self::Http2(s) => {
                h2::written().await;
                s.reset(if s.is_tunnel() {
                    h2::Reason::CONNECT_ERROR
                } else {
                    h2::Reason::INTERNAL_ERROR
                });
            }
        }
    }
}
