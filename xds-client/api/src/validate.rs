//! The constraints that Envoy's API puts on its messages: required fields, ranges, lengths, closed enums. Envoy checks them before anything
//! else and refuses a bootstrap or a resource that breaks one; so can whoever parses the same messages.

mod value;

use crate::json::{MAX_DEPTH, Path, Present, merged, present, zero};
use crate::tables::{self, Cardinality, Field, Form, Kind, Message, Op, Part, Rule};
use crate::wire::{Fields, Value};
use std::fmt;
use value::{check_value, shown};

/// A broken constraint: where, and which, with the value as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Field path from the root message; that of the parent when a oneof is missing.
    pub path: String,
    pub problem: String,
}

impl std::error::Error for Violation {}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.path, self.problem)
        }
    }
}

/// Checks a message, and every `Any` in it whose type is known. `type_name` is a full name or a type URL; an unknown one has no constraints.
/// A config in a `TypedStruct` is to be checked once it is unpacked.
///
/// # Errors
/// The first constraint that is broken, in the order of field numbers.
pub fn check(type_name: &str, bytes: &[u8]) -> Result<(), Violation> {
    tables::message(type_name).map_or(Ok(()), |message| check_message(message, bytes, &Path::ROOT, 0))
}

fn broken<T>(path: &Path, problem: impl Into<String>) -> Result<T, Violation> {
    Err(Violation {
        path: path.to_string(),
        problem: problem.into(),
    })
}

fn check_message(message: &'static Message, bytes: &[u8], path: &Path, depth: usize) -> Result<(), Violation> {
    if depth > MAX_DEPTH {
        return broken(path, format!("nested deeper than {MAX_DEPTH} messages"));
    }
    match message.form {
        Form::Object => {}
        Form::Any => return check_any(bytes, path, depth),
        _ => return Ok(()),
    }
    let present = present(message, bytes);
    for (position, field) in message.fields().iter().enumerate() {
        let rules = message.rules(position);
        let values = present.get(&field.number).map_or(&[][..], |(_, values)| values);
        if let Some(rule) = rules.iter().find(|rule| rule.op == Op::RequiredOneof) {
            check_oneof(message, &present, field, rule, path)?;
        }
        check_field(field, rules, values, &path.field(field.name()), depth)?;
    }
    Ok(())
}

/// One of the members must be there; `first` stands for all of them.
fn check_oneof(message: &Message, present: &Present, first: &Field, rule: &Rule, path: &Path) -> Result<(), Violation> {
    if present.values().any(|(field, _)| field.oneof == first.oneof) {
        return Ok(());
    }
    let members = message
        .fields()
        .iter()
        .filter(|field| field.oneof == first.oneof)
        .map(Field::name);
    let members = members.collect::<Vec<_>>().join(", ");
    broken(path, format!("one of {members} must be set ({})", rule.text()))
}

fn check_any(bytes: &[u8], path: &Path, depth: usize) -> Result<(), Violation> {
    let (mut message, mut content) = (None, None);
    for (number, value) in Fields(bytes).flatten() {
        match (number, value) {
            (1, Value::Bytes(type_url)) => message = tables::message(&String::from_utf8_lossy(&type_url)),
            (2, Value::Bytes(value)) => content = Some(value),
            _ => {}
        }
    }
    message.map_or(Ok(()), |message| {
        check_message(message, content.as_deref().unwrap_or_default(), path, depth + 1)
    })
}

fn check_field(
    field: &'static Field,
    rules: &[Rule],
    values: &[Value],
    path: &Path,
    depth: usize,
) -> Result<(), Violation> {
    // A member of a oneof is required only in that, if it is chosen, it has a value.
    if values.is_empty() && field.oneof == 0 && rules.iter().any(|rule| rule.op == Op::Required) {
        return broken(path, "must be set");
    }
    let skipped = rules.iter().any(|rule| rule.op == Op::Skip);
    match field.cardinality {
        Cardinality::Map => {
            check_count(rules, values, path)?;
            let [key, value] = field.message().fields() else {
                return Ok(());
            };
            for entry in values {
                let Value::Bytes(bytes) = entry else { continue };
                let parts = present(field.message(), bytes);
                let part = |field: &Field| parts.get(&field.number).map_or(&[][..], |(_, values)| values);
                let key_value = part(key).last().unwrap_or_else(|| zero(key.kind));
                let shown = shown(key, key_value);
                let path = path.key(shown.trim_matches('"'));
                check_value(key, rules, Part::Keys, key_value, &path)?;
                match part(value).last() {
                    Some(last) if value.kind == Kind::Message => check_submessage(value, last, &path, depth)?,
                    last => check_value(
                        value,
                        rules,
                        Part::Values,
                        last.unwrap_or_else(|| zero(value.kind)),
                        &path,
                    )?,
                }
            }
            Ok(())
        }
        Cardinality::Repeated => {
            check_count(rules, values, path)?;
            for (index, value) in values.iter().enumerate() {
                let path = &path.index(index);
                check_value(field, rules, Part::Items, value, path)?;
                if field.kind == Kind::Message && !skipped {
                    check_submessage(field, value, path, depth)?;
                }
            }
            Ok(())
        }
        Cardinality::Implicit => check_value(
            field,
            rules,
            Part::Value,
            values.last().unwrap_or_else(|| zero(field.kind)),
            path,
        ),
        Cardinality::Optional if values.is_empty() => Ok(()),
        Cardinality::Optional => {
            let Some(value) = values.last() else { return Ok(()) };
            if field.kind != Kind::Message {
                return check_value(field, rules, Part::Value, value, path);
            }
            let whole = Value::Bytes(merged(values));
            check_value(field, rules, Part::Value, &whole, path)?;
            if skipped {
                Ok(())
            } else {
                check_submessage(field, &whole, path, depth)
            }
        }
    }
}

