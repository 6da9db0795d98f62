//! Whole clusters of real processes: `skiff dev`, or a server with agents that can be killed one by
//! one. Node names carry a prefix of the cluster's own, and by them everything is removed at the end.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::api::{Api, Identity};
use crate::docker::{Engine, INSTANCE_LABEL, NODE_LABEL};
use crate::hosts::Hosts;
use crate::process::Process;
use crate::skiff::{self, Said};
use crate::slowdisk::SlowDisk;
use crate::wait;

mod ground;
mod resolvers;
mod servers;

pub use ground::free_range;
pub use servers::{Joined, members};

/// A server on a loaded machine; the target of half a second is the benchmark's matter.
pub const UP_MAX: Duration = Duration::from_secs(20);
/// Whatever includes starting containers on two shared cores.
pub const PODS_MAX: Duration = Duration::from_secs(60);

/// A server process, its agents, and where they keep their data.
pub struct Cluster {
    /// Starts every node's name, and is no other cluster's.
    pub prefix: String,
    /// Where the server listens.
    pub address: String,
    /// The Engine that agents use unless told otherwise.
    pub engine: Engine,
    /// The server, or the whole of a `skiff dev`.
    pub server: Process,
    joined: Vec<Joined>,
    agents: Vec<(String, Process)>,
    server_args: Vec<String>,
    /// The range of its pods' addresses: two clusters on one Engine must not share any.
    pods: String,
    data: PathBuf,
    /// What the servers run on.
    ground: Ground,
    // Dropped last: it holds everybody's data.
    folder: tempfile::TempDir,
}

/// What the servers of a cluster run on.
enum Ground {
    /// This host and its disk.
    Here,
    /// A host of its own for each.
    Hosts(Hosts),
    /// This host, and a disk that takes its time.
    SlowDisk(SlowDisk),
}

impl Ground {
    /// Where a server can listen.
    fn address(&self, number: usize) -> String {
        match self {
            Self::Here | Self::SlowDisk(_) => free_address(),
            Self::Hosts(hosts) => format!("{}:6443", hosts.address(number)),
        }
    }

    /// `skiff` as a server's process, its arguments to follow.
    fn command(&self, number: usize) -> Command {
        let binary = skiff::binary();
        match self {
            Self::Here => Command::new(binary),
            Self::Hosts(hosts) => hosts.command(number, &binary),
            Self::SlowDisk(disk) => {
                let mut command = Command::new(binary);
                command.envs(disk.env());
                command
            }
        }
    }
}

impl Cluster {
    /// One server, no node.
    #[must_use]
    pub fn server() -> Self {
        Self::server_with(&[])
    }

    /// One server with further flags, no node.
    #[must_use]
    pub fn server_with(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("server");
        Self::start("server", &data, folder, flags, Ground::Here)
    }

    /// One server whose data lies in a folder of the caller's.
    #[must_use]
    pub fn server_in(data: &Path) -> Self {
        Self::start(
            "server",
            data,
            tempfile::tempdir().expect("a temporary folder"),
            &[],
            Ground::Here,
        )
    }

    /// `skiff dev` with some nodes.
    #[must_use]
    pub fn dev(nodes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("dev");
        let nodes_args = ["--nodes", &nodes.to_string()];
        let cluster = Self::start("dev", &data, folder, &nodes_args, Ground::Here);
        cluster.wait_for_nodes(nodes);
        cluster
    }

    /// One server, and agents called `PREFIX-1` and so on, all ready.
    #[must_use]
    pub fn with_agents(count: usize) -> Self {
        let mut cluster = Self::server();
        for number in 1..=count {
            cluster.add_agent(&format!("{}-{number}", cluster.prefix));
        }
        cluster.wait_for_nodes(count);
        cluster
    }

    fn start(
        verb: &str,
        data: &Path,
        folder: tempfile::TempDir,
        more: &[&str],
        ground: Ground,
    ) -> Self {
        let address = ground.address(0);
        let mut args = vec![
            verb.to_owned(),
            "--data-dir".to_owned(),
            data.display().to_string(),
        ];
        args.extend(["--listen".to_owned(), address.clone()]);
        let pods = ground::free_range();
        args.extend(["--pod-cidr".to_owned(), pods.clone()]);
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        let server = Process::start("server", ground.command(0).args(&args), folder.path());
        let mut cluster = Self {
            prefix: unique_prefix(),
            address,
            engine: Engine::default(),
            server,
            joined: Vec::new(),
            agents: Vec::new(),
            server_args: args,
            pods,
            data: data.to_owned(),
            ground,
            folder,
        };
        cluster.wait_until_up();
        cluster
    }

