//! Rows of what was said, what is said, what is, and the patch that follows; and two laws.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// RFC 7386, to check patches by what they do.
fn apply(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut target = target.as_object().cloned().unwrap_or_default();
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            let before = target.get(key).cloned().unwrap_or(Value::Null);
            target.insert(key.clone(), super::tests::apply(&before, value));
        }
    }
    Value::Object(target)
}

fn containers(items: Value) -> Value {
    json!({"spec": {"containers": items}})
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn patches_say_what_changes() {
    let defaulted = || containers(json!([{"name": "a", "image": "x", "pullPolicy": "Always"}]));
    let cases = [
        (
            "nothing changes",
            json!({"a": 1}),
            json!({"a": 1}),
            json!({"a": 1, "b": 2}),
            json!({}),
        ),
        (
            "a value changes",
            json!({"a": 1}),
            json!({"a": 2}),
            json!({"a": 1}),
            json!({"a": 2}),
        ),
        (
            "what others changed is set back",
            json!({"a": 1}),
            json!({"a": 1}),
            json!({"a": 9}),
            json!({"a": 1}),
        ),
        (
            "what is no longer said is removed",
            json!({"a": 1, "b": 2}),
            json!({"a": 1}),
            json!({"a": 1, "b": 2, "c": 3}),
            json!({"b": null}),
        ),
        (
            "what was never said stays",
            json!({}),
            json!({"a": 1}),
            json!({"a": 1, "c": 3}),
            json!({}),
        ),
        (
            "null removes",
            json!({}),
            json!({"a": null}),
            json!({"a": 1}),
            json!({"a": null}),
        ),
        (
            "maps are merged within",
            json!({"m": {"a": 1, "b": 1}}),
            json!({"m": {"a": 2}}),
            json!({"m": {"a": 1, "b": 1, "c": 1}}),
            json!({"m": {"a": 2, "b": null}}),
        ),
        (
            "lists without names are replaced",
            json!({"l": [1]}),
            json!({"l": [1, 2]}),
            json!({"l": [1, 3]}),
            json!({"l": [1, 2]}),
        ),
        (
            "defaults in named items are no change",
            containers(json!([{"name": "a", "image": "x"}])),
            containers(json!([{"name": "a", "image": "x"}])),
            defaulted(),
            json!({}),
        ),
        (
            "a named item changes and keeps its defaults",
            containers(json!([{"name": "a", "image": "x"}])),
            containers(json!([{"name": "a", "image": "y"}])),
            defaulted(),
            containers(json!([{"name": "a", "image": "y", "pullPolicy": "Always"}])),
        ),
        (
            "a sidecar that others added stays, one that was said and is not goes",
            containers(json!([{"name": "a"}, {"name": "old"}])),
            containers(json!([{"name": "a"}])),
            containers(json!([{"name": "a"}, {"name": "old"}, {"name": "injected"}])),
            containers(json!([{"name": "a"}, {"name": "injected"}])),
        ),
        (
            "ports of one number and two protocols are replaced whole",
            json!({}),
            json!({"ports": [{"containerPort": 53}]}),
            json!({"ports": [{"containerPort": 53, "protocol": "UDP"},
                {"containerPort": 53, "protocol": "TCP"}]}),
            json!({"ports": [{"containerPort": 53}]}),
        ),
    ];
    for (name, original, modified, current, expected) in cases {
        assert_eq!(
            patch(Some(&original), &modified, &current),
            expected,
            "{name}"
        );
        let after = apply(&current, &expected);
        assert_eq!(
            patch(Some(&modified), &modified, &after),
            json!({}),
            "{name}: a second time"
        );
    }
}

#[test]
fn an_object_made_by_other_means_is_taken_over() {
    let modified = json!({"data": {"a": "1"}});
    let current = json!({"data": {"a": "0", "b": "2"}});
    assert_eq!(
        patch(None, &modified, &current),
        json!({"data": {"a": "1"}})
    );
}

#[test]
fn the_memory_is_that_of_kubectl() {
    let manifest = json!({
        "kind": "ConfigMap", "apiVersion": "v1", "data": {"b": "2", "a": "1"},
        "metadata": {"name": "settings", "namespace": "default",
            "annotations": {LAST_APPLIED: "old"}},
    });
    let expected = "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"1\",\"b\":\"2\"},\
        \"kind\":\"ConfigMap\",\"metadata\":{\"annotations\":{},\"name\":\"settings\",\
        \"namespace\":\"default\"}}\n";
    assert_eq!(remembered(&manifest), expected);
    let sent = with_memory(&manifest);
    assert_eq!(json::annotation(&sent, LAST_APPLIED), expected);
    assert_eq!(
        remembered(&sent),
        expected,
        "a memory does not remember itself"
    );
}

/// Values as they stand in manifests: maps, lists by name, other lists, scalars.
fn any_map() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        (0..3i64).prop_map(Value::from),
        "[xy]".prop_map(Value::from)
    ];
    scalar
        .prop_recursive(3, 24, 4, |inner| {
            let named =
                prop::collection::btree_map("[ab]", inner.clone(), 0..3).prop_map(|items| {
                    let item = |(name, value)| json!({"name": name, "value": value});
                    Value::Array(items.into_iter().map(item).collect())
                });
            let field = prop_oneof![
                ("[abc]", inner.clone()),
                (Just("containers".to_owned()), named),
                (
                    Just("l".to_owned()),
                    prop::collection::vec(inner, 0..3).prop_map(Value::from)
                ),
            ];
            prop::collection::vec(field, 0..4).prop_map(|fields| json!(Map::from_iter(fields)))
        })
        .prop_filter("a manifest is a map", Value::is_object)
}

proptest! {
    #[test]
    fn a_second_apply_does_nothing(original in any_map(), said in any_map(), is in any_map()) {
        let after = apply(&is, &patch(Some(&original), &said, &is));
        prop_assert_eq!(patch(Some(&said), &said, &after), json!({}));
    }

    #[test]
    fn a_new_object_is_what_is_said(said in any_map()) {
        prop_assert_eq!(apply(&json!({}), &patch(None, &said, &json!({}))), said);
    }

    #[test]
    fn a_difference_leads_from_one_to_the_other(from in any_map(), to in any_map()) {
        let patch = diff(&from, &to).unwrap_or_else(|| json!({}));
        prop_assert_eq!(apply(&from, &patch), to);
    }
}
