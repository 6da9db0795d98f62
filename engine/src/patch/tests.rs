//! Tables from the RFCs and from the documented behaviour of Kubernetes, and the laws of patches.

mod laws;
mod strategic;

use serde_json::{Value, json};
use skiff_api::{Kind, Reason, Status};

use super::*;

/// Applies a strategic merge patch.
fn merged(kind: Kind, object: Value, patch: Value) -> Result<Value, PatchError> {
    apply(Dialect::Strategic, kind, object, patch)
}

fn json_patch(object: Value, patch: Value) -> Result<Value, PatchError> {
    apply(Dialect::Json, Kind::ConfigMap, object, patch)
}

fn merge_patch(object: Value, patch: Value) -> Result<Value, PatchError> {
    apply(Dialect::Merge, Kind::ConfigMap, object, patch)
}

#[test]
fn merge_patch_does_what_the_rfc_shows() {
    // The table of RFC 7386, appendix A, as far as the patch is an object.
    let cases = [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (
            json!({"a": "b"}),
            json!({"b": "c"}),
            json!({"a": "b", "b": "c"}),
        ),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (
            json!({"a": "b", "b": "c"}),
            json!({"a": null}),
            json!({"b": "c"}),
        ),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (
            json!({"a": {"b": "c"}}),
            json!({"a": {"b": "d", "c": null}}),
            json!({"a": {"b": "d"}}),
        ),
        (
            json!({"a": [{"b": "c"}]}),
            json!({"a": [1]}),
            json!({"a": [1]}),
        ),
        (
            json!({"e": null}),
            json!({"a": 1}),
            json!({"e": null, "a": 1}),
        ),
        (
            json!([1, 2]),
            json!({"a": "b", "c": null}),
            json!({"a": "b"}),
        ),
        (
            json!({}),
            json!({"a": {"bb": {"ccc": null}}}),
            json!({"a": {"bb": {}}}),
        ),
    ];
    for (object, patch, expected) in cases {
        assert_eq!(merge_patch(object, patch.clone()), Ok(expected), "{patch}");
    }
    assert!(matches!(
        merge_patch(json!({}), json!([])),
        Err(PatchError::Malformed(_))
    ));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn json_patch_does_what_the_rfc_shows() {
    let cases = [
        (
            "add a field",
            json!({"foo": "bar"}),
            json!([{"op": "add", "path": "/baz", "value": "qux"}]),
            json!({"foo": "bar", "baz": "qux"}),
        ),
        (
            "add an item",
            json!({"foo": ["bar", "baz"]}),
            json!([{"op": "add", "path": "/foo/1", "value": "qux"}]),
            json!({"foo": ["bar", "qux", "baz"]}),
        ),
        (
            "append",
            json!({"foo": ["bar"]}),
            json!([{"op": "add", "path": "/foo/-", "value": ["abc"]}]),
            json!({"foo": ["bar", ["abc"]]}),
        ),
        (
            "remove a field",
            json!({"baz": 1, "foo": 2}),
            json!([{"op": "remove", "path": "/baz"}]),
            json!({"foo": 2}),
        ),
        (
            "remove an item",
            json!({"foo": [1, 2, 3]}),
            json!([{"op": "remove", "path": "/foo/1"}]),
            json!({"foo": [1, 3]}),
        ),
        (
            "replace",
            json!({"baz": 1}),
            json!([{"op": "replace", "path": "/baz", "value": "boo"}]),
            json!({"baz": "boo"}),
        ),
        (
            "replace by null",
            json!({"baz": 1}),
            json!([{"op": "replace", "path": "/baz", "value": null}]),
            json!({"baz": null}),
        ),
        (
            "move",
            json!({"foo": {"a": 1}, "q": {}}),
            json!([{"op": "move", "from": "/foo/a", "path": "/q/b"}]),
            json!({"foo": {}, "q": {"b": 1}}),
        ),
        (
            "move an item",
            json!({"foo": [1, 2, 3]}),
            json!([{"op": "move", "from": "/foo/0", "path": "/foo/2"}]),
            json!({"foo": [2, 3, 1]}),
        ),
        (
            "copy",
            json!({"a": {"b": 1}}),
            json!([{"op": "copy", "from": "/a", "path": "/c"}]),
            json!({"a": {"b": 1}, "c": {"b": 1}}),
        ),
        (
            "test, then change",
            json!({"a": 1}),
            json!([{"op": "test", "path": "/a", "value": 1.0}, {"op": "replace", "path": "/a", "value": 2}]),
            json!({"a": 2}),
        ),
        (
            "escapes",
            json!({"a/b": 1, "m~n": 2}),
            json!([{"op": "remove", "path": "/a~1b"}, {"op": "replace", "path": "/m~0n", "value": 3}]),
            json!({"m~n": 3}),
        ),
        (
            "~01 is ~1",
            json!({"~1": 10}),
            json!([{"op": "test", "path": "/~01", "value": 10}]),
            json!({"~1": 10}),
        ),
        (
            "the whole document",
            json!({"a": 1}),
            json!([{"op": "replace", "path": "", "value": {"b": 2}}]),
            json!({"b": 2}),
        ),
        (
            "the empty key",
            json!({"": 1}),
            json!([{"op": "replace", "path": "/", "value": 2}]),
            json!({"": 2}),
        ),
        (
            "a missing value is null",
            json!({}),
            json!([{"op": "test", "path": "/a", "value": null}]),
            json!({}),
        ),
    ];
    for (name, object, patch, expected) in cases {
        assert_eq!(json_patch(object, patch), Ok(expected), "{name}");
    }
}

#[test]
fn a_json_patch_that_does_not_fit_says_where() {
    let cases = [
        (
            json!([{"op": "remove", "path": "/a/b"}]),
            "remove operation does not apply: doc is missing path: \"/a/b\": missing value",
        ),
        (
            json!([{"op": "remove", "path": "/x"}]),
            "error in remove for path: '/x': Unable to remove nonexistent key: x: missing value",
        ),
        (
            json!([{"op": "replace", "path": "/x", "value": 1}]),
            "replace operation does not apply: doc is missing key: /x: missing value",
        ),
        (
            json!([{"op": "test", "path": "/n", "value": 2}]),
            "testing value /n failed: test failed",
        ),
        (
            json!([{"op": "add", "path": "/list/7", "value": 2}]),
            "error in add for path: '/list/7': Unable to access invalid index: 7: invalid index referenced",
        ),
        (
            json!([{"op": "add", "path": "/list/01", "value": 2}]),
            "error in add for path: '/list/01': Unable to access invalid index: 01: invalid index referenced",
        ),
        (
            json!([{"op": "copy", "from": "/x", "path": "/y"}]),
            "copy operation does not apply: doc is missing from path: /x: missing value",
        ),
        (
            json!([{"op": "move", "from": "/map", "path": "/map/in"}]),
            "move operation does not apply: /map/in is inside of /map",
        ),
        (
            json!([{"op": "jump", "path": "/n"}]),
            "Unexpected kind: jump",
        ),
        (
            json!([{"op": "add", "path": "n", "value": 1}]),
            "error decoding patch: path \"n\" does not begin with '/'",
        ),
        (
            json!([{"op": "add", "path": "/n"}]),
            "error decoding patch: add needs a value",
        ),
        (
            json!([{"path": "/n"}]),
            "error decoding patch: an operation has no op",
        ),
        (
            json!({"op": "add"}),
            "error decoding patch: expected a slice, but received a map",
        ),
    ];
    for (patch, expected) in cases {
        let object = json!({"n": 1, "list": [1], "map": {"in": 1}});
        assert_eq!(json_patch(object, patch).unwrap_err().to_string(), expected);
    }
    let refused: Status = PatchError::DoesNotApply("no".into()).into();
    assert!(refused.is(Reason::Invalid) && refused.code == 422);
}

#[test]
fn a_small_json_patch_cannot_make_a_large_object() {
    let mut bomb = vec![json!({"op": "add", "path": "/a", "value": "x".repeat(1000)})];
    bomb.extend((0..64).map(|n| json!({"op": "copy", "from": "", "path": format!("/c{n}")})));
    assert!(matches!(
        json_patch(json!({}), json!(bomb)),
        Err(PatchError::TooLarge(_))
    ));
    let list = json!({"list": vec![0; 20_000]});
    let push: Vec<Value> = (0..1000)
        .map(|_| json!({"op": "add", "path": "/list/0", "value": 1}))
        .collect();
    assert!(matches!(
        json_patch(list, json!(push)),
        Err(PatchError::TooLarge(_))
    ));
    let nest: Vec<Value> = (0..DEPTH_MAX + 1)
        .map(|_| json!({"op": "copy", "from": "/a", "path": "/a/a"}))
        .collect();
    assert!(matches!(
        json_patch(json!({"a": {}}), json!(nest)),
        Err(PatchError::TooLarge(_))
    ));
    let many: Vec<Value> = (0..10_001)
        .map(|_| json!({"op": "test", "path": "/a", "value": 1}))
        .collect();
    assert_eq!(
        json_patch(json!({"a": 1}), json!(many))
            .unwrap_err()
            .to_string(),
        "The allowed maximum operations in a JSON patch is 10000, got 10001"
    );
}
