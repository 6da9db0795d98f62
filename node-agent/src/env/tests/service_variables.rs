//! The variables of services as a table.

use serde_json::json;
use skiff_api::Kind;
use skiff_client::Event;
use skiff_network::Catalog;

use super::super::services;

fn catalog() -> Catalog {
    let service = |namespace: &str, name: &str, spec: serde_json::Value| json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec});
    let mut catalog = Catalog::default();
    catalog.apply(
        Kind::Service,
        Event::Restarted(vec![
            service("default", "kubernetes", json!({"clusterIP": "10.43.0.1",
                "ports": [{"name": "https", "port": 443}]})),
            service("default", "other", json!({"clusterIP": "10.43.0.2", "ports": [{"port": 1}]})),
            service("shop", "my-cart", json!({"clusterIP": "10.43.0.9",
                "ports": [{"name": "http", "port": 80}, {"name": "dns-udp", "port": 53, "protocol": "UDP"}]})),
            service("shop", "head", json!({"clusterIP": "None", "ports": [{"port": 80}]})),
            service("shop", "far", json!({"type": "ExternalName", "externalName": "example.org"})),
        ]),
    );
    catalog
}

fn names(namespace: &str, links: Option<bool>) -> String {
    let spec = json!({"containers": [], "enableServiceLinks": links});
    let spec = serde_json::from_value(spec).unwrap();
    let env = services(&catalog(), namespace, &spec);
    let all: Vec<String> = env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    all.join("\n")
}

const API: &str = "\
KUBERNETES_SERVICE_HOST=10.43.0.1
KUBERNETES_SERVICE_PORT=443
KUBERNETES_SERVICE_PORT_HTTPS=443
KUBERNETES_PORT=tcp://10.43.0.1:443
KUBERNETES_PORT_443_TCP=tcp://10.43.0.1:443
KUBERNETES_PORT_443_TCP_PROTO=tcp
KUBERNETES_PORT_443_TCP_PORT=443
KUBERNETES_PORT_443_TCP_ADDR=10.43.0.1";

const CART: &str = "
MY_CART_SERVICE_HOST=10.43.0.9
MY_CART_SERVICE_PORT=80
MY_CART_SERVICE_PORT_HTTP=80
MY_CART_SERVICE_PORT_DNS_UDP=53
MY_CART_PORT=tcp://10.43.0.9:80
MY_CART_PORT_80_TCP=tcp://10.43.0.9:80
MY_CART_PORT_80_TCP_PROTO=tcp
MY_CART_PORT_80_TCP_PORT=80
MY_CART_PORT_80_TCP_ADDR=10.43.0.9
MY_CART_PORT_53_UDP=udp://10.43.0.9:53
MY_CART_PORT_53_UDP_PROTO=udp
MY_CART_PORT_53_UDP_PORT=53
MY_CART_PORT_53_UDP_ADDR=10.43.0.9";

#[test]
fn services_of_the_namespace_and_the_api_are_told() {
    let both = format!("{API}{CART}");
    for (case, namespace, links, expected) in [
        ("by default", "shop", None, &*both),
        ("asked for", "shop", Some(true), &*both),
        ("not wanted", "shop", Some(false), API),
        ("a namespace without any", "empty", None, API),
    ] {
        assert_eq!(names(namespace, links), expected, "{case}");
    }
    assert!(names("default", None).contains("OTHER_PORT_1_TCP=tcp://10.43.0.2:1"));
    assert_eq!(
        names("default", None).matches("KUBERNETES_PORT=").count(),
        1
    );
}
