use std::time::Duration;

use serde_json::{Value, json};
use skiff_api::{Key, Kind};

use super::*;
use crate::plan::world::World;

/// A world of ready nodes `n1`… with one running pod each, `p1`….
fn world(nodes: usize) -> World {
    let mut world = World::new(1);
    for n in 1..=nodes {
        world.put(
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("n{n}")},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
        );
        let pod = world.put(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("p{n}"), "namespace": "d"},
            "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "Pending"}}));
        world.run(pod.key(), &format!("n{n}"), true);
    }
    world
}

/// Runs the plan with these nodes silent; a second pass must be empty.
fn pass(world: &mut World, silent: &[&str]) -> Option<Millis> {
    let nodes: Vec<String> = world
        .state
        .list(Kind::Node, None)
        .map(|node| node.key().name.to_string())
        .collect();
    let silence = |name: &str| if silent.contains(&name) { 4000 } else { 0 };
    let silences: Vec<_> = nodes.iter().map(|name| (&**name, silence(name))).collect();
    hear(world, &silences)
}

/// Runs the plan with nodes that have been silent for so many milliseconds.
fn hear(world: &mut World, silences: &[(&str, u64)]) -> Option<Millis> {
    let silent = silences
        .iter()
        .map(|(name, millis)| ((*name).to_owned(), Duration::from_millis(*millis)));
    let heartbeats = Heartbeats {
        silent: silent.collect(),
        listening: Duration::from_secs(100),
    };
    let mut stamper = world.stamper();
    let plan = node_health(&world.state, &heartbeats, &mut stamper);
    world.apply(plan.writes);
    // What a mark of the first pass leaves to doubt, the second does.
    let second = node_health(&world.state, &heartbeats, &mut stamper);
    world.apply(second.writes);
    let third = node_health(&world.state, &heartbeats, &mut stamper);
    assert_eq!(third.writes, [], "it comes to rest");
    plan.again_at
}

fn node(world: &World, name: &str) -> Value {
    world
        .state
        .get(&Key::cluster(Kind::Node, name))
        .unwrap()
        .to_value()
}

fn pod(name: &str) -> Key {
    Key::new(Kind::Pod, "d", name)
}

fn taints(world: &World, name: &str) -> Vec<String> {
    let node = node(world, name);
    let taints = node["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let text = |taint: &Value| {
        let key = taint["key"]
            .as_str()
            .unwrap()
            .trim_start_matches("node.kubernetes.io/")
            .to_owned();
        format!("{key}:{}", taint["effect"].as_str().unwrap())
    };
    taints.iter().map(text).collect()
}

fn leaving(world: &World) -> Vec<String> {
    let pods = world
        .list(Kind::Pod)
        .into_iter()
        .filter(|pod| pod.meta().deletion.is_some());
    pods.map(|pod| pod.key().name.to_string()).collect()
}

#[test]
fn a_silent_node_is_tainted_and_its_pods_leave() {
    let mut world = world(3);
    pass(&mut world, &[]);
    assert_eq!(leaving(&world), [""; 0]);
    pass(&mut world, &["n2"]);
    assert_eq!(
        taints(&world, "n2"),
        ["unreachable:NoSchedule", "unreachable:NoExecute"]
    );
    let ready = condition::find(&node(&world, "n2")["status"], "Ready")
        .unwrap()
        .clone();
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&json!("Unknown"), &json!("NodeStatusUnknown"))
    );
    assert_eq!(leaving(&world), ["p2"]);
    let evicted = world.state.get(&pod("p2")).unwrap().clone();
    assert!(!evicted.pod().unwrap().ready, "nothing is known of it");
    let value = evicted.to_value();
    assert_eq!(
        condition::find(&value["status"], "DisruptionTarget").unwrap()["status"],
        "True"
    );
    assert_eq!(skiff_api::check(Kind::Pod, &value), Ok(vec![]));
    assert_eq!(
        skiff_api::check(Kind::Node, &node(&world, "n2")),
        Ok(vec![])
    );
    assert_eq!(
        world.said("TaintManagerEviction"),
        ["Marking for deletion Pod d/p2"]
    );
}

#[test]
fn a_node_that_is_back_loses_our_taints_and_keeps_the_users() {
    let mut world = world(3);
    let key = Key::cluster(Kind::Node, "n2");
    world.change(&key, |n2| {
        n2["spec"]["taints"] = json!([{"key": "gpu", "effect": "NoSchedule"}])
    });
    pass(&mut world, &["n2"]);
    assert_eq!(taints(&world, "n2").len(), 3);
    world.change(&key, |n2| {
        n2["status"]["conditions"][0]["status"] = "True".into()
    });
    pass(&mut world, &[]);
    assert_eq!(taints(&world, "n2"), ["gpu:NoSchedule"]);
}

#[test]
fn most_nodes_silent_together_stop_evictions() {
    let mut world = world(3);
    pass(&mut world, &["n1", "n2"]);
    assert_eq!(leaving(&world), [""; 0]);
    assert_eq!(taints(&world, "n1").len(), 2, "nothing new is placed there");
    assert!(!world.state.get(&pod("p1")).unwrap().pod().unwrap().ready);
    let events = world.state.list(Kind::Event, Some("default"));
    let stopped = events.filter(|event| event.to_value()["reason"] == "EvictionsStopped");
    assert_eq!(stopped.count(), 2, "one for each node");
}

