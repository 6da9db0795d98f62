//! What is refused, in Kubernetes' words.

use super::*;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

#[test]
fn a_wrong_name_is_refused_exactly_as_recorded() {
    let bad = json!({"metadata": {"name": "Bad_Name"}});
    let status = created(Kind::ConfigMap, bad).unwrap_err();
    let recorded = "ConfigMap \"Bad_Name\" is invalid: metadata.name: Invalid value: \"Bad_Name\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    assert_eq!(status.message, recorded);
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    let details = status.details.unwrap();
    assert_eq!(
        (details.name.as_str(), details.kind.as_str()),
        ("Bad_Name", "ConfigMap")
    );
    assert_eq!(details.causes[0].reason, "FieldValueInvalid");
    assert_eq!(details.causes[0].field, "metadata.name");
}

#[test]
fn metadata_has_rules() {
    let word = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let cases = [
        ("/metadata/name", json!(null), "metadata.name: Required value: name or generateName is required".to_owned()),
        ("/metadata/name", json!("a".repeat(254)), format!("metadata.name: Invalid value: \"{}\": must be no more than 253 bytes", "a".repeat(254))),
        ("/metadata/labels", json!({"bad key": "x"}), format!("metadata.labels: Invalid value: \"bad key\": {word}")),
        ("/metadata/labels", json!({"a": "no spaces"}), "metadata.labels: Invalid value: \"no spaces\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')".into()),
        ("/metadata/labels", json!({"a": "v".repeat(64)}), format!("metadata.labels: Invalid value: \"{}\": must be no more than 63 bytes", "v".repeat(64))),
        ("/metadata/labels", json!({"/x": "v"}), "metadata.labels: Invalid value: \"/x\": prefix part must be non-empty".into()),
        ("/metadata/annotations", json!({"big": "x".repeat(262_144)}), "metadata.annotations: Too long: may not be more than 262144 bytes".into()),
        ("/metadata/finalizers", json!(["mine"]), "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified".into()),
        ("/metadata/ownerReferences", json!([{"apiVersion": "v1", "kind": "Pod", "name": "p"}]), "metadata.ownerReferences[0].uid: Invalid value: \"\": must not be empty".into()),
    ];
    for (path, value, expected) in cases {
        let found = causes(created(Kind::ConfigMap, set(config_map(), path, value)));
        assert_eq!(found, expected, "{path}");
    }
    assert_eq!(
        causes(created(
            Kind::Namespace,
            json!({"metadata": {"name": "a.b"}})
        )),
        format!("metadata.name: Invalid value: \"a.b\": {LABEL}")
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn pods_have_rules() {
    let web = "/spec/containers/0";
    let cases = [
        (
            "/spec/containers",
            json!([]),
            "spec.containers: Required value",
        ),
        (
            "/spec/containers/0/name",
            json!(null),
            "spec.containers[0].name: Required value",
        ),
        (
            "/spec/containers/0/image",
            json!(""),
            "spec.containers[0].image: Required value",
        ),
        (
            "/spec/containers/0/image",
            json!(" web"),
            "spec.containers[0].image: Invalid value: \" web\": must not have leading or trailing whitespace",
        ),
        (
            "/spec/containers/1",
            json!({"name": "web", "image": "x"}),
            "spec.containers[1].name: Duplicate value: \"web\"",
        ),
        (
            "/spec/initContainers",
            json!([{"name": "web", "image": "x"}]),
            "spec.initContainers[0].name: Duplicate value: \"web\"",
        ),
        (
            "/spec/initContainers",
            json!([{"name": "i", "image": "x", "lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}]),
            "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
        (
            "/spec/containers/0/imagePullPolicy",
            json!("Sometimes"),
            "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ),
        (
            "/spec/containers/0/ports",
            json!([{"containerPort": 0}]),
            "spec.containers[0].ports[0].containerPort: Required value",
        ),
        (
            "/spec/containers/0/ports",
            json!([{"containerPort": 70000}]),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            "/spec/containers/0/ports",
            json!([{"containerPort": 1, "protocol": "tcp"}]),
            "spec.containers[0].ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ),
        (
            "/spec/containers/0/ports",
            json!([{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]),
            "spec.containers[0].ports[1].name: Duplicate value: \"a\"",
        ),
        (
            "/spec/containers/0/ports",
            json!([{"containerPort": 1, "hostPort": 8}, {"containerPort": 2, "hostPort": 8}]),
            "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//8\"",
        ),
        (
            "/spec/containers/0/ports",
            json!([{"containerPort": 1, "name": "a-name-that-is-long"}]),
            "spec.containers[0].ports[0].name: Invalid value: \"a-name-that-is-long\": must be no more than 15 characters",
        ),
        (
            "/spec/containers/0/env",
            json!([{"name": "A=B"}]),
            "spec.containers[0].env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='",
        ),
        (
            "/spec/containers/0/env",
            json!([{"name": "A", "valueFrom": {}}]),
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        ),
        (
            "/spec/containers/0/env",
            json!([{"name": "A", "value": "x", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}}]),
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        ),
        (
            "/spec/containers/0/env",
            json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a"}}}]),
            "spec.containers[0].env[0].valueFrom.secretKeyRef.key: Required value",
        ),
        (
            "/spec/containers/0/env",
            json!([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.moon"}}}]),
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.moon\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
        ),
        (
            "/spec/containers/0/volumeMounts",
            json!([{"name": "v", "mountPath": "/v"}]),
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ),
        (
            "/spec/containers/0/livenessProbe",
            json!({}),
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
        ),
        (
            "/spec/containers/0/livenessProbe",
            json!({"exec": {"command": ["x"]}, "tcpSocket": {"port": 1}}),
            "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
        ),
        (
            "/spec/containers/0/livenessProbe",
            json!({"exec": {"command": ["x"]}, "successThreshold": 2}),
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            "/spec/containers/0/readinessProbe",
            json!({"tcpSocket": {"port": 0}, "periodSeconds": -1}),
            "spec.containers[0].readinessProbe.tcpSocket.port: Invalid value: 0: must be between 1 and 65535, inclusive\nspec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "/spec/containers/0/resources",
            json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            "/spec/containers/0/resources",
            json!({"limits": {"cpu": "lots"}}),
            "spec.containers[0].resources.limits[cpu]: Invalid value: \"lots\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'\nspec.containers[0].resources.requests[cpu]: Invalid value: \"lots\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "/spec/containers/0/resources",
            json!({"requests": {"memory": "-1"}}),
            "spec.containers[0].resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0",
        ),
        (
            "/spec/restartPolicy",
            json!("Maybe"),
            "spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ),
        (
            "/spec/terminationGracePeriodSeconds",
            json!(-1),
            "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "/spec/activeDeadlineSeconds",
            json!(0),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            "/spec/volumes",
            json!([{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}]),
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            "/spec/volumes",
            json!([{"name": "v"}, {"name": "v"}]),
            "spec.volumes[1].name: Duplicate value: \"v\"",
        ),
        (
            "/spec/volumes",
            json!([{"name": "v", "hostPath": {"path": "/x/../y"}}]),
            "spec.volumes[0].hostPath.path: Invalid value: \"/x/../y\": must not contain '..'",
        ),
        (
            "/spec/volumes",
            json!([{"name": "v", "secret": {}}]),
            "spec.volumes[0].secret.secretName: Required value",
        ),
        (
            "/spec/tolerations",
            json!([{"operator": "Equal"}]),
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        ),
        (
            "/spec/tolerations",
            json!([{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 1}]),
            "spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set",
        ),
        (
            "/spec/affinity/nodeAffinity",
            json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []},
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference":
                    {"matchExpressions": [{"key": "a", "operator": "In"}]}}]}),
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term\nspec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100\nspec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ),
        (
            "/spec/volumes",
            json!([{"name": "v", "downwardAPI": {"items": [{"path": "../x"}]}}]),
            "spec.volumes[0].downwardAPI.items[0].path: Invalid value: \"../x\": must not contain '..'\nspec.volumes[0].downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required",
        ),
        (
            "/spec/nodeSelector",
            json!({"a": "-"}),
            "spec.nodeSelector: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
    ];
    for (path, value, expected) in cases {
        assert_eq!(
            causes(created(Kind::Pod, set(pod(), path, value.clone()))),
            expected,
            "{path} {value}"
        );
    }
    let twice = set(
        pod(),
        &format!("{web}/volumeMounts"),
        json!([{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}]),
    );
    let twice = set(twice, "/spec/volumes", json!([{"name": "v"}]));
    assert_eq!(
        causes(created(Kind::Pod, twice)),
        "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/v\": must be unique"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn workloads_have_rules() {
    let cases = [
        (
            "/spec/replicas",
            json!(-1),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "/spec/selector",
            json!(null),
            "spec.selector: Required value",
        ),
        (
            "/spec/selector",
            json!({}),
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
        ),
        (
            "/spec/selector/matchLabels/app",
            json!("back"),
            "spec.template.metadata.labels: Invalid value: {\"app\":\"front\"}: `selector` does not match template `labels`",
        ),
        (
            "/spec/selector/matchExpressions",
            json!([{"key": "app", "operator": "Near"}]),
            "spec.selector.matchExpressions[0].operator: Invalid value: \"Near\": not a valid selector operator\nspec.selector: Invalid value: {\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Near\"}],\"matchLabels\":{\"app\":\"front\"}}: invalid label selector",
        ),
        (
            "/spec/template",
            json!(null),
            "spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`\nspec.template: Required value",
        ),
        (
            "/spec/template/spec/restartPolicy",
            json!("Never"),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ),
        (
            "/spec/template/spec/activeDeadlineSeconds",
            json!(5),
            "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
        ),
        (
            "/spec/strategy/type",
            json!("Canary"),
            "spec.strategy.type: Unsupported value: \"Canary\": supported values: \"Recreate\", \"RollingUpdate\"",
        ),
        (
            "/spec/strategy",
            json!({"type": "Recreate", "rollingUpdate": {}}),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            "/spec/strategy/rollingUpdate",
            json!({"maxSurge": 0, "maxUnavailable": "0%"}),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
        ),
        (
            "/spec/strategy/rollingUpdate",
            json!({"maxUnavailable": "101%"}),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
        ),
        (
            "/spec/strategy/rollingUpdate",
            json!({"maxSurge": -1}),
            "spec.strategy.rollingUpdate.maxSurge: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "/spec/strategy/rollingUpdate",
            json!({"maxSurge": "half"}),
            "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"half\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
        ),
        (
            "/spec/progressDeadlineSeconds",
            json!(0),
            "spec.progressDeadlineSeconds: Invalid value: 0: must be greater than minReadySeconds",
        ),
        (
            "/spec/template/spec/containers/0/image",
            json!(null),
            "spec.template.spec.containers[0].image: Required value",
        ),
    ];
    for (path, value, expected) in cases {
        assert_eq!(
            causes(created(
                Kind::Deployment,
                set(deployment(), path, value.clone())
            )),
            expected,
            "{path} {value}"
        );
    }
    let status = created(
        Kind::Deployment,
        set(deployment(), "/spec/replicas", json!(-1)),
    )
    .unwrap_err();
    assert!(
        status
            .message
            .starts_with("Deployment.apps \"front\" is invalid: spec.replicas: "),
        "{status}"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn what_is_just_within_the_rules_is_admitted() {
    let cases = [
        (
            Kind::Deployment,
            set(
                deployment(),
                "/spec/strategy/rollingUpdate",
                json!({"maxUnavailable": "100%", "maxSurge": 0}),
            ),
        ),
        (
            Kind::Deployment,
            set(deployment(), "/spec/replicas", json!(0)),
        ),
        (
            Kind::Pod,
            set(
                pod(),
                "/spec/containers/0/resources",
                json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1000m"}}),
            ),
        ),
        (
            Kind::Pod,
            set(pod(), "/spec/terminationGracePeriodSeconds", json!(0)),
        ),
        (
            Kind::Pod,
            set(
                pod(),
                "/spec/containers/0/ports",
                json!([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53}]),
            ),
        ),
        (
            Kind::Pod,
            set(
                pod(),
                "/spec/initContainers",
                json!([{"name": "s", "image": "x", "restartPolicy": "Always", "livenessProbe": {"exec": {"command": ["x"]}}}]),
            ),
        ),
        (
            Kind::ConfigMap,
            set(config_map(), "/metadata/name", json!("a".repeat(253))),
        ),
        (
            Kind::ConfigMap,
            set(
                config_map(),
                "/metadata/labels",
                json!({"example.com/a_b.c": "", "x": "v".repeat(63)}),
            ),
        ),
        (
            Kind::ConfigMap,
            set(config_map(), "/data", json!({"all": "x".repeat(1 << 20)})),
        ),
        (
            Kind::Event,
            json!({"metadata": {"name": "e"}, "involvedObject": {"namespace": "shop"}}),
        ),
    ];
    for (kind, value) in cases {
        assert_eq!(created(kind, value).err(), None);
    }
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let bad = set(
        set(deployment(), "/spec/replicas", json!(-1)),
        "/metadata/name",
        "Bad".into(),
    );
    let bad = set(bad, "/spec/template/spec/containers/0/image", json!(""));
    let status = created(Kind::Deployment, bad).unwrap_err();
    assert_eq!(status.details.as_ref().unwrap().causes.len(), 3);
    assert!(
        status
            .message
            .starts_with("Deployment.apps \"Bad\" is invalid: [metadata.name: "),
        "{status}"
    );
    assert!(
        status
            .message
            .ends_with("spec.template.spec.containers[0].image: Required value]"),
        "{status}"
    );
}

#[test]
fn a_thousand_wrong_fields_get_a_short_answer() {
    let many: Value = (0..1000)
        .map(|n| (format!("{n}!"), json!("")))
        .collect::<Map<_, _>>()
        .into();
    let status = created(Kind::ConfigMap, set(config_map(), "/metadata/labels", many)).unwrap_err();
    let causes = status.details.unwrap().causes;
    assert_eq!(causes.len(), 129);
    assert_eq!(
        causes[128].message,
        "Too many: 872 more problems are not listed"
    );
}

#[test]
fn config_maps_and_secrets_have_rules() {
    let key = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
    let cases = [
        (Kind::ConfigMap, set(config_map(), "/data", json!({"a b": "1"})), format!("data[a b]: Invalid value: \"a b\": {key}")),
        (Kind::ConfigMap, set(config_map(), "/data", json!({"..": "1"})), "data[..]: Invalid value: \"..\": must not be '..'".into()),
        (Kind::ConfigMap, set(config_map(), "/binaryData", json!({"a": "MQ=="})), "data[a]: Invalid value: \"a\": duplicate of key present in binaryData".into()),
        (Kind::ConfigMap, set(config_map(), "/data/big", json!("x".repeat(1 << 20))), "[]: Too long: may not be more than 1048576 bytes".into()),
        (Kind::Secret, set(secret(), "/data", json!({"a b": "MQ=="})), format!("data[a b]: Invalid value: \"a b\": {key}")),
        (Kind::Secret, set(secret(), "/type", json!("kubernetes.io/tls")), "data[tls.crt]: Required value\ndata[tls.key]: Required value".into()),
        (Kind::Secret, set(secret(), "/type", json!("kubernetes.io/basic-auth")), "data[username]: Required value\ndata[password]: Required value".into()),
        (Kind::Secret, set(secret(), "/type", json!("kubernetes.io/dockerconfigjson")), "data[.dockerconfigjson]: Required value".into()),
        (Kind::Lease, json!({"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 0}}), "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0".into()),
        (Kind::Event, json!({"metadata": {"name": "e"}, "involvedObject": {"namespace": "other"}}), "involvedObject.namespace: Invalid value: \"other\": does not match event.namespace".into()),
        (Kind::Node, json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "effect": "Bad"}]}}), "spec.taints[0].effect: Unsupported value: \"Bad\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"".into()),
        (Kind::Node, json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "effect": "NoExecute"}, {"key": "a", "effect": "NoExecute"}]}}), "spec.taints[1]: Duplicate value: {\"effect\":\"NoExecute\",\"key\":\"a\"}".into()),
    ];
    for (kind, value, expected) in cases {
        assert_eq!(causes(created(kind, value)), expected);
    }
}

#[test]
fn a_body_must_belong_to_its_path() {
    let state = state();
    let cases = [
        (
            "another kind",
            "shop",
            json!({"apiVersion": "v1", "kind": "Secret"}),
            400,
            "Secret in version \"v1\" cannot be handled as a ConfigMap: no kind \"Secret\" is registered for this path",
        ),
        (
            "another version",
            "shop",
            json!({"apiVersion": "v2", "kind": "ConfigMap"}),
            400,
            "the API version in the data (v2) does not match the expected API version (v1)",
        ),
        (
            "another namespace",
            "shop",
            json!({"metadata": {"namespace": "default"}}),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "no map",
            "shop",
            json!([1]),
            400,
            "the body of the request must be a map",
        ),
        (
            "no such namespace",
            "moon",
            config_map(),
            404,
            "namespaces \"moon\" not found",
        ),
        (
            "a namespace that goes",
            "going",
            config_map(),
            403,
            "configmaps \"settings\" is forbidden: unable to create new content in namespace going because it is being terminated",
        ),
    ];
    for (name, namespace, value, code, message) in cases {
        let status = create(Kind::ConfigMap, namespace, value, &request(&state)).unwrap_err();
        assert_eq!(
            (status.code, status.message.as_str()),
            (code, message),
            "{name}"
        );
    }
    let status = create(Kind::Pod, "going", pod(), &request(&state)).unwrap_err();
    assert_eq!(
        status.details.unwrap().causes[0].reason,
        "NamespaceTerminating"
    );
}
