//! The two codecs behind one pair of enums, and every protocol limit in one table.
//!
//! Both sides are poll-based, so that one task can drive a downstream stream and its upstream exchange together without
//! splitting, channels or boxes: `poll_*` registers the task's waker, `send_*` only queues bytes, `poll_flush` writes them.

use std::task::{Context, Poll};

use http::HeaderMap;

use super::message::{Frame, Incoming, RequestHead, ResponseHead};

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
    /// The peer reset the stream (HTTP/2 code).
    #[error("stream reset by the peer (HTTP/2 code {0})")]
    Reset(u32),
    /// HTTP/2 REFUSED_STREAM, or a GOAWAY that did not cover the stream: nothing was processed.
    #[error("stream refused by the peer")]
    Refused,
    /// The bytes are not HTTP as Envoy accepts it. `status` is what a server answers; `details` is Envoy's `http1.codec_error`-like name.
    #[error("{sentence}")]
    Protocol { status: u16, details: &'static str, sentence: String },
}
