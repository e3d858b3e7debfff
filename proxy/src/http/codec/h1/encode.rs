//! Heads and bodies to bytes.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{name::NameWriter, output::Output};
use crate::{cluster::HeaderCase, http::message::Frame};

/// How the body that is being written ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Framing {
    /// There is none, or it has ended.
    #[default]
    Done,
    /// Bytes that the head promised and that are still to come.
    Length(u64),
    Chunked,
    /// Everything until the connection closes: responses to HTTP/1.0, and tunnels.
    UntilClose,
}

/// The writing half of a connection.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    pub(super) output: Output,
    pub(super) framing: Framing,
    /// The body was not what its head promised: the connection cannot carry another message.
    pub(super) broken: bool,
}

impl Encoder {
    pub(super) fn send(&mut self, frame: Frame, end: bool, how: FrameFormat) {
        match frame {
            Frame::Data(data) => {
                self.data(data, how.vectored);
                if end {
                    self.end(None, how);
                }
            }
            Frame::Trailers(trailers) => self.end(Some(&trailers), how),
        }
    }

    fn data(&mut self, mut data: Bytes, vectored: bool) {
        if data.is_empty() {
            return;
        }
        match &mut self.framing {
            Framing::Done => {}
            Framing::Length(left) => {
                if data.len() as u64 > *left {
                    // Written, it would be read as the next message.
                    self.broken = true;
                    data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                }
                *left -= data.len() as u64;
                self.output.push(vectored, data);
            }
            Framing::UntilClose => self.output.push(vectored, data),
            Framing::Chunked => {
                self.output.append(vectored, |out| {
                    put_hex(out, data.len());
                    out.extend_from_slice(CRLF);
                });
                self.output.push(vectored, data);
                self.output.append(vectored, |out| out.extend_from_slice(CRLF));
            }
        }
    }

    fn end(&mut self, trailers: Option<&HeaderMap>, how: FrameFormat) {
        match std::mem::take(&mut self.framing) {
            Framing::Length(left) if left > 0 => self.broken = true,
            Framing::Done | Framing::Length(_) | Framing::UntilClose => {}
            Framing::Chunked => self.output.append(how.vectored, |out| {
                out.extend_from_slice(b"0\r\n");
                if let Some(trailers) = trailers.filter(|_| how.trailers) {
                    put_headers(out, &mut NameWriter::new(None, how.case), trailers, |_| true);
                }
                out.extend_from_slice(CRLF);
            }),
        }
    }
}

/// What writing a frame depends on beside the framing.
#[derive(Clone, Copy)]
pub(super) struct FrameFormat {
    pub(super) vectored: bool,
    /// Whether trailers are written; else they are dropped.
    pub(super) trailers: bool,
    pub(super) case: HeaderCase,
}

pub(super) const CRLF: &[u8] = b"\r\n";

pub(super) fn put_headers(
    out: &mut Vec<u8>,
    names: &mut NameWriter<'_>,
    headers: &HeaderMap,
    keep: impl Fn(&HeaderName) -> bool,
) {
    for (name, value) in headers {
        if keep(name) {
            put_header(out, names, name.as_str(), value.as_bytes());
        }
    }
}

pub(super) fn put_header(out: &mut Vec<u8>, names: &mut NameWriter<'_>, name: &str, value: &[u8]) {
    names.write(out, name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(CRLF);
}

/// Whether a header may be in an HTTP/1 head that is written: those of the connection are the encoder's to say.
pub(super) fn is_end_to_end(name: &HeaderName) -> bool {
    ![header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE].contains(name)
        && !matches!(name.as_str(), "keep-alive" | "proxy-connection")
}

/// `Connection` of a head that asks for an upgrade or agrees to one: as its sender wrote it, if over HTTP/1.
pub(super) fn upgrade_connection(headers: &HeaderMap) -> &[u8] {
    headers
        .get(header::CONNECTION)
        .map_or(b"upgrade", |value| value.as_bytes())
}

/// The length that a head promises. A value that is no number cannot come from a codec; it counts as none.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

pub(super) fn put_status_line(out: &mut Vec<u8>, http10: bool, status: StatusCode) {
    out.extend_from_slice(if http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(CRLF);
}

fn put_hex(out: &mut Vec<u8>, n: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = (usize::BITS - n.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..nibbles).rev().map(|i| DIGITS[(n >> (4 * i)) & 0xf]));
}

/// The reason phrase, as Envoy writes it.
fn reason(status: StatusCode) -> &'static str {
    match status.as_u16() {
        203 => "Non-Authoritative Information",
        418 => "Unknown",
        599 => "Last Unassigned Server Error Code",
        _ => status.canonical_reason().unwrap_or("Unknown"),
    }
}
