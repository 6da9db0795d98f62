//! The packet rules in a real kernel: a node with pods in namespaces of their own, the real `nft`,
//! real sockets. Needs root, iproute2 and nftables.

#[cfg(test)]
#[path = "rules/known.rs"]
mod known;
#[cfg(test)]
#[path = "rules/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::io::ErrorKind;

use known::{Known, endpoint};
use serde_json::json;
use world::{Answer, World};

const CLUSTER_IP: &str = "10.43.0.9";

/// A service with these further fields, and the fake pods that serve it.
fn cart(world: &World, more: serde_json::Value, endpoints: &[&str]) -> Known {
    let mut known = Known::default();
    known.service("cart", more);
    known.endpoints("cart", endpoints.iter().map(|name| endpoint(world, name)));
    known
}

#[cfg(test)]
fn askers(answers: &[Answer]) -> BTreeSet<&str> {
    let one = |answer: &Answer| answer.as_ref().unwrap().server;
    answers.iter().map(one).collect()
}

#[test]
fn a_cluster_address_leads_to_all_endpoints_and_keeps_the_client() {
    let world = World::new("ip");
    world.serve(&["a", "b", "far"]);
    let keeper = world.keep("n1");
    keeper.show(&cart(&world, json!({}), &["a", "b", "far"]));
    let answers = world.ask("client", CLUSTER_IP, 80, 40);
    assert_eq!(askers(&answers), BTreeSet::from(["a", "b", "far"]));
    for answer in &answers {
        assert_eq!(answer.as_ref().unwrap().client, world.address("client"));
    }
    let own = world.ask("host", CLUSTER_IP, 80, 20);
    assert_eq!(askers(&own), BTreeSet::from(["a", "b", "far"]));
}

#[test]
fn without_endpoints_a_connection_is_refused_at_once() {
    let world = World::new("none");
    let keeper = world.keep("n1");
    let mut known = cart(&world, json!({"type": "NodePort"}), &[]);
    known.node_port("cart", 30080);
    keeper.show(&known);
    for (from, to, port) in [
        ("client", CLUSTER_IP, 80),
        ("host", CLUSTER_IP, 80),
        ("client", "10.43.7.7", 80),
        ("outside", world::NODE, 30080),
    ] {
        let answers = world.ask(from, to, port, 1);
        assert_eq!(
            answers,
            [Err(ErrorKind::ConnectionRefused)],
            "{from} to {to}:{port}"
        );
    }
    assert_eq!(
        world.ask_udp("client", CLUSTER_IP, 53),
        Err(ErrorKind::ConnectionRefused)
    );
}
