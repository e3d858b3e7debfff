//! Which fields of a message are present on the wire and with what values, by the rules that every protobuf implementation reads by.

use super::MAX_DEPTH;
use crate::tables::{Cardinality, Field, Kind, Message};
use crate::wire::{self, Fields, Malformed, Value as Wire};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Whether the bytes parse down to the last message that the schema knows, without what an `Any` holds.
pub(super) fn is_well_formed(message: &'static Message, bytes: &[u8], depth: usize) -> bool {
    depth <= MAX_DEPTH
        && Fields(bytes).all(|field| match field {
            Ok((number, Wire::Bytes(bytes))) => match message.field(number) {
                Some(field) if field.kind == Kind::Message => is_well_formed(field.message(), &bytes, depth + 1),
                Some(field) if !matches!(field.kind, Kind::String | Kind::Bytes) => packed(field.kind, &bytes).is_ok(),
                _ => true,
            },
            Ok(_) => true,
            Err(Malformed) => false,
        })
}

fn packed(kind: Kind, mut bytes: &[u8]) -> Result<Vec<Wire<'static>>, Malformed> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let value = match kind {
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => wire::take_fixed64(&mut bytes).map(Wire::Fixed64),
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => wire::take_fixed32(&mut bytes).map(Wire::Fixed32),
            _ => wire::take_varint(&mut bytes).map(Wire::Varint),
        };
        values.push(value.ok_or(Malformed)?);
    }
    Ok(values)
}

/// The values of a message's known fields, by number, each list in the order of the wire.
pub(crate) type Present<'a> = BTreeMap<u32, (&'static Field, Vec<Wire<'a>>)>;

pub(crate) fn present<'a>(message: &Message, bytes: &'a [u8]) -> Present<'a> {
    let mut present = Present::new();
    let mut oneofs: Vec<(u8, u32)> = Vec::new();
    for (number, value) in Fields(bytes).flatten() {
        let Some(field) = message.field(number) else { continue };
        let scalar = !matches!(field.kind, Kind::String | Kind::Bytes | Kind::Message);
        let values = match &value {
            Wire::Bytes(bytes) if scalar && field.cardinality == Cardinality::Repeated => {
                packed(field.kind, bytes).unwrap_or_default()
            }
            _ if fits(field.kind, &value) => vec![value],
            _ => continue,
        };
        if field.oneof != 0 {
            // The last member of a oneof on the wire is the one that is set.
            oneofs
                .retain(|(oneof, other)| *oneof != field.oneof || *other == number || present.remove(other).is_none());
            oneofs.push((field.oneof, number));
        }
        present.entry(number).or_insert((field, Vec::new())).1.extend(values);
    }
    present
}

/// A value of another wire type than its field's is an unknown field to every protobuf implementation.
fn fits(kind: Kind, value: &Wire) -> bool {
    match value {
        Wire::Bytes(_) => matches!(kind, Kind::String | Kind::Bytes | Kind::Message),
        Wire::Fixed64(_) => matches!(kind, Kind::Double | Kind::Fixed64 | Kind::Sfixed64),
        Wire::Fixed32(_) => matches!(kind, Kind::Float | Kind::Fixed32 | Kind::Sfixed32),
        Wire::Varint(_) => {
            use Kind::{Bool, Enum, Int32, Int64, Sint32, Sint64, Uint32, Uint64};
            matches!(kind, Bool | Enum | Int32 | Int64 | Sint32 | Sint64 | Uint32 | Uint64)
        }
    }
}

/// The content of a message field: a message that comes in parts is their concatenation.
pub(crate) fn merged<'a>(values: &'a [Wire]) -> Cow<'a, [u8]> {
    if let [Wire::Bytes(only)] = values {
        return Cow::Borrowed(&**only);
    }
    let parts = values.iter().filter_map(|value| {
        if let Wire::Bytes(bytes) = value {
            Some(&**bytes)
        } else {
            None
        }
    });
    parts.collect::<Vec<_>>().concat().into()
}

pub(crate) fn zero(kind: Kind) -> &'static Wire<'static> {
    match kind {
        Kind::String | Kind::Bytes | Kind::Message => &Wire::Bytes(Cow::Borrowed(&[])),
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => &Wire::Fixed64(0),
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => &Wire::Fixed32(0),
        _ => &Wire::Varint(0),
    }
}

/// Integers, bools and strings as map keys write them: without quotes of their own.
pub(super) fn key_text(field: &Field, value: &Wire) -> String {
    match (field.kind, value) {
        (Kind::Bool, Wire::Varint(value)) => (*value != 0).to_string(),
        (Kind::Int32 | Kind::Enum, Wire::Varint(value)) => (*value as i32).to_string(),
        (Kind::Int64, Wire::Varint(value)) => (*value as i64).to_string(),
        (Kind::Sint32 | Kind::Sint64, Wire::Varint(value)) => wire::unzigzag(*value).to_string(),
        (Kind::Uint32, Wire::Varint(value)) => (*value as u32).to_string(),
        (Kind::Sfixed32, Wire::Fixed32(value)) => (*value as i32).to_string(),
        (Kind::Sfixed64, Wire::Fixed64(value)) => (*value as i64).to_string(),
        (_, Wire::Varint(value) | Wire::Fixed64(value)) => value.to_string(),
        (_, Wire::Fixed32(value)) => value.to_string(),
        (_, Wire::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
    }
}
