//! The protobuf wire format, both ways, without types: what the transcoder reads and writes.

use std::borrow::Cow;

/// A field's value as the wire tells it apart. Groups are not supported: no proto3 schema has any.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(Cow<'a, [u8]>),
    Fixed32(u32),
}

/// Bytes that are no protobuf message: a length past the end, an endless varint, an unknown wire type, field number 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf")]
pub(crate) struct Malformed;

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;
/// A key is field number << 3 | wire type.
const WIRE_TYPE_BITS: u32 = 3;

/// The fields of a message in the order of the wire. Ends after the first error.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(Malformed))
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let key = u32::try_from(take_varint(&mut self.0)?).ok()?;
        let value = match (key & ((1 << WIRE_TYPE_BITS) - 1)) as u8 {
            VARINT => Value::Varint(take_varint(&mut self.0)?),
            FIXED64 => Value::Fixed64(take_fixed64(&mut self.0)?),
            BYTES => {
                let length = usize::try_from(take_varint(&mut self.0)?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Value::Bytes(Cow::Borrowed(bytes))
            }
            FIXED32 => Value::Fixed32(take_fixed32(&mut self.0)?),
            _ => return None,
        };
        let number = key >> WIRE_TYPE_BITS;
        (number != 0).then_some((number, value))
    }
}

pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

pub(crate) fn take_fixed64(bytes: &mut &[u8]) -> Option<u64> {
    let (word, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*word))
}

pub(crate) fn take_fixed32(bytes: &mut &[u8]) -> Option<u32> {
    let (word, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*word))
}

impl Value<'_> {
    /// Zero, false or empty: what proto3 does not send for a field without presence.
    pub(crate) fn is_default(&self) -> bool {
        match self {
            Self::Varint(value) | Self::Fixed64(value) => *value == 0,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Fixed32(value) => *value == 0,
        }
    }

    fn wire_type(&self) -> u8 {
        match self {
            Self::Varint(_) => VARINT,
            Self::Fixed64(_) => FIXED64,
            Self::Bytes(_) => BYTES,
            Self::Fixed32(_) => FIXED32,
        }
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_field(out: &mut Vec<u8>, number: u32, value: &Value) {
    put_key(out, number, value.wire_type());
    put_bare(out, value);
}

/// A value without its key, as packed fields hold them.
pub(crate) fn put_bare(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Varint(value) => put_varint(out, *value),
        Value::Fixed64(value) => out.extend_from_slice(&value.to_le_bytes()),
        Value::Fixed32(value) => out.extend_from_slice(&value.to_le_bytes()),
        Value::Bytes(bytes) => {
            put_varint(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
    }
}

/// Opens a length-delimited field; what is appended until [`end_nested`] is its content.
pub(crate) fn begin_nested(out: &mut Vec<u8>, number: u32) -> usize {
    put_key(out, number, BYTES);
    out.len()
}

/// Puts the length before what was appended since `start`, shifting it by the few bytes that the length takes.
pub(crate) fn end_nested(out: &mut Vec<u8>, start: usize) {
    let mut length = Vec::with_capacity(5);
    put_varint(&mut length, (out.len() - start) as u64);
    out.splice(start..start, length);
}

fn put_key(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_varint(out, u64::from(number) << WIRE_TYPE_BITS | u64::from(wire_type));
}

pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
