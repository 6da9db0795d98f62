//! A node on this machine's Docker Engine, under a name of its own, that cleans up after itself
//! even if its test fails.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the tests' own helpers: what fails here fails the test"
)]

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::{StreamExt, TryStreamExt};
use skiff_node_agent::runtime::docker::{DockerConfig, DockerRuntime};
use skiff_node_agent::runtime::{
    Container, ContainerId, ContainerSpec, ContainerState, ExecOutcome, ExecSpec, LogOptions,
    LogStream, NetworkSpec, Observed, ObservedContainer, PodRef, Runtime, SandboxId, SandboxSpec,
};

const SOCKET: &str = "/var/run/docker.sock";
const BUSYBOX: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];
/// How long a fact may take to become true on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a lost event may delay a test.
const RESYNC: Duration = Duration::from_secs(1);

/// One node with an image to run.
pub(crate) struct Rig {
    pub(crate) runtime: DockerRuntime,
    /// An image with busybox at `/bin/busybox` and `/bin/sh`, and nothing else.
    pub(crate) image: String,
    /// The network that the pod is on.
    pub(crate) network: NetworkSpec,
    instance: String,
}

/// One of the ranges that nobody else is likely to take at the same time.
fn network() -> NetworkSpec {
    let [second, third] = rand::random::<[u8; 2]>();
    let subnet = format!("10.{}.{third}.0/24", 200 + second % 48);
    NetworkSpec {
        subnet: subnet.parse().unwrap(),
        mtu: 1400,
    }
}

impl Rig {
    /// A rig, or `None`, with a word on stderr, where there is no Engine or no busybox. On CI both
    /// must be there.
    pub(crate) async fn new(test: &str) -> Option<Self> {
        let busybox = BUSYBOX.iter().map(Path::new).find(|path| path.exists());
        let missing = match (busybox, Path::new(SOCKET).exists()) {
            (Some(busybox), true) => return Some(Self::with(test, busybox).await),
            (None, _) => "busybox-static",
            (Some(_), false) => "the Docker Engine",
        };
        assert!(
            std::env::var_os("CI").is_none(),
            "{missing} is missing, and this is CI"
        );
        eprintln!("SKIPPED {test}: {missing} is missing");
        None
    }

    async fn with(test: &str, busybox: &Path) -> Self {
        let instance = format!("skiff-test-{test}-{:08x}", rand::random::<u32>());
        let image = format!("{instance}:1");
        let runtime = Self::connect(&instance, "n1");
        let rig = Self {
            runtime,
            image,
            network: network(),
            instance,
        };
        import(busybox, &rig.instance).await;
        rig.runtime.prepare(&rig.network).await.unwrap();
        rig
    }

    /// Another agent for this node, or one for another node: all that it knows, it lists.
    pub(crate) fn agent(&self, node: &str) -> DockerRuntime {
        Self::connect(&self.instance, node)
    }

    fn connect(instance: &str, node: &str) -> DockerRuntime {
        let config = DockerConfig {
            instance: instance.to_owned(),
            ..DockerConfig::new(node)
        };
        DockerRuntime::connect(config).unwrap()
    }

    /// A container that runs a shell script in the pod of that sandbox.
    pub(crate) fn script(&self, sandbox: &SandboxId, name: &str, script: &str) -> ContainerSpec {
        let container = Container {
            pod: pod(),
            name: name.into(),
            attempt: 0,
        };
        let mut spec = ContainerSpec::new(container, sandbox.clone(), &self.image);
        spec.entrypoint = Some(vec!["/bin/sh".into(), "-c".into(), script.into()]);
        spec.spec_hash = format!("hash-of-{name}");
        spec
    }

    /// The sandbox of the one pod that most tests need.
    pub(crate) async fn sandbox(&self) -> SandboxId {
        self.runtime
            .run_sandbox(&SandboxSpec::new(pod()))
            .await
            .unwrap()
    }

    /// Creates and starts a container.
    pub(crate) async fn run(&self, spec: &ContainerSpec) -> ContainerId {
        let id = self.runtime.create_container(spec).await.unwrap();
        self.runtime.start_container(&id).await.unwrap();
        id
    }

