//! The identity of a pod template: its hash, and whether a ReplicaSet has it.

use serde_json::Value;

use crate::stamp::{digest, letters};

/// The label that tells the pods of one template from those of the next.
pub(super) const HASH_LABEL: &str = "pod-template-hash";
/// Letters of a hash, as many as Kubernetes writes.
const HASH_LETTERS: usize = 10;

/// The name suffix of a template's ReplicaSet. Another `collisions` gives another one.
pub(super) fn hash(template: &Value, collisions: i64) -> String {
    let text = canonical(template).to_string();
    letters(
        digest([text.as_bytes(), &collisions.to_le_bytes()]),
        HASH_LETTERS,
    )
}

/// Whether two templates make the same pods, the hash label aside.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    canonical(one) == canonical(other)
}

/// The template without the hash label and without what says nothing: nulls, empty maps and lists.
fn canonical(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove(HASH_LABEL);
    }
    prune(&mut template);
    template
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(prune);
            map.retain(|_, value| !says_nothing(value));
        }
        Value::Array(list) => list.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn templates_are_the_same_if_they_make_the_same_pods() {
        let base = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}});
        let cases = [
            (
                "itself",
                json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}),
                true,
            ),
            (
                "with the hash label",
                json!({"metadata": {"labels": {"app": "web", HASH_LABEL: "h"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}),
                true,
            ),
            (
                "with empty fields",
                json!({"metadata": {"creationTimestamp": null, "labels": {"app": "web"}}, "spec": {"securityContext": {}, "containers": [{"name": "a", "image": "x", "resources": {}}]}}),
                true,
            ),
            (
                "another image",
                json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "y"}]}}),
                false,
            ),
            (
                "another annotation",
                json!({"metadata": {"annotations": {"restartedAt": "1"}, "labels": {"app": "web"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}),
                false,
            ),
        ];
        for (name, other, expected) in cases {
            assert_eq!(same(&base, &other), expected, "{name}");
            assert_eq!(hash(&base, 0) == hash(&other, 0), expected, "{name}");
        }
        assert_ne!(
            hash(&base, 0),
            hash(&base, 1),
            "a collision gives another name"
        );
    }
}
