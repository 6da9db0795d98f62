//! A ReplicaSet's status: how many pods it has, and how far they are.

use std::time::Duration;

use serde_json::{Map, Value};
use skiff_api::{Labels, Millis, Object};

use super::super::Plan;
use crate::draft::Draft;

/// Writes the counts of the pods that count, and asks for another look when the next ready pod
/// becomes available by the passing of `minReadySeconds`.
pub(super) fn report(
    draft: &mut Draft,
    set: &Object,
    active: &[Object],
    now: Millis,
    plan: &mut Plan,
) {
    let spec = &draft.value["spec"];
    let labels = Labels::from_json(spec["template"]["metadata"].get("labels"));
    let settle = Duration::from_secs(spec["minReadySeconds"].as_u64().unwrap_or(0));
    let (mut labelled, mut ready, mut available) = (0_u64, 0_u64, 0_u64);
    for pod in active {
        let has = |(key, value)| pod.meta().labels.get(key) == Some(value);
        labelled += u64::from(labels.iter().all(has));
        let Some(view) = pod.pod().filter(|view| view.ready) else {
            continue;
        };
        ready += 1;
        let from = view.ready_since.map_or(now, |since| since.after(settle));
        if settle.is_zero() || from <= now {
            available += 1;
        } else {
            plan.look_again(from);
        }
    }
    let mut status = draft.value["status"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    status.insert("replicas".into(), active.len().into());
    count(&mut status, "fullyLabeledReplicas", labelled);
    count(&mut status, "readyReplicas", ready);
    count(&mut status, "availableReplicas", available);
    status.insert("observedGeneration".into(), set.meta().generation.into());
    draft.value["status"] = Value::Object(status);
}

/// Zero is written as nothing, as Kubernetes does.
fn count(status: &mut Map<String, Value>, field: &str, number: u64) {
    if number == 0 {
        status.remove(field);
    } else {
        status.insert(field.into(), number.into());
    }
}
