//! Laws that hold for every patch.

use proptest::prelude::*;

use super::*;

/// Small JSON values with few distinct keys, so that patches and objects meet.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..4i64).prop_map(Value::from),
        "[ab/~]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[abc/~]{1,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn maps() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[abc/~]{1,2}", values(), 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// The JSON patch that makes one value of another.
fn diff(path: &str, from: &Value, to: &Value, out: &mut Vec<Value>) {
    if from == to {
        return;
    }
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        out.push(json!({"op": "replace", "path": path, "value": to}));
        return;
    };
    let below = |key: &str| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        out.push(json!({"op": "remove", "path": below(key)}));
    }
    for (key, value) in to {
        match from.get(key) {
            Some(old) => diff(&below(key), old, value, out),
            None => out.push(json!({"op": "add", "path": below(key), "value": value})),
        }
    }
}

proptest! {
    #[test]
    fn a_merge_patch_applied_twice_is_applied_once(object in maps(), patch in maps()) {
        let once = merge_patch(object, patch.clone()).unwrap();
        prop_assert_eq!(merge_patch(once.clone(), patch).unwrap(), once);
    }

    #[test]
    fn a_json_patch_of_the_difference_makes_the_other(from in values(), to in values()) {
        let mut patch = Vec::new();
        diff("", &from, &to, &mut patch);
        prop_assert_eq!(json_patch(from, Value::Array(patch)).unwrap(), to);
    }

    #[test]
    fn without_special_lists_a_strategic_patch_is_a_merge_patch(
        mut object in maps(), patch in maps(),
    ) {
        strip_nulls(&mut object);
        let mut expected = merge_patch(object.clone(), patch.clone()).unwrap();
        strip_nulls(&mut expected);
        let mut found = merged(Kind::ConfigMap, object, patch).unwrap();
        strip_nulls(&mut found);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn no_patch_panics(object in maps(), patch in values()) {
        for dialect in [Dialect::Json, Dialect::Merge, Dialect::Strategic] {
            let object = json!({"metadata": object, "spec": {"containers": [{"name": "a"}]}});
            let outcome = apply(dialect, Kind::Pod, object, json!({"metadata": patch, "spec": patch}));
            prop_assert!(outcome.is_ok() || outcome.is_err());
        }
    }
}

/// Nulls inside of lists are kept by both dialects, in maps only where nothing was merged.
fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(strip_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
