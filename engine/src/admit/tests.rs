//! Admission by tables: what is filled in, what is refused and in which words, what may change.

mod defaults;
mod delete;
mod invalid;
mod laws;
mod network;
mod subresources;
mod updates;

use serde_json::{Value, json};
use skiff_api::{Kind, Millis, Object, Revision, Status, Uid};

use super::*;

/// 2026-11-23T01:46:49Z
const NOW: Millis = Millis(1_795_398_409_000);

fn state() -> State {
    let namespace = |name: &str, deleting: bool| {
        let mut value = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name}, "spec": {"finalizers": ["kubernetes"]}});
        if deleting {
            value["metadata"]["deletionTimestamp"] = "2026-11-23T01:46:49Z".into();
        }
        Object::from_value(value).unwrap()
    };
    State::restore(
        Revision(1),
        [
            namespace("default", false),
            namespace("shop", false),
            namespace("going", true),
        ],
    )
}

fn request(state: &State) -> Request<'_> {
    let stamp = Stamp {
        at: NOW,
        uid: Uid::from("6f1b8c1e-0000-4000-8000-000000000001"),
        suffix: "x7k2q".into(),
    };
    Request {
        state,
        stamp,
        user: "admin",
    }
}

/// Creates an object in `shop`, or cluster-wide.
fn created(kind: Kind, value: Value) -> Result<Object, Status> {
    let state = state();
    let namespace = match kind.info().scope {
        Scope::Namespaced => "shop",
        Scope::Cluster => "",
    };
    create(kind, namespace, value, &request(&state))
}

fn stored(kind: Kind, value: Value) -> Object {
    created(kind, value).unwrap().with_revision(Revision(7))
}

fn updated(old: &Object, value: Value) -> Result<Object, Status> {
    update(old, value, &request(&state()))
}

/// The least that a pod must say.
fn pod() -> Value {
    json!({"metadata": {"name": "front"}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}})
}

fn config_map() -> Value {
    json!({"metadata": {"name": "settings"}, "data": {"a": "1"}})
}

fn secret() -> Value {
    json!({"metadata": {"name": "keys"}, "data": {"a": "MQ=="}})
}

fn deployment() -> Value {
    json!({"metadata": {"name": "front"}, "spec": {
        "selector": {"matchLabels": {"app": "front"}},
        "template": {"metadata": {"labels": {"app": "front"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}})
}

/// The causes of a refusal, one a line.
fn causes(result: Result<Object, Status>) -> String {
    let status = match result {
        Ok(object) => return format!("admitted {object:?}"),
        Err(status) => status,
    };
    let details = status.details.unwrap();
    let lines: Vec<String> = details
        .causes
        .iter()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect();
    lines.join("\n")
}

/// Sets, or with null removes, what a JSON pointer names; the way there is made.
fn set(mut object: Value, path: &str, value: Value) -> Value {
    let mut at = &mut object;
    for part in path.split('/').skip(1) {
        at = match part.parse::<usize>() {
            Ok(index) if at.is_array() => {
                let list = at.as_array_mut().unwrap();
                while list.len() <= index {
                    list.push(json!({}));
                }
                &mut list[index]
            }
            _ => &mut at[part],
        };
    }
    *at = value;
    object
}
