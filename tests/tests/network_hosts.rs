//! The pod network over several hosts, each with an Engine of its own: routes and VXLAN, packets of
//! full size, Engines that drop what they did not allow, agents that die, nodes that go, cables that
//! are pulled.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use skiff_tests::cluster::{PODS_MAX, condition};
use skiff_tests::hosts::Hosts;
use skiff_tests::process::Process;
use skiff_tests::wait;
use skiff_tests::world::{Asker, BIG, PORT, Pod, World, plain};

/// What follows once the pods run: a word of the servers, and some packets.
const SOON: Duration = Duration::from_secs(20);

/// Waits until every pod reaches every other by its own address and is seen with its own.
fn wait_until_all_meet(world: &World, pods: &[Pod]) {
    for from in pods {
        for to in pods.iter().filter(|to| to.address != from.address) {
            wait::until("pods see each other's own addresses", SOON, || {
                let seen = plain(&get(world, from, &to.address, "cgi-bin/who")?);
                if seen == from.address {
                    return Ok(());
                }
                Err(format!("{} sees {seen:?} for {}", to.address, from.address))
            });
            let big = get(world, from, &to.address, "big");
            let size = big.map(|big| u64::try_from(big.len()).unwrap_or_default());
            assert_eq!(size, Ok(BIG), "{} to {}", to.address, from.address);
        }
    }
}

fn get(world: &World, from: &Pod, address: &str, path: &str) -> Result<String, String> {
    let url = format!("http://{address}:{PORT}/{path}");
    world.curl(Asker::Pod(from), &url).said()
}

/// How a host would send something to a pod.
fn route(world: &World, number: usize, pod: &Pod) -> String {
    let question = format!("ip route get {}", pod.address);
    world.hosts().ask(number, &question)
}

fn mtu(pod: &Pod) -> String {
    let mtu = pod.shell("cat /sys/class/net/eth0/mtu");
    mtu.unwrap_or_default().trim().to_owned()
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
    wait_until_all_meet(&world, &pods);
    let far = world.hosts().address(1);
    assert!(route(&world, 0, &pods[1]).contains(&format!("via {far} dev eth0")));
    assert_eq!(mtu(&pods[0]), "1500");
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
        get(&world, &pods[0], &outside, "").map(drop)
    });

    // The rules of the pod network outlive the agent, and a new one finds nothing to change.
    world.cluster.agent("n0").kill();
    wait_until_all_meet(&world, &pods);
    let engine = world.engine(0);
    world
        .cluster
        .add_agent_on(0, "n0", &engine, &["--network", "direct"]);
    world.cluster.wait_for_nodes(2);
    wait_until_all_meet(&world, &pods);

    world.hosts().plug(1, "down");
    wait::until("the cable is out", SOON, || {
        match get(&world, &pods[0], &pods[1].address, "cgi-bin/who") {
            Ok(answer) => Err(answer),
            Err(_) => Ok(()),
        }
    });
    world.hosts().plug(1, "up");
    wait::until("the cable is in again", PODS_MAX, || {
        get(&world, &pods[0], &pods[1].address, "cgi-bin/who").map(drop)
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
    wait_until_all_meet(&world, &pods);
    assert!(route(&world, 0, &pods[1]).contains("dev eth0"), "one link");
    assert!(
        route(&world, 0, &pods[2]).contains("dev skvx"),
        "a router between"
    );
    assert!(
        route(&world, 2, &pods[0]).contains("dev skvx"),
        "the way back"
    );
}

#[test]
fn vxlan_can_be_asked_for() {
    let world = World::new(Hosts::new(2), 2, &["--network", "vxlan"]);
    let pods = world.pods();
    wait_until_all_meet(&world, &pods);
    assert!(route(&world, 0, &pods[1]).contains("dev skvx"));
    assert_eq!(mtu(&pods[0]), "1450");
}
