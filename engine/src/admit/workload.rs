//! Deployments and ReplicaSets: counts, strategy, and a template that the selector selects.

use serde_json::{Map, Value, json};
use skiff_api::{LabelSelector, Labels};

use super::field::{At, Errors};
use super::{entry, fill, map, pod};

pub(super) fn default_deployment(value: &mut Value) {
    let spec = entry(value, "spec");
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
    let strategy = map(spec.entry("strategy").or_insert(Value::Null));
    fill(strategy, "type", "RollingUpdate");
    if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
        let rolling = map(strategy.entry("rollingUpdate").or_insert(Value::Null));
        fill(rolling, "maxUnavailable", "25%");
        fill(rolling, "maxSurge", "25%");
    }
    default_template(spec);
}

pub(super) fn default_replica_set(value: &mut Value) {
    let spec = entry(value, "spec");
    fill(spec, "replicas", 1);
    default_template(spec);
}

fn default_template(spec: &mut Map<String, Value>) {
    if let Some(template) = spec.get_mut("template") {
        pod::default_template(entry(template, "spec"));
    }
}

pub(super) fn validate_deployment(object: &At<'_, '_>, errors: &mut Errors) {
    let spec = object.field("spec");
    validate_common(&spec, errors);
    strategy(&spec.field("strategy"), errors);
    let (ready, deadline) = (
        spec.field("minReadySeconds"),
        spec.field("progressDeadlineSeconds"),
    );
    non_negative(&spec.field("revisionHistoryLimit"), errors);
    non_negative(&deadline, errors);
    if deadline
        .int()
        .is_some_and(|seconds| seconds <= ready.int().unwrap_or(0))
    {
        errors.invalid(&deadline, "must be greater than minReadySeconds");
    }
}

pub(super) fn validate_replica_set(object: &At<'_, '_>, errors: &mut Errors) {
    validate_common(&object.field("spec"), errors);
}

pub(super) fn validate_update(old: &At<'_, '_>, new: &At<'_, '_>, errors: &mut Errors) {
    let (old, new) = (old.field("spec"), new.field("spec"));
    let (was, is) = (old.field("selector"), new.field("selector"));
    if was.value() != is.value() {
        errors.invalid(&is, "field is immutable");
    }
}

pub(super) fn validate_status(object: &At<'_, '_>, errors: &mut Errors) {
    let status = object.field("status");
    for name in [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "collisionCount",
    ] {
        non_negative(&status.field(name), errors);
    }
}

fn validate_common(spec: &At<'_, '_>, errors: &mut Errors) {
    non_negative(&spec.field("replicas"), errors);
    non_negative(&spec.field("minReadySeconds"), errors);
    let (selector, template) = (spec.field("selector"), spec.field("template"));
    match selector.value() {
        None => errors.required(&selector, ""),
        Some(value) => select_template(&selector, value, &template, errors),
    }
    if !template.exists() {
        errors.required(&template, "");
        return;
    }
    pod::validate_template(&template, errors);
    let pod = template.field("spec");
    let restart = pod.field("restartPolicy");
    if matches!(restart.text(), "OnFailure" | "Never") {
        errors.not_supported(&restart, &["Always"]);
    }
    let deadline = pod.field("activeDeadlineSeconds");
    if deadline.exists() {
        errors.forbidden(
            &deadline,
            "activeDeadlineSeconds in ReplicaSet is not Supported",
        );
    }
}

fn select_template(
    selector: &At<'_, '_>,
    value: &Value,
    template: &At<'_, '_>,
    errors: &mut Errors,
) {
    pod::selector_problems(selector, errors);
    let parsed = match LabelSelector::from_json(value) {
        Ok(parsed) => parsed,
        Err(_) => return errors.invalid(selector, "invalid label selector"),
    };
    if parsed.is_empty() {
        return errors.invalid(selector, "empty selector is invalid for deployment");
    }
    let meta = template.field("metadata");
    let labels = meta.field("labels");
    if !parsed.matches(&Labels::from_json(labels.value())) {
        let none = json!({});
        let shown = labels.value().unwrap_or(&none);
        errors.invalid_as(
            &labels,
            shown,
            "`selector` does not match template `labels`",
        );
    }
}

fn strategy(strategy: &At<'_, '_>, errors: &mut Errors) {
    let rolling = strategy.field("rollingUpdate");
    match strategy.field("type").text() {
        "RollingUpdate" => rolling_update(&rolling, errors),
        "Recreate" if rolling.exists() => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            errors.forbidden(&rolling, detail);
        }
        "Recreate" => {}
        _ => errors.not_supported(&strategy.field("type"), &["Recreate", "RollingUpdate"]),
    }
}

fn rolling_update(rolling: &At<'_, '_>, errors: &mut Errors) {
    let (unavailable, surge) = (rolling.field("maxUnavailable"), rolling.field("maxSurge"));
    let (down, up) = (amount(&unavailable, errors), amount(&surge, errors));
    if down == Some(0) && up == Some(0) {
        errors.invalid(&unavailable, "may not be 0 when `maxSurge` is 0");
    }
    if unavailable.text().ends_with('%') && down.is_some_and(|percent| percent > 100) {
        errors.invalid(&unavailable, "must not be greater than 100%");
    }
}

/// A count, or a percentage as text.
fn amount(at: &At<'_, '_>, errors: &mut Errors) -> Option<i64> {
    if let Some(count) = at.int() {
        if count < 0 {
            errors.invalid(at, "must be greater than or equal to 0");
        }
        return Some(count);
    }
    let digits = at.text().strip_suffix('%');
    let digits = digits.filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    let percent = digits.and_then(|text| text.parse().ok());
    if percent.is_none() {
        let detail = "a valid percent string must be a numeric string followed by an ending '%' \
                      (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
        errors.invalid(at, detail);
    }
    percent
}

fn non_negative(at: &At<'_, '_>, errors: &mut Errors) {
    if at.int().is_some_and(|number| number < 0) {
        errors.invalid(at, "must be greater than or equal to 0");
    }
}
