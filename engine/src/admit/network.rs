//! The kinds of the network: services, who serves them, the ways in from outside, and who may
//! talk to whom. Addresses and node ports are not given here: that is decided with all services
//! in sight, when an object is written.

mod address;
mod endpoints;
mod ingress;
mod policy;
mod service;
mod status;

use serde_json::{Map, Value};

use super::field::{At, Errors};
use super::names;

pub(super) use endpoints::{
    default_endpoints, default_slice, validate_endpoints, validate_slice, validate_slice_update,
};
pub(super) use ingress::{
    default_ingress_class, validate_ingress, validate_ingress_class, validate_ingress_class_update,
};
pub(super) use policy::{default as default_policy, validate as validate_policy};
pub(super) use service::{
    default as default_service, keep as keep_service, validate as validate_service,
    validate_update as validate_service_update,
};
pub(super) use status::{validate_balancer, validate_service_status};

/// The transports of ports, as Kubernetes lists them.
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

/// The number of a port.
fn port_number(at: &At<'_, '_>, errors: &mut Errors) {
    let number = at.int().unwrap_or(0);
    if !(1..=65535).contains(&number) {
        errors.invalid_as(at, number, "must be between 1 and 65535, inclusive");
    }
}

/// The number or the name of a port.
fn port(at: &At<'_, '_>, errors: &mut Errors) {
    if at.int().is_some() {
        port_number(at, errors);
    } else {
        errors.problems(at, at.text(), &names::port_name(at.text()));
    }
}

fn protocol(at: &At<'_, '_>, errors: &mut Errors) {
    if !at.exists() {
        errors.required(at, "");
    } else if !PROTOCOLS.contains(&at.text()) {
        errors.not_supported(at, &PROTOCOLS);
    }
}

/// What is spoken at a port: `http`, `kubernetes.io/h2c`.
fn app_protocol(at: &At<'_, '_>, errors: &mut Errors) {
    if at.exists() {
        errors.problems(at, at.text(), &names::qualified(at.text()));
    }
}

/// The maps in a list of a map.
fn each<'a>(
    fields: &'a mut Map<String, Value>,
    list: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> + use<'a> {
    let items = fields
        .get_mut(list)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten();
    items.filter_map(Value::as_object_mut)
}
