//! Services: what is filled in, and what an update keeps of what was given to them.

mod rules;
mod update;

use serde_json::{Map, Value, json};

use super::each;
use crate::admit::{entry, field, fill, map};

pub(in crate::admit) use rules::validate;
pub(in crate::admit) use update::{keep, validate_update};

/// How long a client stays with its endpoint where nothing is said: Kubernetes' three hours.
const AFFINITY_DEFAULT_SECONDS: i64 = 10_800;

/// How a service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// At an address inside the cluster, or headless.
    ClusterIp,
    /// At a port of every node besides.
    NodePort,
    /// From a load balancer besides.
    LoadBalancer,
    /// By another name.
    ExternalName,
}

impl Type {
    /// The type of a service; nothing if it is none that there is.
    pub(super) fn of(object: &Value) -> Option<Self> {
        match object.get("spec").map_or("", |spec| field(spec, "type")) {
            "" | "ClusterIP" => Some(Self::ClusterIp),
            "NodePort" => Some(Self::NodePort),
            "LoadBalancer" => Some(Self::LoadBalancer),
            "ExternalName" => Some(Self::ExternalName),
            _ => None,
        }
    }

    /// Whether a service of this type has a port at every node.
    pub(super) const fn has_node_ports(self) -> bool {
        matches!(self, Self::NodePort | Self::LoadBalancer)
    }
}

/// Fills in what the user left out. Doing it twice changes nothing more.
pub(in crate::admit) fn default(value: &mut Value) {
    let of = Type::of(value);
    let spec = entry(value, "spec");
    blank(spec, "type", "ClusterIP");
    blank(spec, "sessionAffinity", "None");
    affinity(spec);
    for port in each(spec, "ports") {
        blank(port, "protocol", "TCP");
        let given = port.get("targetPort");
        let given = given.is_some_and(|target| *target != json!(0) && *target != json!(""));
        if let (false, Some(number)) = (given, port.get("port").cloned()) {
            port.insert("targetPort".into(), number);
        }
    }
    let Some(of) = of.filter(|of| *of != Type::ExternalName) else {
        return;
    };
    fill(spec, "internalTrafficPolicy", "Cluster");
    let addressed = spec.get("externalIPs").and_then(Value::as_array);
    if of.has_node_ports() || addressed.is_some_and(|addresses| !addresses.is_empty()) {
        blank(spec, "externalTrafficPolicy", "Cluster");
    }
    if of == Type::LoadBalancer {
        fill(spec, "allocateLoadBalancerNodePorts", true);
    }
    fill(spec, "ipFamilies", json!(["IPv4"]));
    fill(spec, "ipFamilyPolicy", "SingleStack");
    mirror_cluster_ip(spec);
}

/// The list of addresses and its first one say the same. A client that knows only the older field
/// writes only that.
fn mirror_cluster_ip(spec: &mut Map<String, Value>) {
    let single = spec.get("clusterIP").and_then(Value::as_str).unwrap_or("");
    let single = single.to_owned();
    let list = spec.get("clusterIPs").and_then(Value::as_array);
    let empty = list.is_none_or(Vec::is_empty);
    if single.is_empty() {
        // Absent says the same, and is what whoever gives addresses looks for.
        spec.remove("clusterIP");
    }
    match (single.is_empty(), empty) {
        (false, true) => drop(spec.insert("clusterIPs".into(), json!([single]))),
        (true, true) => drop(spec.remove("clusterIPs")),
        (_, false) => {}
    }
}

fn affinity(spec: &mut Map<String, Value>) {
    match spec.get("sessionAffinity").and_then(Value::as_str) {
        Some("None") => drop(spec.remove("sessionAffinityConfig")),
        Some("ClientIP") => {
            let config = map(spec.entry("sessionAffinityConfig").or_insert(Value::Null));
            let client = map(config.entry("clientIP").or_insert(Value::Null));
            fill(client, "timeoutSeconds", AFFINITY_DEFAULT_SECONDS);
        }
        Some(_) | None => {}
    }
}

/// Sets a text that is missing or empty: in Go that is the same.
fn blank(fields: &mut Map<String, Value>, name: &str, word: &str) {
    if fields.get(name).is_none_or(|value| *value == json!("")) {
        fields.insert(name.into(), word.into());
    }
}
