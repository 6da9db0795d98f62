//! Containers: names, images, ports, environment, mounts.

use std::collections::BTreeSet;

use crate::admit::field::{At, Errors};
use crate::admit::names;

use super::volume::no_backsteps;
use super::{probe, resources};

const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const MESSAGE_POLICIES: [&str; 2] = ["FallbackToLogsOnError", "File"];

/// What the containers of a pod share.
pub(super) struct Pod<'v> {
    /// The names of its volumes.
    pub(super) volumes: BTreeSet<&'v str>,
    /// Whether it is in the node's own network.
    pub(super) host_network: bool,
}

/// Checks all containers of a pod.
pub(super) fn validate(spec: &At<'_, '_>, pod: &Pod<'_>, errors: &mut Errors) {
    let (main, init) = (spec.field("containers"), spec.field("initContainers"));
    if main.len() == 0 {
        errors.required(&main, "");
    }
    let mut seen = BTreeSet::new();
    for container in main.each() {
        one(&container, pod, errors);
        named_once(&container, &mut seen, errors);
        probe::validate(&container, errors);
        if container.field("restartPolicy").exists() {
            let detail = "may not be set for non-init containers";
            errors.forbidden(&container.field("restartPolicy"), detail);
        }
    }
    host_port_conflicts(&main, errors);
    for container in init.each() {
        one(&container, pod, errors);
        named_once(&container, &mut seen, errors);
        let policy = container.field("restartPolicy");
        match policy.text() {
            "Always" => probe::validate(&container, errors),
            "" => probe::forbid(&container, errors),
            _ => errors.not_supported(&policy, &["Always"]),
        }
    }
    let ephemeral = spec.field("ephemeralContainers");
    if ephemeral.len() > 0 {
        let detail = "cannot be set on create; use the ephemeralcontainers subresource";
        errors.forbidden(&ephemeral, detail);
    }
}

fn named_once<'v>(container: &At<'_, 'v>, seen: &mut BTreeSet<&'v str>, errors: &mut Errors) {
    let name = container.field("name");
    if !name.text().is_empty() && !seen.insert(name.text()) {
        errors.duplicate(&name, name.text());
    }
}

fn one(container: &At<'_, '_>, pod: &Pod<'_>, errors: &mut Errors) {
    let (name, image) = (container.field("name"), container.field("image"));
    if name.text().is_empty() {
        errors.required(&name, "");
    } else {
        errors.problems(&name, name.text(), &names::dns_label(name.text()));
    }
    if image.text().is_empty() {
        errors.required(&image, "");
    } else if image.text().trim() != image.text() {
        errors.invalid(&image, "must not have leading or trailing whitespace");
    }
    let pull = container.field("imagePullPolicy");
    if !PULL_POLICIES.contains(&pull.text()) {
        errors.not_supported(&pull, &PULL_POLICIES);
    }
    let message = container.field("terminationMessagePolicy");
    if !MESSAGE_POLICIES.contains(&message.text()) {
        errors.not_supported(&message, &MESSAGE_POLICIES);
    }
    ports(container, pod, errors);
    for variable in container.field("env").each() {
        environment(&variable, errors);
    }
    for source in container.field("envFrom").each() {
        environment_from(&source, errors);
    }
    mounts(container, pod, errors);
    resources::validate(&container.field("resources"), errors);
    security(&container.field("securityContext"), errors);
}

fn ports(container: &At<'_, '_>, pod: &Pod<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for port in container.field("ports").each() {
        let name = port.field("name");
        if !name.text().is_empty() {
            errors.problems(&name, name.text(), &names::port_name(name.text()));
            if !seen.insert(name.text()) {
                errors.duplicate(&name, name.text());
            }
        }
        let (inner, outer) = (port.field("containerPort"), port.field("hostPort"));
        match inner.int() {
            None | Some(0) => errors.required(&inner, ""),
            Some(number) => port_number(&inner, number, errors),
        }
        if let Some(number) = outer.int().filter(|number| *number != 0) {
            port_number(&outer, number, errors);
            if pod.host_network && inner.int() != Some(number) {
                errors.invalid(
                    &outer,
                    "must match `containerPort` when `hostNetwork` is true",
                );
            }
        }
        let protocol = port.field("protocol");
        if !PROTOCOLS.contains(&protocol.text()) {
            errors.not_supported(&protocol, &PROTOCOLS);
        }
    }
}

fn port_number(at: &At<'_, '_>, number: i64, errors: &mut Errors) {
    if !(1..=65535).contains(&number) {
        errors.invalid(at, "must be between 1 and 65535, inclusive");
    }
}

