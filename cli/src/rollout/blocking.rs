//! Which pod stands in the way of a workload, and why. The deciding part is pure.

use serde_json::Value;
use skiff_api::{Kind, LabelSelector};
use skiff_client::{ClientError, ListOptions};

use crate::connect::Cluster;
use crate::json;

/// The first pod, by name, that keeps a workload from being ready: `pod "x": cause`.
pub(crate) async fn first(
    cluster: &Cluster,
    kind: Kind,
    object: &Value,
) -> Result<Option<String>, ClientError> {
    if kind == Kind::Pod {
        return Ok(cause(object));
    }
    let selector = object.pointer("/spec/selector").unwrap_or(&Value::Null);
    let Ok(selector) = LabelSelector::from_json(selector) else {
        return Ok(None);
    };
    let options = ListOptions::labels(selector.to_string());
    let namespace = Some(json::namespace(object));
    let client = &cluster.client;
    let owner = if kind == Kind::Deployment {
        let sets = client
            .list::<Value>(Kind::ReplicaSet, namespace, &options)
            .await?
            .items;
        newest(object, &sets).cloned()
    } else {
        Some(object.clone())
    };
    let Some(owner) = owner else { return Ok(None) };
    let pods = client
        .list::<Value>(Kind::Pod, namespace, &options)
        .await?
        .items;
    Ok(pick(&owner, &pods))
}

/// The ReplicaSet of a Deployment's newest revision.
fn newest<'a>(deployment: &Value, sets: &'a [Value]) -> Option<&'a Value> {
    sets.iter()
        .filter(|set| json::controls(deployment, set))
        .max_by_key(|set| {
            json::annotation(set, super::history::REVISION)
                .parse::<u64>()
                .unwrap_or(0)
        })
}

/// The first pod of a ReplicaSet that is not ready, and why.
fn pick(owner: &Value, pods: &[Value]) -> Option<String> {
    let mut owned: Vec<&Value> = pods
        .iter()
        .filter(|pod| json::controls(owner, pod))
        .collect();
    owned.sort_by_key(|pod| json::name(pod));
    owned.into_iter().find_map(cause)
}

/// Why a pod is not ready: `pod "x": ImagePullBackOff: …`; `None` if it is.
pub(crate) fn cause(pod: &Value) -> Option<String> {
    let is = |kind: &str, status: &str| {
        json::condition(pod, kind).filter(|c| json::text(c, "/status") == status)
    };
    if is("Ready", "True").is_some() || json::text(pod, "/status/phase") == "Succeeded" {
        return None;
    }
    let why = if let Some(condition) = is("PodScheduled", "False") {
        says(
            json::text(condition, "/reason"),
            json::text(condition, "/message"),
        )
    } else if let Some(text) = container_cause(pod) {
        text
    } else if let Some(condition) = is("Ready", "False") {
        says(
            json::text(condition, "/reason"),
            json::text(condition, "/message"),
        )
    } else {
        says(
            json::text(pod, "/status/reason"),
            json::text(pod, "/status/message"),
        )
    };
    let why = if why.is_empty() {
        "not ready yet".to_owned()
    } else {
        why
    };
    Some(format!("pod {:?}: {why}", json::name(pod)))
}

/// What keeps the first container that is kept from running.
fn container_cause(pod: &Value) -> Option<String> {
    let kinds = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let containers = kinds.iter().flat_map(|kind| json::items(pod, kind));
    containers.into_iter().find_map(|container| {
        let name = json::text(container, "/name");
        let waiting = json::text(container, "/state/waiting/reason");
        if !waiting.is_empty() && waiting != "PodInitializing" && waiting != "ContainerCreating" {
            let message = json::text(container, "/state/waiting/message");
            let last = json::text(container, "/lastState/terminated/message");
            let text = if last.is_empty() {
                message.to_owned()
            } else {
                format!("{message}: {last}")
            };
            return Some(format!("container {name:?}: {}", says(waiting, &text)));
        }
        let code = container
            .pointer("/state/terminated/exitCode")
            .and_then(Value::as_i64);
        let reason = json::text(container, "/state/terminated/reason");
        code.filter(|code| *code != 0)
            .map(|code| format!("container {name:?}: {reason} (exit code {code})"))
    })
}

fn says(reason: &str, message: &str) -> String {
    match (reason.is_empty(), message.is_empty()) {
        (true, _) => message.to_owned(),
        (false, true) => reason.to_owned(),
        (false, false) => format!("{reason}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, status: Value) -> Value {
        let owner = json!([{"controller": true, "uid": "rs"}]);
        json!({"metadata": {"name": name, "ownerReferences": owner}, "status": status})
    }

    #[test]
    fn the_first_pod_that_is_not_ready_is_named_with_its_cause() {
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        let unscheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu."}]});
        let pulling = json!({"containerStatuses": [{"name": "c",
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]});
        let crashed = json!({"containerStatuses": [{"name": "c",
            "state": {"terminated": {"reason": "Error", "exitCode": 3}}}]});
        let cases = [
            ("all ready", vec![pod("a", ready.clone())], None),
            (
                "unscheduled",
                vec![pod("b", unscheduled), pod("a", ready.clone())],
                Some("pod \"b\": Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."),
            ),
            (
                "the first by name",
                vec![pod("d", crashed.clone()), pod("c", pulling)],
                Some("pod \"c\": container \"c\": ImagePullBackOff: no such image"),
            ),
            (
                "crashed",
                vec![pod("d", crashed)],
                Some("pod \"d\": container \"c\": Error (exit code 3)"),
            ),
            (
                "nothing known",
                vec![pod("e", json!({}))],
                Some("pod \"e\": not ready yet"),
            ),
        ];
        let owner = json!({"metadata": {"uid": "rs"}});
        for (name, pods, expected) in cases {
            assert_eq!(pick(&owner, &pods).as_deref(), expected, "{name}");
        }
    }
}
