//! Constraints on single values: lengths, alphabets, ranges, closed enums.

use super::{Violation, broken};
use crate::json::{Path, present, zero};
use crate::tables::{Field, Form, Kind, Op, Part, Rule};
use crate::wire::{Fields, Value};

const NANOS_PER_SECOND: f64 = 1e9;

/// Checks one scalar, wrapper or duration. Of other messages only [`Op::Required`] speaks.
pub(super) fn check_value(
    field: &'static Field,
    rules: &[Rule],
    part: Part,
    value: &Value,
    path: &Path,
) -> Result<(), Violation> {
    let mut rules = rules.iter().filter(|rule| rule.part == part).peekable();
    if rules.peek().is_none() {
        return Ok(());
    }
    if let (Kind::Message, Value::Bytes(bytes)) = (field.kind, value) {
        let message = field.message();
        return match message.form {
            Form::Wrapper => {
                let inner = &message.fields()[0];
                let value = present(message, bytes)
                    .remove(&inner.number)
                    .and_then(|(_, values)| values.into_iter().last());
                check_scalar(inner, rules, value.as_ref().unwrap_or_else(|| zero(inner.kind)), path)
            }
            Form::Duration => check_number(rules, seconds(bytes), &format!("{}s", seconds(bytes)), path),
            _ => Ok(()),
        };
    }
    check_scalar(field, rules, value, path)
}

fn seconds(duration: &[u8]) -> f64 {
    let part = |number| {
        let found = Fields(duration).flatten().filter(|(found, _)| *found == number).last();
        if let Some((_, Value::Varint(part))) = found {
            part as i64 as f64
        } else {
            0.0
        }
    };
    part(1) + part(2) / NANOS_PER_SECOND
}

fn check_scalar<'r>(
    field: &Field,
    rules: impl Iterator<Item = &'r Rule> + Clone,
    value: &Value,
    path: &Path,
) -> Result<(), Violation> {
    if value.is_default() && rules.clone().any(|rule| rule.op == Op::IgnoreEmpty) {
        return Ok(());
    }
    let shown = shown(field, value);
    match value {
        Value::Bytes(bytes) => check_text(rules, &String::from_utf8_lossy(bytes), &shown, path),
        _ if field.kind == Kind::Enum => {
            let number = number(field, value) as i32;
            if rules.clone().any(|rule| rule.op == Op::DefinedOnly) && field.r#enum().name_of(number).is_none() {
                return broken(path, format!("is no defined value: {shown}"));
            }
            check_number(rules, f64::from(number), &shown, path)
        }
        _ => check_number(rules, number(field, value), &shown, path),
    }
}

fn check_text<'r>(
    rules: impl Iterator<Item = &'r Rule> + Clone,
    text: &str,
    shown: &str,
    path: &Path,
) -> Result<(), Violation> {
    let choices: Vec<&str> = rules.clone().filter(|rule| rule.op == Op::In).map(Rule::text).collect();
    if !choices.is_empty() && !choices.contains(&text) {
        return broken(path, format!("must be one of {}, is {shown}", choices.join(", ")));
    }
    for rule in rules {
        let (count, limit) = (text.chars().count(), rule.number as usize);
        let problem = match rule.op {
            Op::MinLen if count < limit => format!("must be at least {limit} characters long, is {shown}"),
            Op::MaxLen if count > limit => format!("may be at most {limit} characters long, has {count}"),
            Op::MaxBytes if text.len() > limit => format!("may be at most {limit} bytes long, has {}", text.len()),
            Op::Prefix if !text.starts_with(rule.text()) => format!("must begin with {:?}, is {shown}", rule.text()),
            Op::Suffix if !text.ends_with(rule.text()) => format!("must end with {:?}, is {shown}", rule.text()),
            Op::HeaderName if !is_header_name(text) => format!("is no header name: {shown}"),
            Op::HeaderValue if text.bytes().any(|byte| byte != b'\t' && byte.is_ascii_control()) => {
                format!("is no header value: {shown}")
            }
            Op::Line if text.contains(['\0', '\n', '\r']) => {
                format!("holds a line end or a NUL: {shown}")
            }
            _ => continue,
        };
        return broken(path, problem);
    }
    Ok(())
}

/// A token (RFC 9110 section 5.6.2), or an HTTP/2 pseudo-header.
fn is_header_name(text: &str) -> bool {
    let token = text.strip_prefix(':').unwrap_or(text);
    !token.is_empty()
        && token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_|~`".contains(&byte))
}

fn check_number<'r>(
    rules: impl Iterator<Item = &'r Rule> + Clone,
    value: f64,
    shown: &str,
    path: &Path,
) -> Result<(), Violation> {
    let mut choices = rules.clone().filter(|rule| rule.op == Op::In).peekable();
    if choices.peek().is_some() && !choices.any(|rule| rule.number == value) {
        return broken(path, format!("is not among the allowed values: {shown}"));
    }
    for rule in rules {
        let limit = rule.number;
        let problem = match rule.op {
            Op::Gt if value <= limit => format!("must be greater than {limit}, is {shown}"),
            Op::Gte if value < limit => format!("must be at least {limit}, is {shown}"),
            Op::Lt if value >= limit => format!("must be less than {limit}, is {shown}"),
            Op::Lte if value > limit => format!("may be at most {limit}, is {shown}"),
            Op::NotIn if value == limit => format!("may not be {shown}"),
            Op::Const if value == 0.0 => "may only be true".to_owned(),
            _ => continue,
        };
        return broken(path, problem);
    }
    Ok(())
}

fn number(field: &Field, value: &Value) -> f64 {
    match (field.kind, value) {
        (Kind::Double, Value::Fixed64(bits)) => f64::from_bits(*bits),
        (Kind::Float, Value::Fixed32(bits)) => f64::from(f32::from_bits(*bits)),
        (Kind::Int32 | Kind::Enum, Value::Varint(value)) => f64::from(*value as i32),
        (Kind::Int64, Value::Varint(value)) => *value as i64 as f64,
        (Kind::Sint32 | Kind::Sint64, Value::Varint(value)) => crate::wire::unzigzag(*value) as f64,
        (Kind::Sfixed32, Value::Fixed32(value)) => f64::from(*value as i32),
        (Kind::Sfixed64, Value::Fixed64(value)) => *value as i64 as f64,
        (_, Value::Varint(value) | Value::Fixed64(value)) => *value as f64,
        (_, Value::Fixed32(value)) => f64::from(*value),
        (_, Value::Bytes(_)) => 0.0,
    }
}

pub(super) fn shown(field: &Field, value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        _ if field.kind == Kind::Enum => {
            let number = number(field, value) as i32;
            field
                .r#enum()
                .name_of(number)
                .map_or_else(|| number.to_string(), str::to_owned)
        }
        _ if field.kind == Kind::Bool => (!value.is_default()).to_string(),
        _ => number(field, value).to_string(),
    }
}
