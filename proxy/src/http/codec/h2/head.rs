//! What heads of requests and responses have in common.

use ::h2::Reason;
use http::{
    HeaderMap, HeaderName,
    header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE},
};

use super::{
    error::{HEADERS_TOO_LARGE, TOO_MANY_HEADERS},
    settings::HeadLimits,
};
use crate::stats::{Group, Http2Stat};

/// Fields of HTTP/1 that no HTTP/2 message may carry (RFC 9113 section 8.2.2), but for `TE`.
const CONNECTION_FIELDS: [HeaderName; 5] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// How to refuse a head, and why: the sentence and the details are for the access log.
#[derive(Debug)]
pub(super) struct Rejection {
    pub(super) reason: Reason,
    pub(super) details: &'static str,
    pub(super) sentence: String,
}

impl Rejection {
    pub(super) fn malformed(details: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            reason: Reason::PROTOCOL_ERROR,
            details,
            sentence: sentence.into(),
        }
    }
}

/// Envoy resets what is over its limits rather than answer it.
pub(super) fn check_limits(
    limits: HeadLimits,
    headers: &HeaderMap,
    (pseudo_count, pseudo_bytes): (usize, usize),
    stats: &Group<Http2Stat>,
) -> Result<(), Rejection> {
    let fields = headers.len() + pseudo_count;
    if fields > limits.count {
        stats.inc(Http2Stat::HeaderOverflow);
        let sentence = format!(
            "the head has {fields} fields, of which max_headers_count admits {}",
            limits.count
        );
        return Err(Rejection {
            reason: Reason::INTERNAL_ERROR,
            details: TOO_MANY_HEADERS,
            sentence,
        });
    }
    let bytes = pseudo_bytes
        + headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum::<usize>();
    if bytes > limits.bytes {
        stats.inc(Http2Stat::HeaderListSizeTooLarge);
        let sentence = format!("the head has {bytes} bytes, of which the limit admits {}", limits.bytes);
        return Err(Rejection {
            reason: Reason::INTERNAL_ERROR,
            details: HEADERS_TOO_LARGE,
            sentence,
        });
    }
    Ok(())
}

/// Filters may have added what an HTTP/1 message would carry; `h2` refuses the whole message for it.
pub(super) fn strip_connection_fields(headers: &mut HeaderMap) {
    // One pass over the names is cheaper than a look-up of each.
    if headers.keys().any(|name| CONNECTION_FIELDS.contains(name)) {
        for name in &CONNECTION_FIELDS {
            headers.remove(name);
        }
    }
    if headers.get(TE).is_some_and(|te| te != "trailers") {
        headers.remove(TE);
    }
}

/// A tunnel has no content; Envoy drops the zero that an HTTP/1 peer may have sent with its upgrade.
pub(super) fn strip_empty_content_length(headers: &mut HeaderMap) {
    if headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0") {
        headers.remove(CONTENT_LENGTH);
    }
}
