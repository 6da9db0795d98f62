//! The strategic merge patch, as Kubernetes documents it and kubectl relies on it.

use super::*;

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "p"}, "spec": spec})
}

/// The names of the containers in order, or whatever a list is identified by.
fn order(value: &Value, path: &str, key: &str) -> String {
    let items = value.pointer(path).and_then(Value::as_array).unwrap();
    items
        .iter()
        .map(|item| item[key].to_string())
        .collect::<Vec<_>>()
        .join(" ")
        .replace('"', "")
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn lists_are_merged_by_the_key_of_their_items() {
    let cases = [
        (
            "a container's image changes",
            json!({"containers": [{"name": "a", "image": "x:1", "env": [{"name": "E", "value": "1"}]}]}),
            json!({"containers": [{"name": "a", "image": "x:2"}]}),
            json!({"containers": [{"name": "a", "image": "x:2", "env": [{"name": "E", "value": "1"}]}]}),
        ),
        (
            "a new item stands first, as in Kubernetes",
            json!({"containers": [{"name": "a"}]}),
            json!({"containers": [{"name": "b"}]}),
            json!({"containers": [{"name": "b"}, {"name": "a"}]}),
        ),
        (
            "env is merged by name",
            json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}]}),
            json!({"containers": [{"name": "a", "env": [{"name": "Y", "value": "3"}]}]}),
            json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "3"}]}]}),
        ),
        (
            "ports by number",
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "w"}]}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}),
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "w", "protocol": "TCP"}]}]}),
        ),
        (
            "mounts by path",
            json!({"containers": [{"name": "a", "volumeMounts": [{"mountPath": "/x", "name": "v"}]}]}),
            json!({"containers": [{"name": "a", "volumeMounts": [{"mountPath": "/x", "readOnly": true}]}]}),
            json!({"containers": [{"name": "a", "volumeMounts": [{"mountPath": "/x", "name": "v", "readOnly": true}]}]}),
        ),
        (
            "args are one value",
            json!({"containers": [{"name": "a", "args": ["1", "2"]}]}),
            json!({"containers": [{"name": "a", "args": ["3"]}]}),
            json!({"containers": [{"name": "a", "args": ["3"]}]}),
        ),
        (
            "tolerations are one value",
            json!({"tolerations": [{"key": "a"}]}),
            json!({"tolerations": [{"key": "b"}]}),
            json!({"tolerations": [{"key": "b"}]}),
        ),
        (
            "null removes a field",
            json!({"nodeName": "n", "hostname": "h"}),
            json!({"nodeName": null}),
            json!({"hostname": "h"}),
        ),
        (
            "null in a new map is dropped",
            json!({}),
            json!({"securityContext": {"runAsUser": null, "fsGroup": 1}}),
            json!({"securityContext": {"fsGroup": 1}}),
        ),
        (
            "another type replaces",
            json!({"volumes": [{"name": "v"}]}),
            json!({"volumes": {"odd": 1}}),
            json!({"volumes": {"odd": 1}}),
        ),
    ];
    for (name, object, patch, expected) in cases {
        assert_eq!(
            merged(Kind::Pod, pod(object), json!({"spec": patch})),
            Ok(pod(expected)),
            "{name}"
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn directives_do_what_a_plain_patch_cannot() {
    let two = json!({"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]});
    let volume = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
    let cases = [
        (
            "$patch: delete takes an item out",
            two.clone(),
            json!({"containers": [{"name": "a", "$patch": "delete"}]}),
            json!({"containers": [{"name": "b", "image": "y"}]}),
        ),
        (
            "deleting what is not there is fine",
            two.clone(),
            json!({"containers": [{"name": "z", "$patch": "delete"}]}),
            two.clone(),
        ),
        (
            "$patch: replace swaps the list",
            two.clone(),
            json!({"containers": [{"$patch": "replace"}, {"name": "c"}]}),
            json!({"containers": [{"name": "c"}]}),
        ),
        (
            "$patch: replace swaps a map",
            json!({"nodeSelector": {"a": "1", "b": "2"}}),
            json!({"nodeSelector": {"$patch": "replace", "c": "3"}}),
            json!({"nodeSelector": {"c": "3"}}),
        ),
        (
            "$patch: delete empties a map",
            json!({"nodeSelector": {"a": "1"}}),
            json!({"nodeSelector": {"$patch": "delete"}}),
            json!({"nodeSelector": {}}),
        ),
        (
            "$patch: merge is what happens anyway",
            json!({"nodeSelector": {"a": "1"}}),
            json!({"nodeSelector": {"$patch": "merge", "b": "2"}}),
            json!({"nodeSelector": {"a": "1", "b": "2"}}),
        ),
        (
            "a new item loses its directives",
            json!({}),
            json!({"containers": [{"name": "a", "$setElementOrder/env": [], "args": null}]}),
            json!({"containers": [{"name": "a"}]}),
        ),
        (
            "a new list needs no deletions",
            json!({}),
            json!({"containers": [{"name": "a", "$patch": "delete"}, {"name": "b"}]}),
            json!({"containers": [{"name": "b"}]}),
        ),
        (
            "$retainKeys drops what is not named",
            volume.clone(),
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}),
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
        ),
    ];
    for (name, object, patch, expected) in cases {
        assert_eq!(
            merged(Kind::Pod, pod(object), json!({"spec": patch})),
            Ok(pod(expected)),
            "{name}"
        );
    }
}

#[test]
fn finalizers_are_a_set() {
    let object = json!({"metadata": {"finalizers": ["a/x", "b/y", "c/z"]}});
    let cases = [
        (
            "added once",
            json!({"finalizers": ["d/w", "a/x"]}),
            json!(["d/w", "a/x", "b/y", "c/z"]),
        ),
        (
            "taken out",
            json!({"$deleteFromPrimitiveList/finalizers": ["b/y"]}),
            json!(["a/x", "c/z"]),
        ),
        (
            "taken out, added and ordered",
            json!({
                "$deleteFromPrimitiveList/finalizers": ["b/y"], "finalizers": ["n/n"],
                "$setElementOrder/finalizers": ["c/z", "n/n", "a/x"]}),
            json!(["c/z", "n/n", "a/x"]),
        ),
    ];
    for (name, patch, expected) in cases {
        let found = merged(Kind::ConfigMap, object.clone(), json!({"metadata": patch})).unwrap();
        assert_eq!(found["metadata"]["finalizers"], expected, "{name}");
    }
}

#[test]
fn the_order_of_elements_is_the_patchs_and_others_keep_their_place() {
    let names = |list: &str| -> Vec<Value> {
        list.split_whitespace()
            .map(|name| json!({"name": name}))
            .collect()
    };
    let cases = [
        // stood, patched, order, expected
        ("as ordered", "a b c", "", "c b a", "c b a"),
        (
            "a server's item keeps its place before the next",
            "s a b",
            "",
            "a b",
            "s a b",
        ),
        ("a server's item in the middle", "a s b", "", "a b", "a s b"),
        (
            "a new item goes where it is ordered",
            "a b",
            "n",
            "a n b",
            "a n b",
        ),
        ("server's items go behind new ones", "s", "n", "n", "n s"),
        ("order names what is not there", "a", "", "z a", "a"),
    ];
    for (name, stood, patched, ordered, expected) in cases {
        let mut patch = json!({"$setElementOrder/containers": names(ordered)});
        if !patched.is_empty() {
            patch["containers"] = json!(names(patched));
        }
        let object = pod(json!({"containers": names(stood)}));
        let found = merged(Kind::Pod, object, json!({"spec": patch})).unwrap();
        assert_eq!(
            order(&found, "/spec/containers", "name"),
            expected,
            "{name}"
        );
    }
}

#[test]
fn what_kubectl_sends_for_a_changed_deployment_is_understood() {
    let object = json!({
        "metadata": {"annotations": {"keep": "1"}},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [
            {"name": "web", "image": "nginx:1", "ports": [{"containerPort": 80, "protocol": "TCP"}]},
            {"name": "injected", "image": "mesh:1"}]}}},
        "status": {"conditions": [{"type": "Available", "status": "True"}]},
    });
    let patch = json!({
        "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}},
        "spec": {"replicas": 3, "template": {"spec": {
            "$setElementOrder/containers": [{"name": "web"}],
            "containers": [{"name": "web", "image": "nginx:2",
                "$setElementOrder/ports": [{"containerPort": 80}], "env": [{"name": "A", "value": "b"}]}]}}},
    });
    let found = merged(Kind::Deployment, object, patch).unwrap();
    assert_eq!(found["spec"]["replicas"], 3);
    assert_eq!(found["metadata"]["annotations"]["keep"], "1");
    let web = &found["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(web["image"], "nginx:2");
    assert_eq!(
        web["ports"],
        json!([{"containerPort": 80, "protocol": "TCP"}])
    );
    assert_eq!(web["env"], json!([{"name": "A", "value": "b"}]));
    assert_eq!(
        found["spec"]["template"]["spec"]["containers"][1]["name"],
        "injected"
    );
    assert!(!found.to_string().contains('$'));
}

