//! The part of CEL that Telemetry's tag overrides use: literals, attribute paths, comparisons, logic, `has`, `string`
//! and the conditional. An expression that fails, as one on an absent attribute does, has no value.
//!
//! Source of the attributes: Envoy's docs, "Attributes".

mod attribute;
mod parse;

use std::cmp::Ordering;

use serde_json::Value;

use crate::format::Facts;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    Literal(Value),
    List(Vec<Self>),
    /// A name alone: the root of attributes.
    Name(Box<str>),
    /// `a.b` and `a['b']`.
    Member(Box<Self>, Box<Self>),
    Call(Function, Vec<Self>),
    Not(Box<Self>),
    Binary(Operator, Box<Self>, Box<Self>),
    Conditional(Box<[Self; 3]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Has,
    Text,
    Int,
    Size,
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
}

impl Expression {
    /// # Errors
    /// What is not understood, in one sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse::expression(text)
    }

    /// The value as a label shows it.
    pub fn text(&self, facts: &Facts<'_>) -> Option<String> {
        Some(match self.value(facts)? {
            Value::String(text) => text,
            Value::Null => return None,
            other => other.to_string(),
        })
    }

    fn value(&self, facts: &Facts<'_>) -> Option<Value> {
        match self {
            Self::Literal(value) => Some(value.clone()),
            Self::List(all) => all
                .iter()
                .map(|one| one.value(facts))
                .collect::<Option<Vec<_>>>()
                .map(Value::Array),
            Self::Name(_) => attribute::value(&self.path(facts)?, facts),
            Self::Member(of, key) => match self.path(facts) {
                Some(path) => attribute::value(&path, facts),
                None => member(&of.value(facts)?, &key.value(facts)?),
            },
            Self::Call(function, arguments) => function.call(arguments, facts),
            Self::Not(inner) => Some(Value::Bool(!inner.value(facts)?.as_bool()?)),
            Self::Binary(operator, left, right) => operator.apply(left, right, facts),
            Self::Conditional(parts) => {
                let [condition, yes, no] = &**parts;
                let taken = if condition.value(facts)?.as_bool()? { yes } else { no };
                taken.value(facts)
            }
        }
    }

    /// The keys from a name down, where it is nothing but that.
    fn path(&self, facts: &Facts<'_>) -> Option<Vec<String>> {
        match self {
            Self::Name(name) => Some(vec![name.to_string()]),
            Self::Member(of, key) => {
                let mut path = of.path(facts)?;
                path.push(match key.value(facts)? {
                    Value::String(key) => key,
                    other => other.to_string(),
                });
                Some(path)
            }
            _ => None,
        }
    }
}

fn member(of: &Value, key: &Value) -> Option<Value> {
    match (of, key) {
        (Value::Object(fields), Value::String(key)) => fields.get(key).cloned(),
        (Value::Array(items), key) => items.get(usize::try_from(key.as_u64()?).ok()?).cloned(),
        _ => None,
    }
}

impl Function {
    fn call(self, arguments: &[Expression], facts: &Facts<'_>) -> Option<Value> {
        let text = |at: usize| match arguments.get(at)?.value(facts)? {
            Value::String(text) => Some(text),
            _ => None,
        };
        Some(match self {
            Self::Has => Value::Bool(arguments.first()?.value(facts).is_some()),
            Self::Text => Value::String(arguments.first()?.text(facts)?),
            Self::Int => match arguments.first()?.value(facts)? {
                Value::String(text) => text.parse::<i64>().ok()?.into(),
                number => number.as_f64().map(|n| n as i64)?.into(),
            },
            Self::Size => match arguments.first()?.value(facts)? {
                Value::String(text) => text.chars().count().into(),
                Value::Array(items) => items.len().into(),
                Value::Object(fields) => fields.len().into(),
                _ => return None,
            },
            Self::StartsWith => text(0)?.starts_with(&text(1)?).into(),
            Self::EndsWith => text(0)?.ends_with(&text(1)?).into(),
            Self::Contains => text(0)?.contains(&text(1)?).into(),
        })
    }
}

impl Operator {
    fn apply(self, left: &Expression, right: &Expression, facts: &Facts<'_>) -> Option<Value> {
        let (left, right) = (left.value(facts), right.value(facts));
        if matches!(self, Self::Or | Self::And) {
            // A side that fails does not matter where the other decides.
            let decides = self == Self::Or;
            let sides = [left.and_then(|v| v.as_bool()), right.and_then(|v| v.as_bool())];
            if sides.contains(&Some(decides)) {
                return Some(Value::Bool(decides));
            }
            return sides.iter().all(Option::is_some).then_some(Value::Bool(!decides));
        }
        let (left, right) = (left?, right?);
        Some(match self {
            Self::Equal => equal(&left, &right).into(),
            Self::NotEqual => (!equal(&left, &right)).into(),
            Self::Less => (order(&left, &right)? == Ordering::Less).into(),
            Self::LessOrEqual => (order(&left, &right)? != Ordering::Greater).into(),
            Self::Greater => (order(&left, &right)? == Ordering::Greater).into(),
            Self::GreaterOrEqual => (order(&left, &right)? != Ordering::Less).into(),
            Self::In => match &right {
                Value::Array(items) => items.iter().any(|item| equal(item, &left)).into(),
                Value::Object(fields) => fields.contains_key(left.as_str()?).into(),
                _ => return None,
            },
            Self::Add => match (left, right) {
                (Value::String(left), Value::String(right)) => Value::String(left + &right),
                (left, right) => left.as_i64()?.checked_add(right.as_i64()?)?.into(),
            },
            Self::Or | Self::And => return None,
        })
    }
}

fn equal(left: &Value, right: &Value) -> bool {
    left == right || left.as_f64().is_some_and(|left| right.as_f64() == Some(left))
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

#[cfg(test)]
mod tests;
