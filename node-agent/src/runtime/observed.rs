//! What a runtime says about the machine and the containers on it.

use std::net::IpAddr;
use std::sync::Arc;

use skiff_api::Millis;
use skiff_network::catalog::Cidr;

use super::{Container, ContainerId, PodRef, SandboxId};

/// Everything of this node that the engine knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Sandboxes, oldest first; more than one per pod while one replaces another.
    pub sandboxes: Vec<ObservedSandbox>,
    /// Containers, oldest first; dead ones too, until they are removed.
    pub containers: Vec<ObservedContainer>,
}

/// A pod's sandbox as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedSandbox {
    /// The engine's id.
    pub id: SandboxId,
    /// Whose sandbox.
    pub pod: PodRef,
    /// Which sandbox of this pod.
    pub attempt: u32,
    /// Its address on the pod network; `None` while it does not run or with the host's network.
    pub ip: Option<IpAddr>,
    /// Whether it runs. One that does not is useless and is to be removed.
    pub running: bool,
    /// Whether it uses the machine's own network.
    pub host_network: bool,
    /// When it was created.
    pub created_at: Millis,
}

/// A container as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedContainer {
    /// The engine's id.
    pub id: ContainerId,
    /// Which container.
    pub container: Container,
    /// The sandbox that it was created in.
    pub sandbox: SandboxId,
    /// The image's name at creation.
    pub image: Arc<str>,
    /// The image's id, as `sha256:…`.
    pub image_id: Arc<str>,
    /// Where it is in its life.
    pub state: ContainerState,
    /// The fingerprint it was created with.
    pub spec_hash: Arc<str>,
    /// When it was created.
    pub created_at: Millis,
}

/// Where a container is in its life. It only moves forward: a container is never started twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Created and not started, or its start failed.
    Created,
    /// Running.
    Running {
        /// Since when.
        started_at: Millis,
    },
    /// Ended.
    Exited {
        /// The exit code; 128 + n after signal n.
        code: i64,
        /// Whether the kernel killed it for using more memory than it may.
        oom_killed: bool,
        /// When it was started; equal to `finished_at` if it never was.
        started_at: Millis,
        /// When it ended.
        finished_at: Millis,
        /// The engine's own words if it could not be run.
        error: Arc<str>,
    },
}

/// What the engine and its machine are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// The engine's version, as `20.10.24`.
    pub version: String,
    /// `docker` or `simulated`: the scheme of container ids and of `containerRuntimeVersion`.
    pub runtime_name: String,
    /// The operating system family, in Go's words: `linux`.
    pub os: String,
    /// The operating system's own name, as `Debian GNU/Linux 12 (bookworm)`.
    pub os_image: String,
    /// The architecture, in Go's words: `amd64`, `arm64`.
    pub arch: String,
    /// The kernel's version.
    pub kernel: String,
    /// Logical processors.
    pub cpus: u32,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Where the engine keeps images and containers.
    pub root_dir: String,
    /// The storage driver.
    pub storage_driver: String,
    /// 1 or 2.
    pub cgroup_version: u8,
}

/// The network that this node's pods are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeNetwork {
    /// The engine's name for it.
    pub name: String,
    /// The machine's link to it, as the kernel calls it.
    pub bridge: String,
    /// Its range.
    pub subnet: Cidr,
    /// The largest packet that its links carry, in bytes.
    pub mtu: u32,
}

/// An image on this machine, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    /// The image's id, as `sha256:…`.
    pub id: Arc<str>,
    /// Its names: tags and digests.
    pub names: Vec<String>,
    /// Size of its layers, in bytes.
    pub size_bytes: u64,
}

/// An image on this machine, and what it says about how to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// Identity and size.
    pub summary: ImageSummary,
    /// The user it asks to run as, as the image writes it: `""`, `1000`, `app`, `1000:1000`.
    pub user: String,
    /// Whether the image says what to run. Without that, and without a command, nothing can start.
    pub has_command: bool,
}
