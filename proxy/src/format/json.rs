//! JSON log lines: a tree whose leaves are formats.

use serde_json::{Map, Value};

use super::{Facts, Format};

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
    List(Vec<Self>),
}

impl JsonFormat {
    /// # Errors
    /// The mistake of the first leaf that cannot be compiled, with its key.
    pub fn parse(object: &Map<String, Value>) -> Result<Self, String> {
        let mut members = Vec::with_capacity(object.len());
        for (key, value) in object {
            members.push((key.as_str().into(), node(value).map_err(|e| format!("{key}: {e}"))?));
        }
        // Envoy writes members in the order of their names.
        members.sort_by(|(a, _): &(Box<str>, Node), (b, _)| a.cmp(b));
        Ok(Self {
            members,
            omit_empty: false,
        })
    }

    /// The same, leaving out members that are absent.
    pub fn omitting_empty(mut self) -> Self {
        self.omit_empty = true;
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
            if !(self.omit_empty && value.is_null()) {
                object.insert(key.to_string(), value);
            }
        }
        object
    }
}

fn node(value: &Value) -> Result<Node, String> {
    Ok(match value {
        Value::String(text) => Node::Leaf(Format::parse(text)?),
        Value::Object(object) => Node::Object(JsonFormat::parse(object)?),
        Value::Array(list) => Node::List(list.iter().map(node).collect::<Result<_, _>>()?),
        constant => Node::Constant(constant.clone()),
    })
}

impl Node {
    fn value(&self, facts: &Facts<'_>) -> Value {
        match self {
            Self::Leaf(format) => match format.only_operator() {
                Some(operator) => operator.value(facts),
                None => {
                    let mut text = String::new();
                    format.write(&mut text, facts);
                    Value::String(text)
                }
            },
            Self::Constant(value) => value.clone(),
            Self::Object(object) => Value::Object(object.object(facts)),
            Self::List(nodes) => nodes.iter().map(|n| n.value(facts)).collect(),
        }
    }
}
