//! Resources written as JSON, for tests.

use serde_json::Value;
use xds_api::json::{ReadOptions, Unknown, to_wire};

use super::{Context, Note, Rejection};

/// What a parser makes of the resource, and what it noted.
pub(crate) fn parsed<T>(
    type_name: &str,
    json: &Value,
    parse: impl FnOnce(&[u8], &mut Context) -> Result<T, Rejection>,
) -> (Result<T, String>, Vec<Note>) {
    let options = ReadOptions {
        fields: Unknown::Reject,
        types: Unknown::Warn,
    };
    let (bytes, _) = to_wire(type_name, json, options).unwrap();
    let mut context = Context::for_tests();
    let result = parse(&bytes, &mut context).map_err(|rejection| rejection.to_string());
    (result, context.notes.take())
}

/// `value` with what `patch` has over it: objects are merged, anything else is replaced, null removes.
pub(crate) fn patched(mut value: Value, patch: &Value) -> Value {
    fn apply(value: &mut Value, patch: &Value) {
        match (value, patch) {
            (Value::Object(object), Value::Object(patch)) => {
                for (key, patch) in patch {
                    if patch.is_null() {
                        object.remove(key);
                    } else {
                        apply(object.entry(key).or_insert(Value::Null), patch);
                    }
                }
            }
            (value, patch) => *value = patch.clone(),
        }
    }
    apply(&mut value, patch);
    value
}
