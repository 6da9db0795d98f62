//! Deletion: at once, in steps, or not at all.

use super::*;

/// A pod, bound to a node unless the name is empty.
fn bound_pod(node: &str, phase: &str) -> Object {
    let mut value = stored(Kind::Pod, pod()).to_value();
    if !node.is_empty() {
        value["spec"]["nodeName"] = node.into();
    }
    value["status"]["phase"] = phase.into();
    Object::from_value(value)
        .unwrap()
        .with_revision(Revision(7))
}

fn with_finalizer(object: &Object, name: &str) -> Object {
    let value = set(object.to_value(), "/metadata/finalizers", json!([name]));
    Object::from_value(value)
        .unwrap()
        .with_revision(Revision(7))
}

fn options(value: Value) -> DeleteOptions {
    DeleteOptions::parse(&value).unwrap()
}

/// `now`, `unchanged`, or `mark` with the due time's seconds, the grace and the finalizers.
fn outcome(old: &Object, asked: Value) -> String {
    match delete(old, &options(asked), &request(&state())) {
        Ok(Deletion::Now) => "now".into(),
        Ok(Deletion::Unchanged(_)) => "unchanged".into(),
        Ok(Deletion::Mark(new)) => {
            let deletion = new.meta().deletion.unwrap();
            let due = (deletion.due.0 - NOW.0) / 1000;
            let finalizers = new.meta().finalizers.join(",");
            format!(
                "mark +{due}s grace {} [{finalizers}]",
                deletion.grace.as_secs()
            )
        }
        Err(status) => format!("{} {}", status.code, status.message),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn deletions_go_as_far_as_they_may() {
    let running = bound_pod("n1", "Running");
    let config = stored(Kind::ConfigMap, config_map());
    let cases = [
        ("a plain object goes at once", &config, json!(null), "now"),
        (
            "a running pod gets its grace",
            &running,
            json!(null),
            "mark +30s grace 30 []",
        ),
        (
            "or the grace asked for",
            &running,
            json!({"gracePeriodSeconds": 5}),
            "mark +5s grace 5 []",
        ),
        (
            "none if forced",
            &running,
            json!({"gracePeriodSeconds": 0}),
            "now",
        ),
        (
            "a negative grace is one second",
            &running,
            json!({"gracePeriodSeconds": -3}),
            "mark +1s grace 1 []",
        ),
        (
            "grace is for pods",
            &config,
            json!({"gracePeriodSeconds": 9}),
            "now",
        ),
        (
            "a pod on no node goes at once",
            &bound_pod("", "Pending"),
            json!(null),
            "now",
        ),
        (
            "so does one that has ended",
            &bound_pod("n1", "Succeeded"),
            json!(null),
            "now",
        ),
        (
            "finalizers hold it",
            &with_finalizer(&config, "example.com/x"),
            json!(null),
            "mark +0s grace 0 [example.com/x]",
        ),
        (
            "even a forced pod",
            &with_finalizer(&running, "example.com/x"),
            json!({"gracePeriodSeconds": 0}),
            "mark +0s grace 0 [example.com/x]",
        ),
        (
            "foreground waits for dependents",
            &config,
            json!({"propagationPolicy": "Foreground"}),
            "mark +0s grace 0 [foregroundDeletion]",
        ),
        (
            "orphan waits for the garbage collector",
            &config,
            json!({"propagationPolicy": "Orphan"}),
            "mark +0s grace 0 [orphan]",
        ),
        (
            "as the old spelling says",
            &config,
            json!({"orphanDependents": true}),
            "mark +0s grace 0 [orphan]",
        ),
        (
            "background drops the other policies",
            &with_finalizer(&config, "orphan"),
            json!({"propagationPolicy": "Background"}),
            "now",
        ),
        (
            "the right uid",
            &config,
            json!({"preconditions": {"uid": "6f1b8c1e-0000-4000-8000-000000000001", "resourceVersion": "7"}}),
            "now",
        ),
        (
            "the wrong uid",
            &config,
            json!({"preconditions": {"uid": "x"}}),
            "409 Operation cannot be fulfilled on configmaps \"settings\": Precondition failed: UID in precondition: x, UID in object meta: 6f1b8c1e-0000-4000-8000-000000000001",
        ),
        (
            "an old version",
            &config,
            json!({"preconditions": {"resourceVersion": "3"}}),
            "409 Operation cannot be fulfilled on configmaps \"settings\": the object has been modified; please apply your changes to the latest version and try again",
        ),
    ];
    for (name, object, asked, expected) in cases {
        assert_eq!(outcome(object, asked), expected, "{name}");
    }
}

#[test]
fn a_second_deletion_can_only_hurry() {
    let Ok(Deletion::Mark(first)) = delete(
        &bound_pod("n1", "Running"),
        &options(json!(null)),
        &request(&state()),
    ) else {
        panic!("the pod gets its grace");
    };
    assert_eq!(first.meta().generation, 2);
    let cases = [
        ("the same again", json!(null), "unchanged"),
        ("longer", json!({"gracePeriodSeconds": 90}), "unchanged"),
        (
            "shorter",
            json!({"gracePeriodSeconds": 10}),
            "mark +10s grace 10 []",
        ),
        (
            "the agent has ended it",
            json!({"gracePeriodSeconds": 0}),
            "now",
        ),
    ];
    for (name, asked, expected) in cases {
        assert_eq!(outcome(&first, asked), expected, "{name}");
    }
    assert!(!is_gone(&first), "its containers may run");
}

#[test]
fn the_last_finalizer_ends_a_deletion() {
    let held = with_finalizer(&stored(Kind::ConfigMap, config_map()), "example.com/x");
    let Ok(Deletion::Mark(held)) = delete(&held, &options(json!(null)), &request(&state())) else {
        panic!("the finalizer holds it");
    };
    assert!(!is_gone(&held));
    let freed = updated(
        &held,
        set(held.to_value(), "/metadata/finalizers", json!([])),
    );
    assert!(is_gone(&freed.unwrap()));
}

#[test]
fn a_namespace_terminates_before_it_goes() {
    let old = stored(Kind::Namespace, json!({"metadata": {"name": "shop"}}));
    let Ok(Deletion::Mark(marked)) = delete(&old, &options(json!(null)), &request(&state())) else {
        panic!("its finalizer holds it");
    };
    assert_eq!(marked.to_value()["status"]["phase"], "Terminating");
    assert_eq!(
        marked.to_value()["spec"]["finalizers"],
        json!(["kubernetes"])
    );
    assert!(!is_gone(&marked));
    assert_eq!(outcome(&marked, json!(null)), "unchanged");
    let empty = Object::from_value(set(marked.to_value(), "/spec/finalizers", json!([]))).unwrap();
    assert!(is_gone(&empty));
    assert_eq!(outcome(&empty, json!(null)), "now");
    let system = stored(
        Kind::Namespace,
        json!({"metadata": {"name": "kube-system"}}),
    );
    assert_eq!(
        outcome(&system, json!(null)),
        "403 namespaces \"kube-system\" is forbidden: this namespace may not be deleted"
    );
}

#[test]
fn wrong_options_are_refused() {
    let cases = [
        (
            json!({"propagationPolicy": "Sideways"}),
            422,
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
        ),
        (
            json!({"gracePeriodSeconds": "soon"}),
            400,
            "DeleteOptions: gracePeriodSeconds must be a number",
        ),
        (
            json!({"preconditions": {"uid": 7}}),
            400,
            "DeleteOptions: preconditions must be text",
        ),
    ];
    for (value, code, message) in cases {
        let status = DeleteOptions::parse(&value).unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (code, message));
    }
}
