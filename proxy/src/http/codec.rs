//! The two codecs, and every protocol limit in one table.
//!
//! Both sides are poll-based, so that one task can drive a downstream stream and its upstream exchange together without
//! splitting, channels or boxes: `poll_*` registers the task's waker, `send_*` only queues bytes, `poll_flush` writes them.

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
