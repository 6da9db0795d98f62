//! The `binding` subresource: the scheduler's assignment of a pod to a node, once and for all.

use serde_json::{Value, json};
use skiff_api::{Kind, Object, Status};

use super::field::{At, Errors};
use super::identity::check_same_life;
use super::{Request, entry, finish, map};

/// Binds a pod to the node that a `v1 Binding` names.
///
/// # Errors
/// 422 if the binding names no node, 409 if it names another life of the pod, or if the pod is
/// bound or being deleted.
pub fn bind(pod: &Object, binding: &Value, request: &Request<'_>) -> Result<Object, Status> {
    let key = pod.key();
    check_same_life(pod, binding)?;
    let at = At::root(binding);
    let target = at.field("target");
    let mut errors = Errors::default();
    let (kind, node) = (target.field("kind"), target.field("name"));
    if !matches!(kind.text(), "" | "Node") {
        errors.not_supported(&kind, &["Node", "<empty>"]);
    }
    if node.text().is_empty() {
        errors.required(&node, "");
    }
    errors.into_result(Kind::Pod, &key.name)?;
    if pod.meta().deletion.is_some() {
        let why = format!(
            "pod {} is being deleted, cannot be assigned to a host",
            key.name
        );
        return Err(Status::conflict(Kind::Pod, &key.name, &why));
    }
    if let Some(bound) = pod.pod().and_then(|view| view.node.as_ref()) {
        let why = format!("pod {} is already assigned to node {bound:?}", key.name);
        return Err(Status::conflict(Kind::Pod, &key.name, &why));
    }
    let mut value = pod.to_value();
    entry(&mut value, "spec").insert("nodeName".into(), node.text().into());
    let meta = at.field("metadata");
    for (name, text) in meta.field("annotations").entries() {
        let annotations = map(entry(&mut value, "metadata")
            .entry("annotations")
            .or_insert(Value::Null));
        annotations.insert(name.to_owned(), text.clone());
    }
    scheduled(&mut value, request);
    finish(value)
}

/// Sets the condition `PodScheduled`.
fn scheduled(pod: &mut Value, request: &Request<'_>) {
    let condition = json!({
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": request.stamp.at.rfc3339(),
    });
    let conditions = entry(pod, "status")
        .entry("conditions")
        .or_insert_with(|| json!([]));
    if let Some(list) = conditions.as_array_mut() {
        list.retain(|other| other.get("type") != condition.get("type"));
        list.push(condition);
    }
}
