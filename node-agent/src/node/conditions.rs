//! The node's conditions, in Kubernetes' words. Pure.

use serde_json::{Value, json};
use skiff_api::Millis;

use super::Pressure;
use crate::network::NetworkState;
use crate::reconcile::EngineState;

/// What conditions are about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// How the engine is.
    pub engine: EngineState,
    /// How the pod network is.
    pub network: NetworkState,
    /// What is short on the machine.
    pub pressure: Pressure,
}

/// A condition as it should be.
struct Wanted {
    type_: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

/// All conditions, if one of the agent's own is not as it should be; those of others stay.
pub(super) fn conditions(health: &Health, found: &Value, now: Millis) -> Option<Value> {
    let mut all: Vec<Value> = found.as_array().cloned().unwrap_or_default();
    let mut changed = false;
    for wanted in wanted(health) {
        let old = all
            .iter_mut()
            .find(|condition| condition["type"] == wanted.type_);
        let status = if wanted.holds { "True" } else { "False" };
        let since = match &old {
            Some(old) if old["status"] == status => old["lastTransitionTime"].clone(),
            Some(_) | None => json!(now.rfc3339()),
        };
        let is_so = old.as_ref().is_some_and(|old| {
            old["status"] == status
                && old["reason"] == wanted.reason
                && old["message"] == *wanted.message
        });
        if is_so {
            continue;
        }
        changed = true;
        let condition = json!({
            "type": wanted.type_,
            "status": status,
            "reason": wanted.reason,
            "message": wanted.message,
            "lastHeartbeatTime": now.rfc3339(),
            "lastTransitionTime": since,
        });
        match old {
            Some(old) => *old = condition,
            None => all.push(condition),
        }
    }
    changed.then_some(Value::Array(all))
}

fn wanted(health: &Health) -> [Wanted; 5] {
    let pressure = health.pressure;
    let (memory_reason, memory) = match pressure.memory {
        true => (
            "KubeletHasInsufficientMemory",
            "kubelet has insufficient memory available",
        ),
        false => (
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
    };
    let (disk_reason, disk) = match pressure.disk {
        true => ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        false => ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    };
    let (ready, ready_reason, ready_message) = match &health.engine {
        Some(Ok(())) => (
            true,
            "KubeletReady",
            "kubelet is posting ready status".to_owned(),
        ),
        Some(Err(error)) => (
            false,
            "KubeletNotReady",
            format!("container runtime is down: {error}"),
        ),
        None => (
            false,
            "KubeletNotReady",
            "the container runtime was not asked yet".to_owned(),
        ),
    };
    let (no_network, network_reason, network) = health.network.unavailable();
    let wanted = |type_, holds, reason, message| Wanted {
        type_,
        holds,
        reason,
        message,
    };
    let pids = "kubelet has sufficient PID available".to_owned();
    [
        wanted(
            "MemoryPressure",
            pressure.memory,
            memory_reason,
            memory.to_owned(),
        ),
        wanted("DiskPressure", pressure.disk, disk_reason, disk.to_owned()),
        wanted("PIDPressure", false, "KubeletHasSufficientPID", pids),
        wanted("Ready", ready, ready_reason, ready_message),
        wanted("NetworkUnavailable", no_network, network_reason, network),
    ]
}
