//! What a service must be, in Kubernetes' words.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use super::Type;
use crate::admit::field::{At, Errors};
use crate::admit::network::{address, app_protocol, port, port_number, protocol};
use crate::admit::{metadata, names};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const POLICIES: [&str; 2] = ["Cluster", "Local"];
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const FAMILY_POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];

/// The longest that a client may be bound to its endpoint: Kubernetes' one day.
const AFFINITY_MAX_SECONDS: i64 = 86_400;

const ONLY_BALANCED: &str = "may only be used when `type` is 'LoadBalancer'";

/// Checks a service by itself.
pub(in crate::admit) fn validate(object: &At<'_, '_>, errors: &mut Errors) {
    let spec = object.field("spec");
    let of = object.value().and_then(Type::of);
    let word = spec.field("type");
    if of.is_none() {
        errors.not_supported(&word, &TYPES);
    }
    let headless = is_headless(&spec);
    let ports = spec.field("ports");
    if ports.len() == 0 && !headless && of != Some(Type::ExternalName) {
        errors.required(&ports, "");
    }
    match of {
        Some(Type::ExternalName) => external_name(&spec, errors),
        Some(Type::NodePort | Type::LoadBalancer) if headless => {
            let detail = format!("may not be set to 'None' for {} services", word.text());
            for first in spec.field("clusterIPs").each().take(1) {
                errors.invalid(&first, &detail);
            }
        }
        Some(Type::ClusterIp | Type::NodePort | Type::LoadBalancer) | None => {}
    }
    all_ports(&ports, of, errors);
    metadata::labels(&spec.field("selector"), errors);
    affinity(&spec, errors);
    if of != Some(Type::ExternalName) {
        cluster_ips(&spec, headless, errors);
        families(&spec, errors);
    }
    for one in spec.field("externalIPs").each() {
        address::target(&one, errors);
    }
    balanced(&spec, of, errors);
    policies(&spec, of, errors);
}

/// Whether a service has names instead of an address.
pub(super) fn is_headless(spec: &At<'_, '_>) -> bool {
    spec.field("clusterIP").text() == "None"
}

fn external_name(spec: &At<'_, '_>, errors: &mut Errors) {
    const FORBIDDEN: &str = "may not be set for ExternalName services";
    let list = spec.field("clusterIPs");
    if list.len() > 0 || !spec.field("clusterIP").text().is_empty() {
        errors.forbidden(&list, FORBIDDEN);
    }
    for name in ["ipFamilies", "ipFamilyPolicy"] {
        if spec.field(name).exists() {
            errors.forbidden(&spec.field(name), FORBIDDEN);
        }
    }
    let name = spec.field("externalName");
    let bare = name.text().strip_suffix('.').unwrap_or(name.text());
    if bare.is_empty() {
        errors.required(&name, "");
    } else {
        errors.problems(&name, bare, &names::dns_subdomain(bare));
    }
}

/// A port as Kubernetes shows one that was there before.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'a> {
    name: &'a str,
    protocol: &'a str,
    app_protocol: Option<()>,
    port: i64,
    target_port: i64,
    node_port: i64,
}

fn all_ports(ports: &At<'_, '_>, of: Option<Type>, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    let (mut numbers, mut outside) = (BTreeSet::new(), BTreeSet::new());
    for one in ports.each() {
        one_port(&one, ports.len() > 1, &mut names, errors);
        let word = one.field("protocol").text();
        let number = one.field("port").int().unwrap_or(0);
        if !numbers.insert((word, number)) {
            let shown = Shown {
                name: "",
                protocol: word,
                app_protocol: None,
                port: number,
                target_port: 0,
                node_port: 0,
            };
            errors.duplicate(&one, shown);
        }
        let node_port = one.field("nodePort");
        let Some(number) = node_port.int().filter(|number| *number != 0) else {
            continue;
        };
        if of == Some(Type::ClusterIp) {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.forbidden(&node_port, detail);
        }
        if !outside.insert((word, number)) {
            errors.duplicate(&node_port, number);
        }
    }
}

fn one_port<'v>(
    at: &At<'_, 'v>,
    must_be_named: bool,
    seen: &mut BTreeSet<&'v str>,
    errors: &mut Errors,
) {
    let name = at.field("name");
    if !name.text().is_empty() {
        errors.problems(&name, name.text(), &names::dns_label(name.text()));
        if !seen.insert(name.text()) {
            errors.duplicate(&name, name.text());
        }
    } else if must_be_named {
        errors.required(&name, "");
    }
    port_number(&at.field("port"), errors);
    protocol(&at.field("protocol"), errors);
    if at.field("targetPort").exists() {
        port(&at.field("targetPort"), errors);
    }
    app_protocol(&at.field("appProtocol"), errors);
}

fn affinity(spec: &At<'_, '_>, errors: &mut Errors) {
    let word = spec.field("sessionAffinity");
    match word.text() {
        "ClientIP" => {
            let config = spec.field("sessionAffinityConfig");
            let client = config.field("clientIP");
            let timeout = client.field("timeoutSeconds");
            let seconds = timeout.int().unwrap_or(0);
            if !(1..=AFFINITY_MAX_SECONDS).contains(&seconds) {
                let detail = format!("must be greater than 0 and less than {AFFINITY_MAX_SECONDS}");
                errors.invalid(&timeout, &detail);
            }
        }
        "None" => {}
        _ => errors.not_supported(&word, &["ClientIP", "None"]),
    }
}

