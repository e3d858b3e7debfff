//! Tags that the config adds to spans.

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;

use super::span::{Tags, ValueType};
use crate::{
    format::{Facts, Format},
    metadata::Metadata,
};

/// `envoy.type.tracing.v3.CustomTag`, parsed.
#[derive(Debug)]
pub struct CustomTag {
    pub name: Arc<str>,
    pub value_type: ValueType,
    pub source: Source,
}

#[derive(Debug)]
pub enum Source {
    /// Environment variables too: they do not change.
    Literal(Box<str>),
    /// What the format prints, or else the default.
    RequestHeader {
        format: Format,
        default: Box<str>,
    },
    Metadata {
        of: Holder,
        filter: Box<str>,
        /// The way to the value in the filter's object.
        path: Box<[Step]>,
        default: Box<str>,
    },
    Format(Format),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(Box<str>),
    Index(usize),
}

/// Whose metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    Request,
    Route,
    Cluster,
    Host,
}

/// A route's tags go before the connection manager's of the same name. Empty values are left out.
pub fn apply(tags: &mut Tags, of_route: &[CustomTag], of_manager: &[CustomTag], facts: &Facts<'_>) {
    let hidden = |tag: &&CustomTag| !of_route.iter().any(|own| own.name == tag.name);
    for tag in of_route.iter().chain(of_manager.iter().filter(hidden)) {
        if let Some(value) = tag.value(facts) {
            tags.put(Cow::Owned(String::from(&*tag.name)), value, tag.value_type);
        }
    }
}

impl CustomTag {
    fn value(&self, facts: &Facts<'_>) -> Option<String> {
        let value = match &self.source {
            Source::Literal(text) => text.to_string(),
            Source::RequestHeader { format, default } => {
                let found = printed_by(format, facts);
                if found.is_empty() { default.to_string() } else { found }
            }
            Source::Metadata {
                of,
                filter,
                path,
                default,
            } => {
                let found = of.find(filter, path, facts).and_then(|value| printed(&value));
                found.unwrap_or_else(|| default.to_string())
            }
            Source::Format(format) => printed_by(format, facts),
        };
        Some(value).filter(|value| !value.is_empty())
    }
}

fn printed_by(format: &Format, facts: &Facts<'_>) -> String {
    let mut text = String::new();
    format.write(&mut text, facts);
    text
}

impl Holder {
    fn find<'a>(self, filter: &str, path: &[Step], facts: &'a Facts<'_>) -> Option<Cow<'a, Value>> {
        let info = facts.info;
        let own = match self {
            Self::Request => info.dynamic_metadata.as_deref()?.get(filter)?,
            Self::Route => info.route.as_ref()?.metadata.as_ref()?.get(filter)?,
            Self::Cluster => return within(info.upstream.cluster.as_ref()?.metadata.as_ref()?, filter, path),
            Self::Host => return within(info.upstream.endpoint.as_ref()?.config.metadata.as_ref()?, filter, path),
        };
        let found = path.iter().try_fold(own, |value, step| match step {
            Step::Key(key) => value.get(&**key),
            Step::Index(index) => value.get(*index),
        })?;
        Some(Cow::Borrowed(found))
    }
}

fn within(metadata: &Metadata, filter: &str, path: &[Step]) -> Option<Cow<'static, Value>> {
    let found = path.iter().try_fold(metadata.get(filter)?, |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.item(*index),
    })?;
    Some(Cow::Owned(found.into()))
}

/// `None`: there is nothing to print.
fn printed(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(bool) => Some(bool.to_string()),
        Value::Number(number) => Some(six_digits(number.as_f64()?)),
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => Some(value.to_string()),
    }
}

/// As C++ prints a double: six significant digits, an exponent where the number is long.
fn six_digits(number: f64) -> String {
    const DIGITS: i32 = 6;
    if number == 0.0 {
        return "0".into();
    }
    // Rounded first: 999999.5 has seven digits.
    let scientific = format!("{number:.*e}", (DIGITS - 1) as usize);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-4..DIGITS).contains(&exponent) {
        return trimmed(&format!("{number:.*}", (DIGITS - 1 - exponent) as usize));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(digits), exponent.abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_printed_as_envoy_prints_them() {
        for (value, expected) in [
            (json!(true), "true"),
            (json!(3.5), "3.5"),
            (json!(7), "7"),
            (json!(1_234_567), "1.23457e+06"),
            (json!(123_456), "123456"),
            (json!(0.00001), "1e-05"),
            (json!(-0.25), "-0.25"),
            (json!("text"), "text"),
            (json!([1, "x"]), r#"[1,"x"]"#),
            (json!({"b": "bb"}), r#"{"b":"bb"}"#),
        ] {
            assert_eq!(printed(&value).as_deref(), Some(expected));
        }
        assert_eq!(printed(&Value::Null), None);
    }
}
