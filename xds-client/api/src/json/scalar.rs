//! One JSON value as one scalar of the wire. Numbers may stand in strings, whole numbers may be written as floats, bytes may be in either
//! base64 alphabet with or without padding.

use crate::tables::{Field, Kind};
use crate::wire::{self, Value as Wire};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;
use std::borrow::Cow;

/// How much of an offending value an error shows.
const SHOWN_CHARS: usize = 80;

/// Strings that Envoy takes for a bool, in any case.
const TRUE: [&str; 5] = ["true", "t", "yes", "y", "1"];
const FALSE: [&str; 5] = ["false", "f", "no", "n", "0"];

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The value as an error message quotes it.
pub(super) fn shown(value: &Value) -> String {
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(SHOWN_CHARS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The error is a sentence without the path.
pub(super) fn scalar<'a>(field: &Field, value: &'a Value) -> Result<Wire<'a>, String> {
    let expected = |what: &str| Err(format!("expected {what}, got {}", shown(value)));
    match field.kind {
        Kind::String => value
            .as_str()
            .map_or_else(|| expected("a string"), |text| Ok(Wire::Bytes(text.as_bytes().into()))),
        Kind::Bytes => value
            .as_str()
            .and_then(base64)
            .map_or_else(|| expected("base64"), |bytes| Ok(Wire::Bytes(Cow::Owned(bytes)))),
        Kind::Bool => match value {
            Value::Null => Ok(Wire::Varint(0)),
            Value::Bool(bool) => Ok(Wire::Varint(u64::from(*bool))),
            Value::String(text) if is_one_of(text, &TRUE) => Ok(Wire::Varint(1)),
            Value::String(text) if is_one_of(text, &FALSE) => Ok(Wire::Varint(0)),
            _ => expected("true or false"),
        },
        Kind::Enum => number_of(field, value).map_or_else(
            || Err(enum_problem(field, value)),
            |n| Ok(Wire::Varint(i64::from(n) as u64)),
        ),
        Kind::Double => double(value).map_or_else(|| expected("a number"), |n| Ok(Wire::Fixed64(n.to_bits()))),
        Kind::Float => match double(value) {
            Some(n) if n.is_finite() && !(n as f32).is_finite() => expected("a number that fits a float"),
            Some(n) => Ok(Wire::Fixed32((n as f32).to_bits())),
            None => expected("a number"),
        },
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => match integer(value).map(i32::try_from) {
            Some(Ok(n)) if field.kind == Kind::Sfixed32 => Ok(Wire::Fixed32(n as u32)),
            Some(Ok(n)) if field.kind == Kind::Sint32 => Ok(Wire::Varint(wire::zigzag(n.into()))),
            Some(Ok(n)) => Ok(Wire::Varint(i64::from(n) as u64)),
            _ => expected("a whole number from -2147483648 to 2147483647"),
        },
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => match integer(value).map(i64::try_from) {
            Some(Ok(n)) if field.kind == Kind::Sfixed64 => Ok(Wire::Fixed64(n as u64)),
            Some(Ok(n)) if field.kind == Kind::Sint64 => Ok(Wire::Varint(wire::zigzag(n))),
            Some(Ok(n)) => Ok(Wire::Varint(n as u64)),
            _ => expected("a whole number of 64 bits"),
        },
        Kind::Uint32 | Kind::Fixed32 => match integer(value).map(u32::try_from) {
            Some(Ok(n)) if field.kind == Kind::Fixed32 => Ok(Wire::Fixed32(n)),
            Some(Ok(n)) => Ok(Wire::Varint(n.into())),
            _ => expected("a whole number from 0 to 4294967295"),
        },
        Kind::Uint64 | Kind::Fixed64 => match integer(value).map(u64::try_from) {
            Some(Ok(n)) if field.kind == Kind::Fixed64 => Ok(Wire::Fixed64(n)),
            Some(Ok(n)) => Ok(Wire::Varint(n)),
            _ => expected("a whole number from 0 to 18446744073709551615"),
        },
        Kind::Message => expected("a scalar"),
    }
}

fn is_one_of(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

/// As i128, which holds every 64-bit integer of either sign.
fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Null => Some(0),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => Some(n.into()),
            (_, Some(n)) => Some(n.into()),
            _ => whole(number.as_f64()?),
        },
        Value::String(text) => text.parse().ok().or_else(|| whole(text.parse().ok()?)),
        _ => None,
    }
}

fn whole(number: f64) -> Option<i128> {
    (number.fract() == 0.0).then_some(number as i128)
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Null => Some(0.0),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok().filter(|number: &f64| number.is_finite()),
        },
        _ => None,
    }
}

/// Names match in any case, as in Envoy. proto3 enums are open, so a number need not have a name.
fn number_of(field: &Field, value: &Value) -> Option<i32> {
    let named = |text: &str| {
        let values = field.r#enum().values();
        let exact = values.iter().find(|value| value.name() == text);
        exact
            .or_else(|| values.iter().find(|value| value.name().eq_ignore_ascii_case(text)))
            .map(|value| value.number)
    };
    match value {
        Value::String(text) => named(text).or_else(|| text.parse().ok()),
        other => integer(other)?.try_into().ok(),
    }
}

fn enum_problem(field: &Field, value: &Value) -> String {
    let names: Vec<&str> = field.r#enum().values().iter().map(|value| value.name()).collect();
    format!("expected one of {}, got {}", names.join(", "), shown(value))
}
