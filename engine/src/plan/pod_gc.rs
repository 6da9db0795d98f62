//! Removes the pods of nodes that are gone: nobody is left to stop them, or to say that they
//! stopped. Keys are nodes, those that do not exist included.

use std::collections::BTreeSet;

use skiff_api::{Key, Kind, Object};

use super::deletion::{self, Haste};
use super::{Controller, Plan};
use crate::apply::Change;
use crate::stamp::Stamper;
use crate::state::State;

/// Pods removed by one command; the next pass does the rest.
const BURST: usize = 500;

pub(super) const CONTROLLER: Controller = Controller {
    name: "pod_gc",
    wakes,
    resync,
    plan,
};

fn wakes(state: &State, change: &Change) -> Vec<Key> {
    match change.key().kind {
        Kind::Node if change.now.is_none() => vec![change.key().clone()],
        Kind::Pod => change
            .now
            .as_ref()
            .and_then(|pod| lost_node(state, pod))
            .into_iter()
            .collect(),
        Kind::Namespace
        | Kind::Node
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::Event
        | Kind::ServiceAccount
        | Kind::Deployment
        | Kind::ReplicaSet
        | Kind::Lease
        | Kind::Service
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::Ingress
        | Kind::IngressClass
        | Kind::NetworkPolicy => Vec::new(),
    }
}

fn resync(state: &State) -> Vec<Key> {
    let nodes: BTreeSet<Key> = state
        .list(Kind::Pod, None)
        .filter_map(|pod| lost_node(state, pod))
        .collect();
    nodes.into_iter().collect()
}

/// The node of a pod, if it has one and that does not exist.
fn lost_node(state: &State, pod: &Object) -> Option<Key> {
    let key = Key::cluster(Kind::Node, pod.pod()?.node.as_ref()?);
    state.get(&key).is_none().then_some(key)
}

fn plan(state: &State, key: &Key, stamper: &mut Stamper) -> Plan {
    let mut plan = Plan::default();
    if state.get(key).is_some() {
        return plan;
    }
    for pod in state.pods_on(&key.name) {
        if plan.writes.len() == BURST {
            plan.look_again(stamper.at());
            break;
        }
        plan.writes
            .extend(deletion::delete(state, pod, Haste::AtOnce, None, stamper));
    }
    plan
}
