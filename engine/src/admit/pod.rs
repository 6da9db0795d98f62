//! Pods, and the pod templates of workloads.

mod container;
mod defaults;
mod probe;
mod qos;
mod resources;
mod scheduling;
mod spec;
mod update;
mod volume;

use serde_json::{Value, json};

use super::field::{At, Errors};
use super::{entry, map};

pub(super) use defaults::{amounts, quantities_to_text, template as default_template};
pub(super) use scheduling::selector_problems;
pub(super) use spec::template as validate_template;
pub(super) use update::validate_update;

/// Fills in what the user left out of a pod.
pub(super) fn default(value: &mut Value) {
    defaults::pod(entry(value, "spec"));
}

/// The status that a new pod begins with: nothing has happened, and what its resources make it.
pub(super) fn begin(value: &mut Value) {
    let class = qos::class(&At::root(value).field("spec"));
    map(value).insert(
        "status".into(),
        json!({"phase": "Pending", "qosClass": class}),
    );
}

/// Makes a whole pod of one that a controller copied from its template: defaults that only pods
/// have, and the first status.
pub fn complete(value: &mut Value) {
    default(value);
    begin(value);
}

pub(super) fn validate(object: &At<'_, '_>, errors: &mut Errors) {
    spec::validate(&object.field("spec"), errors);
}

/// Checks what an agent reports of a pod.
pub(super) fn validate_status(object: &At<'_, '_>, errors: &mut Errors) {
    const PHASES: [&str; 5] = ["Failed", "Pending", "Running", "Succeeded", "Unknown"];
    let status = object.field("status");
    let phase = status.field("phase");
    if phase.exists() && !PHASES.contains(&phase.text()) {
        errors.not_supported(&phase, &PHASES);
    }
    let statuses = status.field("containerStatuses");
    for container in statuses.each() {
        let restarts = container.field("restartCount");
        if restarts.int().is_some_and(|count| count < 0) {
            errors.invalid(&restarts, "must be greater than or equal to 0");
        }
    }
}
