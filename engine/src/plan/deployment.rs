//! Decides which ReplicaSets a Deployment has and how large each is (step 9 of the walk).
//!
//! Owns those sets' size, their revision and the Deployment's status; never makes a pod.
//! The rules, numbers and words are Kubernetes'; one pass does what is several passes there,
//! so that a second pass over what was applied does nothing.

mod blocked;
mod bounds;
mod history;
mod progress;
mod rollout;
mod sizes;
mod template;

use serde_json::Value;
use skiff_api::{Key, Kind, LabelSelector, Object};

use self::rollout::Rollout;
use super::{Controller, Plan, all, controller_key, controllers_of, is_open};
use crate::apply::Change;
use crate::stamp::Stamper;
use crate::state::State;

/// The controller's name in events, as in Kubernetes.
const SOURCE: &str = "deployment-controller";

pub(super) const CONTROLLER: Controller = Controller {
    name: "deployment",
    wakes,
    resync: |state| all(state, Kind::Deployment),
    plan,
};

fn wakes(state: &State, change: &Change) -> Vec<Key> {
    let object = change.object();
    match object.kind() {
        Kind::Deployment => vec![object.key().clone()],
        Kind::ReplicaSet if object.meta().controller().is_none() => selecting(state, object),
        Kind::ReplicaSet => controllers_of(change, Kind::Deployment).collect(),
        Kind::Pod => of_pod(state, change),
        Kind::Namespace
        | Kind::Node
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::Event
        | Kind::ServiceAccount
        | Kind::Lease
        | Kind::Service
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::Ingress
        | Kind::IngressClass
        | Kind::NetworkPolicy => Vec::new(),
    }
}

/// A pod matters to its Deployment directly when it may block a rollout, or is gone for good:
/// all else shows in the status of its ReplicaSet.
fn of_pod(state: &State, change: &Change) -> Vec<Key> {
    let ready = |pod: &Object| pod.pod().is_some_and(|view| view.ready);
    if change.now.as_ref().is_some_and(ready) {
        return Vec::new();
    }
    controllers_of(change, Kind::ReplicaSet)
        .filter_map(|set| controller_key(state.get(&set)?, Kind::Deployment))
        .collect()
}

/// The Deployments that would adopt an orphan.
fn selecting(state: &State, orphan: &Object) -> Vec<Key> {
    state
        .list(Kind::Deployment, Some(&orphan.key().namespace))
        .filter(|deployment| {
            selector(&deployment.to_value()).is_some_and(|s| s.matches(&orphan.meta().labels))
        })
        .map(|deployment| deployment.key().clone())
        .collect()
}

fn selector(deployment: &Value) -> Option<LabelSelector> {
    let selector = LabelSelector::from_json(&deployment["spec"]["selector"]).ok()?;
    (!selector.is_empty()).then_some(selector)
}

fn plan(state: &State, key: &Key, stamper: &mut Stamper) -> Plan {
    let mut plan = Plan::default();
    let Some(deployment) = state.get(key) else {
        return plan;
    };
    let Some(mut rollout) = Rollout::read(state, deployment, &mut plan) else {
        plan.again_if_written(stamper.at());
        return plan;
    };
    let deciding = deployment.meta().deletion.is_none() && is_open(state, &key.namespace);
    if deciding && !rollout.decide(stamper) {
        rollout.report_collision(stamper.at(), &mut plan);
        return plan;
    }
    rollout.report(deciding, stamper.at(), &mut plan);
    rollout.write(stamper, &mut plan);
    plan
}

#[cfg(test)]
mod tests;
