//! What may change, and what a change leaves alone.

use super::*;

/// The messages of a refusal, or what was admitted.
fn message(result: Result<Object, Status>) -> String {
    match result {
        Ok(object) => format!("admitted {object:?}"),
        Err(status) => status.message,
    }
}

#[test]
fn an_update_keeps_what_is_the_servers() {
    let running = json!({"phase": "Running", "qosClass": "BestEffort"});
    let old = set(
        stored(Kind::Pod, pod()).to_value(),
        "/status",
        running.clone(),
    );
    let old = Object::from_value(old).unwrap().with_revision(Revision(9));
    let change = json!({"metadata": {"name": "front", "labels": {"a": "b"}}, "status": {"phase": "Failed"},
        "spec": {"containers": [{"name": "web", "image": "web:2"}]}});
    let new = updated(&old, change).unwrap().to_value();
    assert_eq!(new["status"], running);
    assert_eq!(new["metadata"]["uid"], old.to_value()["metadata"]["uid"]);
    assert_eq!(new["metadata"]["creationTimestamp"], "2026-11-23T01:46:49Z");
    assert_eq!(new["metadata"]["generation"], 2);
    assert_eq!(new["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(new["spec"]["containers"][0]["image"], "web:2");
}

#[test]
fn generations_count_changes_of_the_spec_only() {
    let old = stored(Kind::Deployment, deployment());
    let same = updated(&old, old.to_value()).unwrap();
    assert!(same.same_content(&old), "nothing changed");
    let labelled = updated(
        &old,
        set(old.to_value(), "/metadata/labels", json!({"a": "b"})),
    )
    .unwrap();
    assert_eq!(labelled.meta().generation, 1);
    let scaled = updated(&old, set(old.to_value(), "/spec/replicas", json!(3))).unwrap();
    assert_eq!(scaled.meta().generation, 2);
    let plain = updated(
        &stored(Kind::ConfigMap, config_map()),
        set(config_map(), "/data/b", json!("2")),
    );
    assert_eq!(plain.unwrap().meta().generation, 0, "config maps have none");
    let node = stored(Kind::Node, json!({"metadata": {"name": "n1"}}));
    let cordoned = updated(
        &node,
        set(node.to_value(), "/spec/unschedulable", json!(true)),
    );
    assert_eq!(cordoned.unwrap().meta().generation, 0, "nor do nodes");
}

#[test]
fn an_update_must_be_about_the_same_object() {
    let old = stored(Kind::ConfigMap, config_map());
    let cases = [
        (
            "/metadata/name",
            json!("other"),
            400,
            "the name of the object (other) does not match the name on the URL (settings)",
        ),
        (
            "/metadata/namespace",
            json!("default"),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "/metadata/uid",
            json!("gone"),
            409,
            "Operation cannot be fulfilled on configmaps \"settings\": Precondition failed: UID in precondition: gone, UID in object meta: 6f1b8c1e-0000-4000-8000-000000000001",
        ),
        (
            "/metadata/resourceVersion",
            json!("6"),
            409,
            "Operation cannot be fulfilled on configmaps \"settings\": the object has been modified; please apply your changes to the latest version and try again",
        ),
    ];
    for (path, value, code, expected) in cases {
        let status = updated(&old, set(config_map(), path, value)).unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (code, expected));
    }
    assert!(
        updated(&old, old.to_value()).is_ok(),
        "its own resourceVersion"
    );
}

#[test]
fn a_pod_is_made_of_what_it_was_created_with() {
    let old = stored(
        Kind::Pod,
        set(pod(), "/spec/activeDeadlineSeconds", json!(50)),
    );
    let fixed = |field: &str| {
        format!(
            "Pod \"front\" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\nchanged: spec.{field}"
        )
    };
    let refused = [
        ("/spec/nodeName", json!("n1"), fixed("nodeName")),
        ("/spec/containers/0/args", json!(["x"]), fixed("containers")),
        ("/spec/restartPolicy", json!("Never"), fixed("restartPolicy")),
        ("/spec/activeDeadlineSeconds", json!(60), "Pod \"front\" is invalid: spec.activeDeadlineSeconds: Invalid value: 60: must be less than or equal to previous value".into()),
        ("/spec/containers/1", json!({"name": "b", "image": "b"}), "Pod \"front\" is invalid: spec.containers: Forbidden: pod updates may not add or remove containers".into()),
    ];
    for (path, value, expected) in refused {
        assert_eq!(
            message(updated(&old, set(old.to_value(), path, value))),
            expected
        );
    }
    let allowed = [
        ("/spec/containers/0/image", json!("web:2")),
        ("/spec/activeDeadlineSeconds", json!(40)),
        (
            "/spec/tolerations",
            json!([{"key": "a", "operator": "Exists"}]),
        ),
        ("/metadata/labels", json!({"a": "b"})),
        ("/metadata/finalizers", json!(["example.com/wait"])),
    ];
    for (path, value) in allowed {
        assert!(
            updated(&old, set(old.to_value(), path, value)).is_ok(),
            "{path}"
        );
    }
    let tolerant = updated(
        &old,
        set(
            old.to_value(),
            "/spec/tolerations",
            json!([{"key": "a", "operator": "Exists"}]),
        ),
    )
    .unwrap();
    assert_eq!(
        message(updated(
            &tolerant,
            set(tolerant.to_value(), "/spec/tolerations", json!([]))
        )),
        "Pod \"front\" is invalid: spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
    );
}

#[test]
fn gates_only_open() {
    let gated = set(
        pod(),
        "/spec/schedulingGates",
        json!([{"name": "a"}, {"name": "b"}]),
    );
    let old = stored(Kind::Pod, gated);
    let gates = |list: Value| updated(&old, set(old.to_value(), "/spec/schedulingGates", list));
    assert!(gates(json!([{"name": "b"}])).is_ok() && gates(Value::Null).is_ok());
    assert_eq!(
        message(gates(json!([{"name": "c"}]))),
        "Pod \"front\" is invalid: spec.schedulingGates: Forbidden: only deletion is allowed, but found new scheduling gate 'c'"
    );
}

#[test]
fn some_fields_never_change() {
    let frozen = stored(
        Kind::ConfigMap,
        set(config_map(), "/immutable", json!(true)),
    );
    let typed = stored(Kind::Secret, secret());
    let deployed = stored(Kind::Deployment, deployment());
    let other = set(
        deployment(),
        "/spec/selector/matchLabels",
        json!({"b": "1"}),
    );
    let other = set(other, "/spec/template/metadata/labels", json!({"b": "1"}));
    let dying = set(
        stored(Kind::ConfigMap, config_map()).to_value(),
        "/metadata/deletionTimestamp",
        "2026-11-23T01:46:49Z".into(),
    );
    let dying = Object::from_value(dying)
        .unwrap()
        .with_revision(Revision(7));
    let cases = [
        (
            &frozen,
            set(frozen.to_value(), "/data/a", json!("2")),
            "ConfigMap \"settings\" is invalid: data: Forbidden: field is immutable when `immutable` is set",
        ),
        (
            &frozen,
            set(frozen.to_value(), "/immutable", json!(false)),
            "ConfigMap \"settings\" is invalid: immutable: Forbidden: field is immutable when `immutable` is set",
        ),
        (
            &typed,
            set(typed.to_value(), "/type", json!("mine")),
            "Secret \"keys\" is invalid: type: Invalid value: \"mine\": field is immutable",
        ),
        (
            &deployed,
            other,
            "Deployment.apps \"front\" is invalid: spec.selector: Invalid value: {\"matchLabels\":{\"b\":\"1\"}}: field is immutable",
        ),
        (
            &dying,
            set(
                dying.to_value(),
                "/metadata/finalizers",
                json!(["example.com/late"]),
            ),
            "ConfigMap \"settings\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"example.com/late\"}",
        ),
    ];
    for (old, value, expected) in cases {
        assert_eq!(message(updated(old, value)), expected);
    }
    assert!(
        updated(&typed, json!({"metadata": {"name": "keys"}})).is_ok(),
        "the type is kept"
    );
}

#[test]
fn a_namespace_cannot_end_its_deletion_by_itself() {
    let old = stored(Kind::Namespace, json!({"metadata": {"name": "shop"}}));
    let new = updated(&old, set(old.to_value(), "/spec/finalizers", json!([]))).unwrap();
    assert_eq!(new.to_value()["spec"]["finalizers"], json!(["kubernetes"]));
}
