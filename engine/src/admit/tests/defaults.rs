//! What is filled in.

use super::*;

#[test]
fn a_pod_gets_kubernetes_defaults() {
    let pod = json!({"metadata": {"name": "front"}, "spec": {
        "containers": [{"name": "web", "image": "web",
            "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "1", "memory": "64Mi"}},
            "readinessProbe": {"httpGet": {"port": 80}},
            "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}],
        "volumes": [{"name": "a"}, {"name": "b", "configMap": {"name": "c"}},
            {"name": "d", "secret": {"secretName": "s"}}, {"name": "e", "hostPath": {"path": "/x"}}]}});
    let pod = stored(Kind::Pod, pod).to_value();
    assert_eq!(
        pod,
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "front", "namespace": "shop", "generation": 1,
                "uid": "6f1b8c1e-0000-4000-8000-000000000001", "resourceVersion": "7",
                "creationTimestamp": "2026-11-23T01:46:49Z"},
            "spec": {
                "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "securityContext": {},
                "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30,
                "enableServiceLinks": true, "serviceAccountName": "default",
                "serviceAccount": "default",
                "containers": [{"name": "web", "image": "web", "imagePullPolicy": "Always",
                    "terminationMessagePath": "/dev/termination-log",
                    "terminationMessagePolicy": "File",
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "resources": {"limits": {"cpu": "1", "memory": "64Mi"},
                        "requests": {"cpu": "1", "memory": "64Mi"}},
                    "readinessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                        "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1,
                        "failureThreshold": 3},
                    "env": [{"name": "N", "valueFrom":
                        {"fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}}]}],
                "volumes": [{"name": "a", "emptyDir": {}},
                    {"name": "b", "configMap": {"name": "c", "defaultMode": 420}},
                    {"name": "d", "secret": {"secretName": "s", "defaultMode": 420}},
                    {"name": "e", "hostPath": {"path": "/x", "type": ""}}]},
            "status": {"phase": "Pending", "qosClass": "Guaranteed"},
        })
    );
}

#[test]
fn images_are_pulled_by_their_tag() {
    let cases = [
        ("web", "Always"),
        ("web:latest", "Always"),
        ("web:1", "IfNotPresent"),
        ("host:5000/web", "Always"),
        ("host:5000/web:2", "IfNotPresent"),
        ("web@sha256:0123", "IfNotPresent"),
        ("web:latest@sha256:0123", "Always"),
    ];
    for (image, policy) in cases {
        let pod = stored(
            Kind::Pod,
            set(pod(), "/spec/containers/0/image", image.into()),
        );
        assert_eq!(
            pod.to_value()["spec"]["containers"][0]["imagePullPolicy"],
            policy,
            "{image}"
        );
    }
}

#[test]
fn resources_decide_the_quality_of_service() {
    let cases = [
        ("nothing asked", json!({}), "BestEffort"),
        ("a request", json!({"requests": {"cpu": "1"}}), "Burstable"),
        (
            "a limit on one resource",
            json!({"limits": {"cpu": "1"}}),
            "Burstable",
        ),
        (
            "limits on both",
            json!({"limits": {"cpu": "1", "memory": "1Gi"}}),
            "Guaranteed",
        ),
        (
            "a smaller request",
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}),
            "Burstable",
        ),
        (
            "numbers",
            json!({"limits": {"cpu": 1, "memory": 1024}}),
            "Guaranteed",
        ),
        ("zeros", json!({"requests": {"cpu": "0"}}), "BestEffort"),
    ];
    for (name, resources, class) in cases {
        let pod = stored(
            Kind::Pod,
            set(pod(), "/spec/containers/0/resources", resources),
        );
        assert_eq!(pod.to_value()["status"]["qosClass"], class, "{name}");
    }
}

#[test]
fn a_deployment_gets_kubernetes_defaults() {
    let object = stored(Kind::Deployment, deployment()).to_value();
    let spec = &object["spec"];
    assert_eq!(spec["replicas"], 1);
    assert_eq!(spec["revisionHistoryLimit"], 10);
    assert_eq!(spec["progressDeadlineSeconds"], 600);
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
    );
    assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
    assert!(
        spec["template"]["spec"].get("serviceAccountName").is_none(),
        "pods only"
    );
    assert_eq!(object["metadata"]["generation"], 1);
    assert_eq!(object["status"], json!({}));
    let recreate = set(deployment(), "/spec/strategy/type", "Recreate".into());
    let recreate = stored(Kind::Deployment, recreate).to_value();
    assert_eq!(recreate["spec"]["strategy"], json!({"type": "Recreate"}));
    let sets = stored(Kind::ReplicaSet, deployment()).to_value();
    assert_eq!(
        (&sets["spec"]["replicas"], &sets["status"]),
        (&json!(1), &json!({"replicas": 0}))
    );
}

