//! What a message holds that nobody will act on: fields that the schema does not have, and deprecated ones.

use crate::json::{MAX_DEPTH, Path};
use crate::tables::{self, Cardinality, Form, Kind, Message};
use crate::wire::{Fields, Value};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Field path from the root message. An unknown field is known by its number alone.
    pub path: String,
    pub kind: FindingKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// Sent by a control plane with a newer API, or not a message of this type at all.
    Unknown,
    Deprecated,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.kind {
            FindingKind::Unknown => write!(f, "{}: unknown field", self.path),
            FindingKind::Deprecated => write!(f, "{}: deprecated", self.path),
        }
    }
}

/// Walks a message and every `Any` in it whose type is known. `type_name` is a full name or a type URL; of an unknown one nothing is found.
/// Each path is reported once for each time that it occurs on the wire; malformed bytes end the walk of their message.
pub fn findings(type_name: &str, bytes: &[u8]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(message) = tables::message(type_name) {
        walk(message, bytes, &Path::ROOT, 0, &mut findings);
    }
    findings
}

fn walk(message: &'static Message, bytes: &[u8], path: &Path, depth: usize, findings: &mut Vec<Finding>) {
    if depth > MAX_DEPTH {
        return;
    }
    let mut indices = std::collections::BTreeMap::new();
    for (number, value) in Fields(bytes).map_while(Result::ok) {
        let Some(field) = message.field(number) else {
            let number = number.to_string();
            findings.push(Finding {
                path: path.field(&number).to_string(),
                kind: FindingKind::Unknown,
            });
            continue;
        };
        let named = path.field(field.name());
        if field.deprecated {
            findings.push(Finding {
                path: named.to_string(),
                kind: FindingKind::Deprecated,
            });
        }
        let (Kind::Message, Value::Bytes(bytes)) = (field.kind, value) else {
            continue;
        };
        match field.cardinality {
            Cardinality::Repeated => {
                let index = indices.entry(number).or_insert(0);
                walk_into(field.message(), &bytes, &named.index(*index), depth, findings);
                *index += 1;
            }
            Cardinality::Map => {
                let key = Fields(&bytes).flatten().find_map(|(number, value)| match value {
                    Value::Bytes(key) if number == 1 => Some(String::from_utf8_lossy(&key).into_owned()),
                    Value::Varint(key) if number == 1 => Some(key.to_string()),
                    _ => None,
                });
                let value = Fields(&bytes).flatten().find_map(|(number, value)| match value {
                    Value::Bytes(value) if number == 2 => Some(value),
                    _ => None,
                });
                let value_field = field.message().field(2).filter(|field| field.kind == Kind::Message);
                if let (Some(value), Some(value_field)) = (value, value_field) {
                    walk_into(
                        value_field.message(),
                        &value,
                        &named.key(&key.unwrap_or_default()),
                        depth,
                        findings,
                    );
                }
            }
            _ => walk_into(field.message(), &bytes, &named, depth, findings),
        }
    }
}

fn walk_into(message: &'static Message, bytes: &[u8], path: &Path, depth: usize, findings: &mut Vec<Finding>) {
    if message.form != Form::Any {
        return walk(message, bytes, path, depth + 1, findings);
    }
    let (mut inner, mut content) = (None, None);
    for (number, value) in Fields(bytes).flatten() {
        match (number, value) {
            (1, Value::Bytes(type_url)) => inner = tables::message(&String::from_utf8_lossy(&type_url)),
            (2, Value::Bytes(value)) => content = Some(value),
            _ => {}
        }
    }
    if let (Some(inner), Some(content)) = (inner, content) {
        walk(inner, &content, path, depth + 1, findings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{ReadOptions, to_wire};
    use serde_json::json;

    #[test]
    fn finds_unknown_and_deprecated_fields_by_path() {
        let json = json!({
            "name": "l",
            "filter_chains": [{}, {"filters": [{
                "name": "stats",
                "typed_config": {"@type": "type.googleapis.com/stats.PluginConfig", "debug": true},
            }]}],
        });
        let (mut bytes, _) = to_wire("envoy.config.listener.v3.Listener", &json, ReadOptions::default()).unwrap();
        // Field 9999 as a varint.
        crate::wire::put_field(&mut bytes, 9999, &Value::Varint(1));
        let found: Vec<String> = findings("envoy.config.listener.v3.Listener", &bytes)
            .iter()
            .map(Finding::to_string)
            .collect();
        assert_eq!(
            found,
            [
                "filter_chains[1].filters[0].typed_config.debug: deprecated",
                "9999: unknown field"
            ]
        );
    }

    #[test]
    fn finds_nothing_in_plain_configs_and_survives_garbage() {
        let (bytes, _) = to_wire(
            "envoy.config.cluster.v3.Cluster",
            &json!({"name": "c"}),
            ReadOptions::default(),
        )
        .unwrap();
        assert_eq!(findings("envoy.config.cluster.v3.Cluster", &bytes), []);
        findings("envoy.config.cluster.v3.Cluster", &[0xff; 40]);
        assert_eq!(findings("no.such.Message", &bytes), []);
    }
}
