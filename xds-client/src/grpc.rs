//! gRPC over HTTP/2, the part that all its users share (gRPC's PROTOCOL-HTTP2.md): messages in a body, and how a call ended.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::percent_decode;

/// `content-type` of requests.
pub const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Codes that are said on this side.
pub const OK: u32 = 0;
pub const UNKNOWN: u32 = 2;
pub const PERMISSION_DENIED: u32 = 7;
pub const RESOURCE_EXHAUSTED: u32 = 8;
pub const UNIMPLEMENTED: u32 = 12;
pub const INTERNAL: u32 = 13;
pub const UNAVAILABLE: u32 = 14;
pub const UNAUTHENTICATED: u32 = 16;

/// gRPC's codes by number, in camel and in snake case.
pub const CODES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

/// How a call ended that was not OK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub code: u32,
    pub message: String,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = usize::try_from(self.code).ok().and_then(|code| CODES.get(code));
        let (name, _) = name.unwrap_or(&("no code of gRPC's", ""));
        write!(f, "gRPC status {} ({name}): {}", self.code, self.message)
    }
}

impl std::error::Error for Status {}

/// What the server said of a call's end: by `grpc-status` in the trailers, or in the head where there is no body; by the
/// HTTP status where it spoke no gRPC. `None`: it said nothing.
pub fn status(of: StatusCode, head: &HeaderMap, trailers: Option<&HeaderMap>) -> Option<Result<(), Status>> {
    let said = |name: &HeaderName| trailers.and_then(|t| t.get(name)).or_else(|| head.get(name));
    let code = match said(&GRPC_STATUS) {
        Some(code) => code.to_str().ok().and_then(|code| code.parse().ok()).unwrap_or(UNKNOWN),
        None if of == StatusCode::OK => return None,
        None => of_http(of),
    };
    let message = || match said(&GRPC_MESSAGE) {
        Some(text) => percent_decode(text.as_bytes()).decode_utf8_lossy().into_owned(),
        None => format!("HTTP status {}", of.as_u16()),
    };
    Some(match code {
        OK => Ok(()),
        code => Err(Status {
            code,
            message: message(),
        }),
    })
}

/// gRPC's http-grpc-status-mapping.md.
pub fn of_http(status: StatusCode) -> u32 {
    match status.as_u16() {
        400 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        429 | 502..=504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// One byte that says whether the message is compressed, four of its length.
const HEADER: usize = 5;

/// A message as a body carries it, not compressed. `encode` writes `length` bytes.
///
/// # Errors
/// More than 4 GiB.
pub fn framed(length: usize, encode: impl FnOnce(&mut BytesMut)) -> Result<Bytes, Status> {
    let stated = u32::try_from(length).map_err(|_| Status {
        code: RESOURCE_EXHAUSTED,
        message: format!("a message of {length} bytes, more than gRPC can state"),
    })?;
    let mut frame = BytesMut::with_capacity(HEADER + length);
    frame.put_u8(0);
    frame.put_u32(stated);
    encode(&mut frame);
    Ok(frame.freeze())
}

/// For so much of a message room is made before it comes: its length may be a lie.
const MOST_AHEAD: usize = 16 << 20;

/// Messages out of the pieces of a body. Memory is that of the message under way: what a large one took goes with it.
#[derive(Debug, Default)]
pub struct Messages(BytesMut);

impl Messages {
    pub fn push(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
        if let Some(end) = self.end() {
            self.0.reserve(end.saturating_sub(self.0.len()).min(MOST_AHEAD));
        }
    }

    /// Bytes of messages that were not taken.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next message, once it is whole.
    ///
    /// # Errors
    /// A compressed one, which nobody asked for.
    pub fn take(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(end) = self.end().filter(|end| self.0.len() >= *end) else {
            return Ok(None);
        };
        let rest = BytesMut::from(&self.0[end..]);
        let mut frame = std::mem::replace(&mut self.0, rest).freeze();
        frame.truncate(end);
        if frame.get_u8() != 0 {
            return Err(Status {
                code: INTERNAL,
                message: "the server sent a compressed message, and was not told that it may".into(),
            });
        }
        frame.advance(HEADER - 1);
        Ok(Some(frame))
    }

    /// Where the first message ends, once its length has come.
    fn end(&self) -> Option<usize> {
        let [_, length @ ..] = *self.0.first_chunk::<HEADER>()?;
        HEADER.checked_add(usize::try_from(u32::from_be_bytes(length)).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        of.iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn messages_come_whole_however_the_body_is_cut() {
        let mut body = Vec::new();
        let messages = [&b"one"[..], b"", b"three"];
        for message in messages {
            body.extend(framed(message.len(), |frame| frame.extend_from_slice(message)).unwrap());
        }
        for size in 1..=body.len() {
            let (mut cut, mut taken) = (Messages::default(), Vec::new());
            for piece in body.chunks(size) {
                cut.push(piece);
                while let Some(message) = cut.take().unwrap() {
                    taken.push(message);
                }
            }
            assert_eq!(taken, messages, "cut into pieces of {size}");
            assert!(cut.is_empty());
        }
    }

    #[test]
    fn what_a_large_message_took_goes_with_it() {
        const LARGE: usize = 1 << 20;
        let mut messages = Messages::default();
        messages.push(&framed(LARGE, |frame| frame.put_bytes(b'x', LARGE)).unwrap());
        messages.push(b"\0\0\0\0\x03ne");
        assert_eq!(messages.take().unwrap().unwrap().len(), LARGE);
        assert_eq!(messages.take(), Ok(None));
        assert_eq!(messages.len(), 7);
        assert!(messages.0.capacity() < 1024, "{} bytes are kept", messages.0.capacity());
    }

    #[test]
    fn a_length_alone_takes_little_memory() {
        let mut messages = Messages::default();
        messages.push(b"\0\xff\xff\xff\xffx");
        assert_eq!(messages.take(), Ok(None));
        assert!(messages.0.capacity() < 2 * MOST_AHEAD);
    }

    #[test]
    fn a_compressed_message_is_refused() {
        let mut messages = Messages::default();
        messages.push(b"\x01\0\0\0\x01x");
        assert_eq!(messages.take().unwrap_err().code, INTERNAL);
    }

    #[test]
    fn trailers_come_before_the_head_and_the_head_before_the_http_status() {
        let (fine, denied) = (
            headers(&[("grpc-status", "0")]),
            headers(&[("grpc-status", "7"), ("grpc-message", "no%20way")]),
        );
        let status_of = |http: u16, head: &HeaderMap, trailers: Option<&HeaderMap>| {
            status(StatusCode::from_u16(http).unwrap(), head, trailers)
        };
        let failure = |http: u16, head: &HeaderMap| status_of(http, head, None).unwrap().unwrap_err();
        assert_eq!(status_of(200, &denied, Some(&fine)), Some(Ok(())));
        assert_eq!(status_of(200, &HeaderMap::new(), None), None);
        assert_eq!(
            failure(200, &denied).to_string(),
            "gRPC status 7 (PermissionDenied): no way"
        );
        let told = failure(503, &HeaderMap::new()).to_string();
        assert_eq!(told, "gRPC status 14 (Unavailable): HTTP status 503");
        assert_eq!(failure(200, &headers(&[("grpc-status", "x")])).code, UNKNOWN);
    }
}
