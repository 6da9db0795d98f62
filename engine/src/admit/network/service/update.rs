//! What an update of a service keeps and what it may not change: a service's address is known to
//! those who use it, so it stays as long as the service has one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Type;
use super::rules::is_headless;
use crate::admit::entry;
use crate::admit::field::{At, Errors};
use crate::admit::network::each;

type Fields = Map<String, Value>;

/// Gives an updated service what was given to it before and the update does not say, and takes
/// away what belongs to a type that it has no more.
pub(in crate::admit) fn keep(before: &Value, value: &mut Value) {
    let (Some(was), Some(is)) = (Type::of(before), Type::of(value)) else {
        return;
    };
    let Some(old) = before.get("spec").and_then(Value::as_object) else {
        return;
    };
    let new = entry(value, "spec");
    match (was == Type::ExternalName, is == Type::ExternalName) {
        (false, false) => keep_addresses(old, new),
        (false, true) => drop_same(
            old,
            new,
            &["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"],
        ),
        (true, _) => {}
    }
    match (was.has_node_ports(), is.has_node_ports()) {
        (true, true) => keep_node_ports(old, new),
        (true, false) => {
            drop_node_ports(old, new);
            if !outside(new) {
                drop_same(old, new, &["externalTrafficPolicy"]);
            }
        }
        (false, _) if outside(old) && !outside(new) && !is.has_node_ports() => {
            drop_same(old, new, &["externalTrafficPolicy"]);
        }
        (false, _) => {}
    }
    if was == Type::LoadBalancer && is != Type::LoadBalancer {
        drop_same(
            old,
            new,
            &[
                "allocateLoadBalancerNodePorts",
                "loadBalancerClass",
                "healthCheckNodePort",
            ],
        );
    }
}

fn outside(spec: &Fields) -> bool {
    let addresses = spec.get("externalIPs").and_then(Value::as_array);
    addresses.is_some_and(|addresses| !addresses.is_empty())
}

fn keep_addresses(old: &Fields, new: &mut Fields) {
    let text = |spec: &Fields| {
        let single = spec.get("clusterIP").and_then(Value::as_str);
        single.unwrap_or("").to_owned()
    };
    let (was, is) = (text(old), text(new));
    let same_list = old.get("clusterIPs") == new.get("clusterIPs");
    if is.is_empty() {
        for name in ["clusterIP", "clusterIPs"] {
            let unsaid = new.get(name).is_none_or(|value| {
                value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty)
            });
            if let (true, Some(kept)) = (unsaid, old.get(name)) {
                new.insert(name.into(), kept.clone());
            }
        }
    } else if was != is && same_list {
        // Whoever changed only the older field meant both; the new one is made of it.
        new.remove("clusterIPs");
    } else if was == is && !new.contains_key("clusterIPs") {
        new.extend(
            old.get("clusterIPs")
                .map(|v| ("clusterIPs".into(), v.clone())),
        );
    }
}

/// A port keeps its number at the nodes as long as it keeps its name.
fn keep_node_ports(old: &Fields, new: &mut Fields) {
    fn name(port: &Fields) -> String {
        port.get("name")
            .and_then(Value::as_str)
            .unwrap_or("")
            .into()
    }
    let number = |port: &Fields| port.get("nodePort").and_then(Value::as_i64).unwrap_or(0);
    let ports = old.get("ports").and_then(Value::as_array);
    let known = ports.into_iter().flatten().filter_map(Value::as_object);
    let known: BTreeMap<String, i64> = known.map(|port| (name(port), number(port))).collect();
    let taken: BTreeSet<i64> = each(new, "ports").map(|port| number(port)).collect();
    for port in each(new, "ports").filter(|port| number(port) == 0) {
        if let Some(kept) = known.get(&name(port))
            && *kept != 0
            && !taken.contains(kept)
        {
            port.insert("nodePort".into(), (*kept).into());
        }
    }
}

/// Nobody asked for the numbers that a service brings along from its former type.
fn drop_node_ports(old: &Fields, new: &mut Fields) {
    let numbers = |spec: &mut Fields| -> Vec<Option<Value>> {
        let ports = each(spec, "ports");
        ports.map(|port| port.get("nodePort").cloned()).collect()
    };
    if numbers(&mut old.clone()) == numbers(new) {
        for port in each(new, "ports") {
            port.remove("nodePort");
        }
    }
}

/// Drops fields that are as they were: nobody asked for them, they were only not taken away.
fn drop_same(old: &Fields, new: &mut Fields, names: &[&str]) {
    for name in names {
        if old.get(*name) == new.get(*name) {
            new.remove(*name);
        }
    }
}

/// Checks what may not change.
pub(in crate::admit) fn validate_update(old: &At<'_, '_>, new: &At<'_, '_>, errors: &mut Errors) {
    let of = |at: &At<'_, '_>| at.value().and_then(Type::of);
    let (was, is) = (of(old), of(new));
    let (old, new) = (old.field("spec"), new.field("spec"));
    if was == Some(Type::LoadBalancer) && was == is {
        let class = new.field("loadBalancerClass");
        if old.field("loadBalancerClass").value() != class.value() {
            errors.invalid_as(&class, class.value(), "may not change once set");
        }
    }
    if was == Some(Type::ExternalName) || is == Some(Type::ExternalName) {
        return;
    }
    unchanged(&old.field("clusterIPs"), &new.field("clusterIPs"), errors);
    if is_headless(&old) == is_headless(&new) && !is_headless(&new) {
        unchanged(&old.field("ipFamilies"), &new.field("ipFamilies"), errors);
    }
}

/// No item of a list that was set may be another one now.
fn unchanged(old: &At<'_, '_>, new: &At<'_, '_>, errors: &mut Errors) {
    let all = new.value().unwrap_or(&Value::Null);
    let pairs = old.each().zip(new.each());
    for (_, is) in pairs.filter(|(was, is)| was.text() != is.text()) {
        errors.invalid_as(&is, all, "may not change once set");
    }
}
