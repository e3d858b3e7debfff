//! JSON to wire. Fields are written in the order of their numbers, so equal JSON makes equal bytes.

use super::scalar::{scalar, shown};
use super::{Error, MAX_DEPTH, Path, ReadOptions, Unknown, Warning, time};
use crate::any::{TYPED_STRUCT, type_name};
use crate::tables::{self, Cardinality, Field, Form, Kind, Message};
use crate::wire::{self, Value as Wire};
use serde_json::{Map, Value};
use std::borrow::Cow;

/// Encodes JSON as the named message (a full name or a type URL).
///
/// # Errors
/// The first value that does not fit, by field path; with [`Unknown::Reject`], the first unknown field or type.
pub fn to_wire(type_name: &str, json: &Value, options: ReadOptions) -> Result<(Vec<u8>, Vec<Warning>), Error> {
    let message = tables::message(type_name).ok_or_else(|| Error {
        path: String::new(),
        problem: format!("no message is named {type_name}"),
    })?;
    let mut reader = Reader {
        out: Vec::new(),
        warnings: Vec::new(),
        options,
        depth: 0,
    };
    reader.message(message, json, &Path::ROOT)?;
    Ok((reader.out, reader.warnings))
}

struct Reader {
    out: Vec<u8>,
    warnings: Vec<Warning>,
    options: ReadOptions,
    depth: usize,
}

type Object = Map<String, Value>;

fn fail<T>(path: &Path, problem: impl Into<String>) -> Result<T, Error> {
    Err(Error {
        path: path.to_string(),
        problem: problem.into(),
    })
}

fn object<'a>(value: &'a Value, path: &Path) -> Result<&'a Object, Error> {
    value
        .as_object()
        .map_or_else(|| fail(path, format!("expected an object, got {}", shown(value))), Ok)
}

