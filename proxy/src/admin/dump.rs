//! `/config_dump`: what was received, printed again as it came, keys redacted.
//!
//! `sections` says what there is to print without printing it; the whole is then written piece by piece, so that ten
//! thousand clusters do not hold up the control thread. `mask` and `redact` cut from what is printed.

mod endpoints;
mod mask;
mod redact;
mod sections;

use std::rc::Rc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    Admin,
    info::pretty,
    respond::{Answer, Parameters},
};
use sections::{Filter, Section};

/// `?resource=`, `?mask=`, `?name_regex=`, `?include_eds`, with Envoy's answers to what cannot be.
pub(super) fn config_dump(admin: &Rc<Admin>, parameters: &Parameters<'_>) -> Answer {
    let refuse = |status, why| Answer::plain(status, why);
    let filter = match parameters
        .decoded("name_regex")
        .as_deref()
        .map(regex::bytes::Regex::new)
    {
        None => Filter::default(),
        Some(Ok(regex)) => Filter(Some(Rc::new(regex))),
        Some(Err(e)) => {
            let why = format!("INVALID_ARGUMENT: Error while parsing name_regex: {e}");
            return refuse(StatusCode::BAD_REQUEST, why);
        }
    };
    let mask = parameters.decoded("mask");
    let sections = sections::all(admin, &filter, parameters.has("include_eds"));
    match (parameters.decoded("resource"), mask) {
        (None, None) => Answer::json_pieces(Pieces::new(sections)),
        (Some(resource), mask) => match elements(sections, &resource, mask.as_deref()) {
            Ok(configs) => Answer::json(pretty(&json!({"configs": configs}))),
            Err((status, why)) => refuse(status, why),
        },
        (None, Some(mask)) => {
            let configs: Vec<Value> = sections
                .into_iter()
                .filter_map(|section| mask::trim(&whole(section), &mask))
                .collect();
            if configs.is_empty() {
                let why = format!("FieldMask {mask} could not be successfully applied to any configs.");
                return refuse(StatusCode::BAD_REQUEST, why);
            }
            Answer::json(pretty(&json!({"configs": configs})))
        }
    }
}

/// The elements of one repeated field, each masked.
fn elements(sections: Vec<Section>, resource: &str, mask: Option<&str>) -> Result<Vec<Value>, (StatusCode, String)> {
    let scalar = |section: &Section| section.scalars.iter().any(|(name, _)| *name == resource);
    if resource == sections::VERSION_INFO || sections.iter().any(scalar) {
        let why = format!("{resource} is not a repeated field. Use ?mask={resource} to get only this field");
        return Err((StatusCode::BAD_REQUEST, why));
    }
    let mut known = false;
    let mut configs = Vec::new();
    for section in sections {
        for list in section.lists.into_iter().filter(|list| list.field == resource) {
            known = true;
            for value in list.items.into_iter().flat_map(|item| item()) {
                let mut typed = Map::new();
                typed.insert("@type".to_owned(), json!(sections::type_url(list.element)));
                if let Value::Object(fields) = value {
                    typed.extend(fields);
                }
                let value = Value::Object(typed);
                configs.push(match mask {
                    Some(mask) => mask::trim(&value, mask).unwrap_or(json!({"@type": value["@type"]})),
                    None => value,
                });
            }
        }
    }
    if known {
        Ok(configs)
    } else {
        Err((StatusCode::NOT_FOUND, format!("{resource} not found in config dump")))
    }
}

/// A section in one value.
fn whole(section: Section) -> Value {
    let mut all = Map::new();
    all.insert("@type".to_owned(), json!(sections::type_url(section.type_name)));
    for (name, value) in section.scalars {
        all.insert(name.to_owned(), value);
    }
    for list in section.lists {
        let items: Vec<Value> = list.items.into_iter().flat_map(|item| item()).collect();
        if !items.is_empty() {
            all.insert(list.field.to_owned(), Value::Array(items));
        }
    }
    Value::Object(all)
}

/// The dump in pieces of one resource each.
struct Pieces {
    /// Reversed: the next is the last.
    rest: Vec<Piece>,
    /// The list that is open, and whether it has an element yet.
    list: Option<&'static str>,
    has_element: bool,
}

