//! Where a service or an ingress can be reached from outside: `status.loadBalancer`.

use std::net::IpAddr;

use super::address;
use crate::admit::field::{At, Errors};
use crate::admit::names;

/// Checks a service's status.
pub(in crate::admit) fn validate_service_status(object: &At<'_, '_>, errors: &mut Errors) {
    let (spec, status) = (object.field("spec"), object.field("status"));
    let balancer = status.field("loadBalancer");
    let ingress = balancer.field("ingress");
    if ingress.len() > 0 && spec.field("type").text() != "LoadBalancer" {
        let detail = "may only be used when `spec.type` is \"LoadBalancer\"";
        errors.forbidden(&ingress, detail);
        return;
    }
    validate_balancer(object, errors);
}

/// Checks the addresses and names in a status.
pub(in crate::admit) fn validate_balancer(object: &At<'_, '_>, errors: &mut Errors) {
    let status = object.field("status");
    let balancer = status.field("loadBalancer");
    for one in balancer.field("ingress").each() {
        let (ip, hostname) = (one.field("ip"), one.field("hostname"));
        if !ip.text().is_empty() {
            address::address(&ip, errors);
        }
        if hostname.text().is_empty() {
            continue;
        }
        errors.problems(
            &hostname,
            hostname.text(),
            &names::dns_subdomain(hostname.text()),
        );
        if hostname.text().parse::<IpAddr>().is_ok() {
            errors.invalid(&hostname, "must be a DNS name, not an IP address");
        }
    }
}
