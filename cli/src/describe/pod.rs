//! `describe pod`.

use serde_json::Value;

use super::sheet::Sheet;
use super::template;
use crate::json;

/// Seconds that a toleration lasts, or its effect for ever.
fn toleration(item: &Value) -> String {
    let at = |pointer: &str| json::text(item, pointer);
    let (key, value, effect) = (at("/key"), at("/value"), at("/effect"));
    let mut text = key.to_owned();
    if !value.is_empty() {
        text.push_str(&format!("={value}"));
    }
    if !effect.is_empty() {
        text.push_str(&format!(":{effect}"));
    }
    if at("/operator") == "Exists" {
        text.push_str(" op=Exists");
    }
    if let Some(seconds) = item.pointer("/tolerationSeconds").and_then(Value::as_i64) {
        text.push_str(&format!(" for {seconds}s"));
    }
    text
}

pub(super) fn describe(pod: &Value, sheet: &mut Sheet) {
    let at = |pointer: &str| json::text(pod, pointer);
    sheet.field(0, "Name", json::name(pod));
    sheet.field(0, "Namespace", json::namespace(pod));
    sheet.field(0, "Priority", &json::int(pod, "/spec/priority").to_string());
    let account = at("/spec/serviceAccountName");
    sheet.field(
        0,
        "Service Account",
        if account.is_empty() {
            "default"
        } else {
            account
        },
    );
    let (node, host) = (at("/spec/nodeName"), at("/status/hostIP"));
    let slash = if host.is_empty() { "" } else { "/" };
    sheet.field(0, "Node", &format!("{node}{slash}{host}"));
    sheet.field_opt(0, "Start Time", at("/status/startTime"));
    sheet.map("Labels", pod, "/metadata/labels", "=");
    sheet.map("Annotations", pod, "/metadata/annotations", ": ");
    let deleted = at("/metadata/deletionTimestamp");
    if deleted.is_empty() {
        sheet.field(0, "Status", at("/status/phase"));
    } else {
        let grace = json::int(pod, "/metadata/deletionGracePeriodSeconds");
        sheet.field(0, "Status", &format!("Terminating (by {deleted})"));
        sheet.field(0, "Termination Grace Period", &format!("{grace}s"));
    }
    sheet.field_opt(0, "Reason", at("/status/reason"));
    sheet.field_opt(0, "Message", at("/status/message"));
    sheet.field(0, "IP", at("/status/podIP"));
    if let Some((kind, name)) = json::controller(pod) {
        sheet.field(0, "Controlled By", &format!("{kind}/{name}"));
    }
    let empty = Value::Null;
    let spec = pod.get("spec").unwrap_or(&empty);
    template::containers(spec, pod.get("status").unwrap_or(&empty), 0, sheet);
    let columns = [
        ("Type", "type"),
        ("Status", "status"),
        ("Reason", "reason"),
        ("Message", "message"),
    ];
    sheet.conditions(pod, &columns);
    template::volumes(spec, 0, sheet);
    sheet.field(0, "QoS Class", at("/status/qosClass"));
    sheet.map("Node-Selectors", pod, "/spec/nodeSelector", "=");
    let tolerations = json::items(pod, "/spec/tolerations")
        .iter()
        .map(toleration)
        .collect();
    sheet.list(0, "Tolerations", tolerations);
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use skiff_api::Millis;
    use snapbox::{assert_data_eq, str};

    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "one pod and all that is said of it")]
    fn a_pod_is_described_as_kubectl_does() {
        let pod = json!({
            "metadata": {"name": "front-1", "namespace": "shop", "labels": {"app": "front", "x": "y"},
                "ownerReferences": [{"controller": true, "kind": "ReplicaSet", "name": "front"}]},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "front:1",
                "ports": [{"containerPort": 80}],
                "env": [{"name": "A", "value": "b"}, {"name": "S",
                    "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 80}},
                "volumeMounts": [{"name": "v", "mountPath": "/data"}]}],
                "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}]},
            "status": {"phase": "Running", "hostIP": "10.0.0.1", "podIP": "10.42.0.7",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"name": "c", "ready": true, "restartCount": 1,
                    "containerID": "docker://abc", "imageID": "sha256:def",
                    "state": {"running": {"startedAt": "2026-11-23T01:00:00Z"}},
                    "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}}]},
        });
        let events = [
            json!({"type": "Normal", "reason": "Started", "message": "Started container c",
            "lastTimestamp": "2026-11-23T01:00:00Z", "source": {"component": "skiff-agent"}}),
        ];
        let mut sheet = Sheet::default();
        describe(&pod, &mut sheet);
        sheet.events(&events, Millis::parse("2026-11-23T01:01:00Z").unwrap());
        assert_data_eq!(
            sheet.text(),
            str![[r#"
Name:             front-1
Namespace:        shop
Priority:         0
Service Account:  default
Node:             n1/10.0.0.1
Labels:           app=front
                  x=y
Annotations:      <none>
Status:           Running
IP:               10.42.0.7
Controlled By:    ReplicaSet/front
Containers:
  c:
    Container ID:   docker://abc
    Image:          front:1
    Image ID:       sha256:def
    Ports:          80/TCP
    Host Ports:     0/TCP
    State:          Running
      Started:    2026-11-23T01:00:00Z
    Last State:     Terminated
      Reason:     Error
      Exit Code:  3
    Ready:          True
    Restart Count:  1
    Readiness:      http-get http://:80/ready delay=0s timeout=1s period=10s #success=1 #failure=3
    Environment:    A: b
                    S: <set to the key 'k' in secret 's'>
    Mounts:         /data from v (rw)
Conditions:
  Type    Status   Reason   Message
  ----    ------   ------   -------
  Ready   True
Volumes:
  v:
    Type:    emptyDir
    medium:  Memory
QoS Class:       <none>
Node-Selectors:  <none>
Tolerations:     <none>
Events:
  Type     Reason    Age   From          Message
  ----     ------    ---   ----          -------
  Normal   Started   60s   skiff-agent   Started container c

"#]]
        );
    }
}