enum Piece {
    Text(String),
    Item(&'static str, sections::Item),
    EndOfLists,
}

/// Indentation of what stands in a section, and in its lists.
const IN_SECTION: &str = "   ";
const IN_LIST: &str = "    ";

impl Pieces {
    fn new(sections: Vec<Section>) -> Self {
        let mut pieces = vec![Piece::Text("{\n \"configs\": [".to_owned())];
        for (i, section) in sections.into_iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let type_url = sections::type_url(section.type_name);
            pieces.push(Piece::Text(format!(
                "{comma}\n  {{\n{IN_SECTION}\"@type\": \"{type_url}\""
            )));
            for (name, value) in section.scalars {
                let value = indented(&value, IN_SECTION);
                pieces.push(Piece::Text(format!(",\n{IN_SECTION}\"{name}\": {value}")));
            }
            for list in section.lists {
                pieces.extend(list.items.into_iter().map(|item| Piece::Item(list.field, item)));
            }
            pieces.push(Piece::EndOfLists);
            pieces.push(Piece::Text("\n  }".to_owned()));
        }
        pieces.push(Piece::Text("\n ]\n}\n".to_owned()));
        pieces.reverse();
        Self {
            rest: pieces,
            list: None,
            has_element: false,
        }
    }

    fn close_list(&mut self, out: &mut String) {
        if self.list.take().is_some() && std::mem::take(&mut self.has_element) {
            out.push_str(&format!("\n{IN_SECTION}]"));
        }
    }
}

impl Iterator for Pieces {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut out = String::new();
        match self.rest.pop()? {
            Piece::Text(text) => out = text,
            Piece::EndOfLists => self.close_list(&mut out),
            Piece::Item(field, item) => {
                if self.list != Some(field) {
                    self.close_list(&mut out);
                    self.list = Some(field);
                }
                for value in item() {
                    match std::mem::replace(&mut self.has_element, true) {
                        false => out.push_str(&format!(",\n{IN_SECTION}\"{field}\": [\n{IN_LIST}")),
                        true => out.push_str(&format!(",\n{IN_LIST}")),
                    }
                    out.push_str(&indented(&value, IN_LIST));
                }
            }
        }
        Some(out)
    }
}

fn indented(value: &Value, by: &str) -> String {
    pretty(value).trim_end().replace('\n', &format!("\n{by}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section() -> Section {
        Section {
            type_name: "ClustersConfigDump",
            scalars: vec![("version_info", json!("v1"))],
            lists: vec![
                sections::List {
                    field: "static_clusters",
                    element: "ClustersConfigDump.StaticCluster",
                    items: vec![Box::new(Vec::new)],
                },
                sections::List {
                    field: "dynamic_active_clusters",
                    element: "ClustersConfigDump.DynamicCluster",
                    items: vec![
                        Box::new(|| vec![json!({"version_info": "1", "cluster": {"name": "a\n\"b"}})]),
                        Box::new(|| vec![json!({"version_info": "2"}), json!({"version_info": "3"})]),
                    ],
                },
            ],
        }
    }

    #[test]
    fn pieces_are_the_whole() {
        let text: String = Pieces::new(vec![section(), section()]).collect();
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, json!({"configs": [whole(section()), whole(section())]}));
        // The same lines, whatever the order of members.
        let lines = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(|line| line.trim_end_matches(',').to_owned()).collect();
            lines.sort_unstable();
            lines
        };
        assert_eq!(lines(&text), lines(&pretty(&read)));
    }

    #[test]
    fn elements_of_one_field() {
        let found = elements(vec![section()], "dynamic_active_clusters", Some("cluster.name")).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found[0]["cluster"], json!({"name": "a\n\"b"}));
        assert!(found[0].get("version_info").is_none());
        let refused = |resource| elements(vec![section()], resource, None).unwrap_err().0;
        assert_eq!(refused("version_info"), StatusCode::BAD_REQUEST);
        assert_eq!(refused("nope"), StatusCode::NOT_FOUND);
    }
}