fn check_submessage(field: &Field, value: &Value, path: &Path, depth: usize) -> Result<(), Violation> {
    let Value::Bytes(bytes) = value else { return Ok(()) };
    check_message(field.message(), bytes, path, depth + 1)
}

fn check_count(rules: &[Rule], values: &[Value], path: &Path) -> Result<(), Violation> {
    if values.is_empty()
        && rules
            .iter()
            .any(|rule| rule.op == Op::IgnoreEmpty && rule.part == Part::Value)
    {
        return Ok(());
    }
    for rule in rules.iter().filter(|rule| rule.part == Part::Value) {
        let (count, limit) = (values.len(), rule.number as usize);
        match rule.op {
            Op::MinItems | Op::MinPairs if count < limit => {
                return broken(path, format!("must have at least {limit}, has {count}"));
            }
            Op::MaxItems if count > limit => return broken(path, format!("may have at most {limit}, has {count}")),
            Op::Unique if (1..count).any(|index| values[..index].contains(&values[index])) => {
                return broken(path, "must not hold the same value twice");
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{ReadOptions, to_wire};
    use serde_json::json;

    fn violation(type_name: &str, json: serde_json::Value) -> String {
        let (bytes, _) = to_wire(type_name, &json, ReadOptions::default()).unwrap();
        check(type_name, &bytes).map_or_else(|violation| violation.to_string(), |()| "none".into())
    }

    #[test]
    fn violations_name_the_field_path_the_rule_and_the_value() {
        let cluster = "envoy.config.cluster.v3.Cluster";
        assert_eq!(
            violation(cluster, json!({})),
            "name: must be at least 1 characters long, is \"\""
        );
        assert_eq!(violation(cluster, json!({"name": "c"})), "none");
        assert_eq!(
            violation(cluster, json!({"name": "c", "lb_policy": 77})),
            "lb_policy: is no defined value: 77"
        );
        assert_eq!(violation(cluster, json!({"name": "c", "lb_policy": 7})), "none");
        assert_eq!(
            violation(cluster, json!({"name": "c", "connect_timeout": "0s"})),
            "connect_timeout: must be greater than 0, is 0s"
        );
        assert_eq!(
            violation(
                cluster,
                json!({"name": "c", "outlier_detection": {"max_ejection_percent": 101}})
            ),
            "outlier_detection.max_ejection_percent: may be at most 100, is 101",
        );
        assert_eq!(
            violation(
                cluster,
                json!({"name": "c", "health_checks": [{"timeout": "1s", "interval": "1s", "healthy_threshold": 1}]})
            ),
            "health_checks[0].unhealthy_threshold: must be set",
        );
        let typed_config =
            json!({"@type": "a/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "t"});
        assert_eq!(
            violation(
                "envoy.config.listener.v3.FilterChain",
                json!({"filters": [{"name": "f", "typed_config": typed_config}]})
            ),
            "filters[0].typed_config: one of cluster, weighted_clusters must be set (cluster_specifier)",
        );
        assert_eq!(
            violation("envoy.config.route.v3.VirtualHost", json!({"name": "v"})),
            "domains: must have at least 1, has 0",
        );
        assert_eq!(
            violation(
                "envoy.config.route.v3.VirtualHost",
                json!({"name": "v", "domains": ["*"], "request_headers_to_remove": ["a", "a\nb"]})
            ),
            "request_headers_to_remove[1]: holds a line end or a NUL: \"a\\nb\"",
        );
    }

    #[test]
    fn garbage_and_unknown_types_have_no_violations_of_their_own() {
        assert_eq!(check("no.Such", b"x"), Ok(()));
        assert!(check("envoy.config.cluster.v3.Cluster", &[0xff; 20]).is_err());
    }
}
