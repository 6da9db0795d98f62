//! From a pod's spec to what the runtime is asked for. Pure: everything that had to be looked up
//! comes as an argument.

mod limits;
mod security;

use std::sync::Arc;

use skiff_api::k8s_openapi::api::core::v1::{Container as WireContainer, ContainerPort, PodSpec};

pub use limits::resources;
pub use security::{SecurityError, security};

use crate::env::expand;
use crate::fields::Place;
use crate::pod::DesiredPod;
use crate::report::qos;
use crate::runtime::{
    Container, ContainerSpec, HostAlias, ImageInfo, Mount, PortMapping, Protocol, SandboxId,
    SandboxSpec,
};

/// The longest host name that the kernel takes.
const HOSTNAME_MAX: usize = 63;

/// What had to be found out before a container can be made.
#[derive(Clone, Debug)]
pub struct Found<'a> {
    /// The sandbox that it joins.
    pub sandbox: &'a SandboxId,
    /// Its environment.
    pub env: Vec<(String, String)>,
    /// Its volumes.
    pub mounts: Vec<Mount>,
    /// Its image.
    pub image: &'a ImageInfo,
    /// The node.
    pub place: &'a Place,
}

/// A pod's sandbox.
#[must_use]
pub fn sandbox(pod: &DesiredPod, attempt: u32) -> SandboxSpec {
    let spec = pod.spec();
    let name = spec
        .hostname
        .clone()
        .unwrap_or_else(|| pod.pod.name.to_string());
    SandboxSpec {
        attempt,
        hostname: hostname(&name),
        host_network: pod.host_network(),
        ports: if pod.host_network() {
            Vec::new()
        } else {
            ports(pod)
        },
        host_aliases: host_aliases(&spec),
        sysctls: spec
            .security_context
            .iter()
            .flat_map(|context| context.sysctls.iter().flatten())
            .map(|sysctl| (sysctl.name.clone(), sysctl.value.clone()))
            .collect(),
        ..SandboxSpec::new(pod.pod.clone())
    }
}

/// A container, ready to be created.
///
/// # Errors
/// [`SecurityError`] if the image would run as root though the pod forbids it.
pub fn container(
    pod: &DesiredPod,
    wire: &WireContainer,
    attempt: u32,
    found: Found<'_>,
) -> Result<ContainerSpec, SecurityError> {
    let spec = pod.spec();
    let id = Container {
        pod: pod.pod.clone(),
        name: wire.name.as_str().into(),
        attempt,
    };
    let words = |list: &Option<Vec<String>>| {
        let list = list.as_ref().filter(|list| !list.is_empty())?;
        Some(list.iter().map(|word| expand(word, &found.env)).collect())
    };
    let image = wire.image.clone().unwrap_or_default();
    Ok(ContainerSpec {
        entrypoint: words(&wire.command),
        args: words(&wire.args),
        working_dir: wire.working_dir.clone().filter(|dir| !dir.is_empty()),
        resources: resources(wire, qos::class(&spec), found.place.memory_bytes),
        security: security(&spec, wire, found.image)?,
        tty: wire.tty.unwrap_or(false),
        stdin: wire.stdin.unwrap_or(false),
        spec_hash: pod
            .part(&wire.name)
            .map(|part| part.hash.to_string())
            .unwrap_or_default(),
        env: found.env,
        mounts: found.mounts,
        ..ContainerSpec::new(id, SandboxId(Arc::clone(&found.sandbox.0)), image)
    })
}

fn hostname(name: &str) -> String {
    let cut: String = name.chars().take(HOSTNAME_MAX).collect();
    cut.trim_end_matches(['-', '.']).to_owned()
}

fn ports(pod: &DesiredPod) -> Vec<PortMapping> {
    let all = pod
        .containers()
        .flat_map(|container| container.ports.iter().flatten());
    all.filter_map(port).collect()
}

fn port(port: &ContainerPort) -> Option<PortMapping> {
    Some(PortMapping {
        host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
        host_port: u16::try_from(port.host_port?)
            .ok()
            .filter(|port| *port != 0)?,
        container_port: u16::try_from(port.container_port).ok()?,
        protocol: match port.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
    })
}

fn host_aliases(spec: &PodSpec) -> Vec<HostAlias> {
    let aliases = spec.host_aliases.iter().flatten();
    aliases
        .filter_map(|alias| {
            let hostnames = alias.hostnames.clone().unwrap_or_default();
            Some(HostAlias {
                ip: alias.ip.parse().ok()?,
                hostnames,
            })
        })
        .collect()
}
