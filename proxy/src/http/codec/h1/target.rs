//! Request targets (RFC 9112 section 3.2), as strict as Envoy.

use std::net::Ipv6Addr;

use http::{HeaderValue, Method};

use super::{
    super::CodecError,
    fields::{CODEC_ERROR, bad, printable},
};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// A path with its query, or `*`.
    Origin(&'a [u8]),
    Absolute {
        scheme: HeaderValue,
        authority: &'a [u8],
        /// Empty where the URL ends with its authority.
        path: &'a [u8],
    },
    /// Of CONNECT.
    Authority(&'a [u8]),
}

impl<'a> Target<'a> {
    pub(super) fn parse(method: &Method, target: &'a [u8], allow_absolute_url: bool) -> Result<Self, CodecError> {
        if let Some(b) = target.iter().find(|b| !b.is_ascii_graphic()) {
            return Err(bad(
                400,
                CODEC_ERROR,
                format!("the request target has the byte 0x{b:02x}"),
            ));
        }
        if method == Method::CONNECT {
            return match check_authority(target, Port::Required) {
                Ok(()) => Ok(Self::Authority(target)),
                Err(details) => Err(refuse(details, target, "is not host:port")),
            };
        }
        match target {
            [b'/', ..] => return Ok(Self::Origin(target)),
            [b'*', ..] if method == Method::OPTIONS => return Ok(Self::Origin(target)),
            [b'*', ..] => return Err(refuse(INVALID_URL, target, "is for OPTIONS only")),
            _ => {}
        }
        let (scheme, rest) =
            split_scheme(target).ok_or_else(|| refuse(CODEC_ERROR, target, "is neither path nor URL"))?;
        let (authority, path) = rest.split_at(rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len()));
        let host = memchr::memchr(b'@', authority).map_or(authority, |at| &authority[at + 1..]);
        check_authority(host, Port::Optional).map_err(|details| refuse(details, target, "has no valid authority"))?;
        let scheme = if scheme.eq_ignore_ascii_case(b"http") {
            HeaderValue::from_static("http")
        } else if scheme.eq_ignore_ascii_case(b"https") {
            HeaderValue::from_static("https")
        } else {
            return Err(refuse("http1.invalid_scheme", target, "is neither http nor https"));
        };
        if !allow_absolute_url {
            return Ok(Self::Origin(target));
        }
        Ok(Self::Absolute {
            scheme,
            authority: host,
            path,
        })
    }
}

const INVALID_URL: &str = "http1.invalid_url";

fn refuse(details: &'static str, target: &[u8], why: &str) -> CodecError {
    bad(
        400,
        details,
        format!("the request target \"{}\" {why}", printable(target)),
    )
}

fn split_scheme(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', target)?;
    let scheme = &target[..colon];
    let valid = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    let rest = target[colon + 1..].strip_prefix(b"//")?;
    (!scheme.is_empty() && scheme.iter().all(valid)).then_some((scheme, rest))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Required,
    Optional,
}

/// DNS name or IPv6 address in brackets, and a port of 16 bits.
fn check_authority(authority: &[u8], port: Port) -> Result<(), &'static str> {
    if !authority
        .iter()
        .all(|b| is_authority_byte(*b) || matches!(b, b'/' | b'?'))
    {
        return Err(CODEC_ERROR);
    }
    let rest = match authority {
        [b'[', address @ ..] => {
            let end = memchr::memchr(b']', address).ok_or(INVALID_URL)?;
            let text = std::str::from_utf8(&address[..end]).map_err(|_| INVALID_URL)?;
            text.parse::<Ipv6Addr>().map_err(|_| INVALID_URL)?;
            &address[end + 1..]
        }
        _ => {
            let end = memchr::memchr(b':', authority).unwrap_or(authority.len());
            let valid = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
            if end == 0 || !authority[..end].iter().all(valid) {
                return Err(INVALID_URL);
            }
            &authority[end..]
        }
    };
    match rest {
        [] if port == Port::Optional => Ok(()),
        [b':', digits @ ..] if is_port(digits) => Ok(()),
        _ => Err(INVALID_URL),
    }
}

fn is_port(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_digit) && std::str::from_utf8(digits).is_ok_and(|d| d.parse::<u16>().is_ok())
}

/// What Envoy takes in an authority: RFC 3986's unreserved, sub-delims, `%`, `:`, `@` and brackets.
pub(super) fn is_authority_byte(b: u8) -> bool {
    // A match, not a search: every byte of every Host passes here.
    b.is_ascii_alphanumeric()
        || matches!(
            b,
            b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'\''
                ..=b',' | b';' | b'=' | b':' | b'@' | b'[' | b']'
        )
}
