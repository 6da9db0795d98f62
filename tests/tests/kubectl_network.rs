//! Real kubectl with the kinds of the network, against one `skiff dev` per test. What they make
//! happen on the wire is tested elsewhere; here it is what a person types and reads.

use serde_json::{Value, json};
use skiff_tests::cluster::{Cluster, PODS_MAX};
use skiff_tests::given;
use skiff_tests::given::{BUSYBOX, FOREVER};
use skiff_tests::kubectl::Kubectl;
use skiff_tests::wait;

/// From this version on, kubectl sends the bodies of its `create TYPE` verbs as protobuf only.
const PROTOBUF_BODIES_SINCE: u32 = 32;

const WAYS_IN: &str = r"
apiVersion: v1
kind: Service
metadata: {name: door}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  ingressClassName: skiff
  rules:
    - host: shop.example
      http:
        paths:
          - {path: /cart, pathType: Prefix, backend: {service: {name: door, port: {name: http}}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-front}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
    - from: [{podSelector: {matchLabels: {app: front}}}]
      ports: [{port: 8080, protocol: TCP}]
";

const CLASS: &str = r"
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: NAME}
spec: {controller: example.com/other}
";

/// What `kubectl describe ingress` says of the class: 1.20 says nothing of it yet, 1.27 does.
const CLASS_SHOWN: &str = "Ingress Class: skiff";
const CLASS_SHOWN_SINCE: u32 = 27;

/// Words with one space between them, whatever the columns are.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn kubectl_knows_the_kinds_of_the_network() {
    let cluster = Cluster::dev(1);
    cluster.engine.busybox_image(BUSYBOX);
    for kubectl in chosen(Kubectl::all(&cluster.kubeconfig())) {
        let ns = format!("v{}", kubectl.minor);
        cluster
            .api()
            .create("/api/v1/namespaces", &json!({"metadata": {"name": ns}}));
        let file = cluster.file("ways.yaml", WAYS_IN);
        let apply = format!("apply -n {ns} -f {file}");
        let made = kubectl.run(&apply).ok();
        assert_eq!(made.matches(" created").count(), 3, "{made}");
        let again = kubectl.run(&apply).ok();
        assert_eq!(again.matches(" unchanged").count(), 3, "{again}");
        let same = kubectl.run(&format!("diff -n {ns} -f {file}")).ok();
        assert_eq!(same, "");
        let class = CLASS.replace("NAME", &ns);
        kubectl.piped("apply -f -", &class).ok();

        reads(&kubectl, &ns);
        exposes(&cluster, &kubectl, &ns);
        changes(&kubectl, &ns);
        if kubectl.minor < PROTOBUF_BODIES_SINCE {
            creates(&kubectl, &ns);
        }
        let said = kubectl
            .run(&format!("delete -n {ns} -f {file} --timeout=60s"))
            .ok();
        assert_eq!(said.matches(" deleted").count(), 3, "{said}");
        kubectl
            .run(&format!("delete ingressclass {ns} --timeout=60s"))
            .ok();
    }
}

fn reads(kubectl: &Kubectl, ns: &str) {
    let all = "svc,ep,endpointslice,ing,netpol";
    kubectl.run(&format!("get {all} -n {ns} -o wide")).ok();
    kubectl.run(&format!("get {all} -A")).ok();
    let tables = [
        (
            "svc door",
            "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE door NodePort",
        ),
        (
            "ing shop",
            "NAME CLASS HOSTS ADDRESS PORTS AGE shop skiff shop.example",
        ),
        (
            "netpol only-front",
            "NAME POD-SELECTOR AGE only-front app=web",
        ),
    ];
    for (what, words) in tables {
        let table = kubectl.run(&format!("get {what} -n {ns}")).ok();
        assert!(squeezed(&table).starts_with(words), "{table}");
    }
    let classes = kubectl.run(&format!("get ingressclass {ns}")).ok();
    let words = format!("NAME CONTROLLER PARAMETERS AGE {ns} example.com/other <none>");
    assert!(squeezed(&classes).starts_with(&words), "{classes}");
    let described = [
        (
            "svc door",
            [
                "Selector: app=web",
                "Type: NodePort",
                "Session Affinity: None",
            ],
        ),
        ("ing shop", [CLASS_SHOWN, "shop.example", "/cart door:http"]),
        (
            "netpol only-front",
            [
                "PodSelector: app=web",
                "To Port: 8080/TCP",
                "PodSelector: app=front",
            ],
        ),
    ];
    for (what, words) in described {
        let text = kubectl.run(&format!("describe {what} -n {ns}")).ok();
        let shown = |word: &&str| *word != CLASS_SHOWN || kubectl.minor >= CLASS_SHOWN_SINCE;
        for word in words.iter().filter(|word| shown(word)) {
            assert!(squeezed(&text).contains(word), "{word}: {text}");
        }
    }
    let selector = "get svc -A --field-selector spec.type=NodePort -o name";
    let found = kubectl.run(&format!("{selector} -n {ns}")).ok();
    assert!(found.contains("service/door"), "{found}");
}

