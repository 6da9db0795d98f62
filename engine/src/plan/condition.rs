//! Entries of `status.conditions`: finding and setting them as Kubernetes does.

use serde_json::{Value, json};
use skiff_api::Millis;

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition<'a> {
    /// Its `type`.
    pub(crate) kind: &'a str,
    /// `True`, `False` or `Unknown`.
    pub(crate) status: &'a str,
    /// One word in camel case.
    pub(crate) reason: &'a str,
    /// A sentence.
    pub(crate) message: &'a str,
}

/// A condition of an object's status.
pub(crate) fn find<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = status["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// Sets a condition. `lastTransitionTime` moves only if the status word changes; fields that are
/// not named here stay.
pub(crate) fn set(status: &mut Value, condition: &Condition<'_>, now: Millis) {
    let old = find(status, condition.kind);
    let same = old.is_some_and(|old| old["status"] == condition.status);
    let mut entry = old
        .cloned()
        .unwrap_or_else(|| json!({"type": condition.kind}));
    entry["status"] = condition.status.into();
    if !same || !entry["lastTransitionTime"].is_string() {
        entry["lastTransitionTime"] = now.rfc3339().into();
    }
    for (field, text) in [("reason", condition.reason), ("message", condition.message)] {
        if !text.is_empty() {
            entry[field] = text.into();
        } else if let Some(fields) = entry.as_object_mut() {
            fields.remove(field);
        }
    }
    match find_mut(status, condition.kind) {
        Some(old) => *old = entry,
        None => match status["conditions"].as_array_mut() {
            Some(conditions) => conditions.push(entry),
            None => status["conditions"] = json!([entry]),
        },
    }
}

/// A condition of an object's status, to be changed.
pub(crate) fn find_mut<'a>(status: &'a mut Value, kind: &str) -> Option<&'a mut Value> {
    let conditions = status.get_mut("conditions")?.as_array_mut()?;
    conditions
        .iter_mut()
        .find(|condition| condition["type"] == kind)
}

/// Takes a condition away.
pub(crate) fn remove(status: &mut Value, kind: &str) {
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| condition["type"] != kind);
    }
}

/// A time in a condition.
pub(crate) fn time(condition: &Value, field: &str) -> Option<Millis> {
    Millis::parse(condition[field].as_str()?)
}
