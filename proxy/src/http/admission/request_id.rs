//! `x-request-id`: a UUID whose 15th character carries the trace decision, as Envoy's `UuidRequestIdConfig`.

use std::ops::Range;

use http::{HeaderName, HeaderValue};

use crate::{
    http::{HttpConnectionManager, message::RequestHead},
    stream_info::StreamInfo,
    trace::decision::{self, Reason},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(super) fn set(
    manager: &HttpConnectionManager,
    request: &mut RequestHead,
    info: &mut StreamInfo,
    edge: bool,
    random: impl Fn() -> u64,
) {
    if !manager.generate_request_id {
        info.request_id = request.headers.get(REQUEST_ID).cloned();
        return;
    }
    let known = request.headers.get(REQUEST_ID).filter(|id| !id.is_empty());
    // An id from outside is replaced at the edge, so that nobody can collide with another's traces.
    let Some(id) = known.filter(|_| !edge || manager.preserve_external_request_id) else {
        let id = uuid(random(), random());
        request.headers.insert(REQUEST_ID, id.clone());
        info.request_id = Some(id);
        return;
    };
    info.request_id = Some(id.clone());
    // Whether to trace is not for those outside to say.
    if edge && let Some(digit) = decision::digit(id.as_bytes(), manager.request_id, Reason::NotTraceable) {
        tell(request, info, digit);
    }
}

/// Writes the trace decision into the id.
pub fn tell(request: &mut RequestHead, info: &mut StreamInfo, digit: u8) {
    let Some(mut id) = info.request_id.as_ref().map(|id| id.as_bytes().to_vec()) else {
        return;
    };
    id[decision::DIGIT_AT] = digit;
    if let Ok(id) = HeaderValue::from_maybe_shared(bytes::Bytes::from(id)) {
        request.headers.insert(REQUEST_ID, id.clone());
        info.request_id = Some(id);
    }
}

/// A version 4 UUID (RFC 9562, 5.4) of 122 random bits.
pub fn uuid(a: u64, b: u64) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    /// Where the groups begin in the text form, and their bytes.
    const GROUPS: [(usize, Range<usize>); 5] = [(0, 0..4), (9, 4..6), (14, 6..8), (19, 8..10), (24, 10..16)];
    const LEN: usize = 36;
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&a.to_le_bytes());
    bytes[8..].copy_from_slice(&b.to_le_bytes());
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = [b'-'; LEN];
    for (at, group) in GROUPS {
        for (digits, b) in text[at..].chunks_exact_mut(2).zip(&bytes[group]) {
            digits.copy_from_slice(&[HEX[usize::from(b >> 4)], HEX[usize::from(b & 0xf)]]);
        }
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_version_4_and_the_rfc_variant() {
        let id = uuid(u64::MAX, u64::MAX);
        assert_eq!(id, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid(0, 0), "00000000-0000-4000-8000-000000000000");
    }
}