/// `kubectl expose`, and what stands behind the service then.
fn exposes(cluster: &Cluster, kubectl: &Kubectl, ns: &str) {
    let file = cluster.file(
        "web.json",
        &given::deployment("web", 1, FOREVER).to_string(),
    );
    kubectl.run(&format!("apply -n {ns} -f {file}")).ok();
    let said = kubectl.run(&format!(
        "expose -n {ns} deployment web --port=80 --target-port=8080"
    ));
    assert!(said.ok().contains("service/web exposed"));
    let service: Value = json_of(kubectl, &format!("get svc web -n {ns} -o json"));
    assert_eq!(service["spec"]["selector"], json!({"app": "web"}));
    assert!(
        service["spec"]["clusterIP"]
            .as_str()
            .is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok()),
        "{service}"
    );
    cluster.wait_for_pods(ns, "app=web", 1);
    wait::until("the pod is an endpoint", PODS_MAX, || {
        let table = kubectl.run(&format!("get ep web -n {ns}")).ok();
        if table.contains(":8080") {
            Ok(())
        } else {
            Err(table)
        }
    });
    let text = kubectl.run(&format!("describe svc web -n {ns}")).ok();
    assert!(text.contains(":8080"), "{text}");
    kubectl
        .run(&format!("delete -n {ns} svc/web deploy/web --timeout=60s"))
        .ok();
}

/// What `edit` and `patch` send, and what they must not change.
fn changes(kubectl: &Kubectl, ns: &str) {
    let before = json_of(kubectl, &format!("get svc door -n {ns} -o json"));
    let port = before["spec"]["ports"][0]["nodePort"].clone();
    assert!(port.as_i64().is_some(), "{before}");
    let patch = r#"{"spec":{"ports":[{"port":80,"targetPort":9090}]}}"#;
    kubectl
        .args(&["patch", "svc", "door", "-n", ns, "-p", patch])
        .ok();
    let after = json_of(kubectl, &format!("get svc door -n {ns} -o json"));
    let merged = json!([{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 9090, "nodePort": port}]);
    assert_eq!(after["spec"]["ports"], merged);
    assert_eq!(after["spec"]["clusterIP"], before["spec"]["clusterIP"]);
    let patch = r#"{"spec":{"clusterIP":"10.43.255.9","clusterIPs":["10.43.255.9"]}}"#;
    let refused = kubectl
        .args(&["patch", "svc", "door", "-n", ns, "-p", patch])
        .refused();
    assert!(refused.contains("may not change once set"), "{refused}");
    let bad = "apiVersion: v1\nkind: Service\nmetadata: {name: 1st}\nspec: {ports: [{port: 0}]}\n";
    let refused = kubectl.piped(&format!("apply -n {ns} -f -"), bad).refused();
    for words in [
        "a DNS-1035 label must",
        "spec.ports[0].port: Invalid value: 0",
    ] {
        assert!(refused.contains(words), "{refused}");
    }
    let balanced = "apiVersion: v1\nkind: Service\nmetadata: {name: lb}\nspec: {type: LoadBalancer, ports: [{port: 80}]}\n";
    kubectl.piped(&format!("apply -n {ns} -f -"), balanced).ok();
    let table = kubectl.run(&format!("get svc lb -n {ns}")).ok();
    assert!(table.contains("<pending>"), "{table}");
    kubectl.run(&format!("delete svc lb -n {ns}")).ok();
}

/// The `create TYPE` verbs.
fn creates(kubectl: &Kubectl, ns: &str) {
    for line in [
        "create service clusterip inner --tcp=80:8080",
        "create service nodeport outer --tcp=80:8080",
        "create service externalname away --external-name db.example",
        "create ingress way --class=skiff --rule=a.example/path*=inner:80",
    ] {
        let said = kubectl.run(&format!("{line} -n {ns}")).ok();
        assert!(said.contains("created"), "{line}: {said}");
    }
    let table = kubectl.run(&format!("get svc away -n {ns}")).ok();
    assert!(
        squeezed(&table).contains("away ExternalName <none> db.example"),
        "{table}"
    );
    kubectl
        .run(&format!(
            "delete -n {ns} svc/inner svc/outer svc/away ing/way"
        ))
        .ok();
}

fn json_of(kubectl: &Kubectl, line: &str) -> Value {
    serde_json::from_str(&kubectl.run(line).ok()).expect("kubectl prints JSON")
}

/// The oldest, the last one whose `create TYPE` verbs send JSON, and the newest.
fn chosen(all: Vec<Kubectl>) -> Vec<Kubectl> {
    let minors: Vec<u32> = all.iter().map(|one| one.minor).collect();
    let last_json = minors
        .iter()
        .copied()
        .filter(|minor| *minor < PROTOBUF_BODIES_SINCE)
        .max();
    let ends = [minors.first().copied(), last_json, minors.last().copied()];
    all.into_iter()
        .filter(|one| ends.contains(&Some(one.minor)))
        .collect()
}
