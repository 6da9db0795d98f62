//! Status, scale and binding.

use super::*;

#[test]
fn a_status_changes_nothing_else() {
    let old = stored(Kind::Pod, pod());
    let report = json!({"metadata": {"name": "front", "labels": {"x": "y"}},
        "spec": {"nodeName": "mine"}, "status": {"phase": "Running", "podIP": "10.0.0.2", "reason": null}});
    let new = update_status(&old, report, &request(&state())).unwrap();
    assert_eq!(
        new.to_value()["status"],
        json!({"phase": "Running", "podIP": "10.0.0.2", "qosClass": "BestEffort"})
    );
    assert_eq!(new.to_value()["spec"], old.to_value()["spec"]);
    assert_eq!(new.meta(), old.meta());
    let bad = json!({"status": {"phase": "Lost"}});
    let status = update_status(&old, bad, &request(&state())).unwrap_err();
    assert_eq!(
        status.message,
        "Pod \"front\" is invalid: status.phase: Unsupported value: \"Lost\": supported values: \"Failed\", \"Pending\", \"Running\", \"Succeeded\", \"Unknown\""
    );
    let stale = json!({"metadata": {"uid": "another"}, "status": {}});
    assert_eq!(
        update_status(&old, stale, &request(&state()))
            .unwrap_err()
            .code,
        409
    );
}

#[test]
fn a_workload_is_read_and_written_as_a_scale() {
    let selector = json!({"matchLabels": {"tier": "web", "app": "front"},
        "matchExpressions": [{"key": "env", "operator": "In", "values": ["b", "a"]}, {"key": "old", "operator": "DoesNotExist"}]});
    let value = set(deployment(), "/spec/selector", selector);
    let value = set(
        value,
        "/spec/template/metadata/labels",
        json!({"app": "front", "tier": "web", "env": "a"}),
    );
    let old = stored(Kind::Deployment, set(value, "/spec/replicas", json!(3)));
    assert_eq!(
        read_scale(&old),
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": "front", "namespace": "shop", "resourceVersion": "7",
                "uid": "6f1b8c1e-0000-4000-8000-000000000001", "creationTimestamp": "2026-11-23T01:46:49Z"},
            "spec": {"replicas": 3},
            "status": {"replicas": 0, "selector": "app=front,env in (a,b),!old,tier=web"}})
    );
    let wanted = set(read_scale(&old), "/spec/replicas", json!(5));
    let new = scale(&old, wanted, &request(&state())).unwrap();
    assert_eq!(
        (&new.to_value()["spec"]["replicas"], new.meta().generation),
        (&json!(5), 2)
    );
    let same = scale(&old, read_scale(&old), &request(&state())).unwrap();
    assert!(same.same_content(&old));
    let refused = [
        (
            json!({"spec": {"replicas": -1}}),
            422,
            "Scale.autoscaling \"front\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            json!({"kind": "Pod"}),
            400,
            "Pod cannot be handled as a Scale",
        ),
        (
            json!({"spec": {"replicas": "two"}}),
            400,
            "spec.replicas: expected a number, but received \"two\"",
        ),
        (
            json!({"metadata": {"resourceVersion": "1"}}),
            409,
            "Operation cannot be fulfilled on deployments.apps \"front\": the object has been modified; please apply your changes to the latest version and try again",
        ),
    ];
    for (value, code, message) in refused {
        let status = scale(&old, value, &request(&state())).unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (code, message));
    }
}

#[test]
fn a_pod_is_bound_once() {
    let old = stored(Kind::Pod, pod());
    let to = |node: &str| json!({"metadata": {"name": "front"}, "target": {"kind": "Node", "name": node}});
    let bound = bind(&old, &to("n1"), &request(&state()))
        .unwrap()
        .with_revision(Revision(8));
    assert_eq!(bound.pod().unwrap().node.as_deref(), Some("n1"));
    assert_eq!(
        bound.to_value()["status"]["conditions"][0]["type"],
        "PodScheduled"
    );
    let refused = [
        (
            &bound,
            to("n2"),
            409,
            "Operation cannot be fulfilled on pods \"front\": pod front is already assigned to node \"n1\"",
        ),
        (
            &old,
            to(""),
            422,
            "Pod \"front\" is invalid: target.name: Required value",
        ),
        (
            &old,
            json!({"target": {"kind": "Planet", "name": "x"}}),
            422,
            "Pod \"front\" is invalid: target.kind: Unsupported value: \"Planet\": supported values: \"Node\", \"<empty>\"",
        ),
    ];
    for (pod, binding, code, message) in refused {
        let status = bind(pod, &binding, &request(&state())).unwrap_err();
        assert_eq!((status.code, status.message.as_str()), (code, message));
    }
}
