//! What the servers are told about a pod: its status, from what is desired and what exists.
//! Pure, like `plan`; what the agent does not own in a status is handed back as it was.

mod containers;
mod phase;
pub mod qos;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_api::Millis;
use skiff_api::k8s_openapi::api::core::v1::{HostIP, PodCondition, PodIP, PodStatus};
use skiff_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::memory::{Failures, Health, LastWords};
use crate::pod::{DesiredPod, Role};
use crate::sight::Sight;

/// Everything that a status rests on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The pod as the servers have it.
    pub pod: &'a DesiredPod,
    /// What exists of it.
    pub sight: &'a Sight,
    /// Starts that failed.
    pub failures: &'a Failures,
    /// The verdicts of probes.
    pub health: &'a Health,
    /// What its dead containers said last.
    pub last_words: &'a LastWords,
    /// The node's own address.
    pub node_ip: Option<IpAddr>,
    /// The scheme of container ids: the runtime's name.
    pub scheme: &'a str,
    /// The machine's clock.
    pub now: Millis,
}

/// The status of a pod.
#[must_use]
pub fn status(facts: &Facts<'_>) -> PodStatus {
    let old = facts.pod.wire.status.clone().unwrap_or_default();
    let reported = containers::report(facts);
    let (phase, cause) = phase::of(facts, &reported);
    let (inits, mains): (Vec<_>, Vec<_>) = reported
        .into_iter()
        .partition(|container| container.role != Role::Main);
    let ready = mains.iter().all(|container| container.status.ready)
        && inits
            .iter()
            .filter(|c| c.role == Role::Sidecar)
            .all(|c| c.status.ready);
    let initialized = inits.iter().all(|container| match container.role {
        Role::Init => container.has_succeeded(),
        Role::Sidecar => container.status.started.unwrap_or(false),
        Role::Main => true,
    }) || mains
        .iter()
        .any(|container| container.status.container_id.is_some());
    let conditions = conditions(&old, phase, initialized, ready, facts.now);
    let statuses = |list: Vec<containers::Reported>| {
        (!list.is_empty()).then(|| list.into_iter().map(|container| container.status).collect())
    };
    let node_ip = facts
        .node_ip
        .map(|ip| ip.to_string())
        .or_else(|| old.host_ip.clone());
    let pod_ip = pod_ip(facts).or_else(|| old.pod_ip.clone());
    PodStatus {
        phase: Some(phase.into()),
        reason: cause.reason,
        message: cause.message,
        conditions: Some(conditions),
        init_container_statuses: statuses(inits),
        container_statuses: statuses(mains),
        host_ips: node_ip.clone().map(|ip| vec![HostIP { ip }]),
        host_ip: node_ip,
        pod_ips: pod_ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip,
        start_time: old.start_time.clone().or_else(|| Some(time(facts.now))),
        qos_class: Some(qos::class(&facts.pod.spec()).into()),
        ..old
    }
}

/// The body of the merge patch that brings a status to the servers. The uid makes it miss a new
/// pod of the same name; what the status no longer has is nulled.
#[must_use]
pub fn patch(uid: &str, status: &PodStatus) -> Value {
    let mut status = json!(status);
    if let Value::Object(fields) = &mut status {
        for name in ["reason", "message"] {
            fields.entry(name).or_insert(Value::Null);
        }
    }
    json!({"metadata": {"uid": uid}, "status": status})
}

fn pod_ip(facts: &Facts<'_>) -> Option<String> {
    let sandbox = facts.sight.sandbox()?;
    let ip = if sandbox.host_network {
        facts.node_ip
    } else {
        sandbox.ip
    };
    ip.map(|ip| ip.to_string())
}

/// The four conditions that the agent keeps, beside those that others keep.
fn conditions(
    old: &PodStatus,
    phase: &str,
    initialized: bool,
    ready: bool,
    now: Millis,
) -> Vec<PodCondition> {
    let over = match phase {
        "Succeeded" => Some("PodCompleted"),
        "Failed" => Some("PodFailed"),
        _ => None,
    };
    let unready = over.unwrap_or("ContainersNotReady");
    let initialized = initialized || phase == "Succeeded";
    let wanted = [
        ("Initialized", initialized, "ContainersNotInitialized"),
        ("Ready", ready && over.is_none(), unready),
        ("ContainersReady", ready && over.is_none(), unready),
        ("PodScheduled", true, ""),
    ];
    let mut conditions: Vec<PodCondition> = old.conditions.clone().unwrap_or_default();
    for (type_, holds, reason) in wanted {
        let reason = (!holds).then(|| reason.to_owned());
        let status = if holds { "True" } else { "False" };
        match conditions
            .iter_mut()
            .find(|condition| condition.type_ == type_)
        {
            Some(condition) if condition.status == status => condition.reason = reason,
            Some(condition) => {
                *condition = PodCondition {
                    status: status.into(),
                    reason,
                    message: None,
                    last_transition_time: Some(time(now)),
                    ..condition.clone()
                };
            }
            None => conditions.push(PodCondition {
                type_: type_.into(),
                status: status.into(),
                reason,
                last_transition_time: Some(time(now)),
                ..PodCondition::default()
            }),
        }
    }
    conditions
}

/// A time as the wire carries it: whole seconds.
fn time(at: Millis) -> Time {
    Time(Timestamp::from_second(at.0.div_euclid(1000)).unwrap_or(Timestamp::UNIX_EPOCH))
}
