//! The node's object as JSON: all of it, and what differs from what the servers have. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use skiff_api::{Millis, quantity};

use super::Facts;
use super::conditions::{Health, conditions};

/// The version of Kubernetes whose agent this behaves as, and our own.
const KUBELET_VERSION: &str = concat!("v1.33.0-skiff", env!("CARGO_PKG_VERSION"));

/// The object as it is registered.
#[must_use]
pub fn object(facts: &Facts) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": facts.name,
            "labels": labels(facts),
            "annotations": annotations(facts)
                .into_iter()
                .filter_map(|(key, value)| Some((key, json!(value?))))
                .collect::<Map<_, _>>(),
        },
        "spec": {},
        "status": {},
    })
}

fn labels(facts: &Facts) -> BTreeMap<String, String> {
    let mut labels = facts.labels.clone();
    labels.insert("kubernetes.io/hostname".into(), facts.name.clone());
    labels.insert("kubernetes.io/os".into(), facts.engine.os.clone());
    labels.insert("kubernetes.io/arch".into(), facts.engine.arch.clone());
    labels
}

/// The agent's annotations; one without a value must not be there.
fn annotations(facts: &Facts) -> BTreeMap<String, Option<String>> {
    let mut annotations = facts.network.clone();
    annotations.insert("skiff.io/agent-id".into(), Some(facts.agent_id.clone()));
    annotations
}

/// The merge patch that brings the agent's labels and annotations to what they should be; none if
/// they are. What others have put there stays.
#[must_use]
pub fn changes(facts: &Facts, found: &Value) -> Option<Value> {
    let differing = |field: &str, wanted: BTreeMap<String, Option<String>>| {
        let path = format!("/metadata/{field}");
        let found = found.pointer(&path).unwrap_or(&Value::Null);
        let differing = wanted
            .into_iter()
            .filter(|(key, value)| found[key] != json!(value));
        differing
            .map(|(key, value)| (key, json!(value)))
            .collect::<Map<_, _>>()
    };
    let labels = labels(facts)
        .into_iter()
        .map(|(key, value)| (key, Some(value)));
    let labels = differing("labels", labels.collect());
    let annotations = differing("annotations", annotations(facts));
    if labels.is_empty() && annotations.is_empty() {
        return None;
    }
    Some(json!({"metadata": {"labels": labels, "annotations": annotations}}))
}

/// The merge patch that brings the status to what it should be; none if it is.
#[must_use]
pub fn status(facts: &Facts, health: &Health, found: &Value, now: Millis) -> Option<Value> {
    let resources = resources(facts);
    let mut wanted = Map::new();
    wanted.insert("capacity".into(), resources.clone());
    wanted.insert("allocatable".into(), resources);
    wanted.insert("addresses".into(), addresses(facts));
    wanted.insert("nodeInfo".into(), node_info(facts));
    wanted.insert(
        "daemonEndpoints".into(),
        json!({"kubeletEndpoint": {"Port": 0}}),
    );
    let found = &found["status"];
    wanted.retain(|field, value| found[field.as_str()] != *value);
    if let Some(conditions) = conditions(health, &found["conditions"], now) {
        wanted.insert("conditions".into(), conditions);
    }
    (!wanted.is_empty()).then(|| json!({ "status": wanted }))
}

fn resources(facts: &Facts) -> Value {
    let disk = i64::try_from(facts.disk_bytes).unwrap_or(i64::MAX);
    json!({
        "cpu": quantity::format_millicores(facts.cpu_millicores),
        "memory": kibibytes(facts.memory_bytes),
        "pods": facts.pods.to_string(),
        "ephemeral-storage": kibibytes(disk),
    })
}

/// As Kubernetes writes a node's memory.
fn kibibytes(bytes: i64) -> String {
    format!("{}Ki", bytes / 1024)
}

fn addresses(facts: &Facts) -> Value {
    let ip = facts
        .ip
        .map(|ip| json!({"type": "InternalIP", "address": ip.to_string()}));
    let hostname = json!({"type": "Hostname", "address": facts.name});
    Value::Array(ip.into_iter().chain([hostname]).collect())
}

fn node_info(facts: &Facts) -> Value {
    let engine = &facts.engine;
    json!({
        "machineID": facts.machine_id,
        "systemUUID": facts.machine_id,
        "bootID": facts.boot_id,
        "kernelVersion": engine.kernel,
        "osImage": engine.os_image,
        "containerRuntimeVersion": format!("{}://{}", engine.runtime_name, engine.version),
        "kubeletVersion": KUBELET_VERSION,
        "kubeProxyVersion": "",
        "operatingSystem": engine.os,
        "architecture": engine.arch,
    })
}
