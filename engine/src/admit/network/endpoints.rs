//! EndpointSlices and Endpoints: the addresses that serve, and at which ports.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{address, app_protocol, each, port_number, protocol};
use crate::admit::field::{At, Errors};
use crate::admit::{fill, map, names};

/// Kubernetes' bounds, so that what is written there can be written here.
const SLICE_ENDPOINTS_MAX: usize = 1000;
const SLICE_PORTS_MAX: usize = 20_000;
const ENDPOINT_ADDRESSES_MAX: usize = 100;
const ENDPOINT_TOPOLOGY_MAX: usize = 16;
const ENDPOINT_HINTS_MAX: usize = 8;

const ADDRESS_TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];

/// A port of a slice has a name, though it may be empty, and a protocol.
pub(in crate::admit) fn default_slice(value: &mut Value) {
    let fields = map(value);
    for port in each(fields, "ports") {
        fill(port, "name", "");
        fill(port, "protocol", "TCP");
    }
    // The wire form has the list even where nobody serves.
    fill(fields, "endpoints", Value::Array(Vec::new()));
}

pub(in crate::admit) fn default_endpoints(value: &mut Value) {
    for subset in each(map(value), "subsets") {
        for port in each(subset, "ports") {
            fill(port, "protocol", "TCP");
        }
    }
}

/// Checks an EndpointSlice.
pub(in crate::admit) fn validate_slice(object: &At<'_, '_>, errors: &mut Errors) {
    let family = object.field("addressType");
    if family.text().is_empty() {
        errors.required(&family, "");
    } else if !ADDRESS_TYPES.contains(&family.text()) {
        errors.not_supported(&family, &ADDRESS_TYPES);
    }
    let (endpoints, ports) = (object.field("endpoints"), object.field("ports"));
    if endpoints.len() > SLICE_ENDPOINTS_MAX {
        errors.too_many(&endpoints, SLICE_ENDPOINTS_MAX);
    } else {
        for one in endpoints.each() {
            endpoint(&one, family.text(), errors);
        }
    }
    if ports.len() > SLICE_PORTS_MAX {
        errors.too_many(&ports, SLICE_PORTS_MAX);
    } else {
        slice_ports(&ports, errors);
    }
}

/// A slice's addresses stay of one type for life.
pub(in crate::admit) fn validate_slice_update(
    old: &At<'_, '_>,
    new: &At<'_, '_>,
    errors: &mut Errors,
) {
    let family = new.field("addressType");
    if old.field("addressType").value() != family.value() {
        errors.invalid(&family, "field is immutable");
    }
}

fn endpoint(endpoint: &At<'_, '_>, family: &str, errors: &mut Errors) {
    let addresses = endpoint.field("addresses");
    if addresses.len() == 0 {
        errors.required(&addresses, "must contain at least 1 address");
    } else if addresses.len() > ENDPOINT_ADDRESSES_MAX {
        errors.too_many(&addresses, ENDPOINT_ADDRESSES_MAX);
    }
    for one in addresses.each() {
        match family {
            "IPv4" => address::target_v4(&one, errors),
            "IPv6" => address::target_v6(&one, errors),
            "FQDN" if one.text().is_empty() => errors.required(&one, ""),
            "FQDN" => errors.problems(&one, one.text(), &names::domain(one.text())),
            // The type itself is refused.
            _ => {}
        }
    }
    let topology = endpoint.field("deprecatedTopology");
    if topology.len() > ENDPOINT_TOPOLOGY_MAX {
        errors.too_many(&topology, ENDPOINT_TOPOLOGY_MAX);
    }
    crate::admit::metadata::labels(&topology, errors);
    let (hostname, node) = (endpoint.field("hostname"), endpoint.field("nodeName"));
    if hostname.exists() {
        errors.problems(
            &hostname,
            hostname.text(),
            &names::dns_label(hostname.text()),
        );
    }
    if node.exists() {
        errors.problems(&node, node.text(), &names::dns_subdomain(node.text()));
    }
    zones(&endpoint.field("hints").field("forZones"), errors);
}

fn zones(zones: &At<'_, '_>, errors: &mut Errors) {
    if zones.len() > ENDPOINT_HINTS_MAX {
        errors.too_many(zones, ENDPOINT_HINTS_MAX);
        return;
    }
    let mut seen = BTreeSet::new();
    for zone in zones.each() {
        let name = zone.field("name");
        if !seen.insert(name.text()) {
            errors.duplicate(&name, name.text());
        }
        errors.problems(&name, name.text(), &names::label_value(name.text()));
    }
}

fn slice_ports(ports: &At<'_, '_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for port in ports.each() {
        let (name, number) = (port.field("name"), port.field("port"));
        if !name.text().is_empty() {
            errors.problems(&name, name.text(), &names::dns_label(name.text()));
        }
        if !seen.insert(name.text()) {
            errors.duplicate(&name, name.text());
        }
        protocol(&port.field("protocol"), errors);
        // Without a number it means every port.
        if number.exists() {
            port_number(&number, errors);
        }
        app_protocol(&port.field("appProtocol"), errors);
    }
}

/// Checks an Endpoints object.
pub(in crate::admit) fn validate_endpoints(object: &At<'_, '_>, errors: &mut Errors) {
    for subset in object.field("subsets").each() {
        let (ready, others) = (subset.field("addresses"), subset.field("notReadyAddresses"));
        if ready.len() == 0 && others.len() == 0 {
            let detail = "must specify `addresses` or `notReadyAddresses`";
            errors.required(&subset, detail);
        }
        for one in ready.each() {
            endpoint_address(&one, errors);
        }
        for one in others.each() {
            endpoint_address(&one, errors);
        }
        let ports = subset.field("ports");
        for port in ports.each() {
            let name = port.field("name");
            if !name.text().is_empty() {
                errors.problems(&name, name.text(), &names::dns_label(name.text()));
            } else if ports.len() > 1 {
                errors.required(&name, "");
            }
            port_number(&port.field("port"), errors);
            protocol(&port.field("protocol"), errors);
            app_protocol(&port.field("appProtocol"), errors);
        }
    }
}

fn endpoint_address(at: &At<'_, '_>, errors: &mut Errors) {
    address::target(&at.field("ip"), errors);
    let (hostname, node) = (at.field("hostname"), at.field("nodeName"));
    if !hostname.text().is_empty() {
        errors.problems(
            &hostname,
            hostname.text(),
            &names::dns_label(hostname.text()),
        );
    }
    if node.exists() {
        errors.problems(&node, node.text(), &names::dns_subdomain(node.text()));
    }
}
