//! Reads the descriptors and answers questions about them by full name.

use crate::proto_source;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

/// Envoy's API as `examples/regenerate.rs` leaves it.
const ENVOY: &str = "schema/envoy.binpb";

/// Messages that Envoy's or Istio's control planes send and that `ENVOY` lacks.
const SUPPLEMENT: &str = "schema/supplement";

#[derive(Default)]
pub(crate) struct Schema {
    pub(crate) files: Vec<FileDescriptorProto>,
    /// By full name, with the leading dot that descriptors write.
    pub(crate) messages: BTreeMap<String, DescriptorProto>,
    pub(crate) enums: BTreeMap<String, EnumDescriptorProto>,
    /// Which file defines a message or an enum.
    defined_in: BTreeMap<String, String>,
    /// Files in proto2, where every singular field is either present or absent.
    proto2: BTreeSet<String>,
}

pub(crate) fn load() -> Result<Schema, Box<dyn Error>> {
    let mut files = FileDescriptorSet::decode(std::fs::read(ENVOY)?.as_slice())?.file;
    let mut paths: Vec<_> = std::fs::read_dir(SUPPLEMENT)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parsed = proto_source::parse(&name, &std::fs::read_to_string(&path)?)?;
        for addition in parsed.additions {
            let message =
                find(&mut files, addition.name()).ok_or_else(|| format!("{name}: no message {}", addition.name()))?;
            message.field.extend(addition.field);
            message.nested_type.extend(addition.nested_type);
            message.enum_type.extend(addition.enum_type);
        }
        files.push(parsed.file);
    }
    let mut names = Schema::default();
    files.iter().for_each(|file| names.index_file(file));
    for file in &mut files {
        proto_source::resolve(file, &|name| names.lookup(name))?;
    }
    let mut schema = Schema::default();
    files.iter().for_each(|file| schema.index_file(file));
    schema.files = files;
    Ok(schema)
}

fn find<'a>(files: &'a mut [FileDescriptorProto], name: &str) -> Option<&'a mut DescriptorProto> {
    files.iter_mut().find_map(|file| {
        let local = name.strip_prefix(file.package())?.strip_prefix('.')?;
        let mut parts = local.split('.');
        let first = parts.next()?;
        let top = file.message_type.iter_mut().find(|message| message.name() == first)?;
        parts.try_fold(top, |message, part| {
            message.nested_type.iter_mut().find(|nested| nested.name() == part)
        })
    })
}

impl Schema {
    fn index_file(&mut self, file: &FileDescriptorProto) {
        if file.syntax() != "proto3" {
            self.proto2.insert(file.name().to_owned());
        }
        let package = format!(".{}", file.package());
        self.index_enums(&package, &file.enum_type, file.name());
        for message in &file.message_type {
            self.index_message(&package, message, file.name());
        }
    }

    fn index_message(&mut self, scope: &str, message: &DescriptorProto, file: &str) {
        let name = format!("{scope}.{}", message.name());
        self.index_enums(&name, &message.enum_type, file);
        for nested in &message.nested_type {
            self.index_message(&name, nested, file);
        }
        self.defined_in.insert(name.clone(), file.to_owned());
        self.messages.insert(name, message.clone());
    }

    fn index_enums(&mut self, scope: &str, enums: &[EnumDescriptorProto], file: &str) {
        for r#enum in enums {
            let name = format!("{scope}.{}", r#enum.name());
            self.defined_in.insert(name.clone(), file.to_owned());
            self.enums.insert(name, r#enum.clone());
        }
    }

    fn lookup(&self, name: &str) -> Option<(Type, String)> {
        let file = self.defined_in.get(name)?.clone();
        Some((
            if self.messages.contains_key(name) {
                Type::Message
            } else {
                Type::Enum
            },
            file,
        ))
    }

    pub(crate) fn is_proto2(&self, message: &str) -> bool {
        self.defined_in
            .get(message)
            .is_some_and(|file| self.proto2.contains(file))
    }

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
