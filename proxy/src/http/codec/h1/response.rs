//! Response heads.

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use super::{
    super::{
        super::message::{Protocol, ResponseHead, Spelling},
        CodecError,
    },
    ClientSettings,
    body::Body,
    fields::{self, Bounds, CODEC_ERROR, bad, printable},
    hop::{Connection, Framing, Kind},
};
use crate::cluster::HeaderCase;

/// A decoded head, and what the connection needs to know of it.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) head: ResponseHead,
    pub(super) body: Body,
    pub(super) keep_alive: bool,
}

/// What was asked decides how the answer is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Asked {
    #[default]
    Plain,
    /// No body, whatever the head says.
    Head,
    /// A 2xx starts a tunnel.
    Connect,
    /// A 101 starts a tunnel.
    Upgrade,
}

/// Decodes `head`, which starts with the status line and ends with the empty line.
pub(super) fn decode(mut head: Bytes, asked: Asked, settings: &ClientSettings) -> Result<Response, CodecError> {
    let end = memchr::memchr(b'\n', &head).map_or(head.len(), |lf| lf + 1);
    let line = head.split_to(end);
    let (status, http11) = status_line(&line)?;
    let bounds = Bounds::new(settings.max_headers_kb, settings.max_headers_count);
    fields::parse(head, bounds, |block, lines| {
        let spelling = match settings.header_case {
            HeaderCase::Preserve => Spelling::new(lines.iter().map(|line| line.name)),
            _ => Spelling::default(),
        };
        let mut connection = Connection::default();
        let mut framing = Framing::default();
        let mut headers = fields::map_for(lines.len())?;
        for line in lines {
            match Kind::of(line.name) {
                Kind::Connection => {
                    connection.add(line.value);
                    if status == StatusCode::SWITCHING_PROTOCOLS {
                        fields::append(&mut headers, block, line)?;
                    }
                }
                Kind::ProxyConnection => connection.add_proxy(line.value),
                Kind::KeepAlive => continue,
                Kind::TransferEncoding => framing.transfer_encoding(line.value)?,
                Kind::ContentLength => {
                    framing.content_length(line.value)?;
                    fields::append(&mut headers, block, line)?;
                }
                Kind::Upgrade if status != StatusCode::SWITCHING_PROTOCOLS => {}
                _ => fields::append(&mut headers, block, line)?,
            }
        }
        // To an upgrade that was asked for.
        let agreed = asked == Asked::Upgrade && connection.upgrade && headers.contains_key(header::UPGRADE);
        let body = body(status, asked, agreed, &mut framing, &mut headers, settings)?;
        let keep_alive = match body {
            Body::UntilClose | Body::Tunnel => false,
            _ if status == StatusCode::SWITCHING_PROTOCOLS => false,
            _ if http11 => !connection.close,
            _ => connection.keep_alive,
        };
        let protocol = if http11 { Protocol::Http11 } else { Protocol::Http10 };
        Ok(Response {
            head: ResponseHead {
                status,
                headers,
                spelling,
                protocol,
            },
            body,
            keep_alive,
        })
    })
}

/// The status, and whether the version is HTTP/1.1. Envoy takes any version and any white space, and needs no reason.
pub(super) fn status_line(line: &[u8]) -> Result<(StatusCode, bool), CodecError> {
    let line = fields::trim_line(line);
    let refuse = || {
        bad(
            502,
            CODEC_ERROR,
            format!("the status line \"{}\" is not HTTP/1's", printable(line)),
        )
    };
    if line.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
        return Err(refuse());
    }
    let mut words = line
        .split(|b| matches!(b, b' ' | b'\t'))
        .filter(|word| !word.is_empty());
    let version = words.next().filter(|_| line.starts_with(b"HTTP/")).ok_or_else(refuse)?;
    let [_, _, _, _, _, major, b'.', minor] = version else {
        return Err(refuse());
    };
    if !major.is_ascii_digit() || !minor.is_ascii_digit() {
        return Err(refuse());
    }
    let status = words
        .next()
        .and_then(|word| StatusCode::from_bytes(word).ok())
        .ok_or_else(refuse)?;
    Ok((status, (*major, *minor) == (b'1', b'1')))
}

fn body(
    status: StatusCode,
    asked: Asked,
    agreed: bool,
    framing: &mut Framing,
    headers: &mut HeaderMap,
    settings: &ClientSettings,
) -> Result<Body, CodecError> {
    let refuse = |why: &str| Err(bad(502, CODEC_ERROR, format!("the response {} {why}", status.as_u16())));
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        // RFC 9112 section 6.3; a length here is read as a body by one proxy and as the next response by another.
        if framing.chunked || framing.length.is_some_and(|n| n > 0) {
            return refuse("cannot have a body, but says that it has one");
        }
        headers.remove(header::CONTENT_LENGTH);
    }
    if status == StatusCode::SWITCHING_PROTOCOLS {
        // Envoy forwards a 101 that nobody asked for, as a response without body. What follows it belongs to no message:
        // the connection is not used again.
        return Ok(if agreed { Body::Tunnel } else { Body::Done });
    }
    if asked == Asked::Connect && status.is_success() {
        headers.remove(header::CONTENT_LENGTH);
        return Ok(Body::Tunnel);
    }
    framing.settle(settings.allow_chunked_length)?;
    if framing.chunked {
        headers.remove(header::CONTENT_LENGTH);
    }
    Ok(match (status, framing) {
        (status, _) if status.is_informational() => Body::Done,
        (StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED, _) => Body::Done,
        _ if asked == Asked::Head => Body::Done,
        (_, Framing { chunked: true, .. }) => Body::chunked(),
        (
            _,
            Framing {
                length: Some(length), ..
            },
        ) => Body::length(*length),
        _ => Body::UntilClose,
    })
}
