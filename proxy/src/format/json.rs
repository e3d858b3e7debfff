//! JSON log lines: a tree whose leaves are formats.

use serde_json::{Map, Value};

use super::{Facts, Format, Formatters};

/// A JSON tree of formats. A leaf that is one operator keeps its type: numbers stay numbers, absent becomes null.
#[derive(Debug, Default)]
pub struct JsonFormat {
    members: Vec<(Box<str>, Node)>,
    omit_empty: bool,
}

#[derive(Debug)]
enum Node {
    Leaf(Format),
    Constant(Value),
    Object(JsonFormat),
    List { nodes: Vec<Self>, omit_empty: bool },
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

impl JsonFormat {
    /// # Errors
    /// The mistake of the first leaf that cannot be compiled, with its key.
    pub fn parse(object: &Map<String, Value>, formatters: Formatters) -> Result<Self, String> {
        let mut members = Vec::with_capacity(object.len());
        for (key, value) in object {
            members.push((
                key.as_str().into(),
                node(value, formatters).map_err(|e| format!("{key}: {e}"))?,
            ));
        }
        // Envoy writes members in the order of their names.
        members.sort_by(|(a, _): &(Box<str>, Node), (b, _)| a.cmp(b));
        Ok(Self {
            members,
            omit_empty: false,
        })
    }

    /// The same, leaving out members and items that are absent, and objects that are empty without them.
    pub fn omitting_empty(mut self) -> Self {
        self.omit_empty = true;
        for (_, node) in &mut self.members {
            *node = std::mem::replace(node, Node::Constant(Value::Null)).omitting_empty();
        }
        self
    }

    /// Appends the object to `out`, without a newline.
    pub fn write(&self, out: &mut String, facts: &Facts<'_>) {
        out.push_str(&Value::Object(self.object(facts)).to_string());
    }

    fn object(&self, facts: &Facts<'_>) -> Map<String, Value> {
        let mut object = Map::new();
        for (key, node) in &self.members {
            let value = node.value(facts);
            if !(self.omit_empty && is_empty(&value)) {
                object.insert(key.to_string(), value);
            }
        }
        object
    }
}

fn node(value: &Value, formatters: Formatters) -> Result<Node, String> {
    Ok(match value {
        Value::String(text) => Node::Leaf(Format::with(formatters, text)?),
        Value::Object(object) => Node::Object(JsonFormat::parse(object, formatters)?),
        Value::Array(list) => {
            let nodes = list.iter().map(|value| node(value, formatters));
            Node::List {
                nodes: nodes.collect::<Result<_, _>>()?,
                omit_empty: false,
            }
        }
        constant => Node::Constant(constant.clone()),
    })
}

impl Node {
    fn omitting_empty(self) -> Self {
        match self {
            Self::Leaf(format) => Self::Leaf(format.omitting_empty()),
            Self::Object(object) => Self::Object(object.omitting_empty()),
            Self::List { nodes, .. } => Self::List {
                nodes: nodes.into_iter().map(Self::omitting_empty).collect(),
                omit_empty: true,
            },
            constant @ Self::Constant(_) => constant,
        }
    }

    fn value(&self, facts: &Facts<'_>) -> Value {
        match self {
            Self::Leaf(format) => match format.only_operator() {
                Some((operator, max_length)) => operator.value(facts, max_length),
                None => {
                    let mut text = String::new();
                    format.write(&mut text, facts);
                    Value::String(text)
                }
            },
            Self::Constant(value) => value.clone(),
            Self::Object(object) => Value::Object(object.object(facts)),
            Self::List { nodes, omit_empty } => {
                let values = nodes.iter().map(|n| n.value(facts));
                values.filter(|value| !(*omit_empty && is_empty(value))).collect()
            }
        }
    }
}
