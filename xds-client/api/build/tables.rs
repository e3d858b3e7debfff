//! The JSON transcoder's tables as Rust statics of plain numbers: offsets into one string of names, indices into each other.
//! Nothing in them needs relocating, so they stay in pages that are shared with the file and read on first use.

use crate::rules::Rules;
use crate::schema::Schema;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto};
use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;

/// Messages of `google.protobuf` whose JSON form is not an object of their fields. So are those whose names end in `Value`:
/// wrappers, written as what they wrap.
const WELL_KNOWN: [&str; 6] = ["Any", "Duration", "ListValue", "Struct", "Timestamp", "Value"];

/// Every name once, addressed as offset << 8 | length.
#[derive(Default)]
struct Names {
    text: String,
    seen: HashMap<String, usize>,
}

impl Names {
    fn add(&mut self, name: &str) -> String {
        let length = u8::try_from(name.len()).expect("protobuf names are shorter than 256 bytes");
        let offset = *self.seen.entry(name.to_owned()).or_insert_with(|| {
            let offset = self.text.len();
            self.text.push_str(name);
            offset
        });
        format!("Text({})", offset << 8 | usize::from(length))
    }
}

pub(crate) fn generate(schema: &Schema, out: &Path) -> Result<(), Box<dyn Error>> {
    let order = MessageOrder::new(schema);
    let mut names = Names::default();
    let rules_text = std::fs::read_to_string("schema/rules.txt")?;
    let mut rules = Rules::parse(&rules_text);
    let (mut messages, mut fields, mut enums, mut values) =
        (String::new(), String::new(), String::new(), String::new());
    let (mut field_count, mut value_count) = (0, 0);

    for name in &order.messages {
        let message = &schema.messages[*name];
        let (package, local) = if is_entry(message) { ("", "") } else { split(name) };
        writeln!(
            messages,
            "Message {{ package: {}, name: {}, first_field: {field_count}, field_count: {}, form: Form::{} }},",
            names.add(package),
            names.add(local),
            message.field.len(),
            form(name),
        )?;
        let mut by_number: Vec<_> = message.field.iter().collect();
        by_number.sort_by_key(|field| field.number());
        for field in by_number {
            writeln!(fields, "{},", field_row(schema, &order, name, field, &mut names))?;
            rules.add((name, message), field.name(), field_count, |text| names.add(text))?;
            field_count += 1;
        }
    }
    for name in &order.enums {
        let of = &schema.enums[*name].value;
        writeln!(
            enums,
            "Enum {{ first_value: {value_count}, value_count: {} }},",
            of.len()
        )?;
        value_count += of.len();
        for value in of {
            writeln!(
                values,
                "EnumValue {{ name: {}, number: {} }},",
                names.add(value.name()),
                value.number()
            )?;
        }
    }
    let searchable = order
        .messages
        .iter()
        .filter(|name| !is_entry(&schema.messages[**name]))
        .count();
    let text = format!(
        "/// Messages that have a name: all but map entries, which come after them.\n\
         const NAMED_MESSAGES: usize = {searchable};\n\
         static NAMES: &str = {:?};\n\
         static MESSAGES: [Message; {}] = [\n{messages}];\n\
         static FIELDS: [Field; {field_count}] = [\n{fields}];\n\
         static ENUMS: [Enum; {}] = [\n{enums}];\n\
         static ENUM_VALUES: [EnumValue; {value_count}] = [\n{values}];\n{}",
        names.text,
        order.messages.len(),
        order.enums.len(),
        rules.table(),
    );
    std::fs::write(out.join("tables.rs"), text)?;
    Ok(())
}

/// The order of rows: named messages sorted for binary search, then map entries.
struct MessageOrder<'a> {
    messages: Vec<&'a str>,
    enums: Vec<&'a str>,
    message_index: HashMap<&'a str, usize>,
    enum_index: HashMap<&'a str, usize>,
}

impl<'a> MessageOrder<'a> {
    fn new(schema: &'a Schema) -> Self {
        let mut messages: Vec<&str> = schema.messages.keys().map(String::as_str).collect();
        messages.sort_by_key(|name| (is_entry(&schema.messages[*name]), split(name)));
        let enums: Vec<&str> = schema.enums.keys().map(String::as_str).collect();
        let message_index = messages
            .iter()
            .enumerate()
            .map(|(index, name)| (*name, index))
            .collect();
        let enum_index = enums.iter().enumerate().map(|(index, name)| (*name, index)).collect();
        Self {
            messages,
            enums,
            message_index,
            enum_index,
        }
    }
}

fn is_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}

/// Package and the rest: `.envoy.config.core.v3.Node.Foo` is `envoy.config.core.v3` and `Node.Foo`. Only messages begin with a capital.
fn split(name: &str) -> (&str, &str) {
    let local = name
        .match_indices('.')
        .map(|(dot, _)| dot + 1)
        .find(|start| name[*start..].starts_with(|c: char| c.is_ascii_uppercase()));
    let local = local.expect("message names begin with a capital, packages do not");
    (name[1..local].trim_end_matches('.'), &name[local..])
}

fn form(name: &str) -> &str {
    match name.strip_prefix(".google.protobuf.") {
        Some(local) if WELL_KNOWN.contains(&local) => local,
        Some(local) if local.ends_with("Value") => "Wrapper",
        _ => "Object",
    }
}

fn field_row(
    schema: &Schema,
    order: &MessageOrder,
    message: &str,
    field: &FieldDescriptorProto,
    names: &mut Names,
) -> String {
    let target = match field.r#type() {
        Type::Message => order.message_index[field.type_name()],
        Type::Enum => order.enum_index[field.type_name()],
        _ => 0,
    };
    let is_message = field.r#type() == Type::Message;
    let map = is_message && is_entry(&schema.messages[field.type_name()]);
    let cardinality = match (field.label(), map) {
        (_, true) => "Map",
        (Label::Repeated, false) => "Repeated",
        _ if is_message || field.oneof_index.is_some() || schema.is_proto2(message) => "Optional",
        _ => "Implicit",
    };
    let real_oneof = field.oneof_index.filter(|_| !field.proto3_optional());
    format!(
        "Field {{ name: {}, number: {}, target: {target}, kind: Kind::{:?}, cardinality: Cardinality::{cardinality}, oneof: {}, deprecated: {} }}",
        names.add(field.name()),
        field.number(),
        field.r#type(),
        real_oneof.map_or(0, |index| index + 1),
        field.options.as_ref().is_some_and(|options| options.deprecated()),
    )
}
