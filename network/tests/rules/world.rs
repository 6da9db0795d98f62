//! A node with pods, one pod of another node, and somebody outside: each a network namespace.
//!
//! ```text
//! a, b, client ── pods0 (10.42.0.1) host (192.0.2.1) ── outside (192.0.2.2), and behind it:
//!                                                       far (10.42.1.2), a pod of another node
//! ```

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use skiff_api::Revision;
use skiff_network::Catalog;
use skiff_network::rules::{Keeper, NodeView, Policies};
use tokio::sync::watch;

use crate::known::Known;

/// The node's address.
pub(crate) const NODE: &str = "192.0.2.1";
/// Where every fake pod listens, TCP and UDP.
pub(crate) const PORT: u16 = 8080;
/// Longest wait for an answer. What is dropped takes so long.
const ANSWER_MAX: Duration = Duration::from_millis(800);
/// Longest wait for rules.
const RULES_MAX: Duration = Duration::from_secs(10);
/// The pods of the node.
const PODS: [(&str, u8); 3] = [("a", 2), ("b", 3), ("client", 4)];

/// Who answered, and whom it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) server: &'static str,
    pub(crate) client: String,
}

/// What a client got.
pub(crate) type Answer = Result<Seen, ErrorKind>;

pub(crate) struct World {
    prefix: String,
}

