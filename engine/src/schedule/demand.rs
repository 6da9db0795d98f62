//! What a pod asks of its node: pods that ask for the same share all filter results.

use serde_json::Value;
use skiff_api::{Effect, Object, Requests, Taint, Toleration, Uid};

use super::affinity::Affinity;

/// What counts for balance when a container asks for nothing, as in Kubernetes: such pods spread.
const CPU_ASSUMED_MILLICORES: i64 = 100;
const MEMORY_ASSUMED_BYTES: i64 = 200 << 20;

/// The taint that stands for a cordon.
const CORDONED: &str = "node.kubernetes.io/unschedulable";

/// Everything about a pod that decides on which nodes it fits, and how well.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Demand {
    /// `spec.priority`: higher ones are placed first.
    pub(super) priority: i64,
    pub(super) room: Room,
    pub(super) ports: Vec<(u16, Box<str>)>,
    pub(super) affinity: Affinity,
    pub(super) tolerations: Vec<Toleration>,
    /// The pod's controller: its pods are spread over the nodes.
    pub(super) controller: Option<Uid>,
}

/// Amounts of what a node has: asked for, taken, or there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Room {
    pub(super) cpu_millicores: i64,
    pub(super) memory_bytes: i64,
    pub(super) storage_bytes: i64,
    pub(super) pods: i64,
    /// CPU as it counts for balance.
    pub(super) weight_millicores: i64,
    /// Memory as it counts for balance.
    pub(super) weight_bytes: i64,
}

impl Room {
    /// What one pod takes.
    pub(super) fn of_pod(requests: &Requests) -> Self {
        let assumed = |asked: i64, assumed: i64| if asked == 0 { assumed } else { asked };
        Self {
            cpu_millicores: requests.cpu_millicores,
            memory_bytes: requests.memory_bytes,
            storage_bytes: requests.storage_bytes,
            pods: 1,
            weight_millicores: assumed(requests.cpu_millicores, CPU_ASSUMED_MILLICORES),
            weight_bytes: assumed(requests.memory_bytes, MEMORY_ASSUMED_BYTES),
        }
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            cpu_millicores: self.cpu_millicores.saturating_add(other.cpu_millicores),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            storage_bytes: self.storage_bytes.saturating_add(other.storage_bytes),
            pods: self.pods.saturating_add(other.pods),
            weight_millicores: self
                .weight_millicores
                .saturating_add(other.weight_millicores),
            weight_bytes: self.weight_bytes.saturating_add(other.weight_bytes),
        }
    }

    pub(super) const fn minus(self, other: Self) -> Self {
        Self {
            cpu_millicores: self.cpu_millicores.saturating_sub(other.cpu_millicores),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
            storage_bytes: self.storage_bytes.saturating_sub(other.storage_bytes),
            pods: self.pods.saturating_sub(other.pods),
            weight_millicores: self
                .weight_millicores
                .saturating_sub(other.weight_millicores),
            weight_bytes: self.weight_bytes.saturating_sub(other.weight_bytes),
        }
    }
}

impl Demand {
    /// Reads a pod and its JSON.
    pub(super) fn read(pod: &Object, value: &Value) -> Self {
        let spec = &value["spec"];
        let view = pod.pod().cloned().unwrap_or_default();
        let tolerations = spec["tolerations"].as_array().into_iter().flatten();
        Self {
            priority: spec["priority"].as_i64().unwrap_or(0),
            room: Room::of_pod(&view.requests),
            ports: view.host_ports,
            affinity: Affinity::read(spec),
            tolerations: tolerations.map(Toleration::read).collect(),
            controller: pod.meta().controller().map(|owner| owner.uid.clone()),
        }
    }

    /// The first taint that keeps the pod off.
    pub(super) fn kept_off<'a>(&self, taints: &'a [Taint]) -> Option<&'a Taint> {
        taints.iter().find(|taint| match taint.effect {
            Effect::NoSchedule | Effect::NoExecute => !self.tolerates(taint),
            Effect::PreferNoSchedule => false,
        })
    }

    /// How many taints would rather have the pod elsewhere.
    pub(super) fn unwelcome(&self, taints: &[Taint]) -> usize {
        let prefer = taints
            .iter()
            .filter(|taint| taint.effect == Effect::PreferNoSchedule);
        prefer.filter(|taint| !self.tolerates(taint)).count()
    }

    /// Whether the pod may be placed on a cordoned node, as node daemons may.
    pub(super) fn ignores_cordon(&self) -> bool {
        self.tolerates(&Taint {
            key: CORDONED.into(),
            value: "".into(),
            effect: Effect::NoSchedule,
            added: None,
        })
    }

    fn tolerates(&self, taint: &Taint) -> bool {
        self.tolerations
            .iter()
            .any(|toleration| toleration.tolerates(taint))
    }
}

/// Whether a waiting pod is for this scheduler, and no gate holds it.
pub(super) fn is_ours(pod: &Value) -> bool {
    let spec = &pod["spec"];
    spec["schedulerName"]
        .as_str()
        .is_none_or(|name| name == super::NAME)
        && spec["schedulingGates"].as_array().is_none_or(Vec::is_empty)
}
