//! Pods on a Docker Engine, through its HTTP API (20.10 and later).
//!
//! A pod is a sandbox, a pause container that owns the network namespace on the node's bridge,
//! plus containers that join it. The Engine is the only database: labels say whose a container is,
//! and nothing without this node's labels is ever touched. What is remembered between calls (the
//! network's id, how containers ended) can be lost at any time.

mod create;
mod error;
mod exits;
mod ground;
mod image;
mod list;
mod names;
mod network;
mod pause;
mod stream;

use std::time::Duration;

use bollard::models::{SystemInfo, SystemInfoCgroupVersionEnum};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, StopContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker};

use super::{
    Answer, Answers, ContainerId, ContainerSpec, Credentials, EngineInfo, ExecOutcome, ExecSpec,
    ImageInfo, ImageSummary, LogChunk, LogOptions, NetworkSpec, NodeNetwork, Observed, Runtime,
    RuntimeError, SandboxId, SandboxSpec, Step, Wake,
};
use error::{Subject, classify, within};
use names::Owner;

/// `/_ping` answers in a tenth of a millisecond; an Engine that takes this long is as good as gone.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// `/info` walks the Engine's plugins and its disk.
const INFO_TIMEOUT: Duration = Duration::from_secs(30);
/// A create takes 10 ms, a start 300 ms; with dozens in flight on two cores, seconds.
const CREATE_TIMEOUT: Duration = Duration::from_secs(120);
/// Ending a container takes 50 ms of CPU; unmounting may wait for a slow disk.
const END_TIMEOUT: Duration = Duration::from_secs(60);
/// The library's own limit stays out of the way, in seconds: every call has one of ours.
const CLIENT_TIMEOUT_SECONDS: u64 = 365 * 86_400;

/// Which Engine to use, and what to call things on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerConfig {
    /// The Engine's socket, as `unix:///var/run/docker.sock` or a path.
    pub host: String,
    /// The node whose containers these are.
    pub node: String,
    /// The installation. Agents of different clusters on one Engine need different ones; it begins
    /// every name. `skiff` if there is only one.
    pub instance: String,
}

impl DockerConfig {
    /// A node on this machine's Engine.
    #[must_use]
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            host: "unix:///var/run/docker.sock".to_owned(),
            node: node.into(),
            instance: "skiff".to_owned(),
        }
    }
}

/// One node's containers on a Docker Engine.
#[derive(Debug)]
pub struct DockerRuntime {
    docker: Docker,
    owner: Owner,
    ground: ground::Ground,
    details: list::Details,
}

impl DockerRuntime {
    /// Finds the Engine's socket. The Engine itself may be away: each call finds out anew.
    ///
    /// # Errors
    /// [`RuntimeError::Unreachable`] if there is no such socket, [`RuntimeError::Refused`] if the
    /// address is not one of a socket.
    pub fn connect(config: DockerConfig) -> Result<Self, RuntimeError> {
        let DockerConfig {
            host,
            node,
            instance,
        } = config;
        let path = host.strip_prefix("unix://").unwrap_or(&host);
        if !path.starts_with('/') {
            return Err(RuntimeError::Refused {
                step: Step::Connect,
                message: format!("{host:?} is not the address of a socket (unix:///PATH)"),
            });
        }
        let docker = Docker::connect_with_unix(path, CLIENT_TIMEOUT_SECONDS, API_DEFAULT_VERSION)
            .map_err(|err| classify(Step::Connect, Subject::Engine, err))?;
        Ok(Self {
            docker,
            owner: Owner { instance, node },
            ground: ground::Ground::default(),
            details: list::Details::default(),
        })
    }

    async fn create_and_start_sandbox(
        &self,
        spec: &SandboxSpec,
    ) -> Result<SandboxId, RuntimeError> {
        let network = if spec.host_network {
            self.ground.image(&self.docker).await?;
            None
        } else {
            let ready = self.ground.network(&self.docker, &self.owner).await?;
            Some(ready.network_id)
        };
        let name = self.owner.sandbox_name(&spec.pod, spec.attempt);
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let body = create::sandbox(&self.owner, spec, network.as_deref());
        let subject = Subject::New {
            name: &name,
            image: pause::PAUSE_IMAGE,
        };
        let create = self.docker.create_container(Some(options), body);
        let created = within(Step::CreateSandbox, subject, CREATE_TIMEOUT, create).await?;
        let start = self
            .docker
            .start_container(&created.id, None::<StartContainerOptions>);
        let subject = Subject::Existing(&created.id);
        within(Step::StartSandbox, subject, CREATE_TIMEOUT, start).await?;
        Ok(SandboxId(created.id.into()))
    }

    async fn remove(&self, step: Step, id: &str) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        let remove = self.docker.remove_container(id, Some(options));
        gone_is_fine(within(step, Subject::Existing(id), END_TIMEOUT, remove).await)
    }
}

/// What was to end and is gone has ended.
fn gone_is_fine(result: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
    match result {
        Err(RuntimeError::Gone { .. }) => Ok(()),
        other => other,
    }
}

