//! RFC 7386: a patch that looks like the object; null deletes, lists are replaced.

use serde_json::{Map, Value};

use super::{DEPTH_MAX, PatchError, too_deep, type_name};

/// Applies a merge patch.
///
/// # Errors
/// The patch is not a JSON object, or nests too deeply.
pub(super) fn apply(object: Value, patch: Value) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else {
        let found = type_name(&patch);
        return Err(PatchError::Malformed(format!(
            "error decoding patch: expected a map, but received a {found}"
        )));
    };
    merge(object, patch, 0).map(Value::Object)
}

fn merge(
    target: Value,
    patch: Map<String, Value>,
    depth: usize,
) -> Result<Map<String, Value>, PatchError> {
    if depth >= DEPTH_MAX {
        return Err(too_deep());
    }
    let mut target = match target {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    for (key, change) in patch {
        match change {
            Value::Null => {
                target.remove(&key);
            }
            Value::Object(change) => {
                let current = target.remove(&key).unwrap_or_default();
                target.insert(key, Value::Object(merge(current, change, depth + 1)?));
            }
            plain @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                target.insert(key, plain);
            }
        }
    }
    Ok(target)
}
