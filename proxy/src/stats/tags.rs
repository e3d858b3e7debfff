//! Tags: the parts of a name that Prometheus output shows as labels.
//!
//! Envoy's rules (`stats_tags` and its defaults) each look for one part of a full name. What they find is cut out of the
//! name and becomes a tag. Rules look at the whole name, not at what earlier ones left; the first rule of a tag wins.

mod pattern;
mod rules;

use std::collections::HashMap;
use std::ops::Range;

use regex_automata::meta;
use smallvec::SmallVec;

use super::config::{StatsTag, TagValue};
use rules::{DEFAULTS, Find};

/// Names carry one to three tags.
const INLINE_TAGS: usize = 4;

/// The rules of a bootstrap.
pub(super) struct TagProducer {
    /// Put on every stat, before all others.
    fixed: Vec<(String, String)>,
    /// Rules for names of any kind; they go before those that demand a first token.
    anywhere: Vec<Rule>,
    /// Rules by the first token of the names that they fit.
    by_first: HashMap<String, Vec<Rule>>,
}

struct Rule {
    /// The tag's name as a label.
    label: String,
    find: Find,
}

/// What of a name is cut out, and what of it is the tag's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) range: Range<usize>,
    pub(super) value: Range<usize>,
}

/// A name taken apart.
pub(super) struct Tagged<'a> {
    name: &'a str,
    cuts: SmallVec<[Range<usize>; INLINE_TAGS]>,
    /// Label and value, in the rules' order.
    pub(super) tags: SmallVec<[(&'a str, &'a str); INLINE_TAGS]>,
}

impl TagProducer {
    /// Also returns a sentence for each tag that had to be skipped.
    pub(super) fn new(stats_tags: Vec<StatsTag>, use_all_default_tags: bool) -> (Self, Vec<String>) {
        let mut producer = Self {
            fixed: Vec::new(),
            anywhere: Vec::new(),
            by_first: HashMap::new(),
        };
        let mut warnings = Vec::new();
        if use_all_default_tags {
            DEFAULTS.iter().for_each(|default| producer.add_default(default));
        }
        for StatsTag { tag_name, value } in stats_tags {
            match value {
                TagValue::Fixed(value) => producer.fixed.push((label(&tag_name), value)),
                TagValue::Regex(regex) => match pattern::compile(&regex) {
                    Ok(find) => producer.add(pattern::first_token(&regex), label(&tag_name), Find::Regex(find)),
                    Err(reason) => warnings.push(format!(
                        "stats_config.stats_tags: tag {tag_name:?} is not extracted: its regex {regex:?} {reason}"
                    )),
                },
                TagValue::Default => {
                    let known = DEFAULTS.iter().filter(|default| default.tag == tag_name);
                    let before = producer.len();
                    known.for_each(|default| producer.add_default(default));
                    if producer.len() == before {
                        warnings.push(format!(
                            "stats_config.stats_tags: tag {tag_name:?} has neither a regex nor a fixed value, and there \
                             is no default tag of this name; it is not extracted"
                        ));
                    }
                }
            }
        }
        (producer, warnings)
    }

    fn len(&self) -> usize {
        self.anywhere.len() + self.by_first.values().map(Vec::len).sum::<usize>()
    }

    fn add_default(&mut self, default: &rules::Default) {
        self.add(default.first_token(), label(default.tag), default.find.clone());
    }

    fn add(&mut self, first: Option<&str>, label: String, find: Find) {
        let rule = Rule { label, find };
        match first {
            Some(first) => self.by_first.entry(first.to_owned()).or_default().push(rule),
            None => self.anywhere.push(rule),
        }
    }

    pub(super) fn extract<'a>(&'a self, name: &'a str) -> Tagged<'a> {
        let mut tagged = Tagged {
            name,
            cuts: SmallVec::new(),
            tags: SmallVec::new(),
        };
        tagged
            .tags
            .extend(self.fixed.iter().map(|(label, value)| (&**label, &**value)));
        let dots = rules::dots(name);
        let first = dots.first().map_or(name, |&dot| &name[..dot]);
        let is_tls = rules::is_tls(name);
        let by_first = self.by_first.get(first).into_iter().flatten();
        for rule in self.anywhere.iter().chain(by_first) {
            if tagged.tags.iter().any(|(label, _)| *label == rule.label) {
                continue;
            }
            let found = match &rule.find {
                Find::Path(path) => rules::on_path(path, name, &dots),
                Find::By(find) => find(name),
                Find::Tls(find) => is_tls.then(|| find(name)).flatten(),
                Find::Regex(regex) => by_regex(regex, name),
            };
            let Some((cut, value)) = found.and_then(|cut| Some((cut.range, name.get(cut.value)?))) else {
                continue;
            };
            tagged.cuts.push(cut);
            tagged.tags.push((&rule.label, value));
        }
        tagged.cuts.sort_by_key(|cut| cut.start);
        tagged
    }
}

impl Tagged<'_> {
    /// Appends the name without what became tags. Cuts may overlap.
    pub(super) fn push_rest(&self, rest: &mut String) {
        let mut at = 0;
        for cut in &self.cuts {
            rest.push_str(self.name.get(at..cut.start.max(at)).unwrap_or_default());
            at = at.max(cut.end);
        }
        rest.push_str(self.name.get(at..).unwrap_or_default());
    }

    /// The name without what became tags.
    pub(super) fn rest(&self) -> String {
        let mut rest = String::with_capacity(self.name.len());
        self.push_rest(&mut rest);
        rest
    }
}

/// Group 1 is cut; group 2 is the value, or group 1 where there is no other.
fn by_regex(regex: &meta::Regex, name: &str) -> Option<Cut> {
    let mut captures = regex.create_captures();
    regex.captures(name, &mut captures);
    let range = captures.get_group(1)?.range();
    let value = captures
        .get_group(2)
        .map_or_else(|| range.clone(), |value| value.range());
    Some(Cut { range, value })
}

/// What Prometheus does not allow in a label's name becomes `_`.
pub(super) fn label(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests;
