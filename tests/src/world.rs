//! A cluster whose nodes are hosts, each with an Engine of its own, and a pod on each of them that
//! tells who asks it and who it is.

use std::path::PathBuf;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::cluster::{Cluster, text};
use crate::docker::Engine;
use crate::dockerd::{Dockerd, Forwarding};
use crate::given::{self, BUSYBOX};
use crate::hosts::Hosts;
use crate::skiff::{Said, run};

/// The label, beside their own, of the pods that are on each node from the start.
pub const EVERYWHERE: (&str, &str) = ("set", "everywhere");

/// Where those pods listen, and where they listen as well.
pub const PORT: u16 = 8080;
/// What they call it.
pub const PORT_NAME: &str = "echo";
/// The second port.
pub const OTHER_PORT: u16 = 8081;

/// Serves the caller's address, the pod's own name, and something larger than any packet.
const ECHO: &str = "mkdir -p /www/cgi-bin; cd /www; \
    printf '#!/bin/sh\\necho; echo \"$REMOTE_ADDR\"\\n' > cgi-bin/who; \
    printf '#!/bin/sh\\necho; /bin/busybox hostname\\n' > cgi-bin/name; \
    /bin/busybox chmod +x cgi-bin/who cgi-bin/name; \
    /bin/busybox dd if=/dev/zero of=big bs=1024 count=256 2>/dev/null; \
    httpd -p 8081 -h /www; exec httpd -f -p 8080 -h /www";

/// The size of that larger thing, in bytes.
pub const BIG: u64 = 256 * 1024;

/// How long `curl` waits before it says that nobody answers, in seconds.
const ANSWER_MAX: &str = "3";

/// The exit codes of `curl` for a server that refuses, and for one that is silent.
const REFUSED: i32 = 7;
const SILENT: i32 = 28;

/// A cluster whose nodes `n0`, `n1`, … are hosts.
pub struct World {
    // Dropped before the hosts that they run on.
    engines: Vec<Dockerd>,
    /// The cluster; its server is on the first host.
    pub cluster: Cluster,
}

/// A pod, as packets see it.
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Its only container.
    pub container: String,
    /// Where that runs.
    pub engine: Engine,
    /// What its resolver was told, in a file of the test's.
    resolv_conf: PathBuf,
}

/// Who asks.
#[derive(Clone, Copy)]
pub enum Asker<'a> {
    /// Somebody in a pod.
    Pod(&'a Pod),
    /// A program on a host.
    Host(usize),
}

/// What `curl` has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The body of a good answer, without the space around it.
    Said(String),
    /// The connection was refused.
    Refused,
    /// Nothing came back.
    Silence,
    /// Something else, in words.
    Else(String),
}

impl World {
    /// Nodes on the first hosts, and pods `p0`, `p1`, … one on each.
    ///
    /// # Panics
    /// If something of it does not start.
    #[must_use]
    pub fn new(hosts: Hosts, nodes: usize, flags: &[&str]) -> Self {
        let engines = engines(&hosts, nodes);
        let mut cluster = Cluster::server_on(hosts);
        for (number, engine) in engines.iter().enumerate() {
            cluster.add_agent_on(number, &format!("n{number}"), &engine.engine(), flags);
        }
        cluster.wait_for_nodes(nodes);
        let world = Self { engines, cluster };
        for number in 0..nodes {
            world.create_pod("default", number, echo(&format!("p{number}")));
        }
        world
    }

    /// Creates a pod on a node.
    pub fn create_pod(&self, namespace: &str, node: usize, mut pod: Value) {
        pod["spec"]["nodeName"] = json!(format!("n{node}"));
        // It stays even if nobody hears of its node for a while.
        pod["spec"]["tolerations"] = json!([{"operator": "Exists", "effect": "NoExecute"}]);
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        self.cluster.api().create(&path, &pod);
    }

    /// The Engine of a node.
    #[must_use]
    pub fn engine(&self, node: usize) -> Engine {
        self.engines[node].engine()
    }

    /// The hosts.
    #[must_use]
    pub fn hosts(&self) -> &Hosts {
        self.cluster.hosts()
    }

    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.engines.len()
    }

    /// The pods that are there from the start, in the order of their nodes, once they are ready.
    #[must_use]
    pub fn pods(&self) -> Vec<Pod> {
        (0..self.nodes())
            .map(|number| self.pod("default", &format!("p{number}")))
            .collect()
    }

    /// The pod with the label `app=NAME`, once it is ready.
    ///
    /// # Panics
    /// If it does not become ready.
    #[must_use]
    pub fn pod(&self, namespace: &str, name: &str) -> Pod {
        let app = format!("app={name}");
        let found = self.cluster.wait_for_pods(namespace, &app, 1);
        let node: usize = text(&found[0]["spec"]["nodeName"])
            .trim_start_matches('n')
            .parse()
            .expect("the number of a node");
        Pod::of(&self.cluster, &found[0], self.engine(node))
    }

    /// A command that runs where somebody asks.
    #[must_use]
    pub fn command(&self, asker: Asker<'_>, program: &str) -> Command {
        match asker {
            Asker::Pod(pod) => pod.command(program),
            Asker::Host(number) => self.hosts().command(number, program.as_ref()),
        }
    }

    /// `curl` of one URL.
    #[must_use]
    pub fn curl(&self, asker: Asker<'_>, url: &str) -> Answer {
        self.curl_with(asker, &[url])
    }

    /// `curl` with arguments of the caller's.
    #[must_use]
    pub fn curl_with(&self, asker: Asker<'_>, args: &[&str]) -> Answer {
        curl(self.command(asker, "curl"), args)
    }
}