#[test]
fn the_other_kinds_get_theirs() {
    let namespace = stored(Kind::Namespace, json!({"metadata": {"name": "new"}})).to_value();
    assert_eq!(
        namespace["metadata"]["labels"],
        json!({"kubernetes.io/metadata.name": "new"})
    );
    assert_eq!(namespace["spec"], json!({"finalizers": ["kubernetes"]}));
    assert_eq!(namespace["status"], json!({"phase": "Active"}));
    let plain = json!({"metadata": {"name": "s"}, "data": {"a": "MQ=="}, "stringData": {"b": "2", "a": "3"}});
    let secret = stored(Kind::Secret, plain).to_value();
    assert_eq!(secret["type"], "Opaque");
    assert_eq!(secret["data"], json!({"a": "Mw==", "b": "Mg=="}));
    assert!(secret.get("stringData").is_none());
    let node = json!({"metadata": {"name": "n1"}, "status": {"capacity": {"cpu": 2}}});
    let node = stored(Kind::Node, node).to_value();
    assert_eq!(node["status"]["allocatable"], json!({"cpu": "2"}));
}

#[test]
fn the_server_writes_the_metadata_that_is_its_own() {
    let forged = json!({"generateName": "job-", "uid": "mine", "generation": 9, "resourceVersion": "5",
        "creationTimestamp": null, "deletionTimestamp": "2020-01-01T00:00:00Z", "labels": null});
    let object = stored(Kind::ConfigMap, json!({"metadata": forged})).to_value();
    assert_eq!(
        object["metadata"],
        json!({"generateName": "job-", "name": "job-x7k2q", "namespace": "shop",
            "uid": "6f1b8c1e-0000-4000-8000-000000000001", "resourceVersion": "7",
            "creationTimestamp": "2026-11-23T01:46:49Z"})
    );
    let long = json!({"metadata": {"generateName": "n".repeat(80)}});
    assert_eq!(stored(Kind::ConfigMap, long).key().name.len(), 63);
}

#[test]
fn what_is_kept_but_not_acted_on_is_said() {
    let spec = json!({"affinity": {"nodeAffinity": {}, "podAntiAffinity": {}}, "hostPID": true,
        "hostIPC": false, "priorityClassName": "high", "hostUsers": false,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}, "seLinuxOptions": {}},
        "containers": [{"name": "a", "livenessProbe": {"grpc": {"port": 1}},
            "volumeMounts": [{"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"}]}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "w", "emptyDir": {}},
            {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]});
    let ignored = "kept, but this version of Skiff does not act on it";
    let refused = "not supported by this version of Skiff, the pod will not start";
    let expected = [
        ("spec.priorityClassName", ignored),
        ("spec.affinity.podAntiAffinity", ignored),
        ("spec.hostPID", refused),
        ("spec.hostUsers", refused),
        ("spec.securityContext.seLinuxOptions", refused),
        ("spec.containers[0].livenessProbe.grpc", refused),
        (
            "spec.containers[0].volumeMounts[0].mountPropagation",
            refused,
        ),
        ("spec.volumes[0].persistentVolumeClaim", refused),
        (
            "spec.volumes[2].projected.sources[0].serviceAccountToken",
            refused,
        ),
    ];
    let expected = expected.map(|(path, what)| format!("{path}: {what}"));
    assert_eq!(warnings(Kind::Pod, &json!({"spec": spec})), expected);
    let template = json!({"spec": {"template": {"spec": {"schedulerName": "mine"}}}});
    assert_eq!(
        warnings(Kind::Deployment, &template),
        ["spec.template.spec.schedulerName: there is no scheduler of that name, the pod will wait"]
    );
    assert_eq!(
        warnings(Kind::Pod, &stored(Kind::Pod, pod()).to_value()),
        [""; 0]
    );
}

#[test]
fn limits_that_nobody_enforces_are_said() {
    let resources = json!({"requests": {"ephemeral-storage": "1Gi"},
        "limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "2Gi"}});
    let spec = json!({
        "initContainers": [{"name": "i", "resources": {"limits": {"ephemeral-storage": "1"}}}],
        "containers": [{"name": "a", "resources": {"limits": {"cpu": "1"}}},
            {"name": "b", "resources": resources}],
        "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}},
            {"name": "w", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            {"name": "x", "emptyDir": {"sizeLimit": null}}]});
    let expected = [
        "spec.initContainers[0].resources.limits[ephemeral-storage]",
        "spec.containers[1].resources.limits[ephemeral-storage]",
        "spec.volumes[1].emptyDir.sizeLimit",
    ];
    let expected =
        expected.map(|path| format!("{path}: kept, but this version of Skiff does not enforce it"));
    assert_eq!(warnings(Kind::Pod, &json!({"spec": spec})), expected);
    let template = json!({"spec": {"template": {"spec": {
        "volumes": [{"name": "w", "emptyDir": {"sizeLimit": "64Mi"}}]}}}});
    let expected = "spec.template.spec.volumes[0].emptyDir.sizeLimit: kept, but this version of \
        Skiff does not enforce it";
    assert_eq!(warnings(Kind::ReplicaSet, &template), [expected]);
}

#[test]
fn quantities_may_be_written_as_numbers() {
    let mut pod = set(
        pod(),
        "/spec/containers/0/resources",
        json!({"limits": {"cpu": 2, "memory": 1.5e9}}),
    );
    pod["metadata"]["creationTimestamp"] = Value::Null;
    normalise(Kind::Pod, &mut pod);
    assert_eq!(
        pod["spec"]["containers"][0]["resources"]["limits"]["cpu"],
        "2"
    );
    assert_eq!(skiff_api::check(Kind::Pod, &pod), Ok(Vec::new()));
    assert!(created(Kind::Pod, pod).is_ok());
}
