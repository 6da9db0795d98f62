//! A heartbeat as the Lease that a kubelet would write.

use serde_json::json;
use skiff_api::{Millis, Object};

/// How long a lease holds, in seconds: the time after which a silent node is taken for lost.
const DURATION_SECONDS: i64 = 4;

pub(super) fn of(node: &str, heard: Millis) -> Option<Object> {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": node, "namespace": "kube-node-lease"},
        "spec": {
            "holderIdentity": node,
            "leaseDurationSeconds": DURATION_SECONDS,
            "renewTime": heard.rfc3339_micro(),
        },
    });
    Object::from_value(lease).ok()
}
