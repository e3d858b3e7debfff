//! The slices of a message's own fields, so that a part of a resource can be hashed or kept exactly as it was received.

use bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint};

/// The length-delimited fields of a message, in wire order: (field number, bytes). Stops at the first byte that is no protobuf;
/// what is walked here was decoded before.
pub(crate) fn fields(message: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut rest = message;
    std::iter::from_fn(move || {
        loop {
            let tag = varint(&mut rest)?;
            let number = u32::try_from(tag >> 3).ok()?;
            match tag & 7 {
                0 => {
                    varint(&mut rest)?;
                }
                1 => rest = rest.get(8..)?,
                5 => rest = rest.get(4..)?,
                2 => {
                    let length = usize::try_from(varint(&mut rest)?).ok()?;
                    let field = rest.get(..length)?;
                    rest = &rest[length..];
                    return Some((number, field));
                }
                _ => return None,
            }
        }
    })
}

/// All occurrences of one repeated field.
pub(crate) fn repeated(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    fields(message)
        .filter(move |(n, _)| *n == number)
        .map(|(_, bytes)| bytes)
}

/// Appends a length-delimited field to a message.
pub(crate) fn append(message: &mut impl BufMut, number: u32, field: &[u8]) {
    encode_key(number, WireType::LengthDelimited, message);
    encode_varint(field.len() as u64, message);
    message.put_slice(field);
}

/// Appends a number, or a flag, to a message.
pub(crate) fn append_varint(message: &mut impl BufMut, number: u32, value: u64) {
    encode_key(number, WireType::Varint, message);
    encode_varint(value, message);
}

pub(crate) fn append_fixed64(message: &mut impl BufMut, number: u32, value: u64) {
    encode_key(number, WireType::SixtyFourBit, message);
    message.put_u64_le(value);
}

/// Content hash: equal bytes are an equal resource.
pub fn hash(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh64::xxh64(bytes, 0)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (i, &byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            *rest = &rest[i + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use xds_api::{Message, envoy::config::listener::v3 as listener};

    #[test]
    fn filter_chains_are_found_as_written() {
        let chain = |name: &str| listener::FilterChain {
            name: name.into(),
            ..Default::default()
        };
        let message = listener::Listener {
            name: "l".into(),
            filter_chains: vec![chain("a"), chain("b")],
            drain_type: 1,
            ..Default::default()
        };
        let bytes = message.encode_to_vec();
        let chains: Vec<_> = repeated(&bytes, 3).collect();
        assert_eq!(chains, [chain("a").encode_to_vec(), chain("b").encode_to_vec()]);
        assert_eq!(fields(&[0xff; 3]).count(), 0);
    }
}
