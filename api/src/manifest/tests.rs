//! Manifests as people write them, and a law for the way back.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const TWO: &str = "# a comment
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
--- # another
# and a comment

apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop}}
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: b}}
---
";

fn shown(file: &str, text: &str) -> String {
    match parse(file, text) {
        Ok(found) => {
            let show = |d: &Document| format!("{} {} {}", d.place, d.kind, d.name().unwrap_or("-"));
            found.iter().map(show).collect::<Vec<_>>().join(", ")
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn documents_are_found_with_their_places() {
    let json = "{\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\"}\n\n{\"apiVersion\":\"v1\",\"kind\":\"Node\"}";
    let cases = [
        (
            "several documents and a list",
            "a.yaml",
            TWO,
            "a.yaml:3 Namespace shop, a.yaml:9 ConfigMap a, a.yaml:9 Deployment b",
        ),
        (
            "nothing but comments",
            "a.yaml",
            "# nothing\n---\n# here\n",
            "",
        ),
        (
            "content behind the marker",
            "a.yaml",
            "--- {apiVersion: v1, kind: Pod}",
            "a.yaml:1 Pod -",
        ),
        (
            "line ends of Windows",
            "a.yaml",
            "---\r\napiVersion: v1\r\nkind: Pod\r\n",
            "a.yaml:2 Pod -",
        ),
        (
            "a mark at the beginning",
            "a.yaml",
            "\u{feff}apiVersion: v1\nkind: Pod",
            "a.yaml:1 Pod -",
        ),
        (
            "JSON with tabs, several",
            "a.json",
            json,
            "a.json:1 Pod -, a.json:4 Node -",
        ),
        ("JSON by another name", "-", json, "-:1 Pod -, -:4 Node -"),
        (
            "a dash line in a text is no marker",
            "a.yaml",
            "apiVersion: v1\nkind: Pod\ntext: |\n  a\n  ---\n  b\n",
            "a.yaml:1 Pod -",
        ),
    ];
    for (name, file, text, expected) in cases {
        assert_eq!(shown(file, text), expected, "{name}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
        c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
        e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
        g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
    let deep = "[".repeat(2000);
    let cases = [
        (
            "bad indentation",
            "apiVersion: v1\nkind: Pod\n  name: x\n",
            "a.yaml:3:7: mapping values are not allowed in this context",
        ),
        (
            "in a later document",
            "apiVersion: v1\nkind: Pod\n---\na: 'b\n",
            "a.yaml:5:1: found unexpected end of stream, while scanning a quoted scalar at line 4 column 4",
        ),
        (
            "a key twice",
            "apiVersion: v1\nkind: Pod\nspec:\n  image: a\n  image: b\n",
            "a.yaml:5:3: spec: key \"image\" stands twice in one mapping",
        ),
        (
            "no apiVersion",
            "\n\nkind: Pod",
            "a.yaml:3: apiVersion is missing; every object needs apiVersion and kind",
        ),
        (
            "no kind",
            "apiVersion: v1",
            "a.yaml:1: kind is missing; every object needs apiVersion and kind",
        ),
        (
            "a text",
            "hello",
            "a.yaml:1: this document is not a mapping; every object needs apiVersion and kind",
        ),
        ("an alias bomb", bomb, "a.yaml:1: repetition limit exceeded"),
        (
            "no end of nesting",
            deep.as_str(),
            "a.yaml:1:129: recursion limit exceeded",
        ),
        (
            "a number that JSON lacks",
            "a: .nan",
            "a.yaml:1:4: a: NaN is not a JSON number",
        ),
    ];
    for (name, text, expected) in cases {
        assert_eq!(shown("a.yaml", text), expected, "{name}");
    }
    let twice = "{\"apiVersion\": \"v1\",\n \"kind\": \"Pod\", \"kind\": \"Pod\"}";
    assert_eq!(
        shown("a.json", twice),
        "a.json:2:22: key \"kind\" stands twice in one mapping"
    );
}

#[test]
fn anchors_and_merge_keys_are_followed() {
    let text = "apiVersion: v1\nkind: Pod\nbase: &base {cpu: 1, memory: 2}\n\
        one: {<<: *base, cpu: 3}\nkeys: {1: a, true: b, yes: c}\nword: yes\n";
    let value = &parse("a.yaml", text).unwrap()[0].value;
    assert_eq!(value["one"], json!({"cpu": 3, "memory": 2}));
    assert_eq!(value["keys"], json!({"1": "a", "true": "b", "yes": "c"}));
    assert_eq!(value["word"], "yes");
}

#[test]
fn yaml_is_printed_as_kubectl_does() {
    let value = json!({
        "args": ["--port=80", "-v", "a: b", "yes", "0x10", "1_000", "12:30", "", " x"],
        "created": "2026-11-23T01:46:49Z", "empty": {}, "none": [], "nothing": null,
        "image": "front:1.0", "ip": "10.0.0.1", "cpu": "100m", "on": true, "replicas": 3,
        "nested": [{"name": "a", "ports": [{"containerPort": 80}]}, [1, 2]],
        "script": "set -e\n\necho hi\n", "version": "1.20", "path": "/bin/sh", "tilde": "~", "line": "{}\n",
    });
    let expected = "\
args:
- --port=80
- -v
- \"a: b\"
- \"yes\"
- \"0x10\"
- \"1_000\"
- \"12:30\"
- \"\"
- \" x\"
cpu: 100m
created: \"2026-11-23T01:46:49Z\"
empty: {}
image: front:1.0
ip: 10.0.0.1
line: |
  {}
nested:
- name: a
  ports:
  - containerPort: 80
- - 1
  - 2
none: []
nothing: null
\"on\": true
path: /bin/sh
replicas: 3
script: |
  set -e

  echo hi
tilde: \"~\"
version: \"1.20\"
";
    assert_eq!(to_yaml(&value), expected);
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>(),
        "[-+.0-9a-fxeE_:TZ~]{0,8}",
        "[ a-z:#\\n-]{0,12}",
        "(yes|NO|On|off|y|null|True|~|<<|=|---|\\.\\.\\.)",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has no infinity", |f| f.is_finite())
            .prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        let key = text
            .clone()
            .prop_filter("YAML merges it", |key| key != "<<");
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_reads_back(value in any_value()) {
        let text = to_yaml(&value);
        let read = serde_yaml::from_str::<strict::Strict>(&text);
        let strict::Strict(read) = read.map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(read, value, "{}", text);
    }
}