    /// The range of its pods' addresses.
    #[must_use]
    pub fn pod_cidr(&self) -> &str {
        &self.pods
    }

    /// Starts the server again with the same arguments and waits for its API.
    pub fn restart_server(&mut self) {
        self.start_server();
        self.wait_until_up();
    }

    /// Starts the server again with the same arguments.
    pub fn start_server(&mut self) {
        let mut command = self.ground.command(0);
        self.server = Process::start(
            "server",
            command.args(&self.server_args),
            self.folder.path(),
        );
    }

    /// Waits until the API answers `/readyz`.
    ///
    /// # Panics
    /// If the server ends instead, or takes too long.
    pub fn wait_until_up(&mut self) {
        self.wait_for_server(0);
    }

    /// Starts an agent of that name; one that ran before must have been killed.
    pub fn add_agent(&mut self, name: &str) {
        self.add_agent_with(name, &[]);
    }

    /// Starts an agent with further flags.
    ///
    /// # Panics
    /// If the server wrote no token for agents.
    pub fn add_agent_with(&mut self, name: &str, flags: &[&str]) {
        let mut command = Command::new(skiff::binary());
        command.args(self.agent_args(name)).args(flags);
        self.start_agent(name, &mut command);
    }

    /// Starts an agent by a command line of the caller's, which ends in [`Self::agent_args`].
    pub fn start_agent(&mut self, name: &str, command: &mut Command) {
        let process = Process::start(name, command, self.folder.path());
        self.agents.retain(|(known, _)| known != name);
        self.agents.push((name.to_owned(), process));
    }

    /// The arguments that make `skiff` this cluster's agent `name`.
    ///
    /// # Panics
    /// If the server wrote no token for agents.
    #[must_use]
    pub fn agent_args(&self, name: &str) -> Vec<String> {
        let kept = self.first_kept();
        let token = self.data_of(kept).join("agent.token");
        let token = fs::read_to_string(token).expect("read agent.token");
        let data = self.folder.path().join(name).display().to_string();
        let server = format!("https://{}", self.address_of(kept));
        [
            "agent",
            "--server",
            &server,
            "--token",
            token.trim(),
            "--data-dir",
            &data,
            "--name",
            name,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// An agent's process.
    ///
    /// # Panics
    /// If no agent has that name.
    pub fn agent(&mut self, name: &str) -> &mut Process {
        let found = self.agents.iter_mut().find(|(known, _)| known == name);
        found
            .map(|(_, process)| process)
            .unwrap_or_else(|| panic!("no agent is called {name}"))
    }

    /// Waits until so many nodes are Ready.
    pub fn wait_for_nodes(&self, count: usize) {
        wait::until(&format!("{count} nodes are Ready"), UP_MAX, || {
            let nodes = self.api().get("/api/v1/nodes");
            let ready = items(&nodes)
                .filter(|node| condition(node, "Ready") == "True")
                .count();
            if ready == count {
                Ok(())
            } else {
                Err(format!("{ready} are"))
            }
        });
    }

    /// Everybody's logs and data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The server's data.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The kubeconfig that may do everything; it names the first server that has its data.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of(self.first_kept())
    }

    /// The API as the admin.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::new(Identity::of(&self.kubeconfig()))
    }

    /// `skiff ARGS…` as the admin; `line` is split at spaces.
    pub fn skiff(&self, line: &str) -> Said {
        skiff::skiff(&self.kubeconfig(), line)
    }

