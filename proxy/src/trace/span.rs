//! A span while its request lasts.

use std::{
    borrow::Cow,
    time::{Duration, Instant, SystemTime},
};

use super::context::SpanContext;

/// Whose side of a call a span tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Server,
    Client,
}

/// One that is not sampled has its context only, and costs no more.
#[derive(Debug)]
pub struct Span {
    pub context: SpanContext,
    pub kind: Kind,
    /// The caller of the proxy told of the trace.
    pub remote_parent: bool,
    pub name: String,
    pub start_time: SystemTime,
    pub start: Instant,
    pub tags: Tags,
    /// (how long after the start, what).
    pub events: Vec<(Duration, &'static str)>,
}

/// In the order in which they were set, each name once.
#[derive(Debug, Default)]
pub struct Tags(Vec<Tag>);

#[derive(Debug)]
pub struct Tag {
    pub name: Cow<'static, str>,
    pub value: String,
    /// What OpenTelemetry is to take the text for, where it can be.
    pub value_type: ValueType,
}

/// `CustomTag.ValueType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    String,
    Int,
    Double,
    Bool,
}

impl Span {
    pub fn new(context: SpanContext, kind: Kind, remote_parent: bool, start_time: SystemTime, start: Instant) -> Self {
        Self {
            context,
            kind,
            remote_parent,
            name: String::new(),
            start_time,
            start,
            tags: Tags::default(),
            events: Vec::new(),
        }
    }

    pub fn event(&mut self, moment: Option<Instant>, what: &'static str) {
        // An earlier attempt's moments are none of this one's.
        if let Some(after) = moment.and_then(|moment| moment.checked_duration_since(self.start)) {
            self.events.push((after, what));
        }
    }
}

impl Tags {
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.put(Cow::Borrowed(name), value.into(), ValueType::String);
    }

    /// Replaces what stands under the name.
    pub fn put(&mut self, name: Cow<'static, str>, value: String, value_type: ValueType) {
        let tag = Tag {
            name,
            value,
            value_type,
        };
        match self.0.iter_mut().find(|known| known.name == tag.name) {
            Some(known) => *known = tag,
            None => self.0.push(tag),
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let tag = self.0.iter().find(|tag| tag.name == name);
        tag.map(|tag| &*tag.value)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Tag> {
        self.0.iter()
    }

    pub fn reserve(&mut self, more: usize) {
        self.0.reserve(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_is_set_again_keeps_its_place() {
        let mut tags = Tags::default();
        tags.set("a", "1");
        tags.set("b", "2");
        tags.put("a".into(), "3".into(), ValueType::Int);
        let told: Vec<_> = tags.iter().map(|t| (&*t.name, &*t.value, t.value_type)).collect();
        assert_eq!(told, [("a", "3", ValueType::Int), ("b", "2", ValueType::String)]);
    }
}
