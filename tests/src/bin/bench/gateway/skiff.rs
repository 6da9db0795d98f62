//! Skiff under the gateway benchmark: the gateway of a server, services without pods, and endpoints
//! by hand.

use std::net::SocketAddr;

use serde_json::{Value, json};
use skiff_tests::cluster::Cluster;

use super::SERVICES;
use super::backends::Backends;
use super::proxy::{self, Proxy};

const SERVICES_PATH: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";

#[expect(
    clippy::unnecessary_wraps,
    reason = "other proxies may not be installed, and all are started alike"
)]
pub(super) fn start(backends: &Backends, _: usize) -> Option<Proxy> {
    let address = proxy::address();
    let cluster = Cluster::server_with(&[&format!("--gateway={address}")]);
    let api = cluster.api();
    // The Ingress comes last: who is an endpoint from the beginning is not spared as a new one.
    for (name, servers) in backends.services() {
        let ports = json!([{"port": 80}]);
        let service = json!({"metadata": {"name": name}, "spec": {"ports": ports}});
        api.create(SERVICES_PATH, &service);
        for (number, server) in servers.iter().enumerate() {
            api.create(SLICES, &slice(name, number, *server));
        }
    }
    api.create(INGRESSES, &ingress());
    Some(Proxy::skiff(cluster, address))
}

/// One per server: each has a port of its own.
fn slice(service: &str, number: usize, server: SocketAddr) -> Value {
    let labels = json!({"kubernetes.io/service-name": service});
    json!({
        "metadata": {"name": format!("{service}-{number}"), "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": server.port(), "protocol": "TCP"}],
        "endpoints": [{"addresses": [server.ip().to_string()], "conditions": {"ready": true}}],
    })
}

fn ingress() -> Value {
    let paths = SERVICES.map(|name| {
        let service = json!({"name": name, "port": {"number": 80}});
        json!({"path": format!("/{name}"), "pathType": "Prefix", "backend": {"service": service}})
    });
    json!({"metadata": {"name": "shop"}, "spec": {"rules": [{"http": {"paths": paths}}]}})
}
