//! prost-reflect, and what "the same" means.

use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;
use std::sync::OnceLock;

pub(crate) fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    let set = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));
    POOL.get_or_init(|| DescriptorPool::decode(set.as_slice()).expect("the build's own descriptors"))
}

pub(crate) fn message(name: &str) -> MessageDescriptor {
    pool()
        .get_message_by_name(name)
        .unwrap_or_else(|| panic!("no message {name}"))
}

pub(crate) fn decode(name: &str, bytes: &[u8]) -> DynamicMessage {
    DynamicMessage::decode(message(name), bytes).expect("our bytes decode")
}

pub(crate) fn from_json(name: &str, json: &Value) -> Result<DynamicMessage, String> {
    DynamicMessage::deserialize_with_options(message(name), json, &DeserializeOptions::new())
        .map_err(|error| error.to_string())
}

pub(crate) fn to_json(message: &DynamicMessage) -> Result<Value, String> {
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(true);
    message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map(plain_empty)
        .map_err(|error| error.to_string())
}

/// prost-reflect writes an Any of `google.protobuf.Empty` with a `value`, as Go does; C++, and so Envoy, treats Empty as the
/// ordinary message without fields that it is.
fn plain_empty(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(plain_empty).collect(),
        Value::Object(mut members) => {
            if members.get("@type").and_then(Value::as_str) == Some("type.googleapis.com/google.protobuf.Empty") {
                members.remove("value");
            }
            members
                .into_iter()
                .map(|(key, value)| (key, plain_empty(value)))
                .collect()
        }
        other => other,
    }
}

/// Numbers compare as floats: 5 and 5.0 are one number in JSON, and a float may be printed with the digits of a double.
pub(crate) fn normal(value: Value) -> Value {
    match value {
        Value::Number(number) => (number.as_f64().unwrap_or(f64::NAN) as f32).into(),
        Value::Array(items) => items.into_iter().map(normal).collect(),
        Value::Object(members) => members.into_iter().map(|(key, value)| (key, normal(value))).collect(),
        other => other,
    }
}

pub(crate) fn encode(message: &DynamicMessage) -> Vec<u8> {
    message.encode_to_vec()
}
