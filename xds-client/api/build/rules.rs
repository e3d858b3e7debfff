//! `schema/rules.txt` as rows of a table: one row per constraint, in the order of the fields that they constrain.

use prost_types::DescriptorProto;
use std::collections::HashMap;
use std::fmt::Write;

/// Patterns need a regex engine, for two fields that a proxy reads; whoever reads those checks them.
const UNSUPPORTED: [&str; 1] = ["pattern"];

pub(crate) struct Rules<'a> {
    /// By `message.field` or `message.oneof`, without a leading dot.
    lines: HashMap<&'a str, &'a str>,
    rows: String,
    count: usize,
}

impl<'a> Rules<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once(' ')).collect();
        Self {
            lines,
            rows: String::new(),
            count: 0,
        }
    }

    /// Adds the rows of one field, and of its oneof where it is the first member. `name_text` turns a text into its table form.
    pub(crate) fn add(
        &mut self,
        (message_name, message): (&str, &DescriptorProto),
        field: &str,
        row: usize,
        mut text: impl FnMut(&str) -> String,
    ) -> Result<(), String> {
        let message_name = message_name.trim_start_matches('.');
        let oneof = message
            .field
            .iter()
            .find(|other| other.name() == field)
            .and_then(|field| field.oneof_index);
        if let Some(index) = oneof {
            let name = message.oneof_decl[index as usize].name();
            let first = message
                .field
                .iter()
                .filter(|other| other.oneof_index == Some(index))
                .min_by_key(|other| other.number());
            let required = self
                .lines
                .get(format!("{message_name}.{name}").as_str())
                .is_some_and(|rule| *rule == "required_oneof");
            if required && first.is_some_and(|first| first.name() == field) {
                self.push(row, "Value", "RequiredOneof", &text(name), "0.0");
            }
        }
        let Some(words) = self.lines.get(format!("{message_name}.{field}").as_str()) else {
            return Ok(());
        };
        let words = words_of(words);
        let strict = !words.iter().any(|word| word.ends_with("strict=false"));
        for word in words {
            let (name, operand) = word
                .split_once('=')
                .ok_or_else(|| format!("{message_name}.{field}: {word}"))?;
            let (part, name) = match name.split_once('.') {
                Some(("items", name)) => ("Items", name),
                Some(("keys", name)) => ("Keys", name),
                Some(("values", name)) => ("Values", name),
                Some(("message", name)) => ("Value", name),
                _ => ("Value", name),
            };
            if name == "strict" || UNSUPPORTED.contains(&name) || operand == "false" {
                continue;
            }
            let op = match (name, operand) {
                ("well_known_regex", "1") if strict => "HeaderName".to_owned(),
                ("well_known_regex", "2") if strict => "HeaderValue".to_owned(),
                ("well_known_regex", _) => "Line".to_owned(),
                _ => name
                    .split('_')
                    .map(|part| part[..1].to_uppercase() + &part[1..])
                    .collect(),
            };
            let quoted = operand.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let number: f64 = operand.parse().unwrap_or_default();
            let text = text(quoted.unwrap_or_default());
            self.push(row, part, &op, &text, &format!("{number:?}"));
        }
        Ok(())
    }

    fn push(&mut self, field: usize, part: &str, op: &str, text: &str, number: &str) {
        let row =
            format!("Rule {{ field: {field}, part: Part::{part}, op: Op::{op}, text: {text}, number: {number} }},");
        writeln!(self.rows, "{row}").expect("writing to a String does not fail");
        self.count += 1;
    }

    pub(crate) fn table(&self) -> String {
        format!("static RULES: [Rule; {}] = [\n{}];\n", self.count, self.rows)
    }
}

/// Words end at spaces that are not in quotes.
fn words_of(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in line.chars() {
        let word = words.len() - 1;
        match c {
            ' ' if !quoted => words.push(String::new()),
            c => words[word].push(c),
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
    }
    words
}