fn host_port_conflicts(containers: &At<'_, '_>, errors: &mut Errors) {
    let mut taken = BTreeSet::new();
    for container in containers.each() {
        for port in container.field("ports").each() {
            let outer = port.field("hostPort");
            let Some(number) = outer.int().filter(|number| *number != 0) else {
                continue;
            };
            let (protocol, ip) = (port.field("protocol").text(), port.field("hostIP").text());
            let place = format!("{protocol}/{ip}/{number}");
            if taken.contains(&place) {
                errors.duplicate(&outer, &place);
            }
            taken.insert(place);
        }
    }
}

fn environment(variable: &At<'_, '_>, errors: &mut Errors) {
    let name = variable.field("name");
    if name.text().is_empty() {
        errors.required(&name, "");
    } else {
        errors.problems(&name, name.text(), &names::env_name(name.text()));
    }
    let from = variable.field("valueFrom");
    if !from.exists() {
        return;
    }
    if !variable.field("value").text().is_empty() {
        errors.invalid_as(&from, "", "may not be specified when `value` is not empty");
    }
    const SOURCES: [&str; 4] = [
        "fieldRef",
        "resourceFieldRef",
        "configMapKeyRef",
        "secretKeyRef",
    ];
    let found = SOURCES
        .into_iter()
        .filter(|source| from.field(source).exists());
    match found.count() {
        0 => errors.invalid_as(
            &from,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or \
             `secretKeyRef`",
        ),
        1 => {}
        _ => errors.invalid_as(
            &from,
            "",
            "may not have more than one field specified at a time",
        ),
    }
    for source in ["configMapKeyRef", "secretKeyRef"] {
        let reference = from.field(source);
        if reference.exists() {
            key_reference(&reference, errors);
        }
    }
    field_reference(&from.field("fieldRef"), errors);
    let resource = from.field("resourceFieldRef");
    if resource.exists() && resource.field("resource").text().is_empty() {
        errors.required(&resource.field("resource"), "");
    }
}

fn key_reference(reference: &At<'_, '_>, errors: &mut Errors) {
    let (name, key) = (reference.field("name"), reference.field("key"));
    if name.text().is_empty() {
        errors.required(&name, "");
    }
    if key.text().is_empty() {
        errors.required(&key, "");
    } else {
        errors.problems(&key, key.text(), &names::config_key(key.text()));
    }
}

fn field_reference(reference: &At<'_, '_>, errors: &mut Errors) {
    const PATHS: [&str; 9] = [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    if !reference.exists() {
        return;
    }
    let path = reference.field("fieldPath");
    if path.text().is_empty() {
        errors.required(&path, "");
        return;
    }
    let entry = ["metadata.labels['", "metadata.annotations['"]
        .into_iter()
        .any(|start| path.text().starts_with(start) && path.text().ends_with("']"));
    if !entry && !PATHS.contains(&path.text()) {
        errors.not_supported(&path, &PATHS);
    }
}

fn environment_from(source: &At<'_, '_>, errors: &mut Errors) {
    let prefix = source.field("prefix");
    if !prefix.text().is_empty() {
        errors.problems(&prefix, prefix.text(), &names::env_name(prefix.text()));
    }
    let (map, secret) = (source.field("configMapRef"), source.field("secretRef"));
    match (map.exists(), secret.exists()) {
        (false, false) => {
            errors.invalid_as(
                source,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            );
        }
        (true, true) => {
            let detail = "may not have more than one field specified at a time";
            errors.invalid_as(source, "", detail);
        }
        (true, false) | (false, true) => {}
    }
    for reference in [map, secret] {
        if reference.exists() && reference.field("name").text().is_empty() {
            errors.required(&reference.field("name"), "");
        }
    }
}

fn mounts(container: &At<'_, '_>, pod: &Pod<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for mount in container.field("volumeMounts").each() {
        let (name, path) = (mount.field("name"), mount.field("mountPath"));
        if name.text().is_empty() {
            errors.required(&name, "");
        } else if !pod.volumes.contains(name.text()) {
            errors.not_found(&name);
        }
        if path.text().is_empty() {
            errors.required(&path, "");
        } else if !seen.insert(path.text()) {
            errors.invalid(&path, "must be unique");
        }
        let inner = mount.field("subPath");
        if inner.text().starts_with('/') {
            errors.invalid(&inner, "must be a relative path");
        }
        no_backsteps(&inner, errors);
    }
}

fn security(context: &At<'_, '_>, errors: &mut Errors) {
    user_ids(context, errors);
    let escalation = context.field("allowPrivilegeEscalation");
    if context.field("privileged").is_true() && escalation.exists() && !escalation.is_true() {
        let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.invalid_as(context, context.value(), detail);
    }
}

/// The numbers of users and groups, of a container or of a pod.
pub(super) fn user_ids(context: &At<'_, '_>, errors: &mut Errors) {
    for name in ["runAsUser", "runAsGroup", "fsGroup"] {
        let at = context.field(name);
        if at
            .int()
            .is_some_and(|id| !(0..=i64::from(i32::MAX)).contains(&id))
        {
            errors.invalid(&at, "must be between 0 and 2147483647, inclusive");
        }
    }
}
