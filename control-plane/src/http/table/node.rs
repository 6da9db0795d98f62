//! The row of a node.

use serde_json::Value;

use super::Show::{Always, Wide};
use super::{AGE, Column, NAME, at, condition, items, or_none, text};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    ("Status", "string", Always),
    ("Roles", "string", Always),
    AGE,
    ("Version", "string", Always),
    ("Internal-IP", "string", Wide),
    ("External-IP", "string", Wide),
    ("OS-Image", "string", Wide),
    ("Kernel-Version", "string", Wide),
    ("Container-Runtime", "string", Wide),
];

pub(super) fn cells(node: &Value, name: &str, age: String) -> Vec<Value> {
    let info = at(node, "/status/nodeInfo");
    let known = |field: &str| match text(&info[field]) {
        "" => "<unknown>".into(),
        text => text.into(),
    };
    vec![
        name.into(),
        status(node).into(),
        or_none(&roles(node)).into(),
        age.into(),
        text(&info["kubeletVersion"]).into(),
        or_none(address(node, "InternalIP")).into(),
        or_none(address(node, "ExternalIP")).into(),
        known("osImage"),
        known("kernelVersion"),
        known("containerRuntimeVersion"),
    ]
}

fn status(node: &Value) -> String {
    let ready = match condition(node, "Ready").map(|condition| text(&condition["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let cordoned = at(node, "/spec/unschedulable") == true;
    format!(
        "{ready}{}",
        if cordoned { ",SchedulingDisabled" } else { "" }
    )
}

/// The roles that labels give, by name.
fn roles(node: &Value) -> String {
    let labels = at(node, "/metadata/labels")
        .as_object()
        .into_iter()
        .flatten();
    let mut roles: Vec<&str> = labels
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                Some(role) => Some(role),
                None => (key == "kubernetes.io/role").then(|| text(value)),
            },
        )
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    roles.join(",")
}

fn address<'a>(node: &'a Value, of: &str) -> &'a str {
    let found = items(at(node, "/status/addresses")).find(|address| address["type"] == of);
    found.map_or("", |address| text(&address["address"]))
}
