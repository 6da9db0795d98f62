//! The three-way merge of `apply`: what the manifest said last time, what it says now, what is.
//! Pure. Keeps what others have set, drops what the manifest no longer says.
//!
//! Lists whose items have a name of their own are merged by it, as kubectl does; all others are
//! replaced. The outcome goes to the server as a merge patch, where lists are whole.

use serde_json::{Map, Value};

use crate::json;

/// Where `apply` remembers what the manifest said, so that kubectl and skiff can be mixed.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The fields that name an item of a list, by the list's field.
const LIST_KEYS: [(&str, &str); 13] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("volumes", "name"),
    ("env", "name"),
    ("imagePullSecrets", "name"),
    ("secrets", "name"),
    ("ports", "containerPort"),
    ("ports", "port"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
];

/// The text that is remembered of a manifest: itself, without the memory of an earlier one.
pub(crate) fn remembered(manifest: &Value) -> String {
    let mut manifest = manifest.clone();
    if let Some(meta) = json::map_at(&mut manifest, "metadata") {
        let annotations = meta
            .entry("annotations")
            .or_insert_with(|| Map::new().into());
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.remove(LAST_APPLIED);
        }
    }
    format!("{manifest}\n")
}

/// The manifest with its own text remembered in an annotation.
pub(crate) fn with_memory(manifest: &Value) -> Value {
    let text = remembered(manifest);
    let mut manifest = manifest.clone();
    if let Some(meta) = manifest.get_mut("metadata")
        && let Some(annotations) = json::map_at(meta, "annotations")
    {
        annotations.insert(LAST_APPLIED.to_owned(), text.into());
    }
    manifest
}

/// The merge patch that brings `current` to what `modified` says, given that `original` was said
/// last time. An empty map if there is nothing to do.
pub(crate) fn patch(original: Option<&Value>, modified: &Value, current: &Value) -> Value {
    let desired = merge("", original, modified, Some(current));
    diff(current, &desired).unwrap_or_else(|| Map::new().into())
}

fn merge(
    field: &str,
    original: Option<&Value>,
    modified: &Value,
    current: Option<&Value>,
) -> Value {
    match (modified, current) {
        (Value::Object(modified), _) => {
            let original = original.and_then(Value::as_object);
            let current = current.and_then(Value::as_object);
            Value::Object(merge_maps(original, modified, current))
        }
        (Value::Array(items), Some(Value::Array(current))) => {
            let original = original
                .and_then(Value::as_array)
                .map_or(&[][..], Vec::as_slice);
            match list_key(field, items, current, original) {
                Some(key) => merge_lists(key, original, items, current),
                None => modified.clone(),
            }
        }
        _ => modified.clone(),
    }
}

fn merge_maps(
    original: Option<&Map<String, Value>>,
    modified: &Map<String, Value>,
    current: Option<&Map<String, Value>>,
) -> Map<String, Value> {
    let mut merged = current.cloned().unwrap_or_default();
    for key in original.into_iter().flat_map(Map::keys) {
        if !modified.contains_key(key) {
            merged.remove(key);
        }
    }
    for (key, value) in modified {
        // A null in a manifest says that the field shall not be there.
        if value.is_null() {
            merged.remove(key);
            continue;
        }
        let original = original.and_then(|map| map.get(key));
        let current = current.and_then(|map| map.get(key));
        merged.insert(key.clone(), merge(key, original, value, current));
    }
    merged
}

/// The manifest's items in its order, then those that others have added.
fn merge_lists(key: &str, original: &[Value], modified: &[Value], current: &[Value]) -> Value {
    let find = |items: &[Value], item: &Value| -> Option<Value> {
        items
            .iter()
            .find(|other| other.get(key) == item.get(key))
            .cloned()
    };
    let mut merged: Vec<Value> = modified
        .iter()
        .map(|item| {
            let (original, current) = (find(original, item), find(current, item));
            merge("", original.as_ref(), item, current.as_ref())
        })
        .collect();
    let foreign = current
        .iter()
        .filter(|item| find(modified, item).is_none() && find(original, item).is_none());
    merged.extend(foreign.cloned());
    Value::Array(merged)
}

/// The field that names the items of these lists: each has it, and no two the same.
fn list_key(
    field: &str,
    modified: &[Value],
    current: &[Value],
    original: &[Value],
) -> Option<&'static str> {
    let names_all = |key: &str, items: &[Value]| {
        let names: Vec<&Value> = items.iter().filter_map(|item| item.get(key)).collect();
        let unique = names
            .iter()
            .enumerate()
            .all(|(at, name)| !names.iter().take(at).any(|n| n == name));
        names.len() == items.len() && unique
    };
    LIST_KEYS
        .iter()
        .filter(|(list, _)| *list == field)
        .map(|(_, key)| *key)
        .find(|key| names_all(key, modified) && names_all(key, current) && names_all(key, original))
}

/// The merge patch (RFC 7386) from one value to another; `None` if they are equal.
pub(crate) fn diff(from: &Value, to: &Value) -> Option<Value> {
    if from == to {
        return None;
    }
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return Some(to.clone());
    };
    let mut patch = Map::new();
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in to {
        match from.get(key) {
            None => _ = patch.insert(key.clone(), value.clone()),
            Some(before) => {
                if let Some(change) = diff(before, value) {
                    patch.insert(key.clone(), change);
                }
            }
        }
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests;
