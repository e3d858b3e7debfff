//! Field masks: `a.b,c` keeps `a.b` and `c`. As protobuf's, a path ends at a list.

use serde_json::{Map, Value};

/// What of `value` the mask names, besides its type. `None`: nothing.
pub(super) fn trim(value: &Value, mask: &str) -> Option<Value> {
    let mut kept = Value::Object(Map::new());
    let mut any = false;
    for path in mask.split(',').filter(|path| !path.is_empty()) {
        any |= copy(value, &mut kept, path);
    }
    any.then_some(kept)
}

fn copy(from: &Value, to: &mut Value, path: &str) -> bool {
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return false;
    };
    let (field, rest) = path
        .split_once('.')
        .map_or((path, None), |(field, rest)| (field, Some(rest)));
    let Some(value) = from.get(field) else { return false };
    let copied = match rest {
        None => {
            to.insert(field.to_owned(), value.clone());
            true
        }
        Some(rest) => {
            let mut inner = to.get(field).cloned().unwrap_or_else(|| Value::Object(Map::new()));
            let copied = copy(value, &mut inner, rest);
            if copied {
                to.insert(field.to_owned(), inner);
            }
            copied
        }
    };
    if let (true, Some(type_url)) = (copied, from.get("@type")) {
        to.insert("@type".to_owned(), type_url.clone());
    }
    copied
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_end_at_lists() {
        let value = json!({"@type": "t", "a": {"b": 1, "c": 2, "d": {"e": 3}}, "l": [{"x": 1}], "z": 0});
        assert_eq!(
            trim(&value, "a.b,a.d.e,z"),
            Some(json!({"@type": "t", "a": {"b": 1, "d": {"e": 3}}, "z": 0}))
        );
        assert_eq!(trim(&value, "l"), Some(json!({"@type": "t", "l": [{"x": 1}]})));
        assert_eq!(trim(&value, "l.x"), None);
        assert_eq!(trim(&value, "nope,a.nope"), None);
    }
}
