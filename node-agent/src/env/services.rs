//! The variables that tell a container of the services of its namespace, as Kubernetes names them.
//! Pure.

use skiff_api::k8s_openapi::api::core::v1::PodSpec;
use skiff_network::Catalog;
use skiff_network::catalog::{Reach, Service, ServiceKey};

/// The service that stands for the API; every pod is told of it.
const API: (&str, &str) = ("default", "kubernetes");

/// The variables of a pod's containers, the API's first.
#[must_use]
pub fn services(catalog: &Catalog, namespace: &str, spec: &PodSpec) -> Vec<(String, String)> {
    let mut env = Vec::new();
    let (of_api, api) = API;
    if let Some(service) = catalog.service(&ServiceKey::new(of_api, api)) {
        add(&mut env, service);
    }
    if spec.enable_service_links == Some(false) {
        return env;
    }
    // A service of that name in the pod's own namespace is not the API.
    let own = catalog
        .services_in(namespace)
        .filter(|service| &*service.key.name != api);
    for service in own {
        add(&mut env, service);
    }
    env
}

fn add(env: &mut Vec<(String, String)>, service: &Service) {
    let Reach::ClusterIp(addresses) = &service.reach else {
        return;
    };
    let (Some(address), Some(first)) = (addresses.first(), service.ports.first()) else {
        return;
    };
    let name = variable(&service.key.name);
    let mut set = |tail: &str, value: String| env.push((format!("{name}_{tail}"), value));
    set("SERVICE_HOST", address.to_string());
    set("SERVICE_PORT", first.port.to_string());
    for port in service.ports.iter().filter(|port| !port.name.is_empty()) {
        let tail = format!("SERVICE_PORT_{}", variable(&port.name));
        set(&tail, port.port.to_string());
    }
    let url = |protocol: &str, port: u16| {
        let at = std::net::SocketAddr::new(*address, port);
        format!("{protocol}://{at}")
    };
    // As links between Docker containers once were.
    set("PORT", url(first.protocol.word(), first.port));
    for port in &service.ports {
        let (protocol, number) = (port.protocol.word(), port.port);
        let prefix = format!("PORT_{number}_{}", protocol.to_uppercase());
        set(&prefix, url(protocol, number));
        set(&format!("{prefix}_PROTO"), protocol.to_owned());
        set(&format!("{prefix}_PORT"), number.to_string());
        set(&format!("{prefix}_ADDR"), address.to_string());
    }
}

/// A name as variables are written: `my-cart` is `MY_CART`.
fn variable(name: &str) -> String {
    name.to_uppercase().replace(['-', '.'], "_")
}
