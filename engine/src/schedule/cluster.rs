//! The nodes and what is taken of them, kept up to date by changes and never rebuilt per pod.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use skiff_api::{Effect, Key, Kind, Labels, Object, Revision, Taint, Uid, quantity};

use super::demand::Room;
use super::waiting;
use crate::apply::Change;
use crate::state::State;

/// Kubernetes' default of a node's largest number of pods.
const PODS_DEFAULT: i64 = 110;

/// The taint of a node that is not ready; it is taken as read before somebody writes it.
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// Where a node stands in the cluster's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(usize);

/// What the scheduler knows of a node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: Arc<str>,
    /// Pods may be bound to a name that no Node has, or has any more.
    exists: bool,
    pub(super) unschedulable: bool,
    pub(super) taints: Vec<Taint>,
    pub(super) labels: Labels,
    pub(super) allocatable: Room,
    pub(super) used: Room,
    /// Host ports taken, and by how many pods.
    ports: BTreeMap<(u16, Box<str>), usize>,
}

impl Node {
    fn unknown(name: Arc<str>) -> Self {
        Self {
            name,
            exists: false,
            unschedulable: false,
            taints: Vec::new(),
            labels: Labels::default(),
            allocatable: Room::default(),
            used: Room::default(),
            ports: BTreeMap::new(),
        }
    }

    /// Whether one of these host ports is taken.
    pub(super) fn takes_any(&self, ports: &[(u16, Box<str>)]) -> bool {
        ports.iter().any(|port| self.ports.contains_key(port))
    }
}

/// What a bound pod takes.
#[derive(Clone, Debug)]
struct Placement {
    slot: Slot,
    /// The pod's revision when it was placed.
    seen: Revision,
    room: Room,
    ports: Vec<(u16, Box<str>)>,
    controller: Option<Uid>,
}

/// The scheduler's view of the cluster.
///
/// Rows of names that no Node has any more stay until the cluster is read anew; they are as few
/// as the nodes that came and went under one leader.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    nodes: Vec<Node>,
    slots: BTreeMap<Arc<str>, Slot>,
    placed: BTreeMap<Key, Placement>,
    /// How many pods of a controller each node has.
    spread: BTreeMap<Uid, BTreeMap<Slot, u32>>,
    /// Grows whenever something changed that may let a refused pod fit.
    openings: u64,
    /// Pods that fitted nowhere: as of which revision, and how many openings there had been.
    refused: BTreeMap<Key, (Revision, u64)>,
}

impl Cluster {
    /// Reads the cluster from a state.
    #[must_use]
    pub fn read(state: &State) -> Self {
        let mut cluster = Self::default();
        for kind in [Kind::Node, Kind::Pod] {
            for object in state.list(kind, None) {
                cluster.update(object.key(), Some(object), object.revision());
            }
        }
        cluster
    }

    /// Takes a change in. Changes must come in order, from the state that was read on.
    pub fn observe(&mut self, change: &Change) {
        self.update(change.key(), change.now.as_ref(), change.revision);
    }

    /// Up to `most` waiting pods that are worth a try: those that fitted nowhere when they were
    /// last tried are left out until something has changed that might help.
    #[must_use]
    pub fn due(&self, state: &State, most: usize) -> Vec<Object> {
        let tried =
            |pod: &Object| self.refused.get(pod.key()) == Some(&(pod.revision(), self.openings));
        let due = waiting(state).filter(|pod| !tried(pod));
        due.take(most).cloned().collect()
    }

    fn update(&mut self, key: &Key, now: Option<&Object>, revision: Revision) {
        match key.kind {
            Kind::Node => self.set_node(key, now),
            Kind::Pod => self.set_pod(key, now, revision),
            Kind::Namespace
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
            | Kind::NetworkPolicy => {}
        }
    }

    fn set_node(&mut self, key: &Key, now: Option<&Object>) {
        self.openings += 1;
        let slot = self.slot(&key.name);
        let Some(node) = self.nodes.get_mut(slot.0) else {
            return;
        };
        node.exists = now.is_some();
        let Some(object) = now else {
            return;
        };
        let view = object.node().cloned().unwrap_or_default();
        node.unschedulable = view.unschedulable;
        node.taints = view.taints;
        if !view.ready {
            node.taints.extend(not_ready(&node.taints));
        }
        node.labels = object.meta().labels.clone();
        node.allocatable = allocatable(&object.to_value()["status"]);
    }

    fn set_pod(&mut self, key: &Key, now: Option<&Object>, revision: Revision) {
        // A pod that was placed as of a later revision than this: old news.
        if self
            .placed
            .get(key)
            .is_some_and(|placement| placement.seen >= revision)
        {
            return;
        }
        let left = self.take_out(key);
        let bound = now.and_then(|pod| {
            let view = pod.pod().filter(|view| !view.phase.is_terminal())?;
            Some((pod, view.node.as_ref()?))
        });
        if let Some((pod, node)) = bound {
            let slot = self.slot(node);
            self.assume(pod, slot);
        } else if left {
            self.openings += 1;
        }
        if now.is_none() || bound.is_some() {
            self.refused.remove(key);
        }
    }

