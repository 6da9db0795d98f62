//! `describe deployment` and `describe replicaset`.

use serde_json::Value;
use skiff_api::{Kind, LabelSelector};
use skiff_client::ListOptions;

use super::sheet::Sheet;
use super::template;
use crate::connect::Cluster;
use crate::error::CliError;
use crate::json;
use crate::jsonpath::shown;

/// The ReplicaSets of a Deployment.
pub(super) async fn replica_sets(
    cluster: &Cluster,
    deployment: &Value,
) -> Result<Vec<Value>, CliError> {
    owned(cluster, deployment, Kind::ReplicaSet).await
}

/// The pods of a ReplicaSet.
pub(super) async fn pods(cluster: &Cluster, set: &Value) -> Result<Vec<Value>, CliError> {
    owned(cluster, set, Kind::Pod).await
}

async fn owned(cluster: &Cluster, owner: &Value, kind: Kind) -> Result<Vec<Value>, CliError> {
    let namespace = Some(json::namespace(owner));
    let options = ListOptions::labels(selector(owner));
    let mut found = cluster
        .client
        .list::<Value>(kind, namespace, &options)
        .await?
        .items;
    found.retain(|object| json::controls(owner, object));
    Ok(found)
}

/// The selector in the form of a query; one that cannot be read selects by nothing.
fn selector(object: &Value) -> String {
    let selector = object.pointer("/spec/selector").unwrap_or(&Value::Null);
    LabelSelector::from_json(selector)
        .map(|selector| selector.to_string())
        .unwrap_or_default()
}

pub(super) fn deployment(object: &Value, sets: &[Value], sheet: &mut Sheet) {
    head(object, sheet);
    let status = |field: &str| json::int(object, &format!("/status/{field}"));
    let wanted = object
        .pointer("/spec/replicas")
        .and_then(Value::as_i64)
        .unwrap_or(1);
    let counts = format!(
        "{wanted} desired | {} updated | {} total | {} available | {} unavailable",
        status("updatedReplicas"),
        status("replicas"),
        status("availableReplicas"),
        status("unavailableReplicas"),
    );
    sheet.field(0, "Replicas", &counts);
    sheet.field(0, "StrategyType", json::text(object, "/spec/strategy/type"));
    sheet.field(
        0,
        "MinReadySeconds",
        &json::int(object, "/spec/minReadySeconds").to_string(),
    );
    if let Some(rolling) = object.pointer("/spec/strategy/rollingUpdate") {
        let at = |pointer: &str| rolling.pointer(pointer).map(shown).unwrap_or_default();
        let text = format!(
            "{} max unavailable, {} max surge",
            at("/maxUnavailable"),
            at("/maxSurge")
        );
        sheet.field(0, "RollingUpdateStrategy", &text);
    }
    pod_template(object, sheet);
    let columns = [
        ("Type", "type"),
        ("Status", "status"),
        ("Reason", "reason"),
        ("Message", "message"),
    ];
    sheet.conditions(object, &columns);
    let revision = json::annotation(object, "deployment.kubernetes.io/revision");
    let (new, old): (Vec<&Value>, Vec<&Value>) = sets
        .iter()
        .partition(|set| json::annotation(set, "deployment.kubernetes.io/revision") == revision);
    for (name, sets) in [("OldReplicaSets", old), ("NewReplicaSet", new)] {
        let texts = sets.into_iter().map(|set| {
            let (created, wanted) = (
                json::int(set, "/status/replicas"),
                json::int(set, "/spec/replicas"),
            );
            format!("{} ({created}/{wanted} replicas created)", json::name(set))
        });
        sheet.list(0, name, texts.collect());
    }
}

pub(super) fn replica_set(object: &Value, pods: &[Value], sheet: &mut Sheet) {
    head(object, sheet);
    if let Some((kind, name)) = json::controller(object) {
        sheet.field(0, "Controlled By", &format!("{kind}/{name}"));
    }
    let current = json::int(object, "/status/replicas");
    let wanted = json::int(object, "/spec/replicas");
    sheet.field(
        0,
        "Replicas",
        &format!("{current} current / {wanted} desired"),
    );
    let in_phase = |phase: &str| {
        pods.iter()
            .filter(|pod| json::text(pod, "/status/phase") == phase)
            .count()
    };
    let counts = format!(
        "{} Running / {} Waiting / {} Succeeded / {} Failed",
        in_phase("Running"),
        in_phase("Pending"),
        in_phase("Succeeded"),
        in_phase("Failed"),
    );
    sheet.field(0, "Pods Status", &counts);
    pod_template(object, sheet);
    let columns = [
        ("Type", "type"),
        ("Status", "status"),
        ("Reason", "reason"),
        ("Message", "message"),
    ];
    sheet.conditions(object, &columns);
}

fn head(object: &Value, sheet: &mut Sheet) {
    sheet.field(0, "Name", json::name(object));
    sheet.field(0, "Namespace", json::namespace(object));
    sheet.field(
        0,
        "CreationTimestamp",
        json::text(object, "/metadata/creationTimestamp"),
    );
    sheet.map("Labels", object, "/metadata/labels", "=");
    sheet.map("Annotations", object, "/metadata/annotations", ": ");
    sheet.field(0, "Selector", &selector(object));
}

fn pod_template(object: &Value, sheet: &mut Sheet) {
    sheet.heading(0, "Pod Template");
    let labels = json::entries(object, "/spec/template/metadata/labels")
        .map(|(key, value)| format!("{key}={}", shown(value)))
        .collect();
    sheet.list(1, "Labels", labels);
    let empty = Value::Null;
    let spec = object.pointer("/spec/template/spec").unwrap_or(&empty);
    template::containers(spec, &empty, 1, sheet);
    template::volumes(spec, 1, sheet);
}
