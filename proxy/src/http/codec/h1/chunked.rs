//! Chunked transfer coding (RFC 9112 section 7.1).

use http::{HeaderMap, HeaderName, header};

use super::{
    super::{
        super::message::{Frame, Incoming},
        CodecError,
        limits::MAX_CHUNK_EXTENSION,
    },
    body::Trailers,
    fields::{self, CODEC_ERROR, bad},
    input::Input,
};

/// Where in the coding the decoder stands. As Envoy does, it skips what stands between a chunk's data and the next line feed;
/// the chunks that go on are framed anew, so that the next hop sees none of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chunked {
    /// In the size line's digits; None before the first.
    Size(Option<u64>),
    /// White space after the digits.
    Space(u64),
    /// The extension's bytes so far, which nobody needs.
    Extension {
        size: u64,
        seen: usize,
    },
    SizeLf(u64),
    Data(u64),
    DataEnd,
    Trailers,
}

impl Default for Chunked {
    fn default() -> Self {
        Self::Size(None)
    }
}

impl Chunked {
    pub(super) fn decode(&mut self, input: &mut Input, trailers: Trailers) -> Result<Option<Incoming>, CodecError> {
        loop {
            match self {
                Self::Data(left) if !input.is_empty() => {
                    let n = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                    *left -= n as u64;
                    if *left == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(Some(Incoming::Frame(Frame::Data(input.take(n)))));
                }
                Self::Data(_) => return Ok(None),
                Self::Trailers => return decode_trailers(input, trailers),
                _ => {
                    let mut read = 0;
                    for byte in input.as_slice() {
                        read += 1;
                        *self = self.next(*byte)?;
                        if matches!(self, Self::Data(_) | Self::Trailers) {
                            break;
                        }
                    }
                    input.skip(read);
                    if !matches!(self, Self::Data(_) | Self::Trailers) {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The state after one byte of framing.
    fn next(self, byte: u8) -> Result<Self, CodecError> {
        Ok(match (self, byte) {
            (Self::Size(size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(HEX).map_or(0, u64::from);
                let size = size
                    .unwrap_or(0)
                    .checked_mul(u64::from(HEX))
                    .and_then(|size| size.checked_add(digit));
                Self::Size(Some(size.ok_or_else(|| refuse("size has more than 64 bits"))?))
            }
            (Self::Size(Some(size)) | Self::Space(size), b' ' | b'\t') => Self::Space(size),
            (Self::Size(Some(size)) | Self::Space(size), b';') => Self::Extension { size, seen: 0 },
            (Self::Size(Some(size)) | Self::Space(size) | Self::Extension { size, .. }, b'\r') => Self::SizeLf(size),
            (Self::Extension { .. }, b'\n') => return Err(refuse("extension ends with a bare line feed")),
            (
                Self::Extension {
                    seen: MAX_CHUNK_EXTENSION,
                    ..
                },
                _,
            ) => return Err(refuse("extension is too long")),
            (Self::Extension { size, seen }, _) => Self::Extension { size, seen: seen + 1 },
            (Self::SizeLf(0), b'\n') => Self::Trailers,
            (Self::SizeLf(size), b'\n') => Self::Data(size),
            (Self::DataEnd, b'\n') => Self::Size(None),
            (Self::DataEnd, _) => Self::DataEnd,
            _ => return Err(refuse(&format!("size line has the byte 0x{byte:02x}"))),
        })
    }
}

const HEX: u32 = 16;

fn refuse(why: &str) -> CodecError {
    bad(400, CODEC_ERROR, format!("a chunk's {why}"))
}

fn decode_trailers(input: &mut Input, trailers: Trailers) -> Result<Option<Incoming>, CodecError> {
    let empty = match input.as_slice() {
        [b'\r', b'\n', ..] => 2,
        [b'\n', ..] => 1,
        [] | [b'\r'] => return Ok(None),
        _ => 0,
    };
    if empty > 0 {
        input.skip(empty);
        return Ok(Some(Incoming::End));
    }
    let Some(len) = input.head_len() else {
        trailers.bounds.check_size(input.len())?;
        return Ok(None);
    };
    trailers.bounds.check_size(len)?;
    let block = input.take(len);
    let map = fields::parse(block.clone(), trailers.bounds, |block, lines| {
        let mut map = HeaderMap::new();
        for line in lines {
            fields::append(&mut map, block, line)?;
        }
        Ok(map)
    })
    .map_err(|error| fields::reword(error, &block))?;
    Ok(Some(if trailers.enabled {
        without_framing(map)
    } else {
        Incoming::End
    }))
}

/// Fields that would change how the message was framed or routed are not trailers (RFC 9110 section 6.5.1). Envoy forwards
/// them.
fn without_framing(mut map: HeaderMap) -> Incoming {
    const NOT_TRAILERS: [HeaderName; 6] = [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::HOST,
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
    ];
    for name in NOT_TRAILERS {
        map.remove(name);
    }
    if map.is_empty() {
        Incoming::End
    } else {
        Incoming::Frame(Frame::Trailers(map))
    }
}
