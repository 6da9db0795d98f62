//! The pod network over several hosts, each with an Engine of its own: routes and VXLAN, packets of
//! full size, Engines that drop what they did not allow, agents that die, nodes that go, cables that
//! are pulled.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use skiff_tests::cluster::{Cluster, PODS_MAX, condition, text};
use skiff_tests::docker::Engine;
use skiff_tests::dockerd::{Dockerd, Forwarding};
use skiff_tests::given::{self, BUSYBOX};
use skiff_tests::hosts::Hosts;
use skiff_tests::process::Process;
use skiff_tests::wait;

/// What follows once the pods run: a word of the servers, and some packets.
const SOON: Duration = Duration::from_secs(20);

/// Serves the caller's address, and something larger than any packet.
const ECHO: &str = "mkdir -p /www/cgi-bin; cd /www; \
    printf '#!/bin/sh\\necho; echo \"$REMOTE_ADDR\"\\n' > cgi-bin/who; /bin/busybox chmod +x cgi-bin/who; \
    /bin/busybox dd if=/dev/zero of=big bs=1024 count=256 2>/dev/null; exec httpd -f -p 8080 -h /www";

/// The size of that larger thing, in bytes.
const BIG: u64 = 256 * 1024;

/// A cluster whose nodes are hosts.
struct World {
    // Dropped before the hosts that they run on.
    engines: Vec<Dockerd>,
    cluster: Cluster,
}

/// A pod, as packets see it.
struct Pod {
    address: String,
    container: String,
    engine: Engine,
}

impl World {
    /// Nodes on the first hosts, and pods `p0`, `p1`, … one on each.
    fn new(hosts: Hosts, nodes: usize, flags: &[&str]) -> Self {
        // The second Engine finds a machine that does not forward yet, as most do.
        let forwarding = |number| match number {
            1 => Forwarding::Off,
            _ => Forwarding::On,
        };
        let engines: Vec<Dockerd> = (0..nodes)
            .map(|number| Dockerd::on(&hosts, number, forwarding(number)))
            .collect();
        for engine in &engines {
            engine.engine().busybox_image(BUSYBOX);
        }
        let mut cluster = Cluster::server_on(hosts);
        for (number, engine) in engines.iter().enumerate() {
            cluster.add_agent_on(number, &format!("n{number}"), &engine.engine(), flags);
        }
        cluster.wait_for_nodes(nodes);
        let world = Self { engines, cluster };
        for number in 0..nodes {
            let mut pod = given::pod(&format!("p{number}"), ECHO);
            pod["spec"]["nodeName"] = json!(format!("n{number}"));
            let file = world.cluster.file("pod.json", &pod.to_string());
            world.cluster.skiff(&format!("apply -f {file}")).ok();
        }
        world
    }

    fn pod(&self, number: usize) -> Pod {
        let pods = self
            .cluster
            .wait_for_pods("default", &format!("app=p{number}"), 1);
        let engine = self.engines[number].engine();
        let uid = format!("io.skiff.uid={}", text(&pods[0]["metadata"]["uid"]));
        let named = "label=io.skiff.container";
        let found = engine.docker(&[
            "ps",
            "--quiet",
            "--no-trunc",
            "--filter",
            &format!("label={uid}"),
            "--filter",
            named,
        ]);
        Pod {
            address: text(&pods[0]["status"]["podIP"]),
            container: found.ok().trim().to_owned(),
            engine,
        }
    }

    fn pods(&self) -> Vec<Pod> {
        (0..self.engines.len())
            .map(|number| self.pod(number))
            .collect()
    }

    fn hosts(&self) -> &Hosts {
        self.cluster.hosts()
    }

    /// Waits until every pod reaches every other by its own address and is seen with its own.
    fn wait_until_all_meet(&self, pods: &[Pod]) {
        for from in pods {
            for to in pods.iter().filter(|to| to.address != from.address) {
                wait::until("pods see each other's own addresses", SOON, || {
                    let seen = from.get(&to.address, "cgi-bin/who")?;
                    // The server writes IPv4 addresses as IPv6 would.
                    if seen
                        .trim()
                        .trim_matches(['[', ']'])
                        .trim_start_matches("::ffff:")
                        == from.address
                    {
                        return Ok(());
                    }
                    Err(format!("{} sees {seen:?} for {}", to.address, from.address))
                });
                let size = from.count(&to.address, "big");
                assert!(
                    size.as_ref().is_ok_and(|size| *size >= BIG),
                    "{} to {}: {size:?}",
                    to.address,
                    from.address
                );
            }
        }
    }

    /// How a host would send something to a pod.
    fn route(&self, number: usize, pod: &Pod) -> String {
        self.hosts()
            .ask(number, &format!("ip route get {}", pod.address))
    }
}

