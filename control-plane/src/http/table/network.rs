//! The rows of the kinds of the network: services and who serves them, and the ways in.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::Show::Always;
use super::{AGE, Column, NAME, SELECTOR, at, items, len, number, or_none, text};

pub(super) const SERVICE_COLUMNS: &[Column] = &[
    NAME,
    ("Type", "string", Always),
    ("Cluster-IP", "string", Always),
    ("External-IP", "string", Always),
    ("Port(s)", "string", Always),
    AGE,
    SELECTOR,
];

pub(super) const SLICE_COLUMNS: &[Column] = &[
    NAME,
    ("AddressType", "string", Always),
    ("Ports", "string", Always),
    ("Endpoints", "string", Always),
    AGE,
];

pub(super) const INGRESS_COLUMNS: &[Column] = &[
    NAME,
    ("Class", "string", Always),
    ("Hosts", "string", Always),
    ("Address", "string", Always),
    ("Ports", "string", Always),
    AGE,
];

pub(super) const CLASS_COLUMNS: &[Column] = &[
    NAME,
    ("Controller", "string", Always),
    ("Parameters", "string", Always),
    AGE,
];

/// Endpoints, ports or hosts named in one cell; of the others only the number is told.
const NAMED_MAX: usize = 3;

pub(super) fn service_cells(object: &Value, name: &str, age: String) -> Vec<Value> {
    let spec = &object["spec"];
    let ports: Vec<String> = items(&spec["ports"]).map(port).collect();
    let selector: Vec<String> = entries(&spec["selector"])
        .map(|(key, value)| format!("{key}={}", text(value)))
        .collect();
    vec![
        name.into(),
        text(&spec["type"]).into(),
        or_none(text(&spec["clusterIP"])).into(),
        external(object).into(),
        or_none(&ports.join(",")).into(),
        age.into(),
        or_none(&selector.join(",")).into(),
    ]
}

/// `80/TCP`, `80:30080/TCP`.
fn port(port: &Value) -> String {
    let (inner, outer) = (number(&port["port"]), number(&port["nodePort"]));
    let outer = if outer > 0 {
        format!(":{outer}")
    } else {
        String::new()
    };
    format!("{inner}{outer}/{}", text(&port["protocol"]))
}

/// Where a service is reached from outside.
fn external(object: &Value) -> String {
    let spec = &object["spec"];
    let own: Vec<&str> = items(&spec["externalIPs"]).map(text).collect();
    let own = own.join(",");
    match text(&spec["type"]) {
        "ExternalName" => text(&spec["externalName"]).to_owned(),
        "LoadBalancer" => match (balancer(object), own) {
            (given, own) if given.is_empty() && own.is_empty() => "<pending>".to_owned(),
            (given, own) if own.is_empty() => given,
            (given, own) if given.is_empty() => own,
            (given, own) => format!("{given},{own}"),
        },
        _ => or_none(&own).to_owned(),
    }
}

/// The addresses and names in `status.loadBalancer`.
fn balancer(object: &Value) -> String {
    let all = items(at(object, "/status/loadBalancer/ingress"));
    let all = all.map(|one| match text(&one["ip"]) {
        "" => text(&one["hostname"]),
        ip => ip,
    });
    let all: BTreeSet<&str> = all.filter(|place| !place.is_empty()).collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

/// The addresses that are ready, with each of their ports.
pub(super) fn endpoints(subsets: &Value) -> String {
    let mut all = Vec::new();
    for subset in items(subsets) {
        let addresses = || items(&subset["addresses"]).map(|address| text(&address["ip"]));
        if len(&subset["ports"]) == 0 {
            all.extend(addresses().map(str::to_owned));
        }
        for port in items(&subset["ports"]) {
            all.extend(addresses().map(|ip| place(ip, number(&port["port"]))));
        }
    }
    some_of(all, "<none>")
}

/// `10.42.0.7:80`, `[fd00::7]:80`.
fn place(ip: &str, port: i64) -> String {
    match ip.parse() {
        Ok(IpAddr::V6(_)) => format!("[{ip}]:{port}"),
        Ok(IpAddr::V4(_)) | Err(_) => format!("{ip}:{port}"),
    }
}

/// The first few, and how many more there are.
fn some_of(mut all: Vec<String>, none: &str) -> String {
    let more = all.len().saturating_sub(NAMED_MAX);
    all.truncate(NAMED_MAX);
    match (all.is_empty(), more) {
        (true, _) => none.to_owned(),
        (false, 0) => all.join(","),
        (false, more) => format!("{} + {more} more...", all.join(",")),
    }
}

pub(super) fn slice_cells(object: &Value, name: &str, age: String) -> Vec<Value> {
    let ports = items(&object["ports"]).map(|port| match port["port"].as_i64() {
        Some(number) => number.to_string(),
        None if !text(&port["name"]).is_empty() => text(&port["name"]).to_owned(),
        None => "*".to_owned(),
    });
    let addresses = items(&object["endpoints"]).flat_map(|one| items(&one["addresses"]));
    let addresses = addresses.map(|address| text(address).to_owned());
    vec![
        name.into(),
        text(&object["addressType"]).into(),
        some_of(ports.collect(), "<unset>").into(),
        some_of(addresses.collect(), "<unset>").into(),
        age.into(),
    ]
}

pub(super) fn ingress_cells(object: &Value, name: &str, age: String) -> Vec<Value> {
    let spec = &object["spec"];
    let hosts = items(&spec["rules"]).map(|rule| text(&rule["host"]));
    let hosts = hosts.filter(|host| !host.is_empty()).map(str::to_owned);
    let ports = if len(&spec["tls"]) > 0 {
        "80, 443"
    } else {
        "80"
    };
    vec![
        name.into(),
        or_none(text(&spec["ingressClassName"])).into(),
        some_of(hosts.collect(), "*").into(),
        balancer(object).into(),
        ports.into(),
        age.into(),
    ]
}

pub(super) fn class_cells(object: &Value, name: &str, age: String) -> Vec<Value> {
    let parameters = at(object, "/spec/parameters");
    let shown = match (text(&parameters["kind"]), text(&parameters["apiGroup"])) {
        ("", _) => "<none>".to_owned(),
        (kind, "") => format!("{kind}/{}", text(&parameters["name"])),
        (kind, group) => format!("{kind}.{group}/{}", text(&parameters["name"])),
    };
    vec![
        name.into(),
        text(at(object, "/spec/controller")).into(),
        shown.into(),
        age.into(),
    ]
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
