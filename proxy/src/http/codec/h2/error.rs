//! `h2`'s errors in the codec's terms.

use ::h2::Reason;

use crate::{
    http::codec::CodecError,
    stats::{Group, Http2Stat},
};

/// Which end of a connection we are: it decides the status that a peer's mistake is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Server,
    Client,
}

impl End {
    /// A rule of HTTP/2 that the peer broke, with Envoy's details.
    pub(super) fn violation(self, details: &'static str, sentence: String) -> CodecError {
        let status = match self {
            Self::Server => 400,
            Self::Client => 502,
        };
        CodecError::Protocol {
            status,
            details,
            sentence,
        }
    }

    pub(super) fn peer(self) -> &'static str {
        match self {
            Self::Server => "client",
            Self::Client => "server",
        }
    }
}

/// Envoy's details for messages that are not HTTP/2.
pub(super) const MESSAGING: &str = "http2.violation.of.messaging.rule";
pub(super) const INVALID_FIELD: &str = "http2.invalid.header.field";
pub(super) const TOO_MANY_HEADERS: &str = "http2.too_many_headers";
pub(super) const HEADERS_TOO_LARGE: &str = "http2.header_list_size_too_large";
pub(super) const UNDERSCORE: &str = "http2.unexpected_underscore";

/// Whether these are the details of a reset for a limit, which Envoy takes for one by the peer.
pub fn is_limit(details: &str) -> bool {
    [TOO_MANY_HEADERS, HEADERS_TOO_LARGE, UNDERSCORE].contains(&details)
}

/// What Envoy says of every stream that ends early by a reset, also of the one that it sends itself where a body is not as long
/// as its `content-length`.
const REMOTE_RESET: &str = "http2.remote_reset";

/// What ended a stream.
pub(super) fn stream_error(end: End, error: &::h2::Error) -> CodecError {
    if let Some(io) = error.get_io() {
        return io_error(io);
    }
    let reason = error.reason().unwrap_or(Reason::INTERNAL_ERROR);
    if error.is_remote() {
        // A stream hears of GOAWAY only where it was beyond the last stream that the peer processed.
        return if error.is_go_away() {
            CodecError::Refused
        } else {
            reset(reason)
        };
    }
    if error.is_library() {
        return end.violation(
            REMOTE_RESET,
            format!(
                "the {} broke a rule of HTTP/2, which ended the stream with {reason:?} ({reason})",
                end.peer()
            ),
        );
    }
    if error.is_reset() || error.is_go_away() {
        return CodecError::Closed;
    }
    end.violation(MESSAGING, format!("HTTP/2 cannot carry this message: {error}"))
}

/// What ended a connection.
pub(super) fn connection_error(end: End, error: &::h2::Error) -> CodecError {
    if let Some(io) = error.get_io() {
        return io_error(io);
    }
    let reason = error.reason().unwrap_or(Reason::INTERNAL_ERROR);
    if error.is_remote() {
        return CodecError::Io(format!(
            "the {} closed the HTTP/2 connection with {reason:?} ({reason})",
            end.peer()
        ));
    }
    end.violation(
        MESSAGING,
        format!(
            "the {} broke a rule of HTTP/2, which closed the connection with {reason:?} ({reason})",
            end.peer()
        ),
    )
}

/// A reset by the peer.
pub(super) fn reset(reason: Reason) -> CodecError {
    match reason {
        Reason::REFUSED_STREAM => CodecError::Refused,
        reason => CodecError::Reset(reason.into()),
    }
}

/// Counts what a stream or connection ended with.
pub(super) fn count_error(stats: &Group<Http2Stat>, error: &CodecError) {
    match error {
        CodecError::Refused => stats.inc(Http2Stat::StreamRefusedErrors),
        // Limits are counted where they are checked.
        CodecError::Protocol { details, .. } if is_limit(details) => {}
        CodecError::Protocol { .. } => stats.inc(Http2Stat::RxMessagingError),
        // Resets are counted where their frames are seen.
        CodecError::Reset(_) | CodecError::Closed | CodecError::Io(_) => {}
    }
}

fn io_error(io: &std::io::Error) -> CodecError {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, UnexpectedEof};
    match io.kind() {
        // `h2` reports a connection that ended under a stream as a broken pipe; a flood aborts it.
        BrokenPipe | ConnectionAborted | UnexpectedEof => CodecError::Closed,
        _ => CodecError::Io(io.to_string()),
    }
}
