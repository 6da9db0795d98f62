//! Sandboxes and containers in the Engine's words. Pure: what goes in is a spec, what comes out is
//! the body of `POST /containers/create`.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount as EngineMount, MountType,
    PortBinding, PortMap, RestartPolicy, RestartPolicyNameEnum,
};

use super::names::Owner;
use super::pause::PAUSE_IMAGE;
use crate::runtime::{
    ContainerSpec, HostAlias, Resources, RuntimeError, SandboxSpec, Security, Step,
};

/// A container's log is kept in so many files…
const LOG_FILES: &str = "3";
/// …of at most so many bytes each; then the oldest is dropped.
const LOG_FILE_SIZE: &str = "10m";

/// The period that CPU quotas are counted in, in microseconds; Kubernetes' own.
const CPU_PERIOD_MICROS: i64 = 100_000;
/// The kernel refuses a smaller quota.
const CPU_QUOTA_MICROS_MIN: i64 = 1_000;

/// The body that creates a sandbox on `network`, the Engine's id of the node's network; on the
/// machine's own if there is none.
pub(super) fn sandbox(
    owner: &Owner,
    spec: &SandboxSpec,
    network: Option<&str>,
) -> ContainerCreateBody {
    let on_pod_network = network.is_some();
    let ports = if on_pod_network {
        port_map(spec)
    } else {
        PortMap::new()
    };
    let host = HostConfig {
        network_mode: Some(network.unwrap_or("host").to_owned()),
        port_bindings: some(ports.clone()),
        extra_hosts: some(spec.host_aliases.iter().flat_map(extra_hosts).collect()),
        sysctls: some(spec.sysctls.iter().cloned().collect()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(true),
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".to_owned()),
            config: None,
        }),
        restart_policy: Some(never_restart()),
        ..HostConfig::default()
    };
    ContainerCreateBody {
        image: Some(PAUSE_IMAGE.to_owned()),
        hostname: on_pod_network.then(|| spec.hostname.clone()),
        labels: Some(owner.sandbox_labels(&spec.pod, spec.attempt)),
        exposed_ports: some(ports.into_keys().collect()),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    }
}

/// The body that creates a container in its sandbox, whose network, host name and `/etc/hosts`
/// the Engine lends to it.
///
/// # Errors
/// [`RuntimeError::Refused`] for a wish that the Engine has no words for.
pub(super) fn container(
    owner: &Owner,
    spec: &ContainerSpec,
) -> Result<ContainerCreateBody, RuntimeError> {
    let mounts = spec
        .mounts
        .iter()
        .map(mount)
        .collect::<Result<Vec<_>, _>>()?;
    let mut host = HostConfig {
        network_mode: Some(format!("container:{}", spec.sandbox)),
        mounts: some(mounts),
        log_config: Some(json_file_log()),
        restart_policy: Some(never_restart()),
        ..HostConfig::default()
    };
    limit(&mut host, &spec.resources);
    secure(&mut host, &spec.security);
    Ok(ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: spec.entrypoint.clone(),
        cmd: spec.args.clone(),
        env: some(
            spec.env
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
        ),
        working_dir: spec.working_dir.clone(),
        user: user(&spec.security)?,
        tty: Some(spec.tty),
        open_stdin: Some(spec.stdin),
        labels: Some(owner.container_labels(&spec.container, &spec.sandbox, &spec.spec_hash)),
        host_config: Some(host),
        ..ContainerCreateBody::default()
    })
}

fn limit(host: &mut HostConfig, resources: &Resources) {
    host.cpu_shares = resources.cpu_shares.map(signed);
    if let Some(quota) = resources.cpu_quota_micros {
        host.cpu_period = Some(CPU_PERIOD_MICROS);
        host.cpu_quota = Some(signed(quota).max(CPU_QUOTA_MICROS_MIN));
    }
    host.memory = resources.memory_bytes.map(signed);
    // The sum of memory and swap: equal means no swap, as in Kubernetes.
    host.memory_swap = host.memory;
    host.pids_limit = resources.pids.map(signed);
    host.oom_score_adj = resources.oom_score_adj.map(i64::from);
}

fn secure(host: &mut HostConfig, security: &Security) {
    host.privileged = Some(security.privileged);
    host.readonly_rootfs = Some(security.read_only_root);
    host.cap_add = some(security.add_capabilities.clone());
    host.cap_drop = some(security.drop_capabilities.clone());
    host.group_add = some(
        security
            .supplemental_groups
            .iter()
            .map(ToString::to_string)
            .collect(),
    );
    host.security_opt = security
        .no_new_privileges
        .then(|| vec!["no-new-privileges".to_owned()]);
}

fn user(security: &Security) -> Result<Option<String>, RuntimeError> {
    match (security.run_as_user, security.run_as_group) {
        (None, None) => Ok(None),
        (Some(user), None) => Ok(Some(user.to_string())),
        (Some(user), Some(group)) => Ok(Some(format!("{user}:{group}"))),
        (None, Some(_)) => Err(refused(
            "a group to run as needs a user to run as".to_owned(),
        )),
    }
}

fn refused(message: String) -> RuntimeError {
    RuntimeError::Refused {
        step: Step::CreateContainer,
        message,
    }
}

fn port_map(spec: &SandboxSpec) -> PortMap {
    let mut map = PortMap::new();
    for port in &spec.ports {
        let binding = PortBinding {
            host_ip: port.host_ip.map(|ip| ip.to_string()),
            host_port: Some(port.host_port.to_string()),
        };
        let key = format!("{}/{}", port.container_port, port.protocol.as_str());
        map.entry(key)
            .or_default()
            .get_or_insert_default()
            .push(binding);
    }
    map
}

fn extra_hosts(alias: &HostAlias) -> impl Iterator<Item = String> {
    alias
        .hostnames
        .iter()
        .map(|name| format!("{name}:{}", alias.ip))
}

fn mount(mount: &crate::runtime::Mount) -> Result<EngineMount, RuntimeError> {
    let source = mount
        .source
        .to_str()
        .ok_or_else(|| refused(format!("the path {} is not UTF-8", mount.source.display())))?;
    Ok(EngineMount {
        // As a bind mount of the `Mounts` kind: a missing source is an error, not a new directory.
        typ: Some(MountType::BIND),
        source: Some(source.to_owned()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..EngineMount::default()
    })
}

fn json_file_log() -> HostConfigLogConfig {
    let config = [("max-size", LOG_FILE_SIZE), ("max-file", LOG_FILES)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    HostConfigLogConfig {
        typ: Some("json-file".to_owned()),
        config: Some(HashMap::from(config)),
    }
}

/// Restarting is the agent's decision, after its own back-off.
fn never_restart() -> RestartPolicy {
    RestartPolicy {
        name: Some(RestartPolicyNameEnum::NO),
        maximum_retry_count: None,
    }
}

/// The Engine counts in signed numbers; what does not fit is no bound at all.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// An empty collection is left out of the body.
fn some<C: IntoIterator + Default + PartialEq>(collection: C) -> Option<C> {
    (collection != C::default()).then_some(collection)
}

#[cfg(test)]
mod tests;
