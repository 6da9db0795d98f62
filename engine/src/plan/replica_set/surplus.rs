//! Which pods of a set go first when there are too many: Kubernetes' order.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use skiff_api::{Kind, Millis, Object, Phase};

use super::super::controller_key;
use crate::state::State;

/// A pod's place in the queue; the smallest goes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    assigned: bool,
    phase: u8,
    ready: bool,
    cost: i64,
    /// The fuller its node is of sisters, the sooner it goes.
    sisters: std::cmp::Reverse<usize>,
    /// The shorter it has been ready, the sooner it goes.
    ready_since: std::cmp::Reverse<Option<Millis>>,
    restarts: std::cmp::Reverse<i64>,
    created: std::cmp::Reverse<Millis>,
    name: Arc<str>,
}

/// Sorts pods of a set so that those to be deleted come first.
pub(super) fn sort(state: &State, set: &Object, pods: &mut [Object]) {
    let sisters = sisters(state, set);
    pods.sort_by_cached_key(|pod| rank(pod, &sisters));
}

/// How many active pods of the set, and of the other sets of its Deployment, each node has.
fn sisters(state: &State, set: &Object) -> BTreeMap<Arc<str>, usize> {
    let deployment = controller_key(set, Kind::Deployment).and(set.meta().controller());
    let sets: Vec<&Object> = deployment.map_or_else(
        || vec![set],
        |owner| {
            state
                .owned_by(&owner.uid)
                .filter(|o| o.kind() == Kind::ReplicaSet)
                .collect()
        },
    );
    let mut nodes = BTreeMap::new();
    for pod in sets.iter().flat_map(|set| state.owned_by(&set.meta().uid)) {
        let view = pod.pod().filter(|view| !view.phase.is_terminal());
        let active = view.filter(|_| pod.meta().deletion.is_none());
        if let Some(node) = active.and_then(|view| view.node.clone()) {
            *nodes.entry(node).or_default() += 1;
        }
    }
    nodes
}

fn rank(pod: &Object, sisters: &BTreeMap<Arc<str>, usize>) -> Rank {
    let view = pod.pod().cloned().unwrap_or_default();
    let value = pod.to_value();
    let cost = &value["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"];
    let restarts = value["status"]["containerStatuses"]
        .as_array()
        .map_or(0, |list| {
            let counts = list
                .iter()
                .filter_map(|status| status["restartCount"].as_i64());
            counts.max().unwrap_or(0)
        });
    Rank {
        assigned: view.node.is_some(),
        phase: match view.phase {
            Phase::Pending => 0,
            Phase::Unknown => 1,
            Phase::Running | Phase::Succeeded | Phase::Failed => 2,
        },
        ready: view.ready,
        cost: Value::as_str(cost)
            .and_then(|cost| cost.parse().ok())
            .unwrap_or(0),
        sisters: std::cmp::Reverse(
            view.node
                .as_ref()
                .and_then(|node| sisters.get(node))
                .copied()
                .unwrap_or(0),
        ),
        ready_since: std::cmp::Reverse(view.ready_since.filter(|_| view.ready)),
        restarts: std::cmp::Reverse(restarts),
        created: std::cmp::Reverse(pod.meta().created),
        name: pod.key().name.clone(),
    }
}