impl Runtime for DockerRuntime {
    fn info(&self) -> Answer<'_, EngineInfo> {
        Box::pin(async {
            within(
                Step::Info,
                Subject::Engine,
                INFO_TIMEOUT,
                self.docker.info(),
            )
            .await
            .map(engine_info)
        })
    }

    fn ping(&self) -> Answer<'_, ()> {
        Box::pin(async {
            within(
                Step::Ping,
                Subject::Engine,
                PING_TIMEOUT,
                self.docker.ping(),
            )
            .await
            .map(drop)
        })
    }

    fn prepare<'a>(&'a self, network: &'a NetworkSpec) -> Answer<'a, NodeNetwork> {
        Box::pin(async {
            let made = self.ground.prepare(&self.docker, &self.owner, *network);
            made.await.map(|ready| ready.network)
        })
    }

    fn list(&self) -> Answer<'_, Observed> {
        Box::pin(list::list(&self.docker, &self.owner, &self.details))
    }

    fn run_sandbox<'a>(&'a self, spec: &'a SandboxSpec) -> Answer<'a, SandboxId> {
        Box::pin(async move {
            let result = self.create_and_start_sandbox(spec).await;
            if result.is_err() {
                // The network or the pause image may have been removed: look again next time.
                self.ground.forget();
            }
            result
        })
    }

    fn create_container<'a>(&'a self, spec: &'a ContainerSpec) -> Answer<'a, ContainerId> {
        Box::pin(async move {
            let name = self.owner.container_name(&spec.container);
            let options = CreateContainerOptionsBuilder::default().name(&name).build();
            let body = create::container(&self.owner, spec)?;
            let subject = Subject::New {
                name: &name,
                image: &spec.image,
            };
            let create = self.docker.create_container(Some(options), body);
            let created = within(Step::CreateContainer, subject, CREATE_TIMEOUT, create).await?;
            Ok(ContainerId(created.id.into()))
        })
    }

    fn start_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, ()> {
        Box::pin(async move {
            let start = self
                .docker
                .start_container(&id.0, None::<StartContainerOptions>);
            within(
                Step::StartContainer,
                Subject::Existing(&id.0),
                CREATE_TIMEOUT,
                start,
            )
            .await
        })
    }

    fn stop_container<'a>(&'a self, id: &'a ContainerId, grace: Duration) -> Answer<'a, ()> {
        Box::pin(async move {
            let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
            let options = StopContainerOptionsBuilder::default().t(seconds).build();
            let stop = self.docker.stop_container(&id.0, Some(options));
            let limit = grace.saturating_add(END_TIMEOUT);
            gone_is_fine(within(Step::StopContainer, Subject::Existing(&id.0), limit, stop).await)
        })
    }

    fn signal_container<'a>(&'a self, id: &'a ContainerId, signal: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let options = KillContainerOptionsBuilder::default()
                .signal(signal)
                .build();
            let kill = self.docker.kill_container(&id.0, Some(options));
            let step = Step::StopContainer;
            gone_is_fine(within(step, Subject::Existing(&id.0), END_TIMEOUT, kill).await)
        })
    }

    fn remove_container<'a>(&'a self, id: &'a ContainerId) -> Answer<'a, ()> {
        Box::pin(self.remove(Step::RemoveContainer, &id.0))
    }

    fn remove_sandbox<'a>(&'a self, id: &'a SandboxId) -> Answer<'a, ()> {
        Box::pin(self.remove(Step::RemoveSandbox, &id.0))
    }

    fn image<'a>(&'a self, image: &'a str) -> Answer<'a, Option<ImageInfo>> {
        Box::pin(image::inspect(&self.docker, image))
    }

    fn images(&self) -> Answer<'_, Vec<ImageSummary>> {
        Box::pin(image::list(&self.docker))
    }

    fn pull<'a>(
        &'a self,
        image: &'a str,
        credentials: Option<&'a Credentials>,
    ) -> Answer<'a, ImageInfo> {
        Box::pin(image::pull(&self.docker, image, credentials))
    }

    fn logs(&self, id: &ContainerId, options: LogOptions) -> Answers<LogChunk> {
        stream::logs(&self.docker, id, &options)
    }

    fn exec<'a>(&'a self, id: &'a ContainerId, exec: &'a ExecSpec) -> Answer<'a, ExecOutcome> {
        Box::pin(stream::exec(&self.docker, id, exec))
    }

    fn events(&self) -> Answers<Wake> {
        stream::events(&self.docker, &self.owner, self.details.ends())
    }
}

fn engine_info(info: SystemInfo) -> EngineInfo {
    EngineInfo {
        version: info.server_version.unwrap_or_default(),
        runtime_name: "docker".to_owned(),
        os: info.os_type.unwrap_or_default(),
        os_image: info.operating_system.unwrap_or_default(),
        arch: go_arch(info.architecture.unwrap_or_default()),
        kernel: info.kernel_version.unwrap_or_default(),
        cpus: u32::try_from(info.ncpu.unwrap_or_default()).unwrap_or_default(),
        memory_bytes: u64::try_from(info.mem_total.unwrap_or_default()).unwrap_or_default(),
        root_dir: info.docker_root_dir.unwrap_or_default(),
        storage_driver: info.driver.unwrap_or_default(),
        cgroup_version: match info.cgroup_version {
            Some(SystemInfoCgroupVersionEnum::_2) => 2,
            Some(SystemInfoCgroupVersionEnum::_1 | SystemInfoCgroupVersionEnum::EMPTY) | None => 1,
        },
    }
}

/// `/info` gives the kernel's name for the processor; node labels and image platforms use Go's.
fn go_arch(uname: String) -> String {
    match uname.as_str() {
        "x86_64" => "amd64".to_owned(),
        "aarch64" => "arm64".to_owned(),
        _ => uname,
    }
}