    fn slot(&mut self, name: &Arc<str>) -> Slot {
        if let Some(slot) = self.slots.get(name) {
            return *slot;
        }
        let slot = Slot(self.nodes.len());
        self.nodes.push(Node::unknown(name.clone()));
        self.slots.insert(name.clone(), slot);
        slot
    }

    /// Counts a pod as placed.
    pub(super) fn assume(&mut self, pod: &Object, slot: Slot) {
        let (Some(node), Some(view)) = (self.nodes.get_mut(slot.0), pod.pod()) else {
            return;
        };
        let placement = Placement {
            slot,
            seen: pod.revision(),
            room: Room::of_pod(&view.requests),
            ports: view.host_ports.clone(),
            controller: pod.meta().controller().map(|owner| owner.uid.clone()),
        };
        node.used = node.used.plus(placement.room);
        for port in &placement.ports {
            *node.ports.entry(port.clone()).or_default() += 1;
        }
        if let Some(controller) = placement.controller.clone() {
            *self
                .spread
                .entry(controller)
                .or_default()
                .entry(slot)
                .or_default() += 1;
        }
        self.placed.insert(pod.key().clone(), placement);
    }

    /// Counts a pod as gone; whether it was placed.
    fn take_out(&mut self, key: &Key) -> bool {
        let Some(placement) = self.placed.remove(key) else {
            return false;
        };
        if let Some(node) = self.nodes.get_mut(placement.slot.0) {
            node.used = node.used.minus(placement.room);
            for port in &placement.ports {
                decrement(&mut node.ports, port);
            }
        }
        if let Some(controller) = &placement.controller
            && let Some(nodes) = self.spread.get_mut(controller)
        {
            decrement(nodes, &placement.slot);
            if nodes.is_empty() {
                self.spread.remove(controller);
            }
        }
        true
    }

    /// Remembers that a pod fitted nowhere.
    pub(super) fn note_refused(&mut self, pod: &Object) {
        self.refused
            .insert(pod.key().clone(), (pod.revision(), self.openings));
    }

    /// A node of the table that is there.
    pub(super) fn node(&self, slot: Slot) -> Option<&Node> {
        self.nodes.get(slot.0).filter(|node| node.exists)
    }

    /// The nodes that are there, in the order of the table.
    pub(super) fn slots(&self) -> impl Iterator<Item = (Slot, &Node)> {
        let all = self.nodes.iter().enumerate();
        all.filter(|(_, node)| node.exists)
            .map(|(at, node)| (Slot(at), node))
    }

    /// The nodes that are there, in the order of names.
    pub(super) fn by_name(&self) -> impl Iterator<Item = &Node> {
        self.slots.values().filter_map(|slot| self.node(*slot))
    }

    /// How many pods of a controller each node has.
    pub(super) fn sisters(&self, controller: Option<&Uid>) -> BTreeMap<Slot, u32> {
        let found = controller.and_then(|uid| self.spread.get(uid));
        found.cloned().unwrap_or_default()
    }
}

/// A count that goes down by one, and away at zero.
fn decrement<K: Ord, N: Copy + Ord + From<u8> + std::ops::SubAssign>(
    counts: &mut BTreeMap<K, N>,
    key: &K,
) {
    if let Some(count) = counts.get_mut(key) {
        if *count > N::from(1) {
            *count -= N::from(1);
        } else {
            counts.remove(key);
        }
    }
}

fn not_ready(taints: &[Taint]) -> Option<Taint> {
    let told = taints
        .iter()
        .any(|taint| [NOT_READY, UNREACHABLE].contains(&&*taint.key));
    (!told).then(|| Taint {
        key: NOT_READY.into(),
        value: "".into(),
        effect: Effect::NoSchedule,
        added: None,
    })
}

/// What a node gives to pods; its capacity if it does not say.
fn allocatable(status: &Value) -> Room {
    let list = if status["allocatable"].is_object() {
        "allocatable"
    } else {
        "capacity"
    };
    let amount = |resource: &str, read: fn(&str) -> Result<i64, quantity::InvalidQuantity>| {
        let text = match &status[list][resource] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        read(&text).ok()
    };
    Room {
        cpu_millicores: amount("cpu", quantity::millicores).unwrap_or(0),
        memory_bytes: amount("memory", quantity::units).unwrap_or(0),
        // A node that does not report its disk is not limited by it.
        storage_bytes: amount("ephemeral-storage", quantity::units).unwrap_or(i64::MAX),
        pods: amount("pods", quantity::units).unwrap_or(PODS_DEFAULT),
        ..Room::default()
    }
}
