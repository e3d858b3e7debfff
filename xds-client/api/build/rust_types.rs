//! Rust types for the messages that `schema/types.txt` names and all that these refer to.

use crate::schema::Schema;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use std::collections::BTreeSet;
use std::error::Error;

/// Types of this package come from prost-types (`Any` from this crate); none is generated and none is worth a box.
const WELL_KNOWN: &str = ".google.protobuf.";

pub(crate) fn generate(schema: &Schema) -> Result<(), Box<dyn Error>> {
    let wanted = reachable(schema, &std::fs::read_to_string("schema/types.txt")?)?;
    let mut set = FileDescriptorSet {
        file: schema.files.clone(),
    };
    // prost-build looks well-known types up to know what derives Copy, and generates none.
    for file in set.file.iter_mut().filter(|file| file.package() != "google.protobuf") {
        prune(file, &wanted);
    }
    set.file
        .retain(|file| !file.message_type.is_empty() || !file.enum_type.is_empty());

    let mut config = prost_build::Config::new();
    config
        // Iteration order of maps reaches config_dump, hashes and logs.
        .btree_map(["."])
        .enable_type_names()
        .extern_path(".google.protobuf.Any", "crate::pb::Any")
        .include_file("includes.rs");
    for field in boxed_fields(schema, &wanted) {
        config.boxed(field);
    }
    config.compile_fds(set)?;
    Ok(())
}

/// The full names of all messages and enums that the roots reach.
fn reachable(schema: &Schema, roots: &str) -> Result<BTreeSet<String>, String> {
    let mut wanted = BTreeSet::new();
    for root in roots
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let name = format!(".{root}");
        let mut matching = schema
            .messages
            .keys()
            .filter(|key| **key == name || name.ends_with('.') && key.starts_with(&name))
            .peekable();
        if matching.peek().is_none() {
            return Err(format!("schema/types.txt: nothing in the schema is named {root}"));
        }
        matching.for_each(|message| visit(schema, message, &mut wanted));
    }
    Ok(wanted)
}

fn visit(schema: &Schema, name: &str, wanted: &mut BTreeSet<String>) {
    if name.starts_with(WELL_KNOWN) || !wanted.insert(name.to_owned()) {
        return;
    }
    for field in schema.messages.get(name).into_iter().flat_map(|message| &message.field) {
        if matches!(field.r#type(), Type::Message | Type::Enum) {
            visit(schema, field.type_name(), wanted);
        }
    }
}

fn prune(file: &mut FileDescriptorProto, wanted: &BTreeSet<String>) {
    let package = format!(".{}", file.package());
    prune_enums(&package, &mut file.enum_type, wanted);
    file.message_type
        .retain_mut(|message| prune_message(&package, message, wanted));
}

/// Whether to keep the message: for itself, or as the scope of something nested in it.
fn prune_message(scope: &str, message: &mut DescriptorProto, wanted: &BTreeSet<String>) -> bool {
    let name = format!("{scope}.{}", message.name());
    message
        .nested_type
        .retain_mut(|nested| prune_message(&name, nested, wanted));
    prune_enums(&name, &mut message.enum_type, wanted);
    // A deprecated field is still part of what control planes send; rustc's warning at each use would only be noise.
    for field in &mut message.field {
        field.options = None;
    }
    if wanted.contains(&name) {
        return true;
    }
    message.field.clear();
    message.oneof_decl.clear();
    !message.nested_type.is_empty() || !message.enum_type.is_empty()
}

fn prune_enums(scope: &str, enums: &mut Vec<EnumDescriptorProto>, wanted: &BTreeSet<String>) {
    enums.retain(|r#enum| wanted.contains(&format!("{scope}.{}", r#enum.name())));
    for value in enums.iter_mut().flat_map(|r#enum| &mut r#enum.value) {
        value.options = None;
    }
}

/// prost inlines sub-messages, present or not: a `Cluster` would be 3.3 KB. Boxing makes it 0.8 KB and 10,000 of them 26 MB instead of 77.
/// A field whose message is `Copy` stays inline, since prost-build derives `Copy` for its parent without looking at boxes.
fn boxed_fields(schema: &Schema, wanted: &BTreeSet<String>) -> Vec<String> {
    let mut boxed = Vec::new();
    for (name, message) in schema.messages.iter().filter(|(name, _)| wanted.contains(*name)) {
        for field in &message.field {
            let singular_message = field.r#type() == Type::Message && field.label() != Label::Repeated;
            if !singular_message || field.type_name().starts_with(WELL_KNOWN) || schema.is_copy(field.type_name()) {
                continue;
            }
            let oneof = field.oneof_index.map(|index| message.oneof_decl[index as usize].name());
            boxed.push(match oneof {
                Some(oneof) => format!("{name}.{oneof}.{}", field.name()),
                None => format!("{name}.{}", field.name()),
            });
        }
    }
    boxed
}
