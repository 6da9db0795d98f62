//! Nodes: taints and addresses of pods; the rest is what an agent reports.

use std::collections::BTreeSet;

use serde_json::Value;

use super::field::{At, Errors};
use super::{entry, names};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// What may be used is all there is, unless the agent says otherwise.
pub(super) fn default(value: &mut Value) {
    if !value.get("status").is_some_and(Value::is_object) {
        return;
    }
    let status = entry(value, "status");
    if let (Some(capacity), false) = (
        status.get("capacity").cloned(),
        status.contains_key("allocatable"),
    ) {
        status.insert("allocatable".into(), capacity);
    }
}

pub(super) fn validate(object: &At<'_, '_>, errors: &mut Errors) {
    let spec = object.field("spec");
    let mut seen = BTreeSet::new();
    for taint in spec.field("taints").each() {
        let (key, value, effect) = (
            taint.field("key"),
            taint.field("value"),
            taint.field("effect"),
        );
        errors.problems(&key, key.text(), &names::qualified(key.text()));
        errors.problems(&value, value.text(), &names::label_value(value.text()));
        if effect.text().is_empty() {
            errors.required(&effect, "");
        } else if !EFFECTS.contains(&effect.text()) {
            errors.not_supported(&effect, &EFFECTS);
        }
        if !seen.insert((key.text(), effect.text())) {
            errors.duplicate(&taint, taint.value());
        }
    }
}

/// A node keeps its pods' addresses: pods already have some of them.
pub(super) fn validate_update(old: &At<'_, '_>, new: &At<'_, '_>, errors: &mut Errors) {
    let (old, new) = (old.field("spec"), new.field("spec"));
    for name in ["podCIDR", "podCIDRs", "providerID"] {
        let (was, is) = (old.field(name), new.field(name));
        if was.exists() && was.value() != is.value() {
            errors.forbidden(
                &is,
                "node updates may not change it except from \"\" to valid",
            );
        }
    }
}
