//! Services, ingresses and policies as the program shows and makes them.

#[cfg(test)]
mod fake;

use fake::{Asked, Fake, shown, skiff};
use serde_json::{Value, json};
use snapbox::{assert_data_eq, str};

fn list(items: &[Value]) -> (u16, Value) {
    (200, json!({"metadata": {}, "items": items}))
}

fn cart() -> Value {
    json!({"metadata": {"name": "cart", "namespace": "default", "uid": "s"},
        "spec": {"type": "NodePort", "selector": {"app": "cart"}, "clusterIP": "10.43.0.9",
            "clusterIPs": ["10.43.0.9"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "externalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "targetPort": "web", "nodePort": 30080, "protocol": "TCP"}]},
        "status": {"loadBalancer": {}}})
}

fn slice() -> Value {
    let endpoint = |n: u8, ready: bool| {
        json!({"addresses": [format!("10.42.0.{n}")], "nodeName": "n1",
            "conditions": {"ready": ready, "serving": ready, "terminating": !ready},
            "targetRef": {"kind": "Pod", "name": format!("cart-{n}")}})
    };
    json!({"metadata": {"name": "cart-x", "namespace": "default", "uid": "x",
            "labels": {"kubernetes.io/service-name": "cart"}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": [endpoint(7, true), endpoint(8, false)]})
}

fn shop() -> Value {
    let to = |name: &str| json!({"service": {"name": name, "port": {"number": 80}}});
    json!({"metadata": {"name": "shop", "namespace": "default", "uid": "i",
            "annotations": {"gateway.skiff.io/timeout": "5s"}},
        "spec": {"ingressClassName": "skiff", "tls": [{"hosts": ["shop.example"], "secretName": "cert"}],
            "rules": [{"host": "shop.example", "http": {"paths": [
                {"path": "/cart", "pathType": "Prefix", "backend": to("cart")},
                {"path": "/pay", "pathType": "Prefix", "backend": to("payment")}]}}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}})
}

fn policy() -> Value {
    json!({"metadata": {"name": "only-front", "namespace": "default", "uid": "p",
            "creationTimestamp": "2026-11-22T17:40:00Z"},
        "spec": {"podSelector": {"matchLabels": {"app": "cart"}}, "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": 80, "endPort": 90, "protocol": "TCP"}], "from": [
                {"podSelector": {"matchLabels": {"app": "front"}}, "namespaceSelector": {}},
                {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.3.0.0/16"]}}]}, {}]}})
}

/// Answers for one object of each kind.
fn answer(ask: &Asked) -> (u16, Value) {
    let path = ask.target.split('?').next().unwrap_or_default();
    if ask.method == "POST" {
        return (201, ask.json());
    }
    match path.rsplit('/').next().unwrap_or_default() {
        "services" => list(&[cart()]),
        "endpointslices" => list(&[slice()]),
        "events" => list(&[]),
        "shop" => (200, shop()),
        "cart-x" => (200, slice()),
        "only-front" => (200, policy()),
        "skiff" => (
            200,
            json!({"metadata": {"name": "skiff", "uid": "c"}, "spec": {"controller": "skiff.io/gateway"}}),
        ),
        "cart" if path.contains("/endpoints/") => (
            200,
            json!({
            "metadata": {"name": "cart", "namespace": "default", "uid": "e"},
            "subsets": [{"addresses": [{"ip": "10.42.0.7"}], "ports": [{"port": 8080, "protocol": "TCP"}]}]}),
        ),
        "cart" if path.contains("/deployments/") => (
            200,
            json!({
            "metadata": {"name": "cart", "namespace": "default", "labels": {"team": "a"}},
            "spec": {"selector": {"matchLabels": {"app": "cart"}}, "template": {"spec": {"containers": [
                {"name": "c", "ports": [{"containerPort": 8080, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]}]}}}}),
        ),
        "cart" => (200, cart()),
        _ => (
            200,
            json!({"metadata": {"name": "bare", "namespace": "default"}}),
        ),
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one transcript of six runs")]
fn what_the_network_is_made_of_is_described() {
    let fake = Fake::start(answer);
    let runs: [&[&str]; 6] = [
        &["describe", "service", "cart"],
        &["describe", "endpoints", "cart"],
        &["describe", "endpointslice", "cart-x"],
        &["describe", "ingress", "shop"],
        &["describe", "ingressclass", "skiff"],
        &["describe", "netpol", "only-front"],
    ];
    let outputs = runs.map(|args| format!("$ {}\n{}", args.join(" "), shown(&skiff(&fake, args))));
    assert_data_eq!(
        outputs.concat(),
        str![[r#"
$ describe service cart
Name:                     cart
Namespace:                default
Labels:                   <none>
Annotations:              <none>
Selector:                 app=cart
Type:                     NodePort
IP Family Policy:         SingleStack
IP Families:              IPv4
IP:                       10.43.0.9
IPs:                      10.43.0.9
Port:                     <unset>  80/TCP
TargetPort:               web/TCP
NodePort:                 <unset>  30080/TCP
Endpoints:                10.42.0.7:8080
Session Affinity:         None
External Traffic Policy:  Cluster
Internal Traffic Policy:  Cluster
Events:                   <none>
$ describe endpoints cart
Name:         cart
Namespace:    default
Labels:       <none>
Annotations:  <none>
Subsets:
  Addresses:          10.42.0.7
  NotReadyAddresses:  <none>
  Ports:
    Name      Port   Protocol
    ----      ----   --------
    <unset>   8080   TCP
Events:  <none>
$ describe endpointslice cart-x
Name:         cart-x
Namespace:    default
Labels:       kubernetes.io/service-name=cart
Annotations:  <none>
AddressType:  IPv4
Ports:
  Name      Port   Protocol
  ----      ----   --------
  <unset>   8080   TCP
Endpoints:
  - Addresses:  10.42.0.7
    Conditions:
      Ready:        true
      Serving:      true
      Terminating:  false
    Hostname:   <unset>
    NodeName:   n1
    TargetRef:  Pod/cart-7
  - Addresses:  10.42.0.8
    Conditions:
      Ready:        false
      Serving:      false
      Terminating:  true
    Hostname:   <unset>
    NodeName:   n1
    TargetRef:  Pod/cart-8
Events:  <none>
$ describe ingress shop
Name:             shop
Labels:           <none>
Namespace:        default
Address:          192.0.2.7
Ingress Class:    skiff
Default backend:  <default>
TLS:
  cert terminates shop.example
Rules:
  Host           Path    Backends
  ----           ----    --------
  shop.example
                 /cart   cart:80 (10.42.0.7:8080)
                 /pay    payment:80 (<error: services "payment" not found>)
Annotations:  gateway.skiff.io/timeout: 5s
Events:       <none>
$ describe ingressclass skiff
Name:         skiff
Labels:       <none>
Annotations:  <none>
Controller:   skiff.io/gateway
Events:       <none>
$ describe netpol only-front
Name:         only-front
Namespace:    default
Created on:   2026-11-22T17:40:00Z
Labels:       <none>
Annotations:  <none>
Spec:
  PodSelector:     app=cart
  Allowing ingress traffic:
    To Port: 80-90/TCP
    From:
      NamespaceSelector: <none>
      PodSelector: app=front
    From:
      IPBlock:
        CIDR: 10.0.0.0/8
        Except: 10.3.0.0/16
    ----------
    To Port: <any> (traffic allowed to all ports)
    From: <any> (traffic not restricted by source)
  Not affecting egress traffic
  Policy Types: Ingress
Events:  <none>

"#]]
    );
}

#[test]
fn pods_are_exposed_by_a_service() {
    let fake = Fake::start(answer);
    let runs: [&[&str]; 5] = [
        &[
            "expose",
            "deployment",
            "cart",
            "--port=80",
            "--target-port=web",
            "--name=front-door",
            "--type=NodePort",
        ],
        &["expose", "deploy/cart"],
        &[
            "expose",
            "service",
            "cart",
            "--name=again",
            "--dry-run=client",
        ],
        &["expose", "pod", "bare", "--port=80"],
        &["expose", "configmap", "x", "--port=80"],
    ];
    let outputs = runs.map(|args| format!("$ {}\n{}", args.join(" "), shown(&skiff(&fake, args))));
    assert_data_eq!(
        outputs.concat(),
        str![[r#"
$ expose deployment cart --port=80 --target-port=web --name=front-door --type=NodePort
service/front-door exposed
$ expose deploy/cart
service/cart exposed
$ expose service cart --name=again --dry-run=client
service/again exposed (dry run)
$ expose pod bare --port=80
! error: the pod has no labels and cannot be exposed
? 1
$ expose configmap x --port=80
! error: cannot expose a ConfigMap
? 1

"#]]
    );
    let place = "POST /api/v1/namespaces/default/services?fieldManager=kubectl-expose";
    let lines = fake.lines();
    assert_eq!(
        lines.iter().filter(|line| line.starts_with(place)).count(),
        2,
        "{lines:?}"
    );
    let asked = fake.asked();
    let made: Vec<String> = asked
        .iter()
        .filter(|ask| ask.method == "POST" && ask.content_type == "application/json")
        .map(|ask| format!("{} {}\n", ask.json()["metadata"], ask.json()["spec"]))
        .collect();
    assert_data_eq!(
        made.concat(),
        str![[r#"
{"labels":{"team":"a"},"name":"front-door"} {"ports":[{"port":80,"protocol":"TCP","targetPort":"web"}],"selector":{"app":"cart"},"type":"NodePort"}
{"labels":{"team":"a"},"name":"cart"} {"ports":[{"name":"port-1","port":8080,"protocol":"TCP"},{"name":"port-2","port":53,"protocol":"UDP"}],"selector":{"app":"cart"}}

"#]]
    );
}
