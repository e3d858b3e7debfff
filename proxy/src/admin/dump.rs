//! `/config_dump`: what was received, printed again as it came, keys redacted.

use std::rc::Rc;

use serde_json::{Value, json};
use xds_api::json::{WriteOptions, from_wire};

use super::{
    Admin,
    info::pretty,
    respond::{Answer, Parameters},
};
use crate::bootstrap::Received;

pub(super) fn config_dump(admin: &Rc<Admin>, _: &Parameters<'_>) -> Answer {
    let section = |name: &str, body: Value| {
        let mut section = json!({"@type": format!("type.googleapis.com/envoy.admin.v3.{name}")});
        if let (Some(section), Value::Object(body)) = (section.as_object_mut(), body) {
            section.extend(body);
        }
        section
    };
    let clusters: Vec<Value> = admin
        .static_clusters
        .iter()
        .map(|r| json!({"cluster": resource("envoy.config.cluster.v3.Cluster", r)}))
        .collect();
    let listeners: Vec<Value> = admin
        .static_listeners
        .iter()
        .map(|r| json!({"listener": resource("envoy.config.listener.v3.Listener", r)}))
        .collect();
    let bootstrap = print("envoy.config.bootstrap.v3.Bootstrap", &admin.bootstrap);
    Answer::json(pretty(&json!({"configs": [
        section("BootstrapConfigDump", json!({"bootstrap": bootstrap})),
        section("ClustersConfigDump", json!({"static_clusters": clusters})),
        section("ListenersConfigDump", json!({"static_listeners": listeners})),
        section("RoutesConfigDump", json!({})),
        section("SecretsConfigDump", json!({})),
    ]})))
}

fn resource(type_name: &str, received: &Received) -> Value {
    let mut value = print(type_name, received);
    if let Some(object) = value.as_object_mut() {
        object.insert(
            "@type".to_owned(),
            Value::String(format!("type.googleapis.com/{type_name}")),
        );
    }
    value
}

fn print(type_name: &str, received: &Received) -> Value {
    let mut value = from_wire(type_name, &received.bytes, WriteOptions::ADMIN).unwrap_or(Value::Null);
    redact(&mut value);
    value
}

/// Base64 of `[redacted]`, which is what Envoy prints for bytes.
const REDACTED_BYTES: &str = "W3JlZGFjdGVkXQ==";
const REDACTED: &str = "[redacted]";
/// Fields that Envoy marks as sensitive.
const SENSITIVE: [&str; 4] = ["private_key", "password", "session_ticket_keys", "pkcs12"];

/// Blanks out key material wherever it stands: private keys never leave the process.
fn redact(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                if SENSITIVE.contains(&&**name) {
                    blank(value)
                } else {
                    redact(value)
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(redact),
        _ => {}
    }
}

/// Everything but where a secret lies.
fn blank(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match &**name {
                    "inline_bytes" => *value = Value::from(REDACTED_BYTES),
                    "inline_string" => *value = Value::from(REDACTED),
                    "filename" | "environment_variable" => {}
                    _ => blank(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(blank),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_blanked_wherever_they_stand() {
        let mut value = json!({"a": [{"tls_certificate": {
            "certificate_chain": {"inline_string": "public"},
            "private_key": {"inline_string": "secret"},
        }}], "session_ticket_keys": {"keys": [{"inline_bytes": "c2VjcmV0"}]}, "private_key": {"filename": "/k"}});
        redact(&mut value);
        let text = value.to_string();
        assert!(!text.contains("secret") && !text.contains("c2VjcmV0"), "{text}");
        assert!(text.contains("public") && text.contains("/k"), "{text}");
    }
}
