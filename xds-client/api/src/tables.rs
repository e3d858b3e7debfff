//! What the transcoder knows of every message in the schema: names, numbers, types. Made by `build/tables.rs`.

use std::cmp::Ordering;

include!(concat!(env!("OUT_DIR"), "/tables.rs"));

/// A name: its place in `NAMES` as offset << 8 | length.
#[derive(Clone, Copy)]
pub(crate) struct Text(u32);

impl Text {
    pub(crate) fn get(self) -> &'static str {
        let offset = (self.0 >> 8) as usize;
        &NAMES[offset..offset + (self.0 & 0xff) as usize]
    }
}

pub(crate) struct Message {
    package: Text,
    name: Text,
    first_field: u16,
    field_count: u16,
    pub(crate) form: Form,
}

/// How a message looks in JSON (protobuf's JSON mapping, "JSON representation" of well-known types).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// An object of its fields.
    Object,
    Any,
    Duration,
    ListValue,
    Struct,
    Timestamp,
    Value,
    /// Its one field's value.
    Wrapper,
}

pub(crate) struct Field {
    name: Text,
    pub(crate) number: u32,
    target: u16,
    pub(crate) kind: Kind,
    pub(crate) cardinality: Cardinality,
    /// 0: in no oneof. Else one number per oneof of the message.
    pub(crate) oneof: u8,
    pub(crate) deprecated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Double,
    Float,
    Int64,
    Uint64,
    Int32,
    Fixed64,
    Fixed32,
    Bool,
    String,
    Message,
    Bytes,
    Uint32,
    Enum,
    Sfixed32,
    Sfixed64,
    Sint32,
    Sint64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cardinality {
    /// Absent when equal to its type's zero: proto3's plain scalars.
    Implicit,
    /// Present or absent, whatever its value.
    Optional,
    Repeated,
    Map,
}

pub(crate) struct Enum {
    first_value: u16,
    value_count: u16,
}

pub(crate) struct EnumValue {
    name: Text,
    pub(crate) number: i32,
}

/// One constraint on one field (protoc-gen-validate's), which Envoy checks before it uses a message.
pub(crate) struct Rule {
    /// Index in `FIELDS`. Rules are sorted by it.
    field: u16,
    pub(crate) part: Part,
    pub(crate) op: Op,
    text: Text,
    pub(crate) number: f64,
}

/// What of the field is constrained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Value,
    Items,
    Keys,
    Values,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// On the first member of a oneof: one of the members must be set.
    RequiredOneof,
    Required,
    /// What the field holds is not checked.
    Skip,
    /// An empty value passes whatever the other rules say.
    IgnoreEmpty,
    /// Characters.
    MinLen,
    MaxLen,
    MaxBytes,
    Prefix,
    Suffix,
    HeaderName,
    HeaderValue,
    /// A header's name or value, checked for line ends only.
    Line,
    /// One row for each value; any of them will do.
    In,
    NotIn,
    /// True: the only constant that the API uses.
    Const,
    DefinedOnly,
    Gt,
    Gte,
    Lt,
    Lte,
    MinItems,
    MaxItems,
    MinPairs,
    Unique,
}

/// The message of that full name. What precedes a slash is ignored, so a type URL does as well.
pub(crate) fn message(name: &str) -> Option<&'static Message> {
    let name = name.rsplit('/').next().unwrap_or_default();
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(dot, _)| dot + 1));
    let local = starts
        .into_iter()
        .find(|start| name[*start..].starts_with(|c: char| c.is_ascii_uppercase()))?;
    let key = (name[..local].trim_end_matches('.'), &name[local..]);
    let order = |message: &Message| -> Ordering { (message.package.get(), message.name.get()).cmp(&key) };
    let index = MESSAGES[..NAMED_MESSAGES].binary_search_by(order).ok()?;
    Some(&MESSAGES[index])
}

impl Message {
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.package.get(), self.name.get())
    }

    /// In the order of their numbers.
    pub(crate) fn fields(&self) -> &'static [Field] {
        &FIELDS[usize::from(self.first_field)..][..usize::from(self.field_count)]
    }

    pub(crate) fn field(&self, number: u32) -> Option<&'static Field> {
        let fields = self.fields();
        fields
            .binary_search_by_key(&number, |field| field.number)
            .ok()
            .map(|index| &fields[index])
    }

    /// The constraints on the field at that position of [`fields`](Self::fields).
    pub(crate) fn rules(&self, position: usize) -> &'static [Rule] {
        let field = usize::from(self.first_field) + position;
        let start = RULES.partition_point(|rule| usize::from(rule.field) < field);
        let count = RULES[start..].partition_point(|rule| usize::from(rule.field) == field);
        &RULES[start..start + count]
    }

    /// The field that a JSON key means: its proto name or its lowerCamelCase form.
    pub(crate) fn field_named(&self, key: &str) -> Option<&'static Field> {
        self.fields().iter().find(|field| field.is_named(key))
    }
}

impl Field {
    pub(crate) fn name(&self) -> &'static str {
        self.name.get()
    }

    /// Only for fields of kind [`Kind::Message`].
    pub(crate) fn message(&self) -> &'static Message {
        &MESSAGES[usize::from(self.target)]
    }

    /// Only for fields of kind [`Kind::Enum`].
    pub(crate) fn r#enum(&self) -> &'static Enum {
        &ENUMS[usize::from(self.target)]
    }

    fn is_named(&self, key: &str) -> bool {
        let name = self.name();
        name == key || (name.len() >= key.len() && camel_case(name).eq(key.chars()))
    }
}

/// lowerCamelCase as protoc derives it: underscores go, what follows one is a capital.
pub(crate) fn camel_case(name: &str) -> impl Iterator<Item = char> {
    let mut capital = false;
    name.chars().filter_map(move |c| {
        if c == '_' {
            capital = true;
            return None;
        }
        Some(if std::mem::take(&mut capital) {
            c.to_ascii_uppercase()
        } else {
            c
        })
    })
}

impl Rule {
    pub(crate) fn text(&self) -> &'static str {
        self.text.get()
    }
}

impl Enum {
    pub(crate) fn values(&self) -> &'static [EnumValue] {
        &ENUM_VALUES[usize::from(self.first_value)..][..usize::from(self.value_count)]
    }

    /// `google.protobuf.NullValue`, which JSON writes as null.
    pub(crate) fn is_null_value(&self) -> bool {
        matches!(self.values(), [only] if only.name() == "NULL_VALUE")
    }

    pub(crate) fn name_of(&self, number: i32) -> Option<&'static str> {
        self.values()
            .iter()
            .find(|value| value.number == number)
            .map(EnumValue::name)
    }
}

impl EnumValue {
    pub(crate) fn name(&self) -> &'static str {
        self.name.get()
    }
}
