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
use skiff_network::rules::Policies;
use world::{Answer, World};

const CLUSTER_IP: &str = "10.43.0.9";

/// One client got no answer at all.
const SILENCE: [Answer; 1] = [Err(ErrorKind::TimedOut)];

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

#[test]
fn a_port_of_the_node_leads_to_all_endpoints_by_way_of_the_node() {
    let world = World::new("port");
    world.serve(&["a", "far"]);
    let keeper = world.keep("n1");
    let mut known = cart(&world, json!({"type": "NodePort"}), &["a", "far"]);
    known.node_port("cart", 30080);
    keeper.show(&known);
    let answers = world.ask("outside", world::NODE, 30080, 30);
    assert_eq!(askers(&answers), BTreeSet::from(["a", "far"]));
    for seen in answers.iter().flatten() {
        // The endpoint answers to the node: outside, nobody would take its answer.
        assert!(
            ["10.42.0.1", world::NODE].contains(&&*seen.client),
            "{seen:?}"
        );
    }
    let own = world.ask("host", world::NODE, 30080, 20);
    assert_eq!(askers(&own), BTreeSet::from(["a", "far"]));
    let pod = world.ask("client", world::NODE, 30080, 20);
    assert_eq!(askers(&pod), BTreeSet::from(["a", "far"]));
}

#[test]
fn a_local_policy_for_outside_keeps_the_client_and_stays_on_the_node() {
    let world = World::new("extl");
    world.serve(&["a", "far"]);
    let keeper = world.keep("n1");
    let more = json!({"type": "NodePort", "externalTrafficPolicy": "Local"});
    let mut known = cart(&world, more, &["a", "far"]);
    known.node_port("cart", 30080);
    keeper.show(&known);
    let answers = world.ask("outside", world::NODE, 30080, 20);
    assert_eq!(askers(&answers), BTreeSet::from(["a"]));
    for seen in answers.iter().flatten() {
        assert_eq!(seen.client, world.address("outside"));
    }
    // Pods are not outside.
    let pod = world.ask("client", world::NODE, 30080, 20);
    assert_eq!(askers(&pod), BTreeSet::from(["a", "far"]));
    known.endpoints("cart", [endpoint(&world, "far")].into_iter());
    keeper.show(&known);
    assert_eq!(world.ask("outside", world::NODE, 30080, 1), SILENCE);
    assert_eq!(
        askers(&world.ask("client", world::NODE, 30080, 2)),
        BTreeSet::from(["far"])
    );
}

#[test]
fn a_local_policy_for_inside_stays_on_the_node() {
    let world = World::new("intl");
    world.serve(&["a", "far"]);
    let keeper = world.keep("n1");
    let mut known = cart(
        &world,
        json!({"internalTrafficPolicy": "Local"}),
        &["a", "far"],
    );
    keeper.show(&known);
    assert_eq!(
        askers(&world.ask("client", CLUSTER_IP, 80, 20)),
        BTreeSet::from(["a"])
    );
    known.endpoints("cart", [endpoint(&world, "far")].into_iter());
    keeper.show(&known);
    assert_eq!(world.ask("client", CLUSTER_IP, 80, 1), SILENCE);
}

#[test]
fn a_client_stays_with_its_endpoint_while_others_come_and_go() {
    let world = World::new("kept");
    world.serve(&["a", "b", "far"]);
    let keeper = world.keep("n1");
    let mut known = cart(
        &world,
        json!({"sessionAffinity": "ClientIP"}),
        &["a", "far"],
    );
    keeper.show(&known);
    let first = world.ask("client", CLUSTER_IP, 80, 1);
    let chosen = askers(&first);
    let all = ["a", "b", "far"].map(|name| endpoint(&world, name));
    known.endpoints("cart", all.clone().into_iter());
    keeper.show(&known);
    assert_eq!(askers(&world.ask("client", CLUSTER_IP, 80, 20)), chosen);
    let others = all.iter().filter(|endpoint| {
        let address = endpoint["addresses"][0].as_str();
        address != Some(&*world.address(chosen.first().unwrap()))
    });
    known.endpoints("cart", others.cloned());
    keeper.show(&known);
    let now = world.ask("client", CLUSTER_IP, 80, 20);
    assert_eq!(askers(&now).len(), 1);
    assert!(askers(&now).is_disjoint(&chosen));
}

