//! The taints that stand for a node's condition or cordon. Those of users are left alone.

use serde_json::{Value, json};
use skiff_api::{Effect, Millis};

use super::{Health, UNREADY_PATIENCE};
use crate::draft::Draft;
use crate::plan::Plan;

pub(super) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(super) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const CORDONED: &str = "node.kubernetes.io/unschedulable";

/// Sets the taints that a node's health and cordon call for, and removes those they no longer do.
/// Returns since when it is not ready: when its taint was added, by the clock of a leader, since
/// the agent's may be wrong.
pub(super) fn set(
    node: &mut Draft,
    health: Health,
    now: Millis,
    plan: &mut Plan,
) -> Option<Millis> {
    let old = node.value["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let added = |key: &str| {
        let found = old.iter().find(|taint| is(taint, key, Effect::NoSchedule));
        found
            .and_then(|taint| Millis::parse(taint["timeAdded"].as_str()?))
            .unwrap_or(now)
    };
    let mut wanted: Vec<(&str, Effect)> = Vec::new();
    let since = match health {
        Health::Ready => None,
        Health::Unready => {
            let since = added(NOT_READY);
            wanted.push((NOT_READY, Effect::NoSchedule));
            let patient_until = since.after(UNREADY_PATIENCE);
            if now >= patient_until {
                wanted.push((NOT_READY, Effect::NoExecute));
            } else {
                plan.look_again(patient_until);
            }
            Some(since)
        }
        Health::Unknown => {
            wanted.push((UNREACHABLE, Effect::NoSchedule));
            wanted.push((UNREACHABLE, Effect::NoExecute));
            Some(added(UNREACHABLE))
        }
    };
    if node.value["spec"]["unschedulable"] == true {
        wanted.push((CORDONED, Effect::NoSchedule));
    }
    let ours = |taint: &Value| {
        [NOT_READY, UNREACHABLE, CORDONED]
            .iter()
            .any(|key| taint["key"] == *key)
    };
    let wants = |taint: &Value| wanted.iter().any(|(key, effect)| is(taint, key, *effect));
    let kept = old
        .iter()
        .filter(|taint| !ours(taint) || wants(taint))
        .cloned();
    let missing = wanted
        .iter()
        .filter(|(key, effect)| !old.iter().any(|t| is(t, key, *effect)));
    let added = missing.map(
        |(key, effect)| json!({"key": key, "effect": effect.word(), "timeAdded": now.rfc3339()}),
    );
    let new: Vec<Value> = kept.chain(added).collect();
    if new.is_empty() {
        if let Some(spec) = node.value.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("taints");
        }
    } else if new != old {
        node.value["spec"]["taints"] = new.into();
    }
    since
}

fn is(taint: &Value, key: &str, effect: Effect) -> bool {
    taint["key"] == key && taint["effect"] == effect.word()
}
