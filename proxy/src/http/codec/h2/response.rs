//! Response heads: from a server in HTTP/2's terms to [`ResponseHead`], and from it to a client.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header::UPGRADE};

use super::{
    error::{End, MESSAGING},
    head::{Rejection, check_limits, strip_connection_fields, strip_empty_content_length},
    settings::HeadLimits,
};
use crate::{
    http::{
        codec::CodecError,
        message::{Protocol, ResponseHead, Spelling},
    },
    stats::{Group, Http2Stat},
};

/// `:status` and its three digits, as Envoy counts them into a head.
const STATUS_SIZE: (usize, usize) = (1, ":status".len() + "200".len());

/// A head that arrived. `upgrade` is what the request asked for by extended CONNECT: its 200 becomes the 101 that HTTP/1 peers
/// expect, with an `upgrade` field.
pub(super) fn read(
    response: Response<()>,
    upgrade: Option<&HeaderValue>,
    limits: HeadLimits,
    stats: &Group<Http2Stat>,
) -> Result<ResponseHead, Rejection> {
    let (parts, ()) = response.into_parts();
    let (mut status, mut headers) = (parts.status, parts.headers);
    check_limits(limits, &headers, STATUS_SIZE, stats)?;
    match upgrade {
        Some(protocol) if status == StatusCode::OK => {
            status = StatusCode::SWITCHING_PROTOCOLS;
            headers.insert(UPGRADE, protocol.clone());
        }
        _ if status == StatusCode::SWITCHING_PROTOCOLS => {
            return Err(Rejection {
                reason: ::h2::Reason::PROTOCOL_ERROR,
                details: MESSAGING,
                sentence: "the server answered 101, which HTTP/2 does not have (RFC 9113 section 8.6)".into(),
            });
        }
        _ => {}
    }
    Ok(ResponseHead {
        status,
        headers,
        spelling: Spelling::default(),
        protocol: Protocol::Http2,
    })
}

/// The head in `h2`'s shape. `upgrade`: the stream is an extended CONNECT, to which 101 is sent as 200.
pub(super) fn write(head: ResponseHead, upgrade: bool) -> Result<Response<()>, CodecError> {
    let mut response = response(head.status, head.headers);
    if upgrade {
        strip_empty_content_length(response.headers_mut());
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            *response.status_mut() = StatusCode::OK;
        }
    } else if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let sentence = "the upstream switched protocols, which this HTTP/2 request did not ask for".to_owned();
        return Err(End::Client.violation(MESSAGING, sentence));
    }
    Ok(response)
}

pub(super) fn response(status: StatusCode, mut headers: HeaderMap) -> Response<()> {
    strip_connection_fields(&mut headers);
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
