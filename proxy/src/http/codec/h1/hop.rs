//! Headers that concern one connection, not the message (RFC 9110 section 7.6.1).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use smallvec::SmallVec;

use super::{
    super::{
        CodecError,
        limits::{MAX_CONNECTION_OPTIONS, MAX_NOMINATED_TE},
    },
    fields::{self, CODEC_ERROR, bad, printable},
};

/// What a header line means to the codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Host,
    Connection,
    ProxyConnection,
    KeepAlive,
    TransferEncoding,
    ContentLength,
    Upgrade,
    Te,
    /// None of them: the message's own.
    EndToEnd,
}

impl Kind {
    pub(super) fn of(name: &str) -> Self {
        let (candidate, kind) = match name.len() {
            2 => ("te", Self::Te),
            4 => ("host", Self::Host),
            7 => ("upgrade", Self::Upgrade),
            10 if name.as_bytes()[0] | 0x20 == b'c' => ("connection", Self::Connection),
            10 => ("keep-alive", Self::KeepAlive),
            14 => ("content-length", Self::ContentLength),
            16 => ("proxy-connection", Self::ProxyConnection),
            17 => ("transfer-encoding", Self::TransferEncoding),
            _ => return Self::EndToEnd,
        };
        if name.eq_ignore_ascii_case(candidate) {
            kind
        } else {
            Self::EndToEnd
        }
    }
}

/// The framing headers of one message, gathered line by line.
#[derive(Debug, Default)]
pub(super) struct Framing {
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
}

impl Framing {
    pub(super) fn content_length(&mut self, value: &[u8]) -> Result<(), CodecError> {
        if self.length.is_some() {
            return Err(bad(400, CODEC_ERROR, "there is more than one Content-Length"));
        }
        self.length = Some(decimal(value).ok_or_else(|| {
            bad(
                400,
                CODEC_ERROR,
                format!("Content-Length \"{}\" is not a number of 64 bits", printable(value)),
            )
        })?);
        Ok(())
    }

    /// Only `chunked`, once: anything else could be read in two ways by two proxies (RFC 9112 section 6.1).
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), CodecError> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            let value = printable(value);
            return Err(bad(
                501,
                INVALID_TRANSFER_ENCODING,
                format!("Transfer-Encoding \"{value}\" is not one \"chunked\""),
            ));
        }
        self.chunked = true;
        Ok(())
    }

    /// Both at once is how requests are smuggled (RFC 9112 section 6.3), unless the config says to trust the chunks.
    pub(super) fn settle(&mut self, allow_chunked_length: bool) -> Result<(), CodecError> {
        if self.chunked && self.length.is_some() {
            if !allow_chunked_length {
                return Err(bad(
                    400,
                    "http1.content_length_and_chunked_not_allowed",
                    "there are both Content-Length and Transfer-Encoding: chunked; allow_chunked_length is off",
                ));
            }
            self.length = None;
        }
        Ok(())
    }
}

pub(super) const INVALID_TRANSFER_ENCODING: &str = "http1.invalid_transfer_encoding";

fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// The values of `Connection`, and what they say.
#[derive(Debug, Default)]
pub(super) struct Connection<'a> {
    values: SmallVec<[&'a [u8]; 2]>,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

impl<'a> Connection<'a> {
    pub(super) fn add(&mut self, value: &'a [u8]) {
        for option in options(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            self.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
        self.values.push(value);
    }

    /// The field, several lines joined.
    pub(super) fn value(&self, block: &Bytes) -> Result<HeaderValue, CodecError> {
        match self.values.as_slice() {
            [value] => fields::value(block, value),
            values => {
                let all = Bytes::from(values.join(&b','));
                fields::value(&all, &all)
            }
        }
    }

    /// `Proxy-Connection`, which old clients send; only its `close` counts.
    pub(super) fn add_proxy(&mut self, value: &[u8]) {
        self.close |= options(value).any(|option| option.eq_ignore_ascii_case(b"close"));
    }

    /// Removes from a request what `Connection` names. Whether `Host` was among them is returned: its absence is an error.
    ///
    /// Envoy refuses names by whose removal a client could hide who it is.
    pub(super) fn remove_nominated(&self, headers: &mut HeaderMap, te: Option<&[u8]>) -> Result<bool, CodecError> {
        let mut host = false;
        for (i, option) in self.values.iter().flat_map(|value| options(value)).enumerate() {
            let name = option.to_ascii_lowercase();
            match name.as_slice() {
                _ if i + 1 >= MAX_CONNECTION_OPTIONS => {
                    return Err(rejected(format!("it has {MAX_CONNECTION_OPTIONS} or more options")));
                }
                b"close" | b"keep-alive" | b"upgrade" | b"http2-settings" => {}
                b"host" => host = true,
                b"te" if te.is_some_and(|te| te.len() >= MAX_NOMINATED_TE) => {
                    return Err(rejected(format!("it names a TE of {MAX_NOMINATED_TE} bytes or more")));
                }
                b"te" => {}
                b"x-forwarded-for" | b"x-forwarded-host" | b"x-forwarded-proto" | [b':', ..] => {
                    return Err(rejected(format!("it names \"{}\"", printable(option))));
                }
                name => {
                    if let Ok(name) = std::str::from_utf8(name) {
                        headers.remove(name);
                    }
                }
            }
        }
        Ok(host)
    }
}

fn rejected(why: String) -> CodecError {
    bad(
        400,
        "http1.connection_header_rejected",
        format!("the Connection header is refused: {why}"),
    )
}

/// The options of one value; empty ones do not count.
fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|b| *b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|option| !option.is_empty())
}

/// Envoy forwards no `TE` but `trailers`.
pub(super) fn sanitized_te(value: &[u8]) -> Option<HeaderValue> {
    options(value)
        .any(|option| option == b"trailers")
        .then(|| HeaderValue::from_static("trailers"))
}
