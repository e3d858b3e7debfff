//! Wire to JSON, streaming, in the order of field numbers, map entries by key: equal messages make equal text.

use super::present::{is_well_formed, key_text, merged, present, zero};
use super::text::Text;
use super::time::{format_duration, format_timestamp};
use super::{Error, MAX_DEPTH, WriteOptions};
use crate::tables::{self, Cardinality, Field, Form, Kind, Message};
use crate::wire::{Fields, Value as Wire};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io;

/// Writes a message (named by full name or type URL) as JSON. An `Any` is expanded; one whose type is unknown or whose value is
/// malformed is written as `{"@type": …, "value": BASE64}`. Fields that the schema does not know are left out.
///
/// # Errors
/// What `out` returns; `InvalidData` when the schema has no such message or `bytes` are not one.
pub fn write_json(type_name: &str, bytes: &[u8], out: &mut dyn io::Write, options: WriteOptions) -> io::Result<()> {
    let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    let message = tables::message(type_name).ok_or_else(|| invalid(format!("no message is named {type_name}")))?;
    if !is_well_formed(message, bytes, 0) {
        return Err(invalid(format!("malformed protobuf: not a {type_name}")));
    }
    Writer {
        text: Text::new(out, options.pretty),
        options,
        depth: 0,
    }
    .message(message, bytes)
}

/// As [`write_json`], into a value.
///
/// # Errors
/// No such message in the schema, or bytes that are not one.
pub fn from_wire(type_name: &str, bytes: &[u8], options: WriteOptions) -> Result<Value, Error> {
    let mut text = Vec::new();
    let written = write_json(
        type_name,
        bytes,
        &mut text,
        WriteOptions {
            pretty: false,
            ..options
        },
    );
    let error = |problem: String| Error {
        path: String::new(),
        problem,
    };
    written.map_err(|problem| error(problem.to_string()))?;
    serde_json::from_slice(&text).map_err(|problem| error(problem.to_string()))
}

/// A decoded Struct, such as a node's metadata, as JSON.
pub fn from_struct(fields: &prost_types::Struct) -> Map<String, Value> {
    fields
        .fields
        .iter()
        .map(|(key, value)| (key.clone(), from_value(value)))
        .collect()
}

fn from_value(value: &prost_types::Value) -> Value {
    use prost_types::value::Kind as Is;
    match &value.kind {
        None | Some(Is::NullValue(_)) => Value::Null,
        // i64 keeps whole numbers whole: 80, not 80.0. Past 2^53 a double is no exact integer anyway.
        Some(Is::NumberValue(number)) if number.fract() == 0.0 && number.abs() < 2_f64.powi(53) => {
            (*number as i64).into()
        }
        Some(Is::NumberValue(number)) => (*number).into(),
        Some(Is::StringValue(text)) => text.clone().into(),
        Some(Is::BoolValue(bool)) => (*bool).into(),
        Some(Is::StructValue(fields)) => from_struct(fields).into(),
        Some(Is::ListValue(list)) => list.values.iter().map(from_value).collect(),
    }
}

struct Writer<'w> {
    text: Text<'w>,
    options: WriteOptions,
    /// How many `Any`s deep: what each holds is checked for itself, so their nesting is limited here.
    depth: usize,
}