impl Reader {
    /// Appends the content of a message.
    fn message(&mut self, message: &'static Message, value: &Value, path: &Path) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return fail(path, format!("nested deeper than {MAX_DEPTH} messages"));
        }
        match message.form {
            Form::Any => self.any(object(value, path)?, path)?,
            Form::Struct => self.r#struct(object(value, path)?, None, path)?,
            Form::Value => self.value(value, path)?,
            Form::ListValue => self.list(value, path)?,
            Form::Object => self.object(message, object(value, path)?, None, path)?,
            Form::Wrapper | Form::Duration | Form::Timestamp if value.is_object() => {
                self.object(message, object(value, path)?, None, path)?;
            }
            Form::Wrapper => {
                let field = &message.fields()[0];
                self.put_scalar(field, value, path)?;
            }
            Form::Duration => self.time(value, path, "a duration such as \"1.5s\"", time::parse_duration)?,
            Form::Timestamp => self.time(
                value,
                path,
                "a time such as \"2024-02-01T12:00:00Z\"",
                time::parse_timestamp,
            )?,
        }
        self.depth -= 1;
        Ok(())
    }

    fn object(
        &mut self,
        message: &'static Message,
        object: &Object,
        skip: Option<&str>,
        path: &Path,
    ) -> Result<(), Error> {
        let mut members = Vec::with_capacity(object.len());
        for (key, value) in object.iter().filter(|(key, _)| skip != Some(key.as_str())) {
            let Some(field) = message.field_named(key) else {
                self.unknown_field(message, &path.field(key))?;
                continue;
            };
            if !value.is_null() || accepts_null(field) {
                members.push((field, value));
            }
        }
        members.sort_by_key(|(field, _)| field.number);
        let mut set_oneofs: Vec<&Field> = Vec::new();
        for (field, value) in &members {
            if field.oneof != 0 {
                if let Some(other) = set_oneofs
                    .iter()
                    .find(|other| other.oneof == field.oneof && other.number != field.number)
                {
                    let (first, second) = (other.name(), field.name());
                    return fail(
                        path,
                        format!("{first} and {second} are both set: at most one of them may be"),
                    );
                }
                set_oneofs.push(field);
            }
            self.field(field, value, &path.field(field.name()))?;
        }
        Ok(())
    }

    fn unknown_field(&mut self, message: &Message, path: &Path) -> Result<(), Error> {
        if self.options.fields == Unknown::Reject {
            return fail(
                path,
                format!("unknown field: {} has none of that name", message.full_name()),
            );
        }
        self.warnings.push(Warning::UnknownField { path: path.to_string() });
        Ok(())
    }

    fn field(&mut self, field: &'static Field, value: &Value, path: &Path) -> Result<(), Error> {
        match field.cardinality {
            Cardinality::Map => {
                for (key, value) in object(value, path)? {
                    self.map_entry(field, key, value, &path.key(key))?;
                }
                Ok(())
            }
            Cardinality::Repeated => {
                let items = match value {
                    Value::Array(items) => items.as_slice(),
                    single => std::slice::from_ref(single),
                };
                self.repeated(field, items, path)
            }
            Cardinality::Implicit => match self.scalar(field, value, path)? {
                Some(scalar) if !scalar.is_default() => {
                    wire::put_field(&mut self.out, field.number, &scalar);
                    Ok(())
                }
                _ => Ok(()),
            },
            Cardinality::Optional => self.single(field, value, path),
        }
    }

    fn single(&mut self, field: &'static Field, value: &Value, path: &Path) -> Result<(), Error> {
        if field.kind != Kind::Message {
            return self.put_scalar(field, value, path);
        }
        let start = wire::begin_nested(&mut self.out, field.number);
        self.message(field.message(), value, path)?;
        wire::end_nested(&mut self.out, start);
        Ok(())
    }

    /// A null in a list stands for the element's default, as in Envoy.
    fn repeated(&mut self, field: &'static Field, items: &[Value], path: &Path) -> Result<(), Error> {
        let packed = !matches!(field.kind, Kind::String | Kind::Bytes | Kind::Message);
        let start = (packed && !items.is_empty()).then(|| wire::begin_nested(&mut self.out, field.number));
        for (index, item) in items.iter().enumerate() {
            let path = &path.index(index);
            if item.is_null() && field.kind == Kind::Message && !accepts_null(field) {
                let start = wire::begin_nested(&mut self.out, field.number);
                wire::end_nested(&mut self.out, start);
            } else if field.kind == Kind::Message {
                self.single(field, item, path)?;
            } else if let Some(scalar) = self.scalar(field, item, path)? {
                match packed {
                    true => wire::put_bare(&mut self.out, &scalar),
                    false => wire::put_field(&mut self.out, field.number, &scalar),
                }
            }
        }
        if let Some(start) = start {
            wire::end_nested(&mut self.out, start);
        }
        Ok(())
    }

    fn map_entry(&mut self, field: &'static Field, key: &str, value: &Value, path: &Path) -> Result<(), Error> {
        let [key_field, value_field] = field.message().fields() else {
            return fail(path, "the schema's map entry lacks key or value");
        };
        let start = wire::begin_nested(&mut self.out, field.number);
        self.put_scalar(key_field, &Value::String(key.to_owned()), path)?;
        if !value.is_null() || accepts_null(value_field) {
            self.single(value_field, value, path)?;
        }
        wire::end_nested(&mut self.out, start);
        Ok(())
    }

    fn put_scalar(&mut self, field: &'static Field, value: &Value, path: &Path) -> Result<(), Error> {
        if let Some(scalar) = self.scalar(field, value, path)? {
            wire::put_field(&mut self.out, field.number, &scalar);
        }
        Ok(())
    }

    /// None: an unknown enum name, where unknown things are only warned of.
    fn scalar<'a>(&mut self, field: &'static Field, value: &'a Value, path: &Path) -> Result<Option<Wire<'a>>, Error> {
        match scalar(field, value) {
            Ok(scalar) => Ok(Some(scalar)),
            Err(_) if field.kind == Kind::Enum && value.is_string() && self.options.fields == Unknown::Warn => {
                self.warnings.push(Warning::UnknownField { path: path.to_string() });
                Ok(None)
            }
            Err(problem) => fail(path, problem),
        }
    }

    fn any(&mut self, object: &Object, path: &Path) -> Result<(), Error> {
        if object.is_empty() {
            return Ok(());
        }
        let Some(type_url) = object.get("@type") else {
            return fail(&path.field("@type"), "is required: an Any names its message there");
        };
        let Some(type_url) = type_url.as_str().filter(|url| url.contains('/')) else {
            return fail(
                &path.field("@type"),
                format!("expected type.googleapis.com/NAME, got {}", shown(type_url)),
            );
        };
        let Some(message) = tables::message(type_url) else {
            return self.any_of_unknown_type(object, type_url, path);
        };
        wire::put_field(&mut self.out, 1, &Wire::Bytes(Cow::Borrowed(type_url.as_bytes())));
        let start = wire::begin_nested(&mut self.out, 2);
        if message.form == Form::Object {
            self.depth += 1;
            self.object(message, object, Some("@type"), path)?;
            self.depth -= 1;
        } else {
            if let Some(key) = object.keys().find(|key| !matches!(key.as_str(), "@type" | "value")) {
                self.unknown_field(message, &path.field(key))?;
            }
            let value = object.get("value").unwrap_or(&Value::Null);
            if !value.is_null() || message.form == Form::Value {
                self.message(message, value, path)?;
            }
        }
        wire::end_nested(&mut self.out, start);
        Ok(())
    }

    fn any_of_unknown_type(&mut self, object: &Object, type_url: &str, path: &Path) -> Result<(), Error> {
        if self.options.types == Unknown::Reject {
            let name = type_name(type_url);
            return fail(path, format!("unknown type {name}: no such message in Envoy's API"));
        }
        self.warnings.push(Warning::UnknownType {
            path: path.to_string(),
            type_url: type_url.to_owned(),
        });
        wire::put_field(&mut self.out, 1, &Wire::Bytes(Cow::Borrowed(TYPED_STRUCT.as_bytes())));
        let value = wire::begin_nested(&mut self.out, 2);
        wire::put_field(&mut self.out, 1, &Wire::Bytes(Cow::Borrowed(type_url.as_bytes())));
        let start = wire::begin_nested(&mut self.out, 2);
        self.r#struct(object, Some("@type"), path)?;
        wire::end_nested(&mut self.out, start);
        wire::end_nested(&mut self.out, value);
        Ok(())
    }

    fn r#struct(&mut self, object: &Object, skip: Option<&str>, path: &Path) -> Result<(), Error> {
        for (key, value) in object.iter().filter(|(key, _)| skip != Some(key.as_str())) {
            let entry = wire::begin_nested(&mut self.out, 1);
            wire::put_field(&mut self.out, 1, &Wire::Bytes(Cow::Borrowed(key.as_bytes())));
            self.nested_value(2, value, &path.key(key))?;
            wire::end_nested(&mut self.out, entry);
        }
        Ok(())
    }

    fn list(&mut self, value: &Value, path: &Path) -> Result<(), Error> {
        let Value::Array(items) = value else {
            return fail(path, format!("expected a list, got {}", shown(value)));
        };
        for (index, item) in items.iter().enumerate() {
            self.nested_value(1, item, &path.index(index))?;
        }
        Ok(())
    }

    fn nested_value(&mut self, number: u32, value: &Value, path: &Path) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return fail(path, format!("nested deeper than {MAX_DEPTH} messages"));
        }
        let start = wire::begin_nested(&mut self.out, number);
        self.value(value, path)?;
        wire::end_nested(&mut self.out, start);
        self.depth -= 1;
        Ok(())
    }

    /// The content of a `google.protobuf.Value`.
    fn value(&mut self, value: &Value, path: &Path) -> Result<(), Error> {
        match value {
            Value::Null => wire::put_field(&mut self.out, 1, &Wire::Varint(0)),
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or_default();
                wire::put_field(&mut self.out, 2, &Wire::Fixed64(number.to_bits()));
            }
            Value::String(text) => wire::put_field(&mut self.out, 3, &Wire::Bytes(Cow::Borrowed(text.as_bytes()))),
            Value::Bool(value) => wire::put_field(&mut self.out, 4, &Wire::Varint(u64::from(*value))),
            Value::Object(object) => {
                let start = wire::begin_nested(&mut self.out, 5);
                self.r#struct(object, None, path)?;
                wire::end_nested(&mut self.out, start);
            }
            Value::Array(_) => {
                let start = wire::begin_nested(&mut self.out, 6);
                self.list(value, path)?;
                wire::end_nested(&mut self.out, start);
            }
        }
        Ok(())
    }

    /// Durations and timestamps: seconds in field 1, nanoseconds in field 2.
    fn time(
        &mut self,
        value: &Value,
        path: &Path,
        expected: &str,
        parse: fn(&str) -> Option<(i64, i32)>,
    ) -> Result<(), Error> {
        let Some((seconds, nanos)) = value.as_str().and_then(parse) else {
            return fail(path, format!("expected {expected}, got {}", shown(value)));
        };
        for (number, part) in [(1, seconds), (2, i64::from(nanos))] {
            if part != 0 {
                wire::put_field(&mut self.out, number, &Wire::Varint(part as u64));
            }
        }
        Ok(())
    }
}

/// Whether null is a value of the field rather than its absence.
fn accepts_null(field: &Field) -> bool {
    match field.kind {
        Kind::Message => field.cardinality != Cardinality::Map && field.message().form == Form::Value,
        Kind::Enum => field.r#enum().is_null_value(),
        _ => false,
    }
}
