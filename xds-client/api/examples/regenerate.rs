//! Remakes `schema/envoy.binpb`, Envoy's API as one descriptor set, and `schema/rules.txt`, its constraints, from the crate `envoy-types`, which vendors
//! Envoy's protos and their compiled descriptors. Run `cargo run -p xds-api --example regenerate` after raising
//! `ENVOY_TYPES`. The crate is only fetched, never compiled: whatever it generates from the same descriptors we make ourselves.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage, Value};
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldOptions, FileDescriptorProto, FileDescriptorSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release whose descriptors describe Envoy 1.40's API.
const ENVOY_TYPES: &str = "0.7.7";

/// Where `envoy-types` keeps its compiled descriptors.
const DESCRIPTORS: &str = "src/generated/types.bin";

/// Files that only define options of other files. Stripping the options leaves nothing that refers to them.
const ANNOTATIONS: [&str; 6] = [
    "envoy/annotations/",
    "udpa/annotations/",
    "xds/annotations/",
    "validate/",
    "google/api/",
    "google/protobuf/descriptor.proto",
];

/// `google/api/` also holds CEL's syntax tree, which RBAC conditions are written in.
const NOT_ANNOTATIONS: &str = "google/api/expr/";

fn main() -> Result<(), Box<dyn Error>> {
    let package = fetch_envoy_types()?;
    let descriptors = std::fs::read(package.join(DESCRIPTORS))?;
    write_rules(&descriptors)?;
    let mut set = FileDescriptorSet::decode(descriptors.as_slice())?;
    set.file.retain(|file| !is_annotation(file.name()));
    set.file.iter_mut().for_each(strip_file);
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/envoy.binpb");
    let bytes = set.encode_to_vec();
    std::fs::write(&target, &bytes)?;
    println!("{}: {} files, {} bytes", target.display(), set.file.len(), bytes.len());
    Ok(())
}

/// Lets cargo download and unpack `envoy-types` for a throwaway package, and says where it put it.
fn fetch_envoy_types() -> Result<PathBuf, Box<dyn Error>> {
    let scratch = std::env::temp_dir().join(format!("regenerate-schema-{}", std::process::id()));
    std::fs::create_dir_all(scratch.join("src"))?;
    std::fs::write(scratch.join("src/lib.rs"), "")?;
    let manifest = scratch.join("Cargo.toml");
    std::fs::write(
        &manifest,
        format!("[package]\nname = \"scratch\"\n[dependencies]\nenvoy-types = \"={ENVOY_TYPES}\"\n[workspace]\n"),
    )?;
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(&manifest)
        .output()?;
    std::fs::remove_dir_all(&scratch)?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let found = metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "envoy-types");
    let manifest_path = found.and_then(|package| package["manifest_path"].as_str());
    let directory = manifest_path.and_then(|path| Path::new(path).parent());
    Ok(directory.ok_or("cargo metadata names no envoy-types")?.to_path_buf())
}

fn is_annotation(file: &str) -> bool {
    !file.starts_with(NOT_ANNOTATIONS) && ANNOTATIONS.iter().any(|prefix| file.starts_with(prefix))
}

/// Writes `schema/rules.txt`: the constraints that Envoy checks every message against (protoc-gen-validate's), one field or oneof a line.
fn write_rules(descriptors: &[u8]) -> Result<(), Box<dyn Error>> {
    let pool = DescriptorPool::decode(descriptors)?;
    let extension = |name: &str| {
        pool.get_extension_by_name(name)
            .ok_or_else(|| format!("no extension is named {name}"))
    };
    let (rules, required, disabled) = (
        extension("validate.rules")?,
        extension("validate.required")?,
        extension("validate.disabled")?,
    );
    let mut lines = Vec::new();
    for message in pool
        .all_messages()
        .filter(|message| !message.options().has_extension(&disabled))
    {
        for oneof in message
            .oneofs()
            .filter(|oneof| oneof.options().has_extension(&required))
        {
            lines.push(format!("{}.{} required_oneof", message.full_name(), oneof.name()));
        }
        for field in message.fields().filter(|field| field.options().has_extension(&rules)) {
            let mut words = Vec::new();
            if let Value::Message(of) = field.options().get_extension(&rules).as_ref() {
                flatten("", of, &mut words);
            }
            lines.push(format!("{}.{} {}", message.full_name(), field.name(), words.join(" ")));
        }
    }
    lines.sort();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/rules.txt");
    std::fs::write(&target, lines.join("\n") + "\n")?;
    println!("{}: {} lines", target.display(), lines.len());
    Ok(())
}