impl Pod {
    fn shell(&self, script: &str) -> Result<String, String> {
        let args = ["exec", &self.container, "/bin/sh", "-c", script];
        self.engine.docker(&args).result()
    }

    fn get(&self, address: &str, path: &str) -> Result<String, String> {
        let answer = self.shell(&request(address, path))?;
        let last = answer.lines().last().unwrap_or_default();
        (answer.contains(" 200 "))
            .then(|| last.to_owned())
            .ok_or(answer)
    }

    fn count(&self, address: &str, path: &str) -> Result<u64, String> {
        let request = request(address, path);
        let said = self.shell(&format!("{request} | /bin/busybox wc -c"))?;
        said.trim().parse().map_err(|_| said)
    }

    fn mtu(&self) -> String {
        let mtu = self.shell("cat /sys/class/net/eth0/mtu");
        mtu.unwrap_or_default().trim().to_owned()
    }
}

/// A static busybox looks names up in its own way, even where there are none: so no `wget`.
fn request(address: &str, path: &str) -> String {
    format!("printf 'GET /{path} HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {address} 8080")
}

fn network(world: &World, node: &str) -> Result<(), String> {
    let node: Value = world.cluster.api().get(&format!("/api/v1/nodes/{node}"));
    match condition(&node, "NetworkUnavailable").as_str() {
        "False" => Ok(()),
        _ => Err(node["status"]["conditions"].to_string()),
    }
}

#[test]
fn pods_of_hosts_on_one_link_meet_by_routes() {
    let mut world = World::new(Hosts::new(3), 2, &["--network", "direct"]);
    let pods = world.pods();
    world.wait_until_all_meet(&pods);
    let far = world.hosts().address(1);
    assert!(
        world
            .route(0, &pods[1])
            .contains(&format!("via {far} dev eth0"))
    );
    assert_eq!(pods[0].mtu(), "1500");
    let policy = world.hosts().ask(1, "iptables -S FORWARD");
    assert!(policy.contains("-P FORWARD DROP"), "{policy}");
    for node in ["n0", "n1"] {
        wait::until("the node says that its network is fine", SOON, || {
            network(&world, node)
        });
    }

    // A plain host knows no way to pods: its answers come back only if the node stands in for them.
    let folder = world.cluster.folder().join("outside");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("index.html"), "outside").expect("a page");
    let mut httpd: Command = world.hosts().command(2, Path::new("busybox"));
    httpd.args(["httpd", "-f", "-p", "8080", "-h"]).arg(&folder);
    let _outside = Process::start("outside", &mut httpd, world.cluster.folder());
    let outside = world.hosts().address(2);
    wait::until("a pod reaches the world outside", SOON, || {
        pods[0].get(&outside, "").map(drop)
    });

    // The rules of the pod network outlive the agent, and a new one finds nothing to change.
    world.cluster.agent("n0").kill();
    world.wait_until_all_meet(&pods);
    let engine = world.engines[0].engine();
    world
        .cluster
        .add_agent_on(0, "n0", &engine, &["--network", "direct"]);
    world.cluster.wait_for_nodes(2);
    world.wait_until_all_meet(&pods);

    world.hosts().plug(1, "down");
    wait::until("the cable is out", SOON, || {
        match pods[0].get(&pods[1].address, "") {
            Ok(answer) => Err(answer),
            Err(_) => Ok(()),
        }
    });
    world.hosts().plug(1, "up");
    wait::until("the cable is in again", PODS_MAX, || {
        pods[0].get(&pods[1].address, "cgi-bin/who").map(drop)
    });
    let link = world.hosts().ask(0, "ip route show proto 91");
    assert!(link.contains(&far), "{link}");

    world.cluster.agent("n1").kill();
    world.cluster.skiff("delete node n1").ok();
    wait::until(
        "the routes to a node that went are gone",
        SOON,
        || match world.hosts().ask(0, "ip route show proto 91").trim() {
            "" => Ok(()),
            left => Err(left.to_owned()),
        },
    );
}

#[test]
fn pods_of_hosts_with_a_router_between_meet_by_vxlan() {
    let world = World::new(Hosts::with_far(3, 2), 3, &[]);
    let pods = world.pods();
    world.wait_until_all_meet(&pods);
    assert!(world.route(0, &pods[1]).contains("dev eth0"), "one link");
    assert!(
        world.route(0, &pods[2]).contains("dev skvx"),
        "a router between"
    );
    assert!(
        world.route(2, &pods[0]).contains("dev skvx"),
        "the way back"
    );
}

#[test]
fn vxlan_can_be_asked_for() {
    let world = World::new(Hosts::new(2), 2, &["--network", "vxlan"]);
    let pods = world.pods();
    world.wait_until_all_meet(&pods);
    assert!(world.route(0, &pods[1]).contains("dev skvx"));
    assert_eq!(pods[0].mtu(), "1450");
}
