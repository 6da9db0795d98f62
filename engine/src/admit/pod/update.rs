//! What may change in a pod: images, a shorter deadline, more tolerations, fewer gates; nothing else, because
//! its containers are already made of the rest.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::admit::field::{At, Errors};
use crate::admit::map;

const CHANGED: &str = "pod updates may not change fields other than \
    `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
    `spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(in crate::admit) fn validate_update(old: &At<'_, '_>, new: &At<'_, '_>, errors: &mut Errors) {
    let (was, is) = (old.field("spec"), new.field("spec"));
    if was.value() == is.value() {
        return;
    }
    deadline(
        &was.field("activeDeadlineSeconds"),
        &is.field("activeDeadlineSeconds"),
        errors,
    );
    tolerations(&was.field("tolerations"), &is.field("tolerations"), errors);
    gates(
        &was.field("schedulingGates"),
        &is.field("schedulingGates"),
        errors,
    );
    let mut counts_differ = false;
    for list in ["containers", "initContainers"] {
        if was.field(list).len() != is.field(list).len() {
            counts_differ = true;
            errors.forbidden(
                &is.field(list),
                "pod updates may not add or remove containers",
            );
        }
    }
    if counts_differ {
        return;
    }
    let (before, after) = (
        without_changeable(was.value()),
        without_changeable(is.value()),
    );
    if before != after {
        let changed = differing_fields(&before, &after).join(", ");
        errors.forbidden(&is, &format!("{CHANGED}\nchanged: {changed}"));
    }
}

fn deadline(was: &At<'_, '_>, is: &At<'_, '_>, errors: &mut Errors) {
    match (was.int(), is.int()) {
        (Some(was), Some(now)) if now > was => {
            errors.invalid(is, "must be less than or equal to previous value");
        }
        (Some(_), None) => {
            errors.invalid(is, "must not update from a positive integer to nil value");
        }
        (None | Some(_), _) => {}
    }
}

/// Gates open one by one, and never close again.
fn gates(was: &At<'_, '_>, is: &At<'_, '_>, errors: &mut Errors) {
    let names: BTreeSet<&str> = was.each().map(|gate| gate.field("name").text()).collect();
    let added = is
        .each()
        .find(|gate| !names.contains(gate.field("name").text()));
    if let Some(gate) = added {
        let name = gate.field("name").text().to_owned();
        let detail = format!("only deletion is allowed, but found new scheduling gate '{name}'");
        errors.forbidden(is, &detail);
    }
}

fn tolerations(was: &At<'_, '_>, is: &At<'_, '_>, errors: &mut Errors) {
    let bare = |at: &At<'_, '_>| {
        let mut value = at.value().cloned().unwrap_or_default();
        map(&mut value).remove("tolerationSeconds");
        value.to_string()
    };
    let kept: BTreeSet<String> = is.each().map(|toleration| bare(&toleration)).collect();
    if was
        .each()
        .any(|toleration| !kept.contains(&bare(&toleration)))
    {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden(is, detail);
    }
}

fn without_changeable(spec: Option<&Value>) -> Value {
    let mut spec = spec.cloned().unwrap_or_default();
    let fields = map(&mut spec);
    fields.remove("activeDeadlineSeconds");
    fields.remove("tolerations");
    fields.remove("schedulingGates");
    for list in ["containers", "initContainers"] {
        let items = fields
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten();
        for container in items.filter_map(Value::as_object_mut) {
            container.remove("image");
        }
    }
    spec
}

/// The names of the fields of a spec that differ.
fn differing_fields(before: &Value, after: &Value) -> Vec<String> {
    let keys = |value: &Value| -> Vec<String> {
        value
            .as_object()
            .map(|fields| fields.keys().cloned().collect())
            .unwrap_or_default()
    };
    let mut names = keys(before);
    names.extend(keys(after));
    names.sort();
    names.dedup();
    names.retain(|name| before.get(name) != after.get(name));
    names.iter().map(|name| format!("spec.{name}")).collect()
}
