//! Decides which nodes are alive, and moves pods off those that are not.
//!
//! Heartbeats never touch the log: how long each node has been silent is an argument, measured by
//! the leader on its monotonic clock. Owns the condition `Ready` of silent nodes, the taints that
//! stand for a node's condition or cordon, and the eviction of pods; the agent corrects the
//! conditions once it is back.

mod brake;
mod eviction;
mod taints;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use skiff_api::{Kind, Millis, Object};

use self::brake::Fallen;
use super::Plan;
use super::condition::{self, Condition};
use crate::draft::Draft;
use crate::event::{Note, Severity};
use crate::stamp::Stamper;
use crate::state::State;

/// The controller's name in events, as in Kubernetes.
const SOURCE: &str = "node-controller";

/// A node silent for this long counts as lost: four heartbeats.
pub const SILENT_AFTER: Duration = Duration::from_secs(4);

/// A node silent for this long may be falling: the heartbeats of nodes that are cut off in one
/// moment end within one beat, and half of one is for the way here.
const LATE_AFTER: Duration = Duration::from_millis(2500);

/// A node whose agent says that it is not ready keeps its pods for this long: to restart a
/// container engine is no reason to move everything.
const UNREADY_PATIENCE: Duration = Duration::from_secs(30);

/// What the leader heard of the nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heartbeats {
    /// For how long each node has been silent; a node that is not here was never heard.
    pub silent: BTreeMap<String, Duration>,
    /// For how long this leader has been listening.
    pub listening: Duration,
}

impl Heartbeats {
    /// How long a node has been silent, as far as this leader can tell.
    #[must_use]
    pub fn silence(&self, node: &str) -> Duration {
        self.silent.get(node).copied().unwrap_or(self.listening)
    }
}

/// What a node's `Ready` condition says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Ready,
    /// Its agent says that it is not, or has said nothing yet.
    Unready,
    /// Nothing is heard of it.
    Unknown,
}

impl Health {
    fn of(node: &Draft) -> Self {
        let found = condition::find(&node.value["status"], "Ready");
        match found.and_then(|ready| ready["status"].as_str()) {
            Some("True") => Self::Ready,
            Some("Unknown") => Self::Unknown,
            Some(_) | None => Self::Unready,
        }
    }
}

/// Plans for all nodes at once: whether evictions are safe depends on all of them.
#[must_use]
pub fn node_health(state: &State, heartbeats: &Heartbeats, stamper: &mut Stamper) -> Plan {
    let mut plan = Plan::default();
    let mut nodes: Vec<Object> = Vec::new();
    let mut fallen = Fallen::default();
    for node in state.list(Kind::Node, None) {
        fallen.nodes += 1;
        let silence = heartbeats.silence(&node.key().name);
        if silence < SILENT_AFTER {
            plan.look_again(stamper.at().after(SILENT_AFTER - silence));
            if silence >= LATE_AFTER {
                fallen.late.insert(node.key().name.clone());
            }
        }
        if is_well(node, silence) {
            continue;
        }
        let tended = tend(state, node, silence, stamper, &mut plan);
        if let Some(since) = tended.since {
            fallen.since.insert(node.key().name.clone(), since);
        }
        if tended.health == Health::Unknown {
            fallen.silent.insert(node.key().name.clone());
        }
        nodes.push(tended.node);
    }
    fallen.now = stamper.at();
    eviction::plan(state, &nodes, &fallen, stamper, &mut plan);
    plan
}

/// Whether there is nothing to do for a node, as can be told without reading its JSON.
fn is_well(node: &Object, silence: Duration) -> bool {
    node.node().is_some_and(|view| {
        silence < SILENT_AFTER && view.ready && !view.unschedulable && view.taints.is_empty()
    })
}

/// A node as it will be after this pass.
struct Tended {
    node: Object,
    health: Health,
    /// Since when it is not ready, by the leaders' clocks.
    since: Option<Millis>,
}

/// Brings a node's condition and taints up to date.
fn tend(
    state: &State,
    node: &Object,
    silence: Duration,
    stamper: &mut Stamper,
    plan: &mut Plan,
) -> Tended {
    let mut draft = Draft::of(node);
    if silence >= SILENT_AFTER && Health::of(&draft) != Health::Unknown {
        mark_silent(&mut draft, stamper.at());
        let message = format!("Node {} status is now: NodeNotReady", node.key().name);
        let note = Note {
            about: node,
            severity: Severity::Warning,
            reason: "NodeNotReady",
            message: &message,
            source: SOURCE,
        };
        plan.note(state, &note, stamper);
    }
    let health = Health::of(&draft);
    let since = taints::set(&mut draft, health, stamper.at(), plan);
    let write = draft.write();
    let now = write.as_ref().and_then(|write| match write {
        crate::Write::Put { object, .. } => Some(object.clone()),
        crate::Write::Delete { .. } => None,
    });
    plan.writes.extend(write);
    Tended {
        node: now.unwrap_or_else(|| node.clone()),
        health,
        since,
    }
}

fn mark_silent(node: &mut Draft, now: Millis) {
    let status = &mut node.value["status"];
    let known = condition::find(status, "Ready").is_some();
    let (reason, message) = if known {
        (
            "NodeStatusUnknown",
            "The node's agent stopped sending heartbeats.",
        )
    } else {
        (
            "NodeStatusNeverUpdated",
            "The node's agent never sent a heartbeat.",
        )
    };
    let unknown = Condition {
        kind: "Ready",
        status: "Unknown",
        reason,
        message,
    };
    condition::set(status, &unknown, now);
}
