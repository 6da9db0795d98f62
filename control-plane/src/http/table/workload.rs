//! The rows of what makes pods: Deployments and ReplicaSets.

use serde_json::Value;

use super::Show::Always;
use super::{AGE, CONTAINERS, Column, IMAGES, NAME, SELECTOR, at, items, number, selector, text};

pub(super) const DEPLOYMENT_COLUMNS: &[Column] = &[
    NAME,
    ("Ready", "string", Always),
    ("Up-to-date", "string", Always),
    ("Available", "string", Always),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const REPLICA_SET_COLUMNS: &[Column] = &[
    NAME,
    ("Desired", "integer", Always),
    ("Current", "integer", Always),
    ("Ready", "integer", Always),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn deployment_cells(object: &Value, name: &str, age: String) -> Vec<Value> {
    let status = &object["status"];
    let ready = format!("{}/{}", number(&status["readyReplicas"]), desired(object));
    let mut cells = vec![
        name.into(),
        ready.into(),
        number(&status["updatedReplicas"]).into(),
        number(&status["availableReplicas"]).into(),
        age.into(),
    ];
    cells.extend(wide(object));
    cells
}

pub(super) fn replica_set_cells(object: &Value, name: &str, age: String) -> Vec<Value> {
    let status = &object["status"];
    let mut cells = vec![
        name.into(),
        desired(object).into(),
        number(&status["replicas"]).into(),
        number(&status["readyReplicas"]).into(),
        age.into(),
    ];
    cells.extend(wide(object));
    cells
}

fn desired(object: &Value) -> i64 {
    at(object, "/spec/replicas").as_i64().unwrap_or(1)
}

fn wide(object: &Value) -> [Value; 3] {
    let containers = at(object, "/spec/template/spec/containers");
    let each = |field: &str| {
        let texts: Vec<&str> = items(containers)
            .map(|container| text(&container[field]))
            .collect();
        Value::from(texts.join(","))
    };
    let selector = selector(at(object, "/spec/selector"));
    [each("name"), each("image"), selector.into()]
}
