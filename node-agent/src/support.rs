//! What a pod may ask for that this agent does not do: refused by name, never ignored. Pure.

use skiff_api::k8s_openapi::api::core::v1::{
    Container, PodSpec, Probe, SeccompProfile, SecurityContext,
};

/// The fields of a pod's spec that this agent cannot honour; empty if it can run the pod as asked.
#[must_use]
pub fn unsupported(spec: &PodSpec) -> Vec<String> {
    let mut found: Vec<String> = of_pod(spec)
        .iter()
        .map(|field| format!("spec.{field}"))
        .collect();
    let inits = spec
        .init_containers
        .iter()
        .flatten()
        .map(|one| ("initContainers", one));
    let mains = spec.containers.iter().map(|one| ("containers", one));
    for (list, container) in inits.chain(mains) {
        let name = &container.name;
        let fields = of_container(container).into_iter();
        found.extend(fields.map(|field| format!("spec.{list}{{{name}}}.{field}")));
    }
    found
}

fn of_pod(spec: &PodSpec) -> Vec<&'static str> {
    let on = |flag: Option<bool>| flag.unwrap_or(false);
    let claims = spec.resource_claims.iter().flatten().next().is_some();
    let ephemeral = spec.ephemeral_containers.iter().flatten().next().is_some();
    let context = spec.security_context.clone().unwrap_or_default();
    let strict = context.supplemental_groups_policy.as_deref() == Some("Strict");
    let fields = [
        (on(spec.host_pid), "hostPID"),
        (on(spec.host_ipc), "hostIPC"),
        (spec.host_users == Some(false), "hostUsers"),
        (on(spec.share_process_namespace), "shareProcessNamespace"),
        (on(spec.set_hostname_as_fqdn), "setHostnameAsFQDN"),
        (spec.runtime_class_name.is_some(), "runtimeClassName"),
        (claims, "resourceClaims"),
        (spec.resources.is_some(), "resources"),
        (ephemeral, "ephemeralContainers"),
        (
            spec.os.as_ref().is_some_and(|os| os.name != "linux"),
            "os.name",
        ),
        (strict, "securityContext.supplementalGroupsPolicy"),
        (
            context.se_linux_options.is_some(),
            "securityContext.seLinuxOptions",
        ),
        (
            context.windows_options.is_some(),
            "securityContext.windowsOptions",
        ),
        (
            context.app_armor_profile.is_some(),
            "securityContext.appArmorProfile",
        ),
        (
            custom(context.seccomp_profile.as_ref()),
            "securityContext.seccompProfile",
        ),
    ];
    named(fields)
}

/// The names of the fields that are set.
fn named(fields: impl IntoIterator<Item = (bool, &'static str)>) -> Vec<&'static str> {
    fields
        .into_iter()
        .filter(|(is_set, _)| *is_set)
        .map(|(_, field)| field)
        .collect()
}

fn of_container(container: &Container) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut refuse = |is_set: bool, field| {
        if is_set {
            found.push(field);
        }
    };
    let grpc = |probe: &Option<Probe>| probe.as_ref().is_some_and(|probe| probe.grpc.is_some());
    refuse(grpc(&container.startup_probe), "startupProbe.grpc");
    refuse(grpc(&container.liveness_probe), "livenessProbe.grpc");
    refuse(grpc(&container.readiness_probe), "readinessProbe.grpc");
    refuse(
        container
            .volume_devices
            .as_ref()
            .is_some_and(|d| !d.is_empty()),
        "volumeDevices",
    );
    let lifecycle = container.lifecycle.as_ref();
    refuse(
        lifecycle.is_some_and(|hooks| hooks.stop_signal.is_some()),
        "lifecycle.stopSignal",
    );
    let claims = container
        .resources
        .as_ref()
        .and_then(|resources| resources.claims.as_ref());
    refuse(
        claims.is_some_and(|claims| !claims.is_empty()),
        "resources.claims",
    );
    for mount in container.volume_mounts.iter().flatten() {
        let propagates = mount
            .mount_propagation
            .as_deref()
            .is_some_and(|mode| mode != "None");
        refuse(propagates, "volumeMounts.mountPropagation");
        let recursive = mount.recursive_read_only.as_deref();
        refuse(
            recursive == Some("Enabled"),
            "volumeMounts.recursiveReadOnly",
        );
    }
    if let Some(context) = &container.security_context {
        found.extend(of_security(context));
    }
    found
}

fn of_security(context: &SecurityContext) -> Vec<&'static str> {
    let fields = [
        (
            context.se_linux_options.is_some(),
            "securityContext.seLinuxOptions",
        ),
        (
            context.windows_options.is_some(),
            "securityContext.windowsOptions",
        ),
        (
            context.app_armor_profile.is_some(),
            "securityContext.appArmorProfile",
        ),
        (
            custom(context.seccomp_profile.as_ref()),
            "securityContext.seccompProfile",
        ),
        (
            context
                .proc_mount
                .as_deref()
                .is_some_and(|mount| mount != "Default"),
            "securityContext.procMount",
        ),
    ];
    named(fields)
}

/// The engine's own profile is what containers get; another one cannot be had yet.
fn custom(profile: Option<&SeccompProfile>) -> bool {
    profile.is_some_and(|profile| profile.type_ != "RuntimeDefault")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_not_done_is_named() {
        let pod = |spec: Value, container: Value| {
            let mut all = json!({"containers": [{"name": "c"}]});
            all.as_object_mut()
                .unwrap()
                .extend(spec.as_object().unwrap().clone());
            let fields = container.as_object().unwrap().clone();
            all["containers"][0].as_object_mut().unwrap().extend(fields);
            serde_json::from_value::<PodSpec>(all).expect("a spec")
        };
        let cases = [
            ("a plain pod", json!({}), json!({}), ""),
            (
                "the host's processes",
                json!({"hostPID": true}),
                json!({}),
                "spec.hostPID",
            ),
            (
                "the host's network is done",
                json!({"hostNetwork": true}),
                json!({}),
                "",
            ),
            (
                "a grpc probe",
                json!({}),
                json!({"livenessProbe": {"grpc": {"port": 1}}}),
                "spec.containers{c}.livenessProbe.grpc",
            ),
            (
                "an own seccomp profile",
                json!({}),
                json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}),
                "spec.containers{c}.securityContext.seccompProfile",
            ),
            (
                "the engine's seccomp profile",
                json!({}),
                json!({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}),
                "",
            ),
        ];
        for (name, spec, container, expected) in cases {
            assert_eq!(
                unsupported(&pod(spec, container)).join(" "),
                expected,
                "{name}"
            );
        }
    }
}
