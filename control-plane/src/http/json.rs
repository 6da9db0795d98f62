//! Reading and writing places in JSON values whose shape nobody vouches for.

use serde_json::Value;

/// What is at a JSON pointer; null if nothing is.
pub(super) fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// Sets a field of a map; anything else stays as it is.
pub(super) fn set(value: &mut Value, field: &str, content: impl Into<Value>) {
    if let Value::Object(fields) = value {
        fields.insert(field.to_owned(), content.into());
    }
}
