//! Reading fields of JSON objects by pointer; what is absent or of another type reads as empty.

use serde_json::{Map, Value};
use skiff_api::{Key, Kind};

/// The text at a pointer, or the empty one.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The integer at a pointer, or 0.
pub(crate) fn int(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// The boolean at a pointer, or `false`.
pub(crate) fn flag(value: &Value, pointer: &str) -> bool {
    value
        .pointer(pointer)
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

/// The items of the list at a pointer.
pub(crate) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The entries of the map at a pointer.
pub(crate) fn entries<'a>(
    value: &'a Value,
    pointer: &str,
) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let map = value.pointer(pointer).and_then(Value::as_object);
    map.into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value))
}

/// `metadata.name`.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// `metadata.namespace`.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// An annotation, or the empty text.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    let annotations = object.pointer("/metadata/annotations");
    annotations
        .and_then(|map| map.get(key))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// An object's identity, given its kind.
pub(crate) fn key(kind: Kind, object: &Value) -> Key {
    Key::new(kind, namespace(object), name(object))
}

/// The condition of a type in `status.conditions`.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "/status/conditions")
        .iter()
        .find(|condition| text(condition, "/type") == kind)
}

/// The owner that controls an object: its kind and name.
pub(crate) fn controller(object: &Value) -> Option<(&str, &str)> {
    let owners = items(object, "/metadata/ownerReferences");
    let owner = owners.iter().find(|owner| flag(owner, "/controller"))?;
    Some((text(owner, "/kind"), text(owner, "/name")))
}

/// Whether `owner` controls `object`.
pub(crate) fn controls(owner: &Value, object: &Value) -> bool {
    let uid = text(owner, "/metadata/uid");
    let owners = items(object, "/metadata/ownerReferences");
    !uid.is_empty()
        && owners
            .iter()
            .any(|o| flag(o, "/controller") && text(o, "/uid") == uid)
}

/// The map under `field` of `parent`, made if it is not there.
pub(crate) fn map_at<'a>(parent: &'a mut Value, field: &str) -> Option<&'a mut Map<String, Value>> {
    let entry = parent
        .as_object_mut()?
        .entry(field)
        .or_insert_with(|| Map::new().into());
    if entry.is_null() {
        *entry = Map::new().into();
    }
    entry.as_object_mut()
}
