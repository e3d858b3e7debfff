//! `google.protobuf.Any`: type URLs, and configs that come as JSON inside of it.

use crate::json::{self, ReadOptions, Unknown, Warning};
use crate::pb::Any;
use crate::tables;
use crate::wire::{Fields, Malformed, Value};
use std::borrow::Cow;

pub(crate) const TYPED_STRUCT: &str = "type.googleapis.com/xds.type.v3.TypedStruct";

/// Messages that carry another message as a Struct, for senders that do not have its type. Envoy unwraps them wherever an extension's
/// config may stand.
const TYPED_STRUCTS: [&str; 2] = ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"];

/// The full name in a type URL: what follows its last slash.
pub fn type_name(type_url: &str) -> &str {
    type_url.rsplit('/').next().unwrap_or_default()
}

/// Whether the schema has the message: a full name or a type URL.
pub fn is_known(type_name: &str) -> bool {
    tables::message(type_name).is_some()
}

/// A message as its bytes, with `TypedStruct` taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked<'a> {
    /// Full name, without a type URL's prefix. Dispatch on this; never on an extension's name.
    pub type_name: Cow<'a, str>,
    /// Protobuf bytes of that message. Empty when the name came in a `TypedStruct` and the schema does not have it.
    pub value: Cow<'a, [u8]>,
    /// Fields in a `TypedStruct` that the message does not have. Envoy ignores them in dynamic config.
    pub warnings: Vec<Warning>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    #[error("a {0} is malformed protobuf")]
    Malformed(String),
    #[error("a TypedStruct of {type_name} does not fit it: {source}")]
    Json { type_name: String, source: json::Error },
}

/// What an `Any` holds: its own message, or the one that it carries as a `udpa.type.v1.TypedStruct` or `xds.type.v3.TypedStruct`,
/// converted to protobuf bytes.
///
/// # Errors
/// A `TypedStruct` that is malformed, or whose JSON does not fit the message that it names. A plain `Any` is handed on unread.
pub fn unpack(any: &Any) -> Result<Unpacked<'_>, UnpackError> {
    let outer = type_name(&any.type_url);
    if !TYPED_STRUCTS.contains(&outer) {
        return Ok(Unpacked {
            type_name: outer.into(),
            value: Cow::Borrowed(&any.value),
            warnings: Vec::new(),
        });
    }
    let (type_url, fields) = typed_struct(&any.value).map_err(|Malformed| UnpackError::Malformed(outer.to_owned()))?;
    let type_name = type_name(&type_url).to_owned();
    if !is_known(&type_name) {
        return Ok(Unpacked {
            type_name: type_name.into(),
            value: Cow::Borrowed(&[]),
            warnings: Vec::new(),
        });
    }
    let failed = |source| UnpackError::Json {
        type_name: type_name.clone(),
        source,
    };
    let fields = json::from_wire("google.protobuf.Struct", &fields, json::WriteOptions::default()).map_err(failed)?;
    let options = ReadOptions {
        fields: Unknown::Warn,
        types: Unknown::Warn,
    };
    let (value, warnings) = json::to_wire(&type_name, &fields, options).map_err(failed)?;
    Ok(Unpacked {
        type_name: type_name.into(),
        value: value.into(),
        warnings,
    })
}

/// The type URL and the bytes of the Struct.
fn typed_struct(bytes: &[u8]) -> Result<(String, Vec<u8>), Malformed> {
    let (mut type_url, mut fields) = (String::new(), Vec::new());
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(bytes)) => type_url = String::from_utf8_lossy(&bytes).into_owned(),
            // A message that comes in parts is their concatenation.
            (2, Value::Bytes(bytes)) => fields.extend_from_slice(&bytes),
            _ => {}
        }
    }
    Ok((type_url, fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_wire;
    use serde_json::json;

    fn wrapped(wrapper: &str, value: serde_json::Value) -> Any {
        let json = json!({"type_url": "type.googleapis.com/stats.PluginConfig", "value": value});
        let (value, _) = to_wire(wrapper, &json, ReadOptions::default()).unwrap();
        Any {
            type_url: format!("type.googleapis.com/{wrapper}"),
            value: value.into(),
        }
    }

    #[test]
    fn a_plain_any_is_handed_on() {
        let any = Any {
            type_url: "type.googleapis.com/foo.Bar".into(),
            value: vec![1, 2].into(),
        };
        let unpacked = unpack(&any).unwrap();
        assert_eq!((&*unpacked.type_name, &*unpacked.value), ("foo.Bar", &[1, 2][..]));
    }

    #[test]
    fn both_typed_structs_become_the_message_that_they_name() {
        let json = json!({"tcp_reporting_duration": "5s", "metrics": [{"name": "m", "drop": true}], "reporter": "SERVER_GATEWAY"});
        let (expected, _) = to_wire("stats.PluginConfig", &json, ReadOptions::default()).unwrap();
        for wrapper in TYPED_STRUCTS {
            let any = wrapped(wrapper, json.clone());
            let unpacked = unpack(&any).unwrap();
            assert_eq!(
                (&*unpacked.type_name, &*unpacked.value),
                ("stats.PluginConfig", &*expected),
                "{wrapper}"
            );
        }
    }

    #[test]
    fn unknown_fields_of_a_typed_struct_are_reported_and_wrong_ones_refused() {
        let any = wrapped(TYPED_STRUCTS[0], json!({"metrics": [{"nom": "m"}]}));
        let warnings = unpack(&any).unwrap().warnings;
        assert_eq!(
            warnings,
            [Warning::UnknownField {
                path: "metrics[0].nom".into()
            }]
        );

        let any = wrapped(TYPED_STRUCTS[1], json!({"metrics": [{"drop": 3}]}));
        let error = unpack(&any).unwrap_err().to_string();
        assert_eq!(
            error,
            "a TypedStruct of stats.PluginConfig does not fit it: metrics[0].drop: expected true or false, got 3"
        );
    }

    #[test]
    fn an_unknown_type_in_a_typed_struct_keeps_its_name() {
        let any = json!({"name": "f", "typed_config": {"@type": "type.googleapis.com/foo.Bar", "a": [1]}});
        let options = ReadOptions {
            types: Unknown::Warn,
            ..ReadOptions::default()
        };
        let (bytes, warnings) = to_wire("envoy.config.core.v3.TypedExtensionConfig", &any, options).unwrap();
        let type_url = "type.googleapis.com/foo.Bar".to_owned();
        assert_eq!(
            warnings,
            [Warning::UnknownType {
                path: "typed_config".into(),
                type_url
            }]
        );
        let config = crate::decode_typed_extension_config(&bytes)
            .unwrap()
            .typed_config
            .unwrap();
        assert_eq!(unpack(&config).unwrap().type_name, "foo.Bar");
    }

    #[test]
    fn a_cut_off_typed_struct_is_an_error() {
        let mut any = wrapped(TYPED_STRUCTS[0], json!({"reporter": 1}));
        any.value.truncate(any.value.len() - 1);
        assert_eq!(unpack(&any), Err(UnpackError::Malformed(TYPED_STRUCTS[0].into())));
    }
}
