//! NetworkPolicies: which connections pods accept and make.

use serde_json::{Value, json};

use super::{address, each, port, port_number};
use crate::admit::field::{At, Errors};
use crate::admit::{entry, fill, pod};

const TYPES: [&str; 2] = ["Ingress", "Egress"];
/// In the order in which Kubernetes names them for policies.
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// A policy is about what comes in, and about what goes out if it says anything of that.
pub(in crate::admit) fn default(value: &mut Value) {
    let spec = entry(value, "spec");
    fill(spec, "podSelector", json!({}));
    for list in ["ingress", "egress"] {
        for rule in each(spec, list) {
            for port in each(rule, "ports") {
                fill(port, "protocol", "TCP");
            }
        }
    }
    let some = |list: &str| {
        let items = spec.get(list).and_then(Value::as_array);
        items.is_some_and(|items| !items.is_empty())
    };
    if !some("policyTypes") {
        let types = if some("egress") {
            json!(["Ingress", "Egress"])
        } else {
            json!(["Ingress"])
        };
        spec.insert("policyTypes".into(), types);
    }
}

/// Checks a policy.
pub(in crate::admit) fn validate(object: &At<'_, '_>, errors: &mut Errors) {
    let spec = object.field("spec");
    pod::selector_problems(&spec.field("podSelector"), errors);
    for (list, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.field(list).each() {
            for one in rule.field("ports").each() {
                policy_port(&one, errors);
            }
            for one in rule.field(peers).each() {
                peer(&one, errors);
            }
        }
    }
    let types = spec.field("policyTypes");
    if types.len() > TYPES.len() {
        errors.invalid(&types, "may not specify more than two policyTypes");
        return;
    }
    for one in types.each() {
        if !TYPES.contains(&one.text()) {
            errors.not_supported(&one, &TYPES);
        }
    }
}

fn policy_port(at: &At<'_, '_>, errors: &mut Errors) {
    let (word, first, last) = (at.field("protocol"), at.field("port"), at.field("endPort"));
    if word.exists() && !PROTOCOLS.contains(&word.text()) {
        errors.not_supported(&word, &PROTOCOLS);
    }
    if first.exists() {
        port(&first, errors);
    }
    if !last.exists() {
        return;
    }
    match first.int() {
        Some(number) => {
            if last.int().is_some_and(|last| last < number) {
                errors.invalid(&last, "must be greater than or equal to `port`");
            }
            port_number(&last, errors);
        }
        None if first.exists() => {
            errors.invalid(&last, "may not be specified when `port` is non-numeric");
        }
        None => errors.invalid(&last, "may not be specified when `port` is not specified"),
    }
}

fn peer(at: &At<'_, '_>, errors: &mut Errors) {
    let (pods, namespaces) = (at.field("podSelector"), at.field("namespaceSelector"));
    let block = at.field("ipBlock");
    pod::selector_problems(&pods, errors);
    pod::selector_problems(&namespaces, errors);
    let selects = pods.exists() || namespaces.exists();
    if block.exists() {
        ip_block(&block, errors);
    }
    match (selects, block.exists()) {
        (false, false) => errors.required(at, "must specify a peer"),
        (true, true) => errors.forbidden(at, "may not specify both ipBlock and another peer"),
        (true, false) | (false, true) => {}
    }
}

fn ip_block(at: &At<'_, '_>, errors: &mut Errors) {
    let all = at.field("cidr");
    if all.text().is_empty() {
        errors.required(&all, "");
        return;
    }
    let Some(outer) = address::range(&all, errors) else {
        return;
    };
    for one in at.field("except").each() {
        let Some(inner) = address::range(&one, errors) else {
            continue;
        };
        if !outer.strictly_holds(&inner) {
            errors.invalid(&one, "must be a strict subset of `cidr`");
        }
    }
}