    /// Writes a manifest to a file that the test can apply.
    ///
    /// # Panics
    /// If it can't be written.
    #[must_use]
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("write a manifest");
        path.display().to_string()
    }

    /// Pods of a namespace with a label, as the API has them.
    #[must_use]
    pub fn pods(&self, namespace: &str, selector: &str) -> Vec<Value> {
        let path = format!("/api/v1/namespaces/{namespace}/pods?labelSelector={selector}");
        items(&self.api().get(&path)).cloned().collect()
    }

    /// Waits until exactly so many pods with a label are Ready and none is on its way out, and
    /// returns them.
    pub fn wait_for_pods(&self, namespace: &str, selector: &str, count: usize) -> Vec<Value> {
        wait::until(
            &format!("{count} pods {selector} are Ready"),
            PODS_MAX,
            || {
                let pods = self.pods(namespace, selector);
                let ready = pods
                    .iter()
                    .filter(|pod| condition(pod, "Ready") == "True")
                    .count();
                let leaving = pods
                    .iter()
                    .any(|pod| !pod["metadata"]["deletionTimestamp"].is_null());
                if ready == count && pods.len() == count && !leaving {
                    return Ok(pods);
                }
                let seen: Vec<String> = pods.iter().map(summary).collect();
                Err(seen.join("; "))
            },
        )
    }

    /// The label that all of this cluster's containers and networks carry. Node names alone do not
    /// do: every `skiff dev` has a `node-1`.
    ///
    /// # Panics
    /// If the server wrote no token for agents, which names the cluster.
    #[must_use]
    pub fn instance(&self) -> String {
        instance_label(&self.data_of(self.first_kept()))
    }

    /// Containers on one node, sandboxes counted.
    #[must_use]
    pub fn containers_on(&self, node: &str, also_stopped: bool) -> Vec<String> {
        let node = format!("{NODE_LABEL}={node}");
        let mut found = self
            .engine
            .containers(&[&self.instance(), &node], also_stopped);
        found.sort();
        found
    }

    /// Running containers of one pod, its sandbox not counted.
    #[must_use]
    pub fn containers_of(&self, pod: &Value) -> Vec<String> {
        let uid = format!("io.skiff.uid={}", text(&pod["metadata"]["uid"]));
        let all = self.engine.containers(&[&uid], false);
        let of_pod = |id: &String| {
            let name = self
                .engine
                .inspect(id, "{{index .Config.Labels \"io.skiff.container\"}}");
            !name.is_empty()
        };
        all.into_iter().filter(of_pod).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.data_of(self.first_kept());
        self.server.kill();
        self.joined.clear();
        self.agents.clear();
        resolvers::end_all(self.folder.path());
        forget(&self.engine, &data, &self.pods);
    }
}

/// Removes what the nodes of a cluster have left behind once its processes are gone: those that
/// answer names, containers, packet rules.
pub fn forget(engine: &Engine, data: &Path, pods: &str) {
    let instance = instance_label(data);
    resolvers::end_all(data);
    engine.remove(&instance);
    let name = instance.rsplit('=').next().unwrap_or_default();
    ground::forget_network(name, pods);
}

/// The label of a cluster by the data directory of its server.
///
/// # Panics
/// If there is no token for agents, whose last part is the hash of the cluster's CA.
#[must_use]
pub fn instance_label(data: &Path) -> String {
    let token = fs::read_to_string(data.join("agent.token")).expect("read agent.token");
    let hash = token.trim().rsplit('.').next().unwrap_or_default();
    format!(
        "{INSTANCE_LABEL}=skiff-{}",
        hash.get(..6).unwrap_or_default()
    )
}

/// The items of a list.
pub fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

/// A JSON text, or nothing.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The status of a condition, or nothing.
#[must_use]
pub fn condition(object: &Value, kind: &str) -> String {
    let conditions = object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten();
    let mut wanted = conditions.filter(|condition| condition["type"] == kind);
    wanted
        .next()
        .map(|condition| text(&condition["status"]))
        .unwrap_or_default()
}

/// A pod in one line, for messages.
#[must_use]
pub fn summary(pod: &Value) -> String {
    let status = &pod["status"];
    let containers = status["containerStatuses"].as_array().into_iter().flatten();
    let states: Vec<String> = containers
        .map(|container| container["state"].to_string())
        .collect();
    format!(
        "{} on {} is {} {}{}",
        text(&pod["metadata"]["name"]),
        text(&pod["spec"]["nodeName"]),
        text(&status["phase"]),
        states.join(" "),
        if pod["metadata"]["deletionTimestamp"].is_null() {
            ""
        } else {
            " (leaving)"
        },
    )
}

/// An address nobody listens on now.
///
/// # Panics
/// If the machine has no free port.
#[must_use]
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener
        .local_addr()
        .expect("the port's address")
        .to_string()
}

/// A prefix that no other test uses: process and time.
fn unique_prefix() -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    format!("t{}-{:x}", std::process::id(), now.subsec_nanos() >> 8)
}