#[test]
fn nodes_that_are_cut_off_at_once_keep_their_pods_though_they_fall_one_by_one() {
    type Row<'a> = (&'a str, &'a [[u64; 3]], &'a [&'a str]);
    let cases: [Row<'_>; 4] = [
        (
            "all are cut off: their beats end within a second",
            &[[4000, 3100, 3500], [4500, 3600, 4000], [5000, 4100, 4500]],
            &[],
        ),
        (
            "one is lost, the others beat",
            &[[3900, 400, 900], [4000, 0, 500]],
            &["p1"],
        ),
        (
            "the others were only late",
            &[[4000, 2600, 2700], [4250, 100, 200]],
            &["p1"],
        ),
        (
            "all are cut off, and two come back",
            &[[4000, 3100, 3500], [5000, 4100, 4500], [6000, 0, 0]],
            &["p1"],
        ),
    ];
    for (name, passes, expected) in cases {
        let mut world = world(3);
        for [n1, n2, n3] in passes {
            for (node, silent) in [("n2", *n2), ("n3", *n3)] {
                // An agent that is back says so.
                let key = Key::cluster(Kind::Node, node);
                if silent == 0 {
                    world.change(&key, |node| {
                        node["status"]["conditions"][0]["status"] = "True".into();
                    });
                }
            }
            hear(&mut world, &[("n1", *n1), ("n2", *n2), ("n3", *n3)]);
        }
        assert_eq!(leaving(&world), expected, "{name}");
    }
}

#[test]
fn a_node_that_says_it_is_unready_keeps_its_pods_for_a_while() {
    let mut world = world(3);
    world.change(&Key::cluster(Kind::Node, "n3"), |n3| {
        n3["status"]["conditions"][0] = json!({"type": "Ready", "status": "False"});
    });
    pass(&mut world, &[]);
    assert_eq!(taints(&world, "n3"), ["not-ready:NoSchedule"]);
    assert_eq!(leaving(&world), [""; 0]);
    world.now = world.now.after(UNREADY_PATIENCE);
    pass(&mut world, &[]);
    assert_eq!(leaving(&world), ["p3"]);
}

#[test]
fn a_toleration_ends_when_it_says() {
    let tolerations = [
        ("none", json!([]), Some(0)),
        ("for ever", json!([{"operator": "Exists"}]), None),
        (
            "for a minute",
            json!([{"key": "x", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]),
            Some(60),
        ),
        (
            "of another taint",
            json!([{"key": "y", "operator": "Exists"}]),
            Some(0),
        ),
    ];
    for (name, tolerations, seconds) in tolerations {
        let mut world = world(1);
        world.change(&pod("p1"), |pod| pod["spec"]["tolerations"] = tolerations);
        let (begun, text) = (world.now, world.now.rfc3339());
        world.change(&Key::cluster(Kind::Node, "n1"), |n1| {
            n1["spec"]["taints"] = json!([{"key": "x", "effect": "NoExecute", "timeAdded": text}]);
        });
        let again = pass(&mut world, &[]);
        assert_eq!(leaving(&world).is_empty(), seconds != Some(0), "{name}");
        let Some(seconds) = seconds.filter(|seconds| *seconds > 0) else {
            continue;
        };
        let due = begun.after(Duration::from_secs(seconds));
        assert!(again.is_some_and(|again| again <= due), "{name}");
        world.now = due;
        pass(&mut world, &[]);
        assert_eq!(leaving(&world), ["p1"], "{name}");
    }
}

#[test]
fn a_cordon_is_a_taint_too() {
    let mut world = world(1);
    let key = Key::cluster(Kind::Node, "n1");
    world.change(&key, |n1| n1["spec"]["unschedulable"] = true.into());
    pass(&mut world, &[]);
    assert_eq!(taints(&world, "n1"), ["unschedulable:NoSchedule"]);
    world.change(&key, |n1| n1["spec"]["unschedulable"] = false.into());
    pass(&mut world, &[]);
    assert_eq!(taints(&world, "n1"), [""; 0]);
    assert_eq!(leaving(&world), [""; 0]);
}

#[test]
fn a_mistake_does_not_empty_a_cluster_in_a_blink() {
    let mut world = world(3);
    for n in 0..300 {
        let pod = world.put(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("x{n}"), "namespace": "d"},
            "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "Pending"}}));
        world.run(pod.key(), "n1", true);
    }
    let again = pass(&mut world, &["n1"]).unwrap();
    assert_eq!(leaving(&world).len(), 200);
    world.now = again;
    pass(&mut world, &["n1"]);
    assert_eq!(leaving(&world).len(), 301);
}

#[test]
fn the_pods_of_a_node_that_is_gone_go_at_once() {
    let mut world = world(2);
    let n1 = world
        .state
        .get(&Key::cluster(Kind::Node, "n1"))
        .unwrap()
        .clone();
    world.apply(vec![crate::Write::remove(&n1)]);
    world.settle();
    let pods: Vec<String> = world
        .list(Kind::Pod)
        .iter()
        .map(|p| p.key().name.to_string())
        .collect();
    assert_eq!(pods, ["p2"]);
}

#[test]
fn events_go_an_hour_after_they_were_last_seen() {
    let mut world = world(1);
    pass(&mut world, &["n1"]);
    let events = |world: &World| world.state.list(Kind::Event, None).count();
    world.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}));
    assert_eq!(events(&world), 2);
    world.now = world.now.after(Duration::from_secs(3599));
    let again = world.settle().unwrap();
    assert_eq!(events(&world), 2);
    world.now = again;
    world.settle();
    assert_eq!(events(&world), 0);
}
