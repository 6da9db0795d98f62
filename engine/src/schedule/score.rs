//! How well a fitting node suits a pod.

use std::cmp::Reverse;
use std::sync::Arc;

use super::cluster::Node;
use super::demand::Demand;

/// A node's suitability; the smallest is the best.
///
/// What the pod prefers counts first, then that pods of one controller do not sit together, then
/// that nodes fill evenly, then the name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    preference: Reverse<i64>,
    unwelcome: usize,
    sisters: u32,
    used_per_million: i64,
    name: Arc<str>,
}

impl Score {
    /// The score of a node that has `sisters` pods of the same controller.
    pub(super) fn of(node: &Node, demand: &Demand, sisters: u32) -> Self {
        let used = node.used.plus(demand.room);
        let all = node.allocatable;
        let share = |used: i64, all: i64| used.saturating_mul(500_000) / all.max(1);
        // Bytes are counted in MiB here, so that their product with the scale stays in range.
        let memory = share(used.weight_bytes >> 20, all.memory_bytes >> 20);
        Self {
            preference: Reverse(demand.affinity.preference(&node.name, &node.labels)),
            unwelcome: demand.unwelcome(&node.taints),
            sisters,
            used_per_million: memory + share(used.weight_millicores, all.cpu_millicores),
            name: node.name.clone(),
        }
    }
}