impl Writer<'_> {
    fn message(&mut self, message: &'static Message, bytes: &[u8]) -> io::Result<()> {
        match message.form {
            Form::Object => {
                self.text.open("{")?;
                self.members(message, bytes)?;
                self.text.close("}")
            }
            Form::Any => self.any(bytes),
            Form::Wrapper => {
                let field = &message.fields()[0];
                let value = present(message, bytes)
                    .remove(&field.number)
                    .and_then(|(_, values)| values.into_iter().last());
                self.scalar(field, value.as_ref().unwrap_or_else(|| zero(field.kind)))
            }
            Form::Duration | Form::Timestamp => {
                let part = |number| {
                    let last = Fields(bytes).flatten().filter(|(found, _)| *found == number).last();
                    if let Some((_, Wire::Varint(part))) = last {
                        part as i64
                    } else {
                        0
                    }
                };
                let format = if message.form == Form::Duration {
                    format_duration
                } else {
                    format_timestamp
                };
                self.text.string(&format(part(1), part(2) as i32))
            }
            Form::Struct => {
                let fields = present(message, bytes).into_values().next();
                self.text.open("{")?;
                if let Some((field, entries)) = fields {
                    self.map_entries(field, &entries)?;
                }
                self.text.close("}")
            }
            Form::ListValue => {
                let values = present(message, bytes).into_values().next();
                self.list(values.as_ref().map_or(&[], |(_, values)| values), |writer, value| {
                    let Wire::Bytes(bytes) = value else {
                        return writer.text.raw("null");
                    };
                    writer.message(message.fields()[0].message(), bytes)
                })
            }
            Form::Value => match present(message, bytes).into_values().next() {
                None => self.text.raw("null"),
                Some((field, values)) => self.single(field, &values),
            },
        }
    }

    fn members(&mut self, message: &'static Message, bytes: &[u8]) -> io::Result<()> {
        let mut present = present(message, bytes);
        if self.options.defaults {
            for field in message
                .fields()
                .iter()
                .filter(|field| field.cardinality != Cardinality::Optional)
            {
                present.entry(field.number).or_insert((field, Vec::new()));
            }
        }
        for (field, values) in present.values() {
            let default = match field.cardinality {
                Cardinality::Implicit => values.last().is_none_or(Wire::is_default),
                _ => values.is_empty(),
            };
            if default && !self.options.defaults {
                continue;
            }
            if self.options.proto_names {
                self.text.key(field.name())?;
            } else {
                self.text.key(&tables::camel_case(field.name()).collect::<String>())?;
            }
            self.field(field, values)?;
        }
        Ok(())
    }

    fn field(&mut self, field: &'static Field, values: &[Wire]) -> io::Result<()> {
        match field.cardinality {
            Cardinality::Map => {
                self.text.open("{")?;
                self.map_entries(field, values)?;
                self.text.close("}")
            }
            Cardinality::Repeated => self.list(values, |writer, value| {
                writer.single(field, std::slice::from_ref(value))
            }),
            Cardinality::Implicit | Cardinality::Optional => self.single(field, values),
        }
    }

    fn list<'v>(
        &mut self,
        values: &[Wire<'v>],
        mut each: impl FnMut(&mut Self, &Wire<'v>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.text.open("[")?;
        for value in values {
            self.text.item()?;
            each(self, value)?;
        }
        self.text.close("]")
    }

    /// Entries by key; of equal keys the last one counts.
    fn map_entries(&mut self, field: &'static Field, entries: &[Wire]) -> io::Result<()> {
        let entry_type = field.message();
        let [key_field, value_field] = entry_type.fields() else {
            return Ok(());
        };
        let mut by_key = BTreeMap::new();
        for entry in entries {
            let Wire::Bytes(bytes) = entry else { continue };
            let mut parts = present(entry_type, bytes);
            let key = parts
                .remove(&key_field.number)
                .and_then(|(_, values)| values.into_iter().last());
            let value = parts.remove(&value_field.number).map(|(_, values)| values);
            by_key.insert(
                key_text(key_field, key.as_ref().unwrap_or_else(|| zero(key_field.kind))),
                value,
            );
        }
        for (key, value) in by_key {
            self.text.key(&key)?;
            self.single(
                value_field,
                &value.unwrap_or_else(|| vec![zero(value_field.kind).clone()]),
            )?;
        }
        Ok(())
    }

    fn single(&mut self, field: &'static Field, values: &[Wire]) -> io::Result<()> {
        if field.kind == Kind::Message {
            return self.message(field.message(), &merged(values));
        }
        match values.last() {
            Some(value) => self.scalar(field, value),
            None => self.scalar(field, zero(field.kind)),
        }
    }

    fn scalar(&mut self, field: &'static Field, value: &Wire) -> io::Result<()> {
        match (field.kind, value) {
            (Kind::Enum, Wire::Varint(_)) if field.r#enum().is_null_value() => self.text.raw("null"),
            (Kind::Enum, Wire::Varint(number)) => match field.r#enum().name_of(*number as i32) {
                Some(name) => self.text.string(name),
                None => self.text.raw(&(*number as i32).to_string()),
            },
            (Kind::Bool, Wire::Varint(value)) => self.text.raw(if *value == 0 { "false" } else { "true" }),
            (Kind::Double, Wire::Fixed64(bits)) => self.text.double(f64::from_bits(*bits)),
            // By way of its own shortest decimal form: 0.1, not 0.10000000149011612.
            (Kind::Float, Wire::Fixed32(bits)) => {
                let float = f32::from_bits(*bits);
                self.text
                    .double(float.to_string().parse().unwrap_or_else(|_| f64::from(float)))
            }
            (Kind::String, Wire::Bytes(bytes)) => self.text.string(&String::from_utf8_lossy(bytes)),
            (Kind::Bytes, Wire::Bytes(bytes)) => self.text.string(&BASE64_STANDARD.encode(bytes)),
            (Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64, _) => {
                self.text.string(&key_text(field, value))
            }
            _ => self.text.raw(&key_text(field, value)),
        }
    }

    fn any(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (mut type_url, mut value) = (String::new(), Vec::new());
        for (number, part) in Fields(bytes).flatten() {
            match (number, part) {
                (1, Wire::Bytes(text)) => type_url = String::from_utf8_lossy(&text).into_owned(),
                (2, Wire::Bytes(bytes)) => value = bytes.into_owned(),
                _ => {}
            }
        }
        self.text.open("{")?;
        if !type_url.is_empty() || !value.is_empty() {
            self.text.key("@type")?;
            self.text.string(&type_url)?;
            self.depth += 1;
            match tables::message(&type_url) {
                Some(message) if self.depth <= MAX_DEPTH && is_well_formed(message, &value, 0) => {
                    if message.form == Form::Object {
                        self.members(message, &value)?;
                    } else {
                        self.text.key("value")?;
                        self.message(message, &value)?;
                    }
                }
                _ => {
                    self.text.key("value")?;
                    self.text.string(&BASE64_STANDARD.encode(&value))?;
                }
            }
            self.depth -= 1;
        }
        self.text.close("}")
    }
}
