//! Objects that several suites start from.

use serde_json::{Value, json};

/// An image with a shell and a few tools, made by [`crate::docker::Engine::busybox_image`].
pub const BUSYBOX: &str = "skiff-test/busybox:1";
/// The demo shop, made by `cargo xtask image`.
pub const SHOP: &str = "skiff/shop:v1";
/// An image that can be pulled from nowhere: nobody listens at its registry.
pub const NO_IMAGE: &str = "127.0.0.1:1/absent:1";

/// A pod that runs a shell script, and ends at once when asked to.
#[must_use]
pub fn pod(name: &str, script: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": pod_spec(script),
    })
}

/// A Deployment whose pods, labelled `app=NAME`, run a shell script.
#[must_use]
pub fn deployment(name: &str, replicas: u32, script: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec(script)},
        },
    })
}

/// A `ConfigMap` with one value.
#[must_use]
pub fn config_map(name: &str, key: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {key: value},
    })
}

/// What stays up until it is stopped.
pub const FOREVER: &str = "exec sleep 86400";

fn pod_spec(script: &str) -> Value {
    json!({
        // A shell as a container's first process ignores SIGTERM.
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": BUSYBOX, "command": ["/bin/sh", "-c", script]}],
    })
}