/// A pod that tells who asks it and who it is.
#[must_use]
pub fn echo(name: &str) -> Value {
    let mut pod = given::pod(name, ECHO);
    pod["metadata"]["labels"][EVERYWHERE.0] = json!(EVERYWHERE.1);
    let port = json!({"name": PORT_NAME, "containerPort": PORT});
    pod["spec"]["containers"][0]["ports"] = json!([port]);
    pod
}

/// `curl` as that command, with arguments of the caller's.
#[must_use]
pub fn curl(mut command: Command, args: &[&str]) -> Answer {
    command.args(["--silent", "--show-error", "--fail"]);
    command.args(["--max-time", ANSWER_MAX]).args(args);
    Answer::of(run(&mut command))
}

impl Drop for World {
    fn drop(&mut self) {
        // An agent that runs would start what ends now, and an Engine that is asked to end gives its
        // containers time that no test needs.
        for number in 0..self.nodes() {
            self.cluster.agent(&format!("n{number}")).kill();
        }
        for engine in &self.engines {
            let engine = engine.engine();
            engine.kill(&engine.containers(&[], false));
        }
    }
}

/// Engines on the first hosts, with the image of the tests' pods.
fn engines(hosts: &Hosts, count: usize) -> Vec<Dockerd> {
    let start = |number| {
        // The second Engine finds a machine that does not forward yet, as most do.
        let forwarding = match number {
            1 => Forwarding::Off,
            _ => Forwarding::On,
        };
        let engine = Dockerd::on(hosts, number, forwarding);
        engine.engine().busybox_image(BUSYBOX);
        engine
    };
    thread::scope(|scope| {
        let starting: Vec<_> = (0..count)
            .map(|number| scope.spawn(move || start(number)))
            .collect();
        let started = starting.into_iter();
        started
            .map(|one| one.join().expect("an Engine starts"))
            .collect()
    })
}

impl Pod {
    /// A ready pod of a cluster, on the Engine of its node.
    ///
    /// # Panics
    /// If it does not run there.
    #[must_use]
    pub fn of(cluster: &Cluster, pod: &Value, engine: Engine) -> Self {
        let uid = text(&pod["metadata"]["uid"]);
        let of_pod = format!("label=io.skiff.uid={uid}");
        let named = "label=io.skiff.container";
        let ps = ["ps", "--quiet", "--no-trunc", "--filter", &of_pod];
        let container = engine.docker(&[&ps[..], &["--filter", named]].concat());
        let container = container.ok().trim().to_owned();
        let names = engine.docker(&["exec", &container, "/bin/cat", "/etc/resolv.conf"]);
        let file = format!("{uid}-resolv.conf");
        Self {
            name: text(&pod["metadata"]["name"]),
            address: text(&pod["status"]["podIP"]),
            resolv_conf: cluster.file(&file, &names.ok()).into(),
            container,
            engine,
        }
    }

    /// A shell in its container.
    ///
    /// # Errors
    /// What the script complained about.
    pub fn shell(&self, script: &str) -> Result<String, String> {
        let args = ["exec", &self.container, "/bin/sh", "-c", script];
        self.engine.docker(&args).result()
    }

    /// A program of this machine with the pod's network and the pod's way to look up names.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace().display()));
        // Each program becomes the next one: a signal reaches the last.
        let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        command.args(["unshare", "--mount", "sh", "-c", script]);
        command.arg(&self.resolv_conf).arg(program);
        command
    }

    /// Where its network namespace is to be found.
    #[must_use]
    pub fn namespace(&self) -> PathBuf {
        let pid = self.engine.inspect(&self.container, "{{.State.Pid}}");
        format!("/proc/{pid}/ns/net").into()
    }
}

impl Answer {
    fn of(said: Said) -> Self {
        match said.code {
            0 => Self::Said(said.out.trim().to_owned()),
            REFUSED => Self::Refused,
            SILENT => Self::Silence,
            _ => Self::Else(said.err.trim().to_owned()),
        }
    }

    /// Itself, if it is that; else what was seen instead.
    ///
    /// # Errors
    /// It is something else.
    pub fn expect(self, expected: &Self) -> Result<(), String> {
        if self == *expected {
            Ok(())
        } else {
            Err(format!("{self:?} instead of {expected:?}"))
        }
    }

    /// The body of a good answer.
    ///
    /// # Errors
    /// It is none.
    pub fn said(self) -> Result<String, String> {
        match self {
            Self::Said(text) => Ok(text),
            Self::Refused | Self::Silence | Self::Else(_) => Err(format!("{self:?}")),
        }
    }
}

/// An address as it is usually written: `httpd` writes an IPv4 address as IPv6 would.
#[must_use]
pub fn plain(address: &str) -> String {
    let bare = address.trim().trim_matches(['[', ']']);
    bare.trim_start_matches("::ffff:").to_owned()
}