impl World {
    /// Makes it; two worlds of one test run have different names.
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = std::process::id();
        let world = Self {
            prefix: format!("rules-{id:x}-{count}-{name}-"),
        };
        world.build();
        world
    }

    fn build(&self) {
        let (host, outside) = (self.namespace("host"), self.namespace("outside"));
        for space in [&host, &outside] {
            ip(&format!("netns add {space}"));
            ip(&format!("-n {space} link set lo up"));
        }
        ip(&format!("-n {host} link add pods0 type bridge"));
        ip(&format!("-n {host} addr add 10.42.0.1/24 dev pods0"));
        ip(&format!("-n {host} link set pods0 up"));
        for (name, _) in PODS {
            self.pod(name);
        }
        ip(&format!(
            "-n {host} link add up0 type veth peer name eth0 netns {outside}"
        ));
        for (space, link, address) in [
            (&host, "up0", "192.0.2.1/24"),
            (&outside, "eth0", "192.0.2.2/24"),
            (&outside, "lo", "10.42.1.2/32"),
        ] {
            ip(&format!("-n {space} addr add {address} dev {link}"));
            ip(&format!("-n {space} link set {link} up"));
        }
        ip(&format!("-n {host} route add default via 192.0.2.2"));
        // Another node knows the way to this node's pods; whoever else is outside would not.
        ip(&format!(
            "-n {outside} route add 10.42.0.0/24 via 192.0.2.1 src 10.42.1.2"
        ));
        self.within("host", || {
            for name in ["ipv4/ip_forward", "bridge/bridge-nf-call-iptables"] {
                std::fs::write(format!("/proc/sys/net/{name}"), "1").unwrap();
            }
        });
    }

    fn pod(&self, name: &str) {
        let (host, pod) = (self.namespace("host"), self.namespace(name));
        let address = self.address(name);
        ip(&format!("netns add {pod}"));
        ip(&format!("-n {pod} link set lo up"));
        ip(&format!(
            "-n {host} link add v{name} type veth peer name eth0 netns {pod}"
        ));
        ip(&format!("-n {host} link set v{name} master pods0 up"));
        ip(&format!("-n {pod} addr add {address}/24 dev eth0"));
        ip(&format!("-n {pod} link set eth0 up"));
        ip(&format!("-n {pod} route add default via 10.42.0.1"));
    }

    fn namespace(&self, name: &str) -> String {
        let name = if name == "far" { "outside" } else { name };
        format!("{}{name}", self.prefix)
    }

    pub(crate) fn address(&self, name: &str) -> String {
        let pod = PODS.iter().find(|(of, _)| *of == name);
        match (pod, name) {
            (Some((_, number)), _) => format!("10.42.0.{number}"),
            (None, "far") => "10.42.1.2".to_owned(),
            (None, "outside") => "192.0.2.2".to_owned(),
            (None, _) => NODE.to_owned(),
        }
    }

    /// Does something in a namespace.
    pub(crate) fn within<T: Send>(&self, name: &str, act: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.namespace(name));
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    enter(&path);
                    act()
                })
                .join()
                .unwrap()
        })
    }

    /// Runs a program in a namespace.
    pub(crate) fn run(&self, name: &str, program: &str, arguments: &[&str]) -> String {
        self.within(name, || run(program, arguments))
    }

    /// Fake pods that tell who they are and whom they see.
    pub(crate) fn serve(&self, names: &[&'static str]) {
        for name in names.iter().copied() {
            let address: SocketAddr = format!("{}:{PORT}", self.address(name)).parse().unwrap();
            let (tcp, udp) = self.within(name, || {
                (
                    TcpListener::bind(address).unwrap(),
                    UdpSocket::bind(address).unwrap(),
                )
            });
            std::thread::spawn(move || serve_tcp(name, &tcp));
            std::thread::spawn(move || serve_udp(name, &udp));
        }
    }

    /// Connects so many times, each from a new port.
    pub(crate) fn ask(&self, from: &str, to: &str, port: u16, times: usize) -> Vec<Answer> {
        let to: SocketAddr = format!("{to}:{port}").parse().unwrap();
        self.within(from, || (0..times).map(|_| ask(to)).collect())
    }

    /// Sends a packet from a new port.
    pub(crate) fn ask_udp(&self, from: &str, to: &str, port: u16) -> Answer {
        self.udp(from, to, port).ask()
    }

    /// A client that keeps its port.
    pub(crate) fn udp(&self, from: &str, to: &str, port: u16) -> Udp {
        let address = format!("{}:0", self.address(from));
        let socket = self.within(from, || {
            let socket = UdpSocket::bind(address).unwrap();
            socket.set_read_timeout(Some(ANSWER_MAX)).unwrap();
            socket
                .connect(format!("{to}:{port}"))
                .map(|()| socket)
                .unwrap()
        });
        Udp(socket)
    }

    /// How this node's agent sees itself.
    pub(crate) fn view(&self, node: &str) -> NodeView {
        NodeView {
            table: node.into(),
            name: node.into(),
            bridge: "pods0".into(),
            pod_cidr: "10.42.0.0/24".parse().unwrap(),
            cluster_cidr: "10.42.0.0/16".parse().unwrap(),
            service_cidr: "10.43.0.0/16".parse().unwrap(),
            addresses: vec![NODE.parse().unwrap(), "10.42.0.1".parse().unwrap()],
            same_bridge_masquerade: false,
        }
    }

    /// Shows policies that change something, and waits until the kernel has that.
    pub(crate) fn restrict(&self, keeper: &Kept, policies: &Policies) {
        let stamp = || self.run("host", "nft", &["list", "set", "ip", "skiff-n1", "stamp"]);
        let before = stamp();
        keeper.policies.send_replace(Arc::new(policies.clone()));
        until("policies in place", || stamp() != before);
    }

    /// Starts keeping the rules of this node.
    pub(crate) fn keep(&self, node: &str) -> Kept {
        self.keep_as(self.view(node))
    }

    pub(crate) fn keep_as(&self, node: NodeView) -> Kept {
        let (catalog, catalog_seen) = watch::channel(Arc::new(Catalog::default()));
        let (policies, policies_seen) = watch::channel(Arc::new(Policies::default()));
        let (applied, applied_seen) = watch::channel(Revision(0));
        let (state, state_seen) = watch::channel(Err("not yet".to_owned()));
        let keeper = Keeper {
            node,
            catalog: catalog_seen,
            policies: policies_seen,
            applied,
            enforced: watch::Sender::new(None),
            state,
        };
        let path = format!("/run/netns/{}", self.namespace("host"));
        std::thread::spawn(move || {
            enter(&path);
            runtime().block_on(keeper.run());
        });
        Kept {
            catalog,
            policies,
            applied: applied_seen,
            state: state_seen,
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let names = PODS.iter().map(|(name, _)| *name);
        for name in names.chain(["host", "outside"]) {
            let space = self.namespace(name);
            let done = Command::new("ip").args(["netns", "del", &space]).status();
            drop(done);
        }
    }
}

/// Rules that are kept; dropping it ends that and leaves them.
pub(crate) struct Kept {
    catalog: watch::Sender<Arc<Catalog>>,
    pub(crate) policies: watch::Sender<Arc<Policies>>,
    pub(crate) applied: watch::Receiver<Revision>,
    pub(crate) state: watch::Receiver<Result<(), String>>,
}

impl Kept {
    /// Shows what is known now.
    pub(crate) fn tell(&self, known: &Known) {
        self.catalog.send_replace(Arc::new(known.catalog.clone()));
    }

    /// Shows what is known now, and waits until the rules are as it says.
    pub(crate) fn show(&self, known: &Known) {
        let revision = known.catalog.revision;
        self.tell(known);
        let mut applied = self.applied.clone();
        wait(async move { applied.wait_for(|now| *now == revision).await.map(drop) });
    }
}

/// Waits for a fact that others bring about.
pub(crate) fn wait<E: std::fmt::Debug>(fact: impl Future<Output = Result<(), E>>) {
    let limited = async { tokio::time::timeout(RULES_MAX, fact).await };
    runtime()
        .block_on(limited)
        .expect("in time")
        .expect("still there");
}

/// Looks until it is so.
pub(crate) fn until(fact: &str, mut look: impl FnMut() -> bool) {
    let looking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !look() {
            ticks.tick().await;
        }
        Ok::<(), String>(())
    };
    let limited = async { tokio::time::timeout(RULES_MAX, looking).await };
    runtime().block_on(limited).expect(fact).unwrap();
}

