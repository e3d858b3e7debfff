//! Metadata of clusters and endpoints: JSON that takes little memory, since every one of ten thousand services has some.
//!
//! `serde_json` keeps an object in a tree whose smallest node has room for eleven members: 640 bytes, where most objects
//! here have one. These are lists, searched from their beginning.

use serde_json::Number;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metadata {
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    List(Box<[Self]>),
    Object(Object),
}

/// Members by name, in the order of their names.
pub type Object = Box<[(Box<str>, Metadata)]>;

impl Metadata {
    /// A member of an object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members.iter().find(|(name, _)| **name == *key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// An item of a list.
    pub fn item(&self, index: usize) -> Option<&Self> {
        match self {
            Self::List(items) => items.get(index),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }
}

pub(crate) fn object(members: serde_json::Map<String, serde_json::Value>) -> Object {
    members
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

impl From<serde_json::Value> for Metadata {
    fn from(value: serde_json::Value) -> Self {
        use serde_json::Value as V;
        match value {
            V::Null => Self::Null,
            V::Bool(value) => Self::Bool(value),
            V::Number(value) => Self::Number(value),
            V::String(text) => Self::Text(text.into()),
            V::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            V::Object(members) => Self::Object(object(members)),
        }
    }
}

/// For what shows it or computes with it.
impl From<&Metadata> for serde_json::Value {
    fn from(metadata: &Metadata) -> Self {
        match metadata {
            Metadata::Null => Self::Null,
            Metadata::Bool(value) => Self::Bool(*value),
            Metadata::Number(value) => Self::Number(value.clone()),
            Metadata::Text(text) => Self::String(text.to_string()),
            Metadata::List(items) => items.iter().map(Self::from).collect(),
            Metadata::Object(members) => members
                .iter()
                .map(|(name, value)| (name.to_string(), Self::from(value)))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn nothing_is_lost() {
        let value = json!({"istio": {"services": [{"host": "a"}], "n": 1.5, "yes": true, "nil": null}, "b": {}});
        let metadata = Metadata::from(value.clone());
        assert_eq!(Value::from(&metadata), value);
        let istio = metadata.get("istio").unwrap();
        let host = istio
            .get("services")
            .and_then(|services| services.item(0))
            .and_then(|first| first.get("host"));
        assert_eq!(host.and_then(Metadata::as_str), Some("a"));
        assert_eq!(istio.get("yes").and_then(Metadata::as_bool), Some(true));
        assert_eq!(metadata.get("c"), None);
    }

    #[test]
    fn it_is_small() {
        assert!(size_of::<Metadata>() <= 24);
    }
}
