//! What the agent asks of a runtime: sandboxes and containers in full, with nothing left to decide.
//!
//! Values here are final: references to ConfigMaps, Secrets and the downward API are resolved,
//! volumes are paths of this machine, quantities are numbers.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use skiff_network::catalog::Cidr;

/// Which pod something belongs to. The uid tells one life of a pod from the next of that name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodRef {
    /// The pod's namespace.
    pub namespace: Arc<str>,
    /// The pod's name.
    pub name: Arc<str>,
    /// The pod's uid.
    pub uid: Arc<str>,
}

/// As people write it: `shop/front-7x2kq`.
impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The engine's id of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxId(pub Arc<str>);

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The engine's id of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub Arc<str>);

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The network that the node's pods are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkSpec {
    /// The range of its addresses. The first one is the machine's own there.
    pub subnet: Cidr,
    /// The largest packet that its links carry, in bytes.
    pub mtu: u32,
}

/// The part of a pod that its containers share: the network namespace and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxSpec {
    /// Whose sandbox.
    pub pod: PodRef,
    /// Grows by one for each sandbox this pod has had; the first is 0.
    pub attempt: u32,
    /// The pod's host name, at most 63 bytes. Not used with `host_network`.
    pub hostname: String,
    /// Use the machine's own network instead of the node's pod network.
    pub host_network: bool,
    /// Ports of the machine that lead into the pod. Not used with `host_network`.
    pub ports: Vec<PortMapping>,
    /// Lines to add to `/etc/hosts`.
    pub host_aliases: Vec<HostAlias>,
    /// Namespaced kernel settings, as (`net.core.somaxconn`, `1024`).
    pub sysctls: Vec<(String, String)>,
}

impl SandboxSpec {
    /// A sandbox on the pod network, named after its pod, with nothing special about it.
    #[must_use]
    pub fn new(pod: PodRef) -> Self {
        Self {
            hostname: pod.name.to_string(),
            pod,
            attempt: 0,
            host_network: false,
            ports: Vec::new(),
            host_aliases: Vec::new(),
            sysctls: Vec::new(),
        }
    }
}

/// A port of the machine that leads to a port of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// The machine's address to listen on; all if `None`.
    pub host_ip: Option<IpAddr>,
    /// The machine's port.
    pub host_port: u16,
    /// The pod's port.
    pub container_port: u16,
    /// The transport of both.
    pub protocol: Protocol,
}

/// A transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// As the Engine writes it: `tcp`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// One address with its names for `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAlias {
    /// The address.
    pub ip: IpAddr,
    /// The names that lead to it.
    pub hostnames: Vec<String>,
}

/// Which container of which pod, and which life of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Container {
    /// Whose container.
    pub pod: PodRef,
    /// Its name in the pod.
    pub name: Arc<str>,
    /// Grows by one for each start of this container in this pod; the first is 0.
    pub attempt: u32,
}

/// One container of a pod, ready to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Which container.
    pub container: Container,
    /// The sandbox that it joins.
    pub sandbox: SandboxId,
    /// The image, by name or id; it must be on this machine.
    pub image: String,
    /// Replaces the image's entrypoint, and its arguments with it (Kubernetes' `command`).
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's arguments (Kubernetes' `args`).
    pub args: Option<Vec<String>>,
    /// The environment, in order; later entries win.
    pub env: Vec<(String, String)>,
    /// Replaces the image's working directory.
    pub working_dir: Option<String>,
    /// Paths of this machine that the container sees.
    pub mounts: Vec<Mount>,
    /// Bounds on what it may use.
    pub resources: Resources,
    /// Who it runs as and what it may do.
    pub security: Security,
    /// Give it a terminal; its output then has one stream.
    pub tty: bool,
    /// Keep its standard input open.
    pub stdin: bool,
    /// A fingerprint of what it was made from, kept as a label: a difference means a new container.
    pub spec_hash: String,
}

impl ContainerSpec {
    /// A container that runs what its image says, unbounded, with nothing special about it.
    #[must_use]
    pub fn new(container: Container, sandbox: SandboxId, image: impl Into<String>) -> Self {
        Self {
            container,
            sandbox,
            image: image.into(),
            entrypoint: None,
            args: None,
            env: Vec::new(),
            working_dir: None,
            mounts: Vec::new(),
            resources: Resources::default(),
            security: Security::default(),
            tty: false,
            stdin: false,
            spec_hash: String::new(),
        }
    }
}

/// A path of this machine that a container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The path on this machine; it must exist.
    pub source: PathBuf,
    /// The path in the container.
    pub target: String,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// Bounds on what a container may use; `None` is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Weight against others when CPU is short; 1024 is one core's worth.
    pub cpu_shares: Option<u64>,
    /// CPU time per 100 ms period, in microseconds; 50,000 is half a core.
    pub cpu_quota_micros: Option<u64>,
    /// Memory, in bytes; beyond it the kernel kills. Swap counts into it.
    pub memory_bytes: Option<u64>,
    /// Number of processes and threads.
    pub pids: Option<u64>,
    /// Who the kernel kills first when memory is short: -1000 (last) to 1000 (first).
    pub oom_score_adj: Option<i32>,
}

/// Who a container runs as and what it may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// The numeric user; the image's if `None`.
    pub run_as_user: Option<i64>,
    /// The numeric primary group; the image's if `None`. Needs `run_as_user`.
    pub run_as_group: Option<i64>,
    /// More groups.
    pub supplemental_groups: Vec<i64>,
    /// Everything the machine's root may do.
    pub privileged: bool,
    /// Capabilities to add, as `NET_ADMIN`.
    pub add_capabilities: Vec<String>,
    /// Capabilities to drop, or `ALL`.
    pub drop_capabilities: Vec<String>,
    /// Make the container's own file system read-only.
    pub read_only_root: bool,
    /// Forbid gaining rights by setuid programs.
    pub no_new_privileges: bool,
}

/// A name and password for a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password or token.
    pub password: String,
    /// The registry's address.
    pub server: String,
}

/// Without the password: this ends up in logs.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}@{})", self.username, self.server)
    }
}
