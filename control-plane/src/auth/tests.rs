use super::*;
use serde_json::json;
use skiff_api::{Millis, Object};
use skiff_engine::{Command, Write};

fn state() -> State {
    let pod = |name: &str, node: &str, config: &str| {
        let value = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "d"},
            "spec": {"nodeName": node, "containers": [{"name": "c",
                "envFrom": [{"configMapRef": {"name": config}}]}],
                "volumes": [{"name": "v", "secret": {"secretName": config}}]}});
        Write::create(Object::from_value(value).unwrap())
    };
    let mut state = State::default();
    let other = |value: serde_json::Value| Write::create(Object::from_value(value).unwrap());
    let secret = |name: &str, of: &str| {
        other(json!({"apiVersion": "v1", "kind": "Secret", "type": of,
            "metadata": {"name": name, "namespace": "d"}}))
    };
    let node = |name: &str, annotations: serde_json::Value| {
        other(json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "annotations": annotations}}))
    };
    let tls = json!([{"secretName": "tls"}, {"secretName": "opaque"}]);
    let writes = vec![
        pod("mine", "n1", "mine"),
        pod("other", "n2", "other"),
        node("n1", json!({})),
        node(
            "n3",
            json!({"network.skiff.io/gateway": "0.0.0.0:80,0.0.0.0:443"}),
        ),
        secret("tls", "kubernetes.io/tls"),
        secret("unused", "kubernetes.io/tls"),
        secret("opaque", "Opaque"),
        other(
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": "web", "namespace": "d"}, "spec": {"tls": tls}}),
        ),
    ];
    state.apply(&Command {
        term: 1,
        at: Millis(0),
        writes,
    });
    state
}

/// `verb resource[/subresource] [name]`, as one would say it.
fn may(who: &Identity, request: &str) -> bool {
    let words: Vec<&str> = request.split(' ').collect();
    let (plural, part) = words[1].split_once('/').unwrap_or((words[1], ""));
    let kind = Kind::by_alias(plural).unwrap();
    let what = Attributes {
        verb: words[0],
        kind,
        subresource: (part == "status").then_some(Subresource::Status),
        namespace: (kind != Kind::Node).then_some("d"),
        name: words.get(2).copied(),
        node_selector: None,
    };
    authorize(who, &what, &state()).is_ok()
}

#[test]
fn a_node_may_do_what_its_own_pods_need() {
    let node = Identity {
        user: "system:node:n1".into(),
        groups: vec![NODES.into()],
    };
    let cases = [
        ("its Node's status", "patch nodes/status n1", true),
        ("another Node", "patch nodes n2", false),
        ("its pod's status", "patch pods/status mine", true),
        ("its pod's spec", "patch pods mine", false),
        ("the end of its pod", "delete pods mine", true),
        ("the end of another's pod", "delete pods other", false),
        ("whether a pod is gone", "get pods gone", true),
        ("its pod's config", "get configmaps mine", true),
        ("another's config", "get configmaps other", false),
        ("its pod's secret", "get secrets mine", true),
        ("all secrets", "list secrets", false),
        ("a new pod", "create pods", false),
        ("a deployment", "patch deployments web", false),
        ("all nodes", "watch nodes", true),
        ("another Node's status", "patch nodes/status n2", false),
        ("all namespaces", "list namespaces", true),
        ("all services", "watch services", true),
        ("who is behind them", "list endpointslices", true),
        ("a service", "create services", false),
        ("all ingresses", "list ingresses", true),
        ("a certificate, without a gateway", "get secrets tls", false),
    ];
    for (name, request, expected) in cases {
        assert_eq!(may(&node, request), expected, "{name}");
    }
}

#[test]
fn a_stranger_is_refused_in_kubernetes_words() {
    let who = Identity {
        user: "eve".into(),
        groups: vec![],
    };
    let what = Attributes {
        verb: "list",
        kind: Kind::Pod,
        subresource: None,
        namespace: None,
        name: None,
        node_selector: None,
    };
    assert_eq!(
        authorize(&who, &what, &state()).unwrap_err().message,
        "pods is forbidden: User \"eve\" cannot list resource \"pods\" in API group \"\" \
         at the cluster scope"
    );
}

#[test]
fn a_node_with_a_gateway_may_do_what_that_needs() {
    let node = Identity {
        user: "system:node:n3".into(),
        groups: vec![NODES.into()],
    };
    let cases = [
        (
            "a certificate that an ingress names",
            "get secrets tls",
            true,
        ),
        ("one that none names", "get secrets unused", false),
        ("what is no certificate", "get secrets opaque", false),
        ("all secrets", "list secrets", false),
        ("an ingress's status", "patch ingresses/status web", false),
        ("an ingress", "patch ingresses web", false),
    ];
    for (name, request, expected) in cases {
        assert_eq!(may(&node, request), expected, "{name}");
    }
}

#[test]
fn every_node_may_read_the_settings_of_the_network() {
    let node = Identity {
        user: "system:node:n1".into(),
        groups: vec![NODES.into()],
    };
    for (namespace, name, expected) in [
        ("kube-system", "skiff-network", true),
        ("kube-system", "other", false),
        ("d", "skiff-network", false),
    ] {
        let what = Attributes {
            verb: "get",
            kind: Kind::ConfigMap,
            subresource: None,
            namespace: Some(namespace),
            name: Some(name),
            node_selector: None,
        };
        let found = authorize(&node, &what, &state()).is_ok();
        assert_eq!(found, expected, "{namespace}/{name}");
    }
}
