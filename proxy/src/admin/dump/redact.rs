//! Key material is blanked out wherever it stands.

use serde_json::Value;

/// Base64 of `[redacted]`, which is what Envoy prints for bytes.
const REDACTED_BYTES: &str = "W3JlZGFjdGVkXQ==";
const REDACTED: &str = "[redacted]";
/// Fields that Envoy marks as sensitive.
const SENSITIVE: [&str; 4] = ["private_key", "password", "session_ticket_keys", "pkcs12"];

/// Blanks out key material wherever it stands: private keys never leave the process.
pub(super) fn redact(value: &mut Value) {
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
    use serde_json::json;

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