/// `string: {min_len: 1}` is the word `min_len=1`; under `items`, `keys` and `values` it is `items.min_len=1`.
fn flatten(prefix: &str, rules: &DynamicMessage, words: &mut Vec<String>) {
    for (field, value) in rules.fields() {
        let name = format!("{prefix}{}", field.name());
        match value {
            Value::Message(of) if field.containing_oneof().is_some() => flatten(prefix, of, words),
            Value::Message(of) if of.descriptor().full_name() == "google.protobuf.Duration" => {
                words.push(format!("{name}={}", seconds(of)));
            }
            Value::Message(of) => flatten(&format!("{name}."), of, words),
            Value::List(values) => words.extend(values.iter().map(|value| format!("{name}={}", shown(value)))),
            value => words.push(format!("{name}={}", shown(value))),
        }
    }
}

fn seconds(duration: &DynamicMessage) -> f64 {
    let part = |name| {
        duration
            .get_field_by_name(name)
            .and_then(|part| part.as_i64().or_else(|| part.as_i32().map(i64::from)))
    };
    part("seconds").unwrap_or_default() as f64 + part("nanos").unwrap_or_default() as f64 / 1e9
}

/// Text in quotes, so that a pattern's spaces do not end it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Bytes(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
        Value::Bool(bool) => bool.to_string(),
        Value::EnumNumber(number) | Value::I32(number) => number.to_string(),
        Value::I64(number) => number.to_string(),
        Value::U32(number) => number.to_string(),
        Value::U64(number) => number.to_string(),
        Value::F32(number) => number.to_string(),
        Value::F64(number) => number.to_string(),
        other => panic!("no rule is written so: {other:?}"),
    }
}

/// Keeps what types and JSON need: names, numbers, types, oneofs, `allow_alias`, `map_entry`, `deprecated`. Comments are
/// four fifths of the original; gRPC services are called by path and need no description.
fn strip_file(file: &mut FileDescriptorProto) {
    file.source_code_info = None;
    file.options = None;
    file.service.clear();
    file.extension.clear();
    file.public_dependency.clear();
    file.weak_dependency.clear();
    file.dependency.retain(|dependency| !is_annotation(dependency));
    file.message_type.iter_mut().for_each(strip_message);
    file.enum_type.iter_mut().for_each(strip_enum);
}

fn strip_message(message: &mut DescriptorProto) {
    // Re-encoding drops the options that prost-types does not know, which is every annotation.
    message.extension.clear();
    message.reserved_range.clear();
    message.reserved_name.clear();
    if message
        .options
        .as_ref()
        .is_some_and(|options| !options.map_entry() && !options.deprecated())
    {
        message.options = None;
    }
    for field in &mut message.field {
        assert_ne!(field.r#type(), Type::Group, "proto2 groups are not supported");
        field.json_name = None;
        let deprecated = field.options.as_ref().and_then(|options| options.deprecated);
        let packed = field.options.as_ref().and_then(|options| options.packed);
        field.options = (deprecated.is_some() || packed.is_some()).then(|| FieldOptions {
            deprecated,
            packed,
            ..FieldOptions::default()
        });
    }
    message.oneof_decl.iter_mut().for_each(|oneof| oneof.options = None);
    message.nested_type.iter_mut().for_each(strip_message);
    message.enum_type.iter_mut().for_each(strip_enum);
}

fn strip_enum(r#enum: &mut EnumDescriptorProto) {
    r#enum.reserved_range.clear();
    r#enum.reserved_name.clear();
    if r#enum.options.as_ref().is_some_and(|options| !options.allow_alias()) {
        r#enum.options = None;
    }
    for value in &mut r#enum.value {
        if value.options.as_ref().is_some_and(|options| !options.deprecated()) {
            value.options = None;
        }
    }
}
