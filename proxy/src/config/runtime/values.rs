//! What a layer holds: texts by dotted key, and what Envoy takes them for.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use crate::config::{at::At, rejection::Rejection};

/// Flat: `a.b.c` is one key.
pub type Values = BTreeMap<Arc<str>, RuntimeValue>;

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeValue {
    /// As `/runtime` shows it.
    pub text: Box<str>,
    /// A number, a boolean, a fraction (an object with `numerator` and perhaps `denominator`) or a string.
    pub value: Value,
}

impl RuntimeValue {
    /// A value that comes as text: of a file, of `/runtime_modify`, or a string in a layer.
    pub fn of_text(text: &str) -> Self {
        let value = match text.trim() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            trimmed => number(trimmed)
                .or_else(|| fraction(trimmed))
                .unwrap_or_else(|| Value::from(text)),
        };
        Self {
            text: text.into(),
            value,
        }
    }

    /// A scalar or a fraction of a layer that is a `Struct`.
    fn of_json(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::of_text(text),
            other => Self {
                text: other.to_string().into(),
                value: other.clone(),
            },
        }
    }
}

fn number(text: &str) -> Option<Value> {
    let whole = text.parse::<u64>().ok().map(Value::from);
    let real = || text.parse::<f64>().ok().filter(|n| n.is_finite()).map(Value::from);
    whole.or_else(real)
}

/// `numerator: 3` and `denominator: TEN_THOUSAND`, as lines or as JSON.
fn fraction(text: &str) -> Option<Value> {
    if !text.contains("numerator") {
        return None;
    }
    let value = serde_json::from_str(text)
        .ok()
        .or_else(|| serde_saphyr::from_str(text).ok());
    value.filter(|value: &Value| value.get("numerator").is_some_and(Value::is_u64))
}

/// Nested objects are nested keys, but a fraction is a value.
///
/// # Errors
/// Lists and nulls are no values.
pub(crate) fn flat(values: &Map<String, Value>, at: &At) -> Result<Values, Rejection> {
    fn walk(prefix: &str, values: &Map<String, Value>, out: &mut Values, at: &At) -> Result<(), Rejection> {
        for (key, value) in values {
            let key = if prefix.is_empty() {
                key.clone()
            } else {
                format!("{prefix}.{key}")
            };
            match value {
                Value::Array(_) | Value::Null => {
                    return Err(at.reject(format_args!("the value of {key:?} is a list or null")));
                }
                Value::Object(inner)
                    if !inner.is_empty() && !inner.contains_key("numerator") && !inner.contains_key("denominator") =>
                {
                    walk(&key, inner, out, at)?;
                }
                value => _ = out.insert(key.into(), RuntimeValue::of_json(value)),
            }
        }
        Ok(())
    }
    let mut out = Values::new();
    walk("", values, &mut out, at)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_what_envoy_takes_them_for() {
        for (text, value) in [
            ("5", json!(5)),
            ("1.5", json!(1.5)),
            ("-4", json!(-4.0)),
            ("true", json!(true)),
            ("yes", json!("yes")),
            (" hello", json!(" hello")),
            ("", json!("")),
            ("{\"numerator\": 3}", json!({"numerator": 3})),
            (
                "numerator: 3\ndenominator: TEN_THOUSAND",
                json!({"numerator": 3, "denominator": "TEN_THOUSAND"}),
            ),
        ] {
            let parsed = RuntimeValue::of_text(text);
            assert_eq!((&*parsed.text, parsed.value), (text, value));
        }
    }
}
