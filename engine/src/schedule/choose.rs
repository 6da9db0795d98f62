//! The choice of nodes for the pods of one class.
//!
//! The nodes that fit wait in a heap with the best on top. After a placement only the node taken
//! is scored again, so a pod costs the logarithm of the number of nodes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::cluster::{Cluster, Node, Slot};
use super::demand::Demand;
use super::filter;
use super::score::Score;

/// The nodes that are left for the pods of a class.
pub(super) struct Choice {
    demand: Demand,
    heap: BinaryHeap<Reverse<(Score, Slot)>>,
    sisters: BTreeMap<Slot, u32>,
}

impl Choice {
    /// Filters and scores all nodes.
    pub(super) fn begin(cluster: &Cluster, demand: Demand) -> Self {
        let sisters = cluster.sisters(demand.controller.as_ref());
        let mut choice = Self {
            demand,
            heap: BinaryHeap::new(),
            sisters,
        };
        let fitting = cluster
            .slots()
            .filter(|(_, node)| filter::nature(node, &choice.demand).is_none())
            .filter_map(|(slot, node)| choice.scored(slot, node));
        // Made of the whole at once, a heap costs its length and not its length times its depth.
        choice.heap = fitting.collect::<Vec<_>>().into();
        choice
    }

    /// What the pods of the class ask for.
    pub(super) const fn demand(&self) -> &Demand {
        &self.demand
    }

    /// The best node for the next pod. It is offered again by [`Choice::placed`].
    pub(super) fn next(&mut self) -> Option<Slot> {
        self.heap.pop().map(|Reverse((_, slot))| slot)
    }

    /// Offers a node again, after a pod was placed on it.
    pub(super) fn placed(&mut self, cluster: &Cluster, slot: Slot) {
        *self.sisters.entry(slot).or_default() += 1;
        self.offer(cluster, slot);
    }

    fn offer(&mut self, cluster: &Cluster, slot: Slot) {
        let node = cluster.node(slot);
        let scored = node.and_then(|node| self.scored(slot, node));
        self.heap.extend(scored);
    }

    /// A node's entry in the heap, if the next pod fits on it.
    fn scored(&self, slot: Slot, node: &Node) -> Option<Reverse<(Score, Slot)>> {
        let sisters = self.sisters.get(&slot).copied().unwrap_or(0);
        filter::has_room(node, &self.demand)
            .then(|| Reverse((Score::of(node, &self.demand, sisters), slot)))
    }
}
