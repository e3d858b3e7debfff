//! A block of header lines: of a head or of trailers.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use httparse::{EMPTY_HEADER, Header, Status};

use super::{super::CodecError, fold, name};

/// Lines parsed without allocating; a block with more is parsed again with room for as many as are allowed.
const FEW: usize = 32;
/// Room in a map for what the proxy adds (`x-forwarded-*`, `x-request-id`, tracing) without growing it.
const ADDED: usize = 8;

/// `response_code_details` of bytes that are not HTTP/1.
pub(super) const CODEC_ERROR: &str = "http1.codec_error";
const INVALID_CHARACTERS: &str = "http1.invalid_characters";
const TOO_MANY_HEADERS: &str = "http1.too_many_headers";
const HEADERS_TOO_LARGE: &str = "http1.headers_too_large";

pub(super) fn bad(status: u16, details: &'static str, sentence: impl Into<String>) -> CodecError {
    CodecError::Protocol {
        status,
        details,
        sentence: sentence.into(),
    }
}

/// Bounds on one block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    bytes: usize,
    count: usize,
}

impl Bounds {
    pub(super) fn new(kb: u32, count: u32) -> Self {
        Self {
            bytes: kb as usize * 1024,
            count: count as usize,
        }
    }

    pub(super) fn check_size(self, len: usize) -> Result<(), CodecError> {
        if len <= self.bytes {
            return Ok(());
        }
        Err(bad(
            431,
            HEADERS_TOO_LARGE,
            format!("a block of headers has more than {} bytes", self.bytes),
        ))
    }

    fn check_count(self, count: usize) -> Result<(), CodecError> {
        if count <= self.count {
            return Ok(());
        }
        Err(bad(
            431,
            TOO_MANY_HEADERS,
            format!("a block of headers has more than {} fields", self.count),
        ))
    }
}

/// Parses `block`, which ends with its empty line, and hands the lines to `build` with the bytes that they are slices of.
pub(super) fn parse<R>(
    mut block: Bytes,
    bounds: Bounds,
    build: impl FnOnce(&Bytes, &[Header<'_>]) -> Result<R, CodecError>,
) -> Result<R, CodecError> {
    let mut room = FEW;
    loop {
        let (mut few, mut many) = ([EMPTY_HEADER; FEW], Vec::new());
        let store = if room == FEW {
            &mut few[..]
        } else {
            many.resize(room, EMPTY_HEADER);
            &mut many[..]
        };
        let error = match httparse::parse_headers(&block, store) {
            Ok(Status::Complete((n, lines))) if n == block.len() => {
                bounds.check_count(lines.len())?;
                return build(&block, lines);
            }
            Ok(_) => httparse::Error::NewLine,
            Err(httparse::Error::TooManyHeaders) => {
                bounds.check_count(room + 1)?;
                room = bounds.count;
                continue;
            }
            Err(error) => error,
        };
        // httparse refuses some lines that Envoy takes, after changing them.
        block = fold::unfold(&block)?.ok_or_else(|| complain(&block, error))?;
    }
}

/// A map of all lines, with room for what the proxy adds.
pub(super) fn map_for(lines: usize) -> Result<HeaderMap, CodecError> {
    HeaderMap::try_with_capacity(lines + ADDED).map_err(|_| too_many(lines))
}

pub(super) fn append(map: &mut HeaderMap, block: &Bytes, line: &Header<'_>) -> Result<(), CodecError> {
    let name = name::intern(line.name).ok_or_else(|| {
        bad(
            400,
            CODEC_ERROR,
            format!("the header name {:?} is not a token", line.name),
        )
    })?;
    map.try_append(name, value(block, line.value)?)
        .map(drop)
        .map_err(|_| too_many(map.len()))
}

/// A header value that shares `block`'s bytes.
pub(super) fn value(block: &Bytes, slice: &[u8]) -> Result<HeaderValue, CodecError> {
    HeaderValue::from_maybe_shared(block.slice_ref(slice))
        .map_err(|_| bad(400, INVALID_CHARACTERS, "a header value has a control character"))
}

fn too_many(count: usize) -> CodecError {
    bad(
        431,
        TOO_MANY_HEADERS,
        format!("{count} header fields are more than a map can hold"),
    )
}

/// Names the line that httparse refused.
fn complain(block: &[u8], error: httparse::Error) -> CodecError {
    for line in block
        .split(|b| *b == b'\n')
        .map(trim_line)
        .filter(|line| !line.is_empty())
    {
        let Some(colon) = memchr::memchr(b':', line) else {
            return bad(
                400,
                CODEC_ERROR,
                format!("the header line \"{}\" has no colon", printable(line)),
            );
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if http::HeaderName::from_bytes(name).is_err() {
            return bad(
                400,
                CODEC_ERROR,
                format!("the header name \"{}\" is not a token", printable(name)),
            );
        }
        if value.iter().any(is_control) {
            let name = printable(name);
            return bad(
                400,
                CODEC_ERROR,
                format!("the value of header {name} has a control character"),
            );
        }
    }
    bad(400, CODEC_ERROR, format!("the headers cannot be parsed: {error}"))
}

/// Envoy looks for control characters in the whole head before anything else.
pub(super) fn reword(error: CodecError, head: &[u8]) -> CodecError {
    match error {
        CodecError::Protocol {
            status: 400, sentence, ..
        } if head.iter().any(is_control) => bad(400, INVALID_CHARACTERS, sentence),
        other => other,
    }
}

fn is_control(b: &u8) -> bool {
    b.is_ascii_control() && !matches!(b, b'\t' | b'\r' | b'\n')
}

/// A start line without its end and the white space before it, which Envoy ignores.
pub(super) fn trim_line(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = line {
        line = rest;
    }
    line
}

/// For sentences: escaped, and short enough for a log line.
pub(super) fn printable(bytes: &[u8]) -> String {
    const SHOWN: usize = 64;
    let mut text = bytes[..bytes.len().min(SHOWN)].escape_ascii().to_string();
    if bytes.len() > SHOWN {
        text.push_str("...");
    }
    text
}