#[test]
fn conditions_taints_and_owners_follow_their_kinds() {
    let node = json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "False"}]}});
    let patch = json!({"spec": {"taints": []}, "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
    let found = merged(Kind::Node, node, patch).unwrap();
    assert_eq!(
        found["spec"]["taints"],
        json!([]),
        "kubectl taint sends what shall remain"
    );
    assert_eq!(
        found["status"]["conditions"],
        json!([
        {"type": "Ready", "status": "Unknown"}, {"type": "DiskPressure", "status": "False"}])
    );
    let owned = json!({"metadata": {"ownerReferences": [{"uid": "1", "name": "a"}]}});
    let patch = json!({"metadata": {"ownerReferences": [{"uid": "1", "$patch": "delete"}, {"uid": "2", "name": "b"}]}});
    let found = merged(Kind::Pod, owned, patch).unwrap();
    assert_eq!(
        found["metadata"]["ownerReferences"],
        json!([{"uid": "2", "name": "b"}])
    );
}

#[test]
fn a_malformed_strategic_patch_is_refused_as_kubernetes_does() {
    let cases = [
        (
            json!({"spec": {"containers": [{"image": "x"}]}}),
            "map: {\"image\":\"x\"} does not contain declared merge key: name",
        ),
        (
            json!({"spec": {"containers": ["x"]}}),
            "expected a map, but received a string",
        ),
        (
            json!({"spec": {"nodeSelector": {"$patch": "explode"}}}),
            "unknown patch type: \"explode\" in map: {}",
        ),
        (
            json!({"spec": {"$retainKeys": "name"}}),
            "invalid patch format of retainKeys",
        ),
        (
            json!({"spec": {"$retainKeys": ["a"], "b": 1}}),
            "invalid patch format of retainKeys",
        ),
        (
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": "x"}}),
            "invalid patch format of primitive list",
        ),
        (
            json!({"metadata": {"finalizers": [{"x": 1}]}}),
            "invalid patch format of primitive list",
        ),
        (
            json!({"spec": {"$setElementOrder/containers": {}}}),
            "expected a slice, but received a map",
        ),
        (
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a"}, {"name": "b"}]}}),
            "The order in patch list:\n[{\"name\":\"a\"},{\"name\":\"b\"}]\n doesn't match $setElementOrder list:\n[{\"name\":\"b\"},{\"name\":\"a\"}]\n",
        ),
        (
            json!(["x"]),
            "error decoding patch: expected a map, but received a slice",
        ),
    ];
    for (patch, expected) in cases {
        let object = json!({"metadata": {"finalizers": ["a/b"]},
            "spec": {"nodeSelector": {}, "containers": [{"name": "a"}]}});
        assert_eq!(
            merged(Kind::Pod, object, patch).unwrap_err(),
            PatchError::Malformed(expected.into())
        );
    }
}

#[test]
fn a_services_ports_are_merged_by_number_and_its_other_lists_are_one_value() {
    let service = json!({"metadata": {"name": "s"}, "spec": {"externalIPs": ["192.0.2.1"],
        "ports": [{"port": 80, "nodePort": 30080}, {"port": 81, "name": "b"}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    let patch = json!({"spec": {"externalIPs": ["192.0.2.2"],
        "ports": [{"port": 80, "targetPort": 8080}, {"port": 81, "$patch": "delete"}]},
        "status": {"loadBalancer": {"ingress": [{"hostname": "a"}]}}});
    let expected = json!({"metadata": {"name": "s"}, "spec": {"externalIPs": ["192.0.2.2"],
        "ports": [{"port": 80, "nodePort": 30080, "targetPort": 8080}]},
        "status": {"loadBalancer": {"ingress": [{"hostname": "a"}]}}});
    let merged = apply(Dialect::Strategic, Kind::Service, service, patch).unwrap();
    assert_eq!(merged, expected);
}
