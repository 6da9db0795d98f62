//! The small kinds that loops and agents write: Events, Leases, ServiceAccounts.

use super::field::{At, Errors};

pub(super) fn validate_event(object: &At<'_, '_>, errors: &mut Errors) {
    let (meta, about) = (object.field("metadata"), object.field("involvedObject"));
    let (own, other) = (meta.field("namespace"), about.field("namespace"));
    // What is about a cluster-scoped object is kept in the default namespace.
    let cluster_wide = other.text().is_empty() && matches!(own.text(), "default" | "kube-system");
    if own.text() != other.text() && !cluster_wide {
        errors.invalid(&other, "does not match event.namespace");
    }
}

pub(super) fn validate_lease(object: &At<'_, '_>, errors: &mut Errors) {
    let spec = object.field("spec");
    let duration = spec.field("leaseDurationSeconds");
    if duration.int().is_some_and(|seconds| seconds <= 0) {
        errors.invalid(&duration, "must be greater than 0");
    }
    let transitions = spec.field("leaseTransitions");
    if transitions.int().is_some_and(|count| count < 0) {
        errors.invalid(&transitions, "must be greater than or equal to 0");
    }
}

pub(super) fn validate_service_account(object: &At<'_, '_>, errors: &mut Errors) {
    let secrets = object.field("imagePullSecrets");
    for secret in secrets.each() {
        if secret.field("name").text().is_empty() {
            errors.required(&secret.field("name"), "");
        }
    }
}
