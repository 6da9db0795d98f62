//! The rules of a pod's spec, by itself or in a template.

use crate::admit::field::{At, Errors};
use crate::admit::{metadata, names};

use super::container::{self, Pod};
use super::{scheduling, volume};

const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];
const DNS_POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

/// Checks the pod template of a workload: labels, annotations and spec.
pub(in crate::admit) fn template(template: &At<'_, '_>, errors: &mut Errors) {
    metadata::validate_template(&template.field("metadata"), errors);
    validate(&template.field("spec"), errors);
}

pub(super) fn validate(spec: &At<'_, '_>, errors: &mut Errors) {
    let volumes = volume::validate(&spec.field("volumes"), errors);
    let pod = Pod {
        volumes,
        host_network: spec.field("hostNetwork").is_true(),
    };
    container::validate(spec, &pod, errors);
    let restart = spec.field("restartPolicy");
    if !RESTART_POLICIES.contains(&restart.text()) {
        errors.not_supported(&restart, &RESTART_POLICIES);
    }
    dns(spec, errors);
    scheduling::validate(spec, errors);
    container::user_ids(&spec.field("securityContext"), errors);
    numbers(spec, errors);
    for (name, rule) in [
        (
            "serviceAccountName",
            names::dns_subdomain as fn(&str) -> names::Problems,
        ),
        ("hostname", names::dns_label),
        ("subdomain", names::dns_label),
        ("schedulerName", names::qualified),
    ] {
        let at = spec.field(name);
        if !at.text().is_empty() {
            errors.problems(&at, at.text(), &rule(at.text()));
        }
    }
    for alias in spec.field("hostAliases").each() {
        let ip = alias.field("ip");
        if ip.text().parse::<std::net::IpAddr>().is_err() {
            errors.invalid(
                &ip,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            );
        }
        for hostname in alias.field("hostnames").each() {
            errors.problems(
                &hostname,
                hostname.text(),
                &names::dns_subdomain(hostname.text()),
            );
        }
    }
}

fn dns(spec: &At<'_, '_>, errors: &mut Errors) {
    let policy = spec.field("dnsPolicy");
    if !DNS_POLICIES.contains(&policy.text()) {
        errors.not_supported(&policy, &DNS_POLICIES);
    }
    let config = spec.field("dnsConfig");
    let servers = config.field("nameservers");
    if policy.text() == "None" && servers.len() == 0 {
        let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
        if config.exists() {
            errors.required(&servers, detail);
        } else {
            errors.required(&config, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
    }
}

fn numbers(spec: &At<'_, '_>, errors: &mut Errors) {
    let grace = spec.field("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds < 0) {
        errors.invalid(&grace, "must be greater than or equal to 0");
    }
    let deadline = spec.field("activeDeadlineSeconds");
    if deadline
        .int()
        .is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds))
    {
        errors.invalid(&deadline, "must be between 1 and 2147483647, inclusive");
    }
}
