//! What an update of a service leaves out and the service has already.

use serde_json::Value;

/// Gives an updated service its addresses and ports back where the update does not name any, and
/// takes away those that its new type has no use for. A client that sends the whole object without
/// what the server filled in means no change by that.
pub fn keep(before: &Value, value: &mut Value) {
    let was = &before["spec"];
    let Some(is) = value.get_mut("spec").filter(|spec| spec.is_object()) else {
        return;
    };
    let (had, has) = (has_address(was), has_address(is));
    if had && has {
        keep_address(was, is);
    } else if had && is["type"] == "ExternalName" {
        drop_same(was, is, "clusterIP");
        drop_same(was, is, "clusterIPs");
    }
    match (has_node_ports(was), has_node_ports(is)) {
        (true, true) => keep_ports(was, is),
        (true, false) => drop_ports(was, is),
        (false, _) => {}
    }
}

fn kind(spec: &Value) -> &str {
    spec["type"].as_str().unwrap_or("ClusterIP")
}

fn has_address(spec: &Value) -> bool {
    kind(spec) != "ExternalName"
}

fn has_node_ports(spec: &Value) -> bool {
    matches!(kind(spec), "NodePort" | "LoadBalancer")
}

fn is_missing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Number(number) => number.as_u64() == Some(0),
        Value::Bool(_) | Value::Object(_) => false,
    }
}

fn keep_address(was: &Value, is: &mut Value) {
    if is_missing(&is["clusterIP"]) && is_missing(&is["clusterIPs"]) {
        for field in ["clusterIP", "clusterIPs"] {
            if !is_missing(&was[field]) {
                is[field] = was[field].clone();
            }
        }
    }
}

fn drop_same(was: &Value, is: &mut Value, field: &str) {
    if is[field] == was[field]
        && let Some(spec) = is.as_object_mut()
    {
        spec.remove(field);
    }
}

/// A port is the same if it has the same number and protocol.
fn same<'a>(was: &'a Value, port: &Value) -> Option<&'a Value> {
    let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
    let mut ports = was["ports"].as_array()?.iter();
    ports.find(|old| old["port"] == port["port"] && protocol(old) == protocol(port))
}

fn keep_ports(was: &Value, is: &mut Value) {
    let Some(ports) = is.get_mut("ports").and_then(Value::as_array_mut) else {
        return;
    };
    let named: Vec<Value> = ports.iter().map(|port| port["nodePort"].clone()).collect();
    for port in ports
        .iter_mut()
        .filter(|port| port.is_object() && is_missing(&port["nodePort"]))
    {
        let kept = same(was, port).map(|old| &old["nodePort"]);
        if let Some(kept) = kept.filter(|kept| !is_missing(kept) && !named.contains(kept)) {
            port["nodePort"] = kept.clone();
        }
    }
}

fn drop_ports(was: &Value, is: &mut Value) {
    let Some(ports) = is.get_mut("ports").and_then(Value::as_array_mut) else {
        return;
    };
    for port in ports {
        let kept = same(was, port).map(|old| &old["nodePort"]);
        if kept == Some(&port["nodePort"])
            && let Some(port) = port.as_object_mut()
        {
            port.remove("nodePort");
        }
    }
}