#[test]
fn a_pod_reaches_itself_through_its_service() {
    let world = World::new("self");
    world.serve(&["a"]);
    let keeper = world.keep("n1");
    keeper.show(&cart(&world, json!({}), &["a"]));
    assert_eq!(
        askers(&world.ask("a", CLUSTER_IP, 80, 3)),
        BTreeSet::from(["a"])
    );
}

#[test]
fn a_udp_client_is_led_away_from_an_endpoint_that_left() {
    let world = World::new("udp");
    world.serve(&["a", "b"]);
    let keeper = world.keep("n1");
    let mut known = cart(&world, json!({"type": "NodePort"}), &["a"]);
    known.node_port("cart", 30053);
    keeper.show(&known);
    let inside = world.udp("client", CLUSTER_IP, 53);
    let outside = world.udp("outside", world::NODE, 30053);
    for client in [&inside, &outside] {
        assert_eq!(client.ask().unwrap().server, "a");
    }
    known.endpoints("cart", [endpoint(&world, "b")].into_iter());
    keeper.show(&known);
    for client in [&inside, &outside] {
        assert_eq!(client.ask().unwrap().server, "b");
    }
    known.endpoints("cart", std::iter::empty());
    keeper.show(&known);
    assert_eq!(inside.ask(), Err(ErrorKind::ConnectionRefused));
}

#[test]
fn rules_that_somebody_removes_come_back() {
    let world = World::new("back");
    world.serve(&["a"]);
    let keeper = world.keep("n1");
    keeper.show(&cart(&world, json!({}), &["a"]));
    let harms: [&[&str]; 4] = [
        &["flush", "ruleset"],
        &["delete", "table", "ip", "skiff-n1"],
        &["flush", "chain", "ip", "skiff-n1", "to-services"],
        &["flush", "map", "ip", "skiff-n1", "services"],
    ];
    for harm in harms {
        world.run("host", "nft", harm);
        world::until(&format!("back after {harm:?}"), || {
            world.ask("client", CLUSTER_IP, 80, 1)[0].is_ok()
        });
    }
    assert_eq!(*keeper.state.borrow(), Ok(()));
}

#[test]
fn rules_stay_when_their_keeper_ends_and_the_next_one_takes_them_over() {
    let world = World::new("next");
    world.serve(&["a", "b"]);
    let first = world.keep("n1");
    first.show(&cart(&world, json!({}), &["a"]));
    drop(first);
    assert_eq!(
        askers(&world.ask("client", CLUSTER_IP, 80, 5)),
        BTreeSet::from(["a"])
    );
    let second = world.keep("n1");
    second.show(&cart(&world, json!({}), &["b"]));
    assert_eq!(
        askers(&world.ask("client", CLUSTER_IP, 80, 5)),
        BTreeSet::from(["b"])
    );
    drop(second);
    // A keeper that hasn't noticed its end yet puts back what it sees removed.
    world::until("removed", || {
        let remove = || world::run_to_end(skiff_network::rules::remove("n1"));
        world.within("host", remove).unwrap();
        world.run("host", "nft", &["list", "ruleset"]).is_empty()
    });
}

#[test]
fn two_nodes_of_one_machine_do_not_stand_in_each_others_way() {
    let world = World::new("two");
    world.serve(&["a", "b"]);
    let more = json!({"type": "NodePort", "externalTrafficPolicy": "Local",
        "internalTrafficPolicy": "Local"});
    let mut known = cart(&world, more, &["a"]);
    known.node_port("cart", 30080);
    // The other node has another bridge, no endpoints, and its rules may come first or last.
    let mut other = world.view("n2");
    other.bridge = "pods1".into();
    other.pod_cidr = "10.42.7.0/24".parse().unwrap();
    let before = world.keep_as(other.clone());
    before.show(&known);
    let keeper = world.keep("n1");
    keeper.show(&known);
    other.name = "n3".into();
    other.table = "n3".into();
    let after = world.keep_as(other);
    after.show(&known);
    for (from, to, port) in [
        ("client", CLUSTER_IP, 80),
        ("host", CLUSTER_IP, 80),
        ("outside", world::NODE, 30080),
    ] {
        let answers = world.ask(from, to, port, 5);
        assert_eq!(askers(&answers), BTreeSet::from(["a"]), "{from} to {to}");
    }
}

