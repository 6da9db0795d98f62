//! Which port of a service an Ingress means, by number or by name, with real sockets.

use crate::rig::{Rig, Upstream, get, ingress_at};
use serde_json::{Value, json};
use skiff_api::Kind;

/// An Ingress that leads `/NAME` to a port of the service `web`.
fn leading(name: &str, port: &Value) -> Value {
    let mut ingress = ingress_at(name, None, &format!("/{name}"), "web", json!({}));
    ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"] = port.clone();
    ingress
}

#[tokio::test]
async fn a_port_is_known_by_its_number_or_its_name_and_not_by_what_it_leads_to() {
    let (shop, office) = (
        Upstream::saying("shop").await,
        Upstream::saying("office").await,
    );
    let mut rig = Rig::start().await;
    let cases = [
        ("name", json!({"name": "front"}), 200, "shop"),
        ("number", json!({"number": 80}), 200, "shop"),
        ("other-name", json!({"name": "back"}), 200, "office"),
        ("other-number", json!({"number": 81}), 200, "office"),
        ("target-name", json!({"name": "main"}), 503, "no such port"),
        (
            "target-number",
            json!({"number": shop.address.port()}),
            503,
            "no such port",
        ),
        ("udp", json!({"name": "clock"}), 503, "no such port"),
    ];
    let ingresses = cases.each_ref().map(|(name, port, ..)| leading(name, port));
    rig.objects(&ingresses, &[]);
    let service = json!({"metadata": {"name": "web", "namespace": "d"},
        "spec": {"type": "ClusterIP", "clusterIP": "10.43.0.9", "ports": [
            {"name": "front", "port": 80, "protocol": "TCP", "targetPort": "main"},
            {"name": "back", "port": 81, "protocol": "TCP", "targetPort": "side"},
            {"name": "clock", "port": 123, "protocol": "UDP", "targetPort": "time"}]}});
    // The ports of pods are found by the service's names for them; whoever made the slice knew what
    // the pods call theirs.
    let slice = json!({
        "metadata": {"name": "web-1", "namespace": "d", "resourceVersion": "1",
            "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [
            {"name": "clock", "port": shop.address.port(), "protocol": "UDP"},
            {"name": "back", "port": office.address.port(), "protocol": "TCP"},
            {"name": "front", "port": shop.address.port(), "protocol": "TCP"}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}],
    });
    rig.catalog(vec![(Kind::Service, service), (Kind::EndpointSlice, slice)])
        .await;
    for (name, port, code, text) in cases {
        let answer = get(rig.http, "h", &format!("/{name}")).await;
        assert_eq!(answer.code, code, "{port}: {}", answer.text);
        assert!(answer.text.contains(text), "{port}: {}", answer.text);
    }
    rig.end().await;
}
