//! Environments as a table.

use serde_json::{Value, json};

use super::*;

fn refs() -> Refs {
    let mut refs = Refs::default();
    let map = json!({"data": {"host": "db", "port": "5432"}});
    let secret = json!({"data": {"password": "aHVudGVy", "blob": "/w=="}});
    let name = |kind, name: &str| Ref {
        kind,
        name: name.to_owned(),
    };
    refs.insert(name(RefKind::ConfigMap, "settings"), Some(&map));
    refs.insert(name(RefKind::Secret, "login"), Some(&secret));
    refs.insert(name(RefKind::ConfigMap, "gone"), None);
    refs
}

mod service_variables;

fn environment(container: Value) -> Result<String, String> {
    environment_with(container, &[])
}

fn environment_with(mut container: Value, given: &[(String, String)]) -> Result<String, String> {
    container["name"] = json!("web");
    let pod = json!({
        "metadata": {"namespace": "shop", "name": "front", "uid": "u",
            "labels": {"app": "front"}, "annotations": {"note": "x"}},
        "spec": {"serviceAccountName": "robot", "containers": [container]},
    });
    let pod = DesiredPod::read(serde_json::from_value(pod).expect("a pod")).expect("complete");
    let place = Place {
        node: "n1".into(),
        host_ip: Some([192, 168, 0, 1].into()),
        pod_ip: Some([10, 0, 0, 7].into()),
        cpu_millicores: 2000,
        memory_bytes: 1 << 30,
    };
    let container = pod.container("web").expect("there");
    let env = build(container, &pod, &refs(), &place, given.to_vec())
        .map_err(|error| crate::chain::Chain(&error).to_string())?;
    Ok(env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(" "))
}

fn check(cases: &[(&str, Value, Result<&str, &str>)]) {
    for (name, container, expected) in cases {
        let found = environment(container.clone());
        assert_eq!(
            found.as_deref().map_err(String::as_str),
            *expected,
            "{name}"
        );
    }
}

fn one(source: Value) -> Value {
    json!({"env": [{"name": "X", "valueFrom": source}]})
}

#[test]
fn literals_keep_their_order() {
    check(&[
        (
            "a literal",
            json!({"env": [{"name": "A", "value": "1"}]}),
            Ok("A=1"),
        ),
        (
            "no value is empty",
            json!({"env": [{"name": "A"}]}),
            Ok("A="),
        ),
        (
            "earlier variables are known to later ones",
            json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(C)-$$(A)"}]}),
            Ok("A=1 B=1-$(C)-$(A)"),
        ),
        (
            "the later of two counts, in the place of the first",
            json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"},
                {"name": "A", "value": "3"}]}),
            Ok("A=3 B=2"),
        ),
    ]);
}

#[test]
fn references_lead_to_their_objects() {
    let map = |key: &str| one(json!({"configMapKeyRef": {"name": "settings", "key": key}}));
    let secret = |key: &str| one(json!({"secretKeyRef": {"name": "login", "key": key}}));
    let gone = |optional: bool| {
        one(json!({"configMapKeyRef": {"name": "gone", "key": "k", "optional": optional}}))
    };
    check(&[
        ("a key of a ConfigMap", map("host"), Ok("X=db")),
        ("a key of a Secret", secret("password"), Ok("X=hunter")),
        (
            "a whole ConfigMap, with a prefix",
            json!({"envFrom": [{"prefix": "DB_", "configMapRef": {"name": "settings"}}]}),
            Ok("DB_host=db DB_port=5432"),
        ),
        (
            "a missing key",
            map("user"),
            Err("couldn't find key user in ConfigMap shop/settings"),
        ),
        (
            "a missing object",
            gone(false),
            Err("configmap \"gone\" not found"),
        ),
        ("an optional missing object", gone(true), Ok("")),
        (
            "a missing object as a whole",
            json!({"envFrom": [{"secretRef": {"name": "nothing"}}]}),
            Err("secret \"nothing\" not found"),
        ),
        (
            "bytes that are no text",
            secret("blob"),
            Err("key blob in secret login is not UTF-8 text"),
        ),
    ]);
}

#[test]
fn pods_may_ask_about_themselves() {
    let field = |path: &str| one(json!({"fieldRef": {"fieldPath": path}}));
    let resource = |name: &str| one(json!({"resourceFieldRef": {"resource": name}}));
    check(&[
        ("the pod's name", field("metadata.name"), Ok("X=front")),
        ("the pod's address", field("status.podIP"), Ok("X=10.0.0.7")),
        ("the node's name", field("spec.nodeName"), Ok("X=n1")),
        ("a label", field("metadata.labels['app']"), Ok("X=front")),
        (
            "the account",
            field("spec.serviceAccountName"),
            Ok("X=robot"),
        ),
        (
            "an unknown field",
            field("spec.containers"),
            Err("environment variable X: unsupported fieldPath: spec.containers"),
        ),
        (
            "a missing limit is the node's",
            resource("limits.cpu"),
            Ok("X=2"),
        ),
        (
            "a missing request is nothing",
            resource("requests.memory"),
            Ok("X=0"),
        ),
        (
            "an unknown resource",
            resource("limits.luck"),
            Err("environment variable X: unsupported container resource: limits.luck"),
        ),
    ]);
}

#[test]
fn variables_are_expanded() {
    let env = [("A".to_owned(), "1".to_owned())];
    let cases = [
        ("a variable", "$(A)", "1"),
        ("twice", "$(A)$(A)", "11"),
        ("an unknown one stays", "$(B)", "$(B)"),
        ("two dollars are one, and no variable", "$$(A)", "$(A)"),
        ("a dollar alone", "5$", "5$"),
        ("an open end", "$(A", "$(A"),
        ("something else behind a dollar", "$A", "$A"),
    ];
    for (name, text, expected) in cases {
        assert_eq!(expand(text, &env), expected, "{name}");
    }
}

#[test]
fn all_references_are_asked_for() {
    let container = json!({
        "name": "web",
        "envFrom": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "b"}}],
        "env": [
            {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
            {"name": "Y", "valueFrom": {"secretKeyRef": {"name": "d", "key": "k"}}},
            {"name": "Z", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
    });
    let container = serde_json::from_value(container).expect("a container");
    let names: Vec<String> = wanted(&container)
        .into_iter()
        .map(|name| name.name)
        .collect();
    assert_eq!(names, ["a", "c", "b", "d"]);
}

#[test]
fn variables_of_services_are_there_and_give_way() {
    let given =
        ["CART_PORT", "CART_SERVICE_HOST"].map(|name| (name.to_owned(), "given".to_owned()));
    let container = json!({"env": [
        {"name": "URL", "value": "http://$(CART_SERVICE_HOST)"},
        {"name": "CART_PORT", "value": "own"},
    ]});
    let env = environment_with(container, &given).unwrap();
    assert_eq!(
        env,
        "CART_PORT=own CART_SERVICE_HOST=given URL=http://given"
    );
}