#[test]
fn what_leaves_the_cluster_leaves_in_the_nodes_name() {
    let world = World::new("out");
    world.serve(&["outside", "far"]);
    let keeper = world.keep("n1");
    keeper.show(&Known::default().synced());
    let outside = world.ask("client", &world.address("outside"), world::PORT, 1);
    assert_eq!(outside[0].as_ref().unwrap().client, world::NODE);
    let far = world.ask("client", &world.address("far"), world::PORT, 1);
    assert_eq!(far[0].as_ref().unwrap().client, world.address("client"));
}

#[test]
fn policies_decide_who_reaches_a_pod_and_whom_it_reaches() {
    let world = World::new("pol");
    world.serve(&["a", "b", "far", "outside"]);
    let keeper = world.keep("n1");
    keeper.show(&cart(&world, json!({}), &["a"]));
    let reaches = |from: &str, to: &str| world.ask(from, &world.address(to), world::PORT, 1);
    let a_is_served_to = |expected: &[&str]| {
        for from in ["a", "b", "client", "far", "host"] {
            let direct = reaches(from, "a")[0].is_ok();
            assert_eq!(direct, expected.contains(&from), "{from} to a");
        }
        let through = world.ask("client", CLUSTER_IP, 80, 1)[0].is_ok();
        assert_eq!(
            through,
            expected.contains(&"client"),
            "the client to a's service"
        );
    };
    a_is_served_to(&["a", "b", "client", "far", "host"]);

    let only = json!({"podSelector": {"matchLabels": {"app": "a"}}, "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}},
            {"ipBlock": {"cidr": "10.42.1.0/24"}}], "ports": [{"port": "web"}]}]});
    let mut policies = known::policies(&world, &only, &["a", "b", "client"]);
    world.restrict(&keeper, &policies);
    a_is_served_to(&["a", "client", "far", "host"]);
    assert!(
        reaches("a", "b")[0].is_ok(),
        "what goes out is not restricted"
    );

    // A pod that is gone may be somebody else's address.
    let gone = json!({"type": "DELETE", "namespace": "shop", "name": "client"});
    policies.apply_line(gone.to_string().as_bytes()).unwrap();
    world.restrict(&keeper, &policies);
    a_is_served_to(&["a", "far", "host"]);

    let out = json!({"podSelector": {"matchLabels": {"app": "client"}},
        "policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "b"}}}]}]});
    world.restrict(
        &keeper,
        &known::policies(&world, &out, &["a", "b", "client"]),
    );
    assert!(reaches("client", "b")[0].is_ok());
    for to in ["a", "far", "outside"] {
        assert_eq!(reaches("client", to), SILENCE, "the client to {to}");
    }
    world.restrict(&keeper, &Policies::default());
    a_is_served_to(&["a", "b", "client", "far", "host"]);
}

#[test]
fn what_the_kernel_does_not_take_is_told_and_does_not_count() {
    let world = World::new("bad");
    let mut view = world.view("n1");
    view.bridge = "no\"bridge".into();
    let keeper = world.keep_as(view);
    keeper.tell(&cart(&world, json!({}), &["a"]));
    let mut state = keeper.state.clone();
    let refused = |now: &Result<(), String>| matches!(now, Err(why) if why.starts_with("nft: "));
    world::wait(async move { state.wait_for(refused).await.map(drop) });
    assert_eq!(keeper.applied.borrow().0, 0);
    assert_eq!(world.run("host", "nft", &["list", "ruleset"]), "");
}
