//! What a node knows of services, written down for a test.

use serde_json::{Value, json};
use skiff_api::Kind;
use skiff_client::Event;
use skiff_network::Catalog;
use skiff_network::rules::Policies;

use crate::world::World;

/// What the servers would tell.
#[derive(Clone, Default)]
pub(crate) struct Known {
    pub(crate) catalog: Catalog,
    revision: u64,
    services: Vec<Value>,
}

/// An endpoint that is a fake pod.
pub(crate) fn endpoint(world: &World, name: &str) -> Value {
    let node = if name == "far" { "n2" } else { "n1" };
    json!({"addresses": [world.address(name)], "nodeName": node,
        "conditions": {"ready": true}})
}

impl Known {
    /// Nothing, but that is certain.
    pub(crate) fn synced(mut self) -> Self {
        self.catalog.synced = true;
        self.endpoints("nothing", std::iter::empty());
        self
    }

    /// A service with a TCP and a UDP port at an address of its own.
    pub(crate) fn service(&mut self, name: &str, more: Value) {
        let mut spec = json!({"clusterIP": crate::CLUSTER_IP, "clusterIPs": [crate::CLUSTER_IP],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"},
                {"name": "dns", "port": 53, "protocol": "UDP"}]});
        for (field, value) in more.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let service = json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "shop"}, "spec": spec});
        self.catalog
            .apply(Kind::Service, Event::Applied(service.clone()));
        self.services.push(service);
        self.catalog.synced = true;
    }

    /// Gives both ports of the service a port of the node.
    pub(crate) fn node_port(&mut self, name: &str, port: u16) {
        let of = |service: &&mut Value| service["metadata"]["name"] == name;
        let service = self.services.iter_mut().find(of).unwrap();
        service["spec"]["ports"][0]["nodePort"] = port.into();
        service["spec"]["ports"][1]["nodePort"] = port.into();
        self.catalog
            .apply(Kind::Service, Event::Applied(service.clone()));
    }

    /// Who serves it from now on.
    pub(crate) fn endpoints(&mut self, service: &str, endpoints: impl Iterator<Item = Value>) {
        self.revision += 1;
        let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "addressType": "IPv4",
            "metadata": {"name": format!("{service}-a"), "namespace": "shop",
                "resourceVersion": self.revision.to_string(),
                "labels": {"kubernetes.io/service-name": service}},
            "ports": [{"name": "http", "port": crate::world::PORT, "protocol": "TCP"},
                {"name": "dns", "port": crate::world::PORT, "protocol": "UDP"}],
            "endpoints": endpoints.collect::<Vec<_>>()});
        self.catalog
            .apply(Kind::EndpointSlice, Event::Applied(slice));
    }
}

/// One policy in the namespace of these pods, which are named and labelled alike.
pub(crate) fn policies(world: &World, spec: &Value, pods: &[&str]) -> Policies {
    let mut policies = Policies::default();
    let policy = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec});
    policies.apply(Kind::NetworkPolicy, Event::Applied(policy));
    for name in pods {
        let pod = json!({"type": "PUT", "namespace": "shop", "name": name,
            "labels": {"app": name}, "ip": world.address(name), "node": "n1",
            "ports": [{"name": "web", "protocol": "TCP", "port": crate::world::PORT}]});
        policies.apply_line(pod.to_string().as_bytes()).unwrap();
    }
    policies
}
