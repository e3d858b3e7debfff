//! Reads the descriptors and answers questions about them by full name.

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use std::collections::BTreeMap;
use std::error::Error;

pub(crate) struct Schema {
    pub(crate) files: Vec<FileDescriptorProto>,
    /// By full name, with the leading dot that descriptors write.
    pub(crate) messages: BTreeMap<String, DescriptorProto>,
    pub(crate) enums: BTreeMap<String, EnumDescriptorProto>,
}

pub(crate) fn load() -> Result<Schema, Box<dyn Error>> {
    let set = FileDescriptorSet::decode(std::fs::read("schema/envoy.binpb")?.as_slice())?;
    let mut schema = Schema {
        files: set.file,
        messages: BTreeMap::new(),
        enums: BTreeMap::new(),
    };
    for file in &schema.files {
        let package = format!(".{}", file.package());
        index_enums(&package, &file.enum_type, &mut schema.enums);
        for message in &file.message_type {
            index(&package, message, &mut schema.messages, &mut schema.enums);
        }
    }
    Ok(schema)
}

fn index(
    scope: &str,
    message: &DescriptorProto,
    messages: &mut BTreeMap<String, DescriptorProto>,
    enums: &mut BTreeMap<String, EnumDescriptorProto>,
) {
    let name = format!("{scope}.{}", message.name());
    index_enums(&name, &message.enum_type, enums);
    for nested in &message.nested_type {
        index(&name, nested, messages, enums);
    }
    messages.insert(name, message.clone());
}

fn index_enums(scope: &str, from: &[EnumDescriptorProto], enums: &mut BTreeMap<String, EnumDescriptorProto>) {
    for r#enum in from {
        enums.insert(format!("{scope}.{}", r#enum.name()), r#enum.clone());
    }
}

impl Schema {
    /// Whether prost-build derives `Copy` for the message: only numbers, bools, enums and messages of the same kind.
    pub(crate) fn is_copy(&self, message: &str) -> bool {
        self.is_copy_within(message, &mut Vec::new())
    }

    fn is_copy_within<'a>(&'a self, message: &'a str, parents: &mut Vec<&'a str>) -> bool {
        if parents.contains(&message) {
            return false;
        }
        parents.push(message);
        let copy = self.messages[message]
            .field
            .iter()
            .all(|field| match (field.label(), field.r#type()) {
                (Label::Repeated, _) | (_, Type::String | Type::Bytes) => false,
                (_, Type::Message) => self.is_copy_within(field.type_name(), parents),
                _ => true,
            });
        parents.pop();
        copy
    }
}