    /// Waits, woken by events, until the list satisfies `fact`.
    pub(crate) async fn until(&self, what: &str, fact: impl Fn(&Observed) -> bool) -> Observed {
        let mut events = self.runtime.events();
        let begun = tokio::time::Instant::now();
        loop {
            let observed = self.runtime.list().await.unwrap();
            if fact(&observed) {
                return observed;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{what} did not come true: {observed:#?}"
            );
            if let Ok(woken) = tokio::time::timeout(RESYNC, events.next()).await {
                woken.expect("the event stream ended").unwrap();
            }
        }
    }

    /// Waits until a container has ended.
    pub(crate) async fn ended(&self, id: &ContainerId) -> ContainerState {
        let ended = |observed: &Observed| matches!(find(observed, id), Some(c) if matches!(c.state, ContainerState::Exited { .. }));
        let observed = self.until("the end of the container", ended).await;
        find(&observed, id).unwrap().state.clone()
    }

    /// A container's whole log so far, or to its end, as (stdout, stderr).
    pub(crate) async fn log(&self, id: &ContainerId, options: LogOptions) -> (String, String) {
        let chunks: Vec<_> = self.runtime.logs(id, options).try_collect().await.unwrap();
        let text = |stream: LogStream| {
            let chunks = chunks.iter().filter(|chunk| chunk.stream == stream);
            chunks
                .map(|chunk| String::from_utf8_lossy(&chunk.bytes).into_owned())
                .collect()
        };
        (text(LogStream::Stdout), text(LogStream::Stderr))
    }

    /// Runs a command in a container: its exit code and output.
    pub(crate) async fn exec(&self, id: &ContainerId, command: &[&str]) -> (i64, String) {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        let exec = ExecSpec {
            command,
            timeout: PATIENCE,
        };
        match self.runtime.exec(id, &exec).await.unwrap() {
            ExecOutcome::Exited { code, output } => {
                (code, String::from_utf8_lossy(&output).into_owned())
            }
            ExecOutcome::TimedOut => panic!("the command did not end"),
        }
    }
}

/// The pod of most tests.
pub(crate) fn pod() -> PodRef {
    PodRef {
        namespace: "shop".into(),
        name: "front-0".into(),
        uid: "0f3a9c1d-7e52-4a86-9d0e-5b1c2d3e4f50".into(),
    }
}

pub(crate) fn find<'a>(observed: &'a Observed, id: &ContainerId) -> Option<&'a ObservedContainer> {
    observed
        .containers
        .iter()
        .find(|container| container.id == *id)
}

fn docker() -> Docker {
    Docker::connect_with_unix(SOCKET, 120, API_DEFAULT_VERSION).unwrap()
}

async fn import(busybox: &Path, name: &str) {
    let mut layer = tar::Builder::new(Vec::new());
    layer.append_path_with_name(busybox, "bin/busybox").unwrap();
    for applet in ["sh", "cat", "hostname", "sleep", "tail", "id", "touch"] {
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        layer
            .append_link(&mut link, format!("bin/{applet}"), "busybox")
            .unwrap();
    }
    let body = bollard::body_full(layer.into_inner().unwrap().into());
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(name)
        .tag("1")
        .build();
    docker()
        .create_image(Some(options), Some(body), None)
        .try_for_each(|_| async { Ok(()) })
        .await
        .unwrap();
}

/// Removes every container, network and image of the rig, whatever became of the test.
impl Drop for Rig {
    fn drop(&mut self) {
        let (instance, image) = (self.instance.clone(), self.image.clone());
        // The test's own tokio may be shutting down, and this must be done when `drop` returns.
        let cleaner = std::thread::spawn(move || {
            let tokio = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            tokio.block_on(clean(&instance, &image));
        });
        assert!(
            cleaner.join().is_ok() || std::thread::panicking(),
            "the clean-up failed"
        );
    }
}

async fn clean(instance: &str, image: &str) {
    let docker = docker();
    let filters = HashMap::from([("label", vec![format!("io.skiff.instance={instance}")])]);
    let all = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    for container in docker.list_containers(Some(all)).await.unwrap() {
        let force = RemoveContainerOptionsBuilder::default()
            .force(true)
            .v(true)
            .build();
        docker
            .remove_container(&container.id.unwrap(), Some(force))
            .await
            .unwrap();
    }
    let networks = ListNetworksOptionsBuilder::default()
        .filters(&filters)
        .build();
    for network in docker.list_networks(Some(networks)).await.unwrap() {
        docker.remove_network(&network.id.unwrap()).await.unwrap();
    }
    docker
        .remove_image(image, None::<RemoveImageOptions>, None)
        .await
        .unwrap();
}
