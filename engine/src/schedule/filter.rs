//! Which nodes a pod fits on, and for each other one why not.

use super::cluster::{Cluster, Node};
use super::demand::{Demand, Room};
use super::verdict::{Unfit, Verdict};

/// Whether a node's nature admits the pod, whatever else runs there: the same for all pods of a
/// class and for the whole batch.
pub(super) fn nature(node: &Node, demand: &Demand) -> Option<Unfit> {
    if node.unschedulable && !demand.ignores_cordon() {
        return Some(Unfit::Unschedulable);
    }
    if let Some(taint) = demand.kept_off(&node.taints) {
        let (key, value) = (taint.key.clone(), taint.value.clone());
        return Some(Unfit::Taint { key, value });
    }
    (!demand.affinity.admits(&node.name, &node.labels)).then_some(Unfit::Affinity)
}

/// Whether what is left of a node is enough for the pod. Called for every node and pod: no
/// allocation.
pub(super) fn has_room(node: &Node, demand: &Demand) -> bool {
    let free = node.allocatable.minus(node.used);
    let Room {
        cpu_millicores,
        memory_bytes,
        storage_bytes,
        pods,
        ..
    } = demand.room;
    free.pods >= pods
        && fits(cpu_millicores, free.cpu_millicores)
        && fits(memory_bytes, free.memory_bytes)
        && fits(storage_bytes, free.storage_bytes)
        && !node.takes_any(&demand.ports)
}

/// What is not asked for fits even where too much is taken.
const fn fits(wanted: i64, free: i64) -> bool {
    wanted <= 0 || wanted <= free
}

/// What every node says to a pod.
pub(super) fn verdicts(cluster: &Cluster, demand: &Demand) -> Vec<Verdict> {
    cluster
        .by_name()
        .map(|node| {
            let unfit = nature(node, demand).map_or_else(|| shortages(node, demand), |no| vec![no]);
            Verdict {
                node: node.name.clone(),
                unfit,
            }
        })
        .collect()
}

/// What a node has too little of.
fn shortages(node: &Node, demand: &Demand) -> Vec<Unfit> {
    if node.takes_any(&demand.ports) {
        return vec![Unfit::Ports];
    }
    let free = node.allocatable.minus(node.used);
    let many = (free.pods < demand.room.pods).then_some(Unfit::TooManyPods);
    let amounts = [
        ("cpu", demand.room.cpu_millicores, free.cpu_millicores),
        ("memory", demand.room.memory_bytes, free.memory_bytes),
        (
            "ephemeral-storage",
            demand.room.storage_bytes,
            free.storage_bytes,
        ),
    ];
    let short = amounts
        .into_iter()
        .filter(|(_, wanted, free)| !fits(*wanted, *free));
    let short = short.map(|(resource, wanted, free)| Unfit::Insufficient {
        resource,
        wanted,
        free,
    });
    many.into_iter().chain(short).collect()
}