fn cluster_ips(spec: &At<'_, '_>, headless: bool, errors: &mut Errors) {
    let (single, list) = (spec.field("clusterIP"), spec.field("clusterIPs"));
    let shown = list.value().unwrap_or(&Value::Null);
    let first = list.each().next().map_or("", |first| first.text());
    if single.text().is_empty() && list.len() > 0 {
        let detail = "must be empty when `clusterIP` is not specified";
        errors.invalid_as(&list, shown, detail);
    } else if first != single.text() {
        errors.invalid_as(&list, shown, "first value must match `clusterIP`");
    }
    if headless && list.len() > 1 {
        let detail = "'None' must be the first and only value";
        errors.invalid_as(&list, shown, detail);
        return;
    }
    if headless {
        return;
    }
    let parsed: Option<Vec<IpAddr>> = list
        .each()
        .map(|one| address::address(&one, errors))
        .collect();
    if list.len() > 2 {
        errors.invalid_as(&list, shown, "may only hold up to 2 values");
    }
    let Some(parsed) = parsed else { return };
    if let [a, b] = parsed.as_slice()
        && a.is_ipv4() == b.is_ipv4()
    {
        let detail = "may specify no more than one IP for each IP family";
        errors.invalid_as(&list, shown, detail);
    }
    let families = spec.field("ipFamilies");
    let pairs = list.each().zip(parsed).zip(families.each()).enumerate();
    for (index, ((one, address), family)) in pairs {
        let found = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        let wanted = family.text();
        if FAMILIES.contains(&wanted) && wanted != found {
            let detail =
                format!("expected an {wanted} value as indicated by `ipFamilies[{index}]`");
            errors.invalid(&one, &detail);
        }
    }
}

/// One family is served, so what needs the other is refused, as by any cluster with one.
fn families(spec: &At<'_, '_>, errors: &mut Errors) {
    let (families, policy) = (spec.field("ipFamilies"), spec.field("ipFamilyPolicy"));
    let mut seen = BTreeSet::new();
    for one in families.each() {
        match one.text() {
            known if !FAMILIES.contains(&known) => errors.not_supported(&one, &FAMILIES),
            "IPv6" => errors.invalid(&one, "not configured on this cluster"),
            _ => {}
        }
        if !seen.insert(one.text()) {
            errors.duplicate(&one, one.text());
        }
    }
    match policy.text() {
        "RequireDualStack" => {
            let detail = "this cluster is not configured for dual-stack services";
            errors.invalid(&policy, detail);
        }
        known if policy.exists() && !FAMILY_POLICIES.contains(&known) => {
            errors.not_supported(&policy, &FAMILY_POLICIES);
        }
        _ => {}
    }
}

fn balanced(spec: &At<'_, '_>, of: Option<Type>, errors: &mut Errors) {
    let is_balanced = of == Some(Type::LoadBalancer);
    let ranges = spec.field("loadBalancerSourceRanges");
    if ranges.len() > 0 && !is_balanced {
        errors.forbidden(&spec.field("LoadBalancerSourceRanges"), ONLY_BALANCED);
    }
    for one in ranges.each() {
        address::range(&one, errors);
    }
    let (allocate, class) = (
        spec.field("allocateLoadBalancerNodePorts"),
        spec.field("loadBalancerClass"),
    );
    if !is_balanced && allocate.exists() {
        errors.forbidden(&allocate, ONLY_BALANCED);
    }
    if !is_balanced && class.exists() {
        errors.forbidden(&class, ONLY_BALANCED);
    } else if class.exists() {
        errors.problems(&class, class.text(), &names::qualified(class.text()));
    }
    let health = spec.field("healthCheckNodePort");
    let local = spec.field("externalTrafficPolicy").text() == "Local";
    if health.int().is_some_and(|port| port != 0) {
        if is_balanced && local {
            port_number(&health, errors);
        } else {
            let detail = "may only be set when `type` is 'LoadBalancer' and \
                          `externalTrafficPolicy` is 'Local'";
            errors.invalid(&health, detail);
        }
    }
}

fn policies(spec: &At<'_, '_>, of: Option<Type>, errors: &mut Errors) {
    let (outer, inner) = (
        spec.field("externalTrafficPolicy"),
        spec.field("internalTrafficPolicy"),
    );
    let from_outside = of.is_some_and(Type::has_node_ports)
        || (of == Some(Type::ClusterIp) && spec.field("externalIPs").len() > 0);
    if from_outside && !POLICIES.contains(&outer.text()) {
        errors.not_supported(&outer, &POLICIES);
    } else if !from_outside && !outer.text().is_empty() {
        let detail = "may only be set for externally-accessible services";
        errors.invalid(&outer, detail);
    }
    if inner.exists() && !POLICIES.contains(&inner.text()) {
        errors.not_supported(&inner, &POLICIES);
    }
    let distribution = spec.field("trafficDistribution");
    if distribution.exists() && distribution.text() != "PreferClose" {
        errors.not_supported(&distribution, &["PreferClose"]);
    }
}
