//! Header lines that Envoy takes and forwards in another form: values over several lines (obs-fold, RFC 9112 section 5.2)
//! and stray carriage returns.

use bytes::Bytes;

use super::{
    super::CodecError,
    fields::{CODEC_ERROR, bad, printable},
};

/// The same block with folded values on one line and without stray CRs in values. None where there was nothing to change.
///
/// Stricter than Envoy: a stray CR in `Content-Length` or `Transfer-Encoding` is an error. Envoy drops it from the value only
/// after it has framed the message by the value with it, so that the next hop may frame it differently.
pub(super) fn unfold(block: &[u8]) -> Result<Option<Bytes>, CodecError> {
    let mut out = Vec::with_capacity(block.len());
    let mut changed = false;
    for raw in block.split(|b| *b == b'\n') {
        let line = trim_end(raw, b'\r');
        let stray = raw.len() - line.len() > 1;
        match line.first() {
            None if stray => return Err(bad(400, CODEC_ERROR, "a header line consists of carriage returns")),
            None => break,
            Some(b' ' | b'\t') => {
                if out.is_empty() {
                    return Err(bad(400, CODEC_ERROR, "the first header line starts with white space"));
                }
                out.truncate(out.len() - CRLF.len());
                push_without_cr(&mut out, line);
                changed = true;
            }
            Some(_) => {
                // A CR within a name stays, and is refused by the parser.
                let value = memchr::memchr(b':', line).map_or(line.len(), |colon| colon + 1);
                let inner = line[value..].contains(&b'\r');
                if inner && is_framing(&line[..value]) {
                    let name = printable(trim_end(&line[..value], b':'));
                    return Err(bad(
                        400,
                        CODEC_ERROR,
                        format!("the value of {name} has a carriage return"),
                    ));
                }
                out.extend_from_slice(&line[..value]);
                push_without_cr(&mut out, &line[value..]);
                changed |= inner || stray;
            }
        }
        out.extend_from_slice(CRLF);
    }
    out.extend_from_slice(CRLF);
    Ok(changed.then(|| out.into()))
}

const CRLF: &[u8] = b"\r\n";

fn push_without_cr(out: &mut Vec<u8>, line: &[u8]) {
    out.extend(line.iter().filter(|b| **b != b'\r'));
}

fn is_framing(name_and_colon: &[u8]) -> bool {
    name_and_colon.eq_ignore_ascii_case(b"content-length:")
        || name_and_colon.eq_ignore_ascii_case(b"transfer-encoding:")
}

fn trim_end(mut line: &[u8], byte: u8) -> &[u8] {
    while let Some(shorter) = line.strip_suffix(&[byte]) {
        line = shorter;
    }
    line
}
