//! Which rules hold for which kind: one match for each step of admission, so that a new kind
//! stops the compiler wherever it needs a decision.

use serde_json::{Map, Value};
use skiff_api::Kind;

use super::field::{At, Errors};
use super::{config, entry, map, metadata, namespace, network, node, pod, records, workload};

/// Fills in what the user left out. Doing it twice changes nothing more.
pub(super) fn default(kind: Kind, value: &mut Value) {
    match kind {
        Kind::Namespace => namespace::default(value),
        Kind::Node => node::default(value),
        Kind::Pod => pod::default(value),
        Kind::Secret => config::default_secret(value),
        Kind::Deployment => workload::default_deployment(value),
        Kind::ReplicaSet => workload::default_replica_set(value),
        Kind::Service => network::default_service(value),
        Kind::Endpoints => network::default_endpoints(value),
        Kind::EndpointSlice => network::default_slice(value),
        Kind::IngressClass => network::default_ingress_class(value),
        Kind::NetworkPolicy => network::default_policy(value),
        Kind::ConfigMap | Kind::Event | Kind::ServiceAccount | Kind::Lease | Kind::Ingress => {}
    }
}

/// Sets the status that a new object begins with, whatever the request brought.
pub(super) fn begin(kind: Kind, value: &mut Value) {
    match kind {
        Kind::Namespace => {
            map(value).insert("status".into(), serde_json::json!({"phase": "Active"}));
        }
        Kind::Pod => pod::begin(value),
        Kind::Deployment => {
            map(value).insert("status".into(), Value::Object(Map::new()));
        }
        Kind::ReplicaSet => {
            map(value).insert("status".into(), serde_json::json!({"replicas": 0}));
        }
        Kind::Service | Kind::Ingress => {
            let status = serde_json::json!({"loadBalancer": {}});
            map(value).insert("status".into(), status);
        }
        // An agent creates its Node with the status that it found.
        Kind::Node
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::Event
        | Kind::ServiceAccount
        | Kind::Lease
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::IngressClass
        | Kind::NetworkPolicy => {}
    }
}

/// Gives an updated object back what its main path may not write.
pub(super) fn keep(kind: Kind, before: &Value, value: &mut Value) {
    match kind {
        Kind::Namespace => {
            keep_field(before, value, "status");
            namespace::keep_finalizers(before, value);
        }
        Kind::Node | Kind::Pod | Kind::Deployment | Kind::ReplicaSet | Kind::Ingress => {
            keep_field(before, value, "status");
        }
        Kind::Service => {
            keep_field(before, value, "status");
            network::keep_service(before, value);
        }
        Kind::Secret => config::keep_secret(before, value),
        Kind::ConfigMap
        | Kind::Event
        | Kind::ServiceAccount
        | Kind::Lease
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::IngressClass
        | Kind::NetworkPolicy => {}
    }
}

fn keep_field(before: &Value, value: &mut Value, name: &str) {
    match before.get(name) {
        Some(kept) => drop(map(value).insert(name.into(), kept.clone())),
        None => drop(map(value).remove(name)),
    }
}

/// Puts a new status in, or takes the old one away.
pub(super) fn replace_status(kind: Kind, object: &mut Value, status: Option<Value>) {
    let old = map(object).remove("status");
    let Some(status) = status else { return };
    map(object).insert("status".into(), status);
    if kind == Kind::Pod
        && let Some(class) = old.as_ref().and_then(|old| old.get("qosClass"))
    {
        // Decided once, at creation, by the resources that cannot change since.
        entry(object, "status").insert("qosClass".into(), class.clone());
    }
}

/// Checks an object by itself.
pub(super) fn validate(kind: Kind, object: &At<'_, '_>, errors: &mut Errors) {
    metadata::validate(kind, object, errors);
    match kind {
        Kind::Namespace => {}
        Kind::Node => node::validate(object, errors),
        Kind::Pod => pod::validate(object, errors),
        Kind::ConfigMap => config::validate_config_map(object, errors),
        Kind::Secret => config::validate_secret(object, errors),
        Kind::Event => records::validate_event(object, errors),
        Kind::ServiceAccount => records::validate_service_account(object, errors),
        Kind::Deployment => workload::validate_deployment(object, errors),
        Kind::ReplicaSet => workload::validate_replica_set(object, errors),
        Kind::Lease => records::validate_lease(object, errors),
        Kind::Service => network::validate_service(object, errors),
        Kind::Endpoints => network::validate_endpoints(object, errors),
        Kind::EndpointSlice => network::validate_slice(object, errors),
        Kind::Ingress => network::validate_ingress(object, errors),
        Kind::IngressClass => network::validate_ingress_class(object, errors),
        Kind::NetworkPolicy => network::validate_policy(object, errors),
    }
}

/// Checks what may not change from one version to the next.
pub(super) fn validate_update(kind: Kind, old: &At<'_, '_>, new: &At<'_, '_>, errors: &mut Errors) {
    match kind {
        Kind::Pod => pod::validate_update(old, new, errors),
        Kind::ConfigMap => config::validate_config_map_update(old, new, errors),
        Kind::Secret => config::validate_secret_update(old, new, errors),
        Kind::Deployment | Kind::ReplicaSet => workload::validate_update(old, new, errors),
        Kind::Node => node::validate_update(old, new, errors),
        Kind::Service => network::validate_service_update(old, new, errors),
        Kind::EndpointSlice => network::validate_slice_update(old, new, errors),
        Kind::IngressClass => network::validate_ingress_class_update(old, new, errors),
        Kind::Namespace
        | Kind::Event
        | Kind::ServiceAccount
        | Kind::Lease
        | Kind::Endpoints
        | Kind::Ingress
        | Kind::NetworkPolicy => {}
    }
}

/// Checks a status that somebody reports.
pub(super) fn validate_status(kind: Kind, object: &At<'_, '_>, errors: &mut Errors) {
    match kind {
        Kind::Pod => pod::validate_status(object, errors),
        Kind::Deployment | Kind::ReplicaSet => workload::validate_status(object, errors),
        Kind::Service => network::validate_service_status(object, errors),
        Kind::Ingress => network::validate_balancer(object, errors),
        Kind::Node
        | Kind::Namespace
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::Event
        | Kind::ServiceAccount
        | Kind::Lease
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::IngressClass
        | Kind::NetworkPolicy => {}
    }
}