/// Waits for what a future brings.
pub(crate) fn run_to_end<T>(work: impl Future<Output = T>) -> T {
    runtime().block_on(work)
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// A UDP client.
pub(crate) struct Udp(UdpSocket);

impl Udp {
    pub(crate) fn ask(&self) -> Answer {
        let mut buffer = [0; 64];
        self.0.send(b"?").map_err(|error| error.kind())?;
        let length = self.0.recv(&mut buffer).map_err(|error| error.kind())?;
        Ok(seen(&String::from_utf8_lossy(&buffer[..length])))
    }
}

fn serve_tcp(name: &str, listener: &TcpListener) {
    while let Ok((mut stream, client)) = listener.accept() {
        drop(write!(stream, "{name} {}", client.ip()));
    }
}

fn serve_udp(name: &str, socket: &UdpSocket) {
    let mut buffer = [0; 64];
    while let Ok((_, client)) = socket.recv_from(&mut buffer) {
        drop(socket.send_to(format!("{name} {}", client.ip()).as_bytes(), client));
    }
}

fn ask(to: SocketAddr) -> Answer {
    let kind = |error: std::io::Error| error.kind();
    let mut stream = TcpStream::connect_timeout(&to, ANSWER_MAX).map_err(kind)?;
    stream.set_read_timeout(Some(ANSWER_MAX)).map_err(kind)?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(kind)?;
    Ok(seen(&text))
}

fn seen(text: &str) -> Seen {
    let (server, client) = text.split_once(' ').unwrap();
    let server = ["a", "b", "client", "far", "outside"]
        .into_iter()
        .find(|name| *name == server);
    Seen {
        server: server.unwrap(),
        client: client.to_owned(),
    }
}

fn enter(path: &str) {
    let space = File::open(path).unwrap();
    move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

fn ip(arguments: &str) {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    run("ip", &arguments);
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
