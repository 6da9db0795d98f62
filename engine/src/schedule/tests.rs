use proptest::prelude::*;
use serde_json::{Value, json};
use skiff_api::{Kind, Millis, Object};

use super::*;
use crate::command::Command;

/// `n1 cpu=2 mem=4Gi pods=5 zone=a cordon down taint=gpu:NoSchedule`
fn node(text: &str) -> Value {
    let mut words = text.split(' ');
    let name = words.next().unwrap();
    let mut node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {}},
        "spec": {"taints": []}, "status": {
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}]}});
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "cpu" => node["status"]["allocatable"]["cpu"] = value.into(),
            "mem" => node["status"]["allocatable"]["memory"] = value.into(),
            "pods" => node["status"]["allocatable"]["pods"] = value.into(),
            "cordon" => node["spec"]["unschedulable"] = true.into(),
            "down" => node["status"]["conditions"][0]["status"] = "Unknown".into(),
            "taint" => {
                let (key, effect) = value.split_once(':').unwrap();
                let taint = json!({"key": key, "effect": effect});
                node["spec"]["taints"].as_array_mut().unwrap().push(taint);
            }
            label => node["metadata"]["labels"][label] = value.into(),
        }
    }
    node
}

/// `p1 cpu=500m mem=1Gi of=web on=n1 port=80 zone=a tolerates=gpu prefers=zone:a done`
fn pod(text: &str) -> Value {
    let mut words = text.split(' ');
    let name = words.next().unwrap();
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "d", "uid": name},
        "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "Pending"}});
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let container = &mut pod["spec"]["containers"][0];
        match key {
            "cpu" => container["resources"]["requests"]["cpu"] = value.into(),
            "mem" => container["resources"]["requests"]["memory"] = value.into(),
            "port" => {
                let port: u16 = value.parse().unwrap();
                container["ports"] = json!([{"containerPort": port, "hostPort": port}]);
            }
            "on" => pod["spec"]["nodeName"] = value.into(),
            "done" => pod["status"]["phase"] = "Succeeded".into(),
            "of" => {
                pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1",
                    "kind": "ReplicaSet", "name": value, "uid": value, "controller": true}]);
            }
            "tolerates" => {
                pod["spec"]["tolerations"] = json!([{"key": value, "operator": "Exists"}])
            }
            "prefers" => {
                let (key, value) = value.split_once(':').unwrap();
                let preference = json!({"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]});
                pod["spec"]["affinity"]["nodeAffinity"] = json!(
                    {"preferredDuringSchedulingIgnoredDuringExecution":
                        [{"weight": 1, "preference": preference}]});
            }
            "gated" => pod["spec"]["schedulingGates"] = json!([{"name": "wait"}]),
            "other" => pod["spec"]["schedulerName"] = "other".into(),
            label => pod["spec"]["nodeSelector"][label] = value.into(),
        }
    }
    pod
}

fn apply(state: &mut State, writes: Vec<Write>) -> Vec<crate::Change> {
    state
        .apply(&Command {
            term: 1,
            at: Millis(0),
            writes,
        })
        .changes
}

fn state(nodes: &str, pods: &str) -> State {
    let lines = |text: &str| -> Vec<String> {
        text.split(',')
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect()
    };
    let nodes = lines(nodes).into_iter().map(|line| node(&line));
    let pods = lines(pods).into_iter().map(|line| pod(&line));
    let objects = nodes
        .chain(pods)
        .map(|value| Object::from_value(value).unwrap());
    let mut state = State::default();
    apply(&mut state, objects.map(Write::create).collect());
    state
}

fn stamper() -> Stamper {
    Stamper::new(Millis(1_795_398_400_000), 1)
}

/// Schedules what waits, applies it, and tells where each pod is: `a→n1 b→?`.
fn placed(state: &mut State) -> String {
    let pods: Vec<Object> = waiting(state).cloned().collect();
    let writes = schedule(state, &pods, &mut stamper());
    apply(state, writes);
    let places = state.list(Kind::Pod, None).map(|pod| {
        let node = pod.pod().unwrap().node.as_deref().unwrap_or("?");
        format!("{}→{node}", pod.key().name)
    });
    places.collect::<Vec<_>>().join(" ")
}

/// Name, nodes, pods, where they are then.
const PLACEMENTS: &[(&str, &str, &str, &str)] = &[
    ("one node takes a pod", "n1", "a", "a→n1"),
    ("names break ties", "n2, n1", "a", "a→n1"),
    (
        "sisters spread",
        "n1, n2, n3",
        "a of=w, b of=w, c of=w",
        "a→n1 b→n2 c→n3",
    ),
    (
        "sisters spread before balance",
        "n1 cpu=1, n2 cpu=64",
        "a cpu=500m of=w, b cpu=500m of=w",
        "a→n2 b→n1",
    ),
    (
        "strangers balance",
        "n1, n2",
        "a cpu=2, b cpu=1, c cpu=500m",
        "a→n1 b→n2 c→n2",
    ),
    (
        "pods without requests balance too",
        "n1, n2",
        "a, b",
        "a→n1 b→n2",
    ),
    (
        "bound pods count",
        "n1, n2",
        "a cpu=1 on=n1, b cpu=1",
        "a→n1 b→n2",
    ),
    (
        "finished pods do not",
        "n1 cpu=1",
        "a cpu=1 on=n1 done, b cpu=1",
        "a→n1 b→n1",
    ),
    (
        "a full node takes none",
        "n1 cpu=1",
        "a cpu=1, b cpu=1",
        "a→n1 b→?",
    ),
    (
        "memory is limited",
        "n1 mem=1Gi",
        "a mem=600Mi, b mem=600Mi",
        "a→n1 b→?",
    ),
    (
        "the number of pods is limited",
        "n1 pods=1",
        "a, b",
        "a→n1 b→?",
    ),
    (
        "a selector chooses",
        "n1 zone=a, n2 zone=b",
        "a zone=b",
        "a→n2",
    ),
    ("a cordon keeps off", "n1 cordon, n2", "a", "a→n2"),
    ("a node that is down keeps off", "n1 down, n2", "a", "a→n2"),
    (
        "a taint keeps off",
        "n1 taint=gpu:NoSchedule, n2",
        "a",
        "a→n2",
    ),
    (
        "a toleration lets in",
        "n1 taint=gpu:NoExecute",
        "a tolerates=gpu",
        "a→n1",
    ),
    (
        "a taint may only discourage",
        "n1 taint=x:PreferNoSchedule, n2",
        "a, b, c",
        "a→n2 b→n2 c→n2",
    ),
    (
        "a preference goes before balance",
        "n1, n2 zone=a",
        "x cpu=2 on=n2, a prefers=zone:a",
        "a→n2 x→n2",
    ),
    (
        "host ports are taken once",
        "n1, n2",
        "a port=80, b port=80, c port=80",
        "a→n1 b→n2 c→?",
    ),
    ("gates hold", "n1", "a gated", "a→?"),
    ("another scheduler's pods are left", "n1", "a other", "a→?"),
];

#[test]
fn pods_go_where_they_fit_best() {
    for (name, nodes, pods, expected) in PLACEMENTS {
        assert_eq!(placed(&mut state(nodes, pods)), *expected, "{name}");
    }
}

/// What is said of the first pod's place.
fn said(state: &State) -> String {
    let pod = state.list(Kind::Pod, None).next().unwrap().to_value();
    let condition = condition::find(&pod["status"], "PodScheduled")
        .unwrap()
        .clone();
    let words = (&condition["status"], &condition["reason"]);
    assert_eq!(words, (&json!("False"), &json!("Unschedulable")));
    condition["message"].as_str().unwrap().to_owned()
}

#[test]
fn what_fits_nowhere_says_why_once() {
    let nodes =
        "n1 cpu=1, n2 cpu=1 mem=1Mi, n3 cordon, n4 taint=gpu:NoSchedule, n5 down, n6 zone=a";
    let mut state = state(nodes, "a cpu=2 mem=1Gi zone=b");
    let labels = "0/6 nodes are available: 1 node(s) had untolerated taint {gpu: }, \
        1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, 1 node(s) were unschedulable, \
        3 node(s) didn't match Pod's node affinity/selector.";
    assert_eq!(placed(&mut state), "a→?");
    assert_eq!(said(&state), labels);
    let event = state.list(Kind::Event, None).next().unwrap().to_value();
    assert_eq!(
        (&event["reason"], &event["message"]),
        (&json!("FailedScheduling"), &json!(labels))
    );
    let before = state.revision();
    placed(&mut state);
    assert_eq!(state.revision(), before, "nothing new is said");
}

#[test]
fn numbers_that_change_are_not_told_at_once() {
    let mut state = state("n1 cpu=1", "a cpu=2");
    placed(&mut state);
    let node = Object::from_value(node("n2 cpu=1")).unwrap();
    apply(&mut state, vec![Write::create(node)]);
    placed(&mut state);
    assert_eq!(said(&state), "0/1 nodes are available: 1 Insufficient cpu.");
    let pods: Vec<Object> = waiting(&state).cloned().collect();
    let later = Millis(1_795_398_400_000).after(SAY_AGAIN);
    let writes = schedule(&state, &pods, &mut Stamper::new(later, 1));
    apply(&mut state, writes);
    assert_eq!(said(&state), "0/2 nodes are available: 2 Insufficient cpu.");
}

#[test]
fn each_node_says_all_that_it_lacks() {
    let mut state = state("n1 cpu=1, n2 cpu=1 mem=1Mi", "a cpu=2 mem=1Gi");
    placed(&mut state);
    assert_eq!(
        said(&state),
        "0/2 nodes are available: 1 Insufficient memory, 2 Insufficient cpu."
    );
    let pod = state.list(Kind::Pod, None).next().unwrap();
    let verdicts = explain(&Cluster::read(&state), pod);
    let cpu = Unfit::Insufficient {
        resource: "cpu",
        wanted: 2000,
        free: 1000,
    };
    let memory = Unfit::Insufficient {
        resource: "memory",
        wanted: 1 << 30,
        free: 1 << 20,
    };
    assert_eq!(
        verdicts[0],
        Verdict {
            node: "n1".into(),
            unfit: vec![cpu.clone()]
        }
    );
    assert_eq!(
        verdicts[1],
        Verdict {
            node: "n2".into(),
            unfit: vec![cpu, memory]
        }
    );

    let mut state = self::state("", "a");
    placed(&mut state);
    assert_eq!(said(&state), "no nodes available to schedule pods");
}

#[test]
fn a_bound_pod_is_well_formed_and_announced() {
    let mut state = state("n1", "a");
    placed(&mut state);
    let pod = state.list(Kind::Pod, None).next().unwrap().to_value();
    assert_eq!(skiff_api::check(Kind::Pod, &pod), Ok(vec![]));
    assert_eq!(
        condition::find(&pod["status"], "PodScheduled").unwrap()["status"],
        "True"
    );
    let event = state.list(Kind::Event, None).next().unwrap().to_value();
    assert_eq!(event["message"], "Successfully assigned d/a to n1");
}

#[test]
fn refused_pods_wait_for_an_opening() {
    let mut state = state("n1 cpu=1", "a cpu=1 on=n1, b cpu=1, c cpu=8, d gated");
    let mut cluster = Cluster::read(&state);
    let names = |pods: &[Object]| -> Vec<String> {
        pods.iter().map(|pod| pod.key().name.to_string()).collect()
    };
    for _ in 0..2 {
        let due = cluster.due(&state, 100);
        let writes = cluster.schedule(&state, &due, &mut stamper());
        apply(&mut state, writes)
            .iter()
            .for_each(|change| cluster.observe(change));
    }
    assert!(cluster.due(&state, 100).is_empty());
    let gone = state
        .list(Kind::Pod, None)
        .next()
        .map(Write::remove)
        .unwrap();
    apply(&mut state, vec![gone])
        .iter()
        .for_each(|change| cluster.observe(change));
    let due = cluster.due(&state, 100);
    assert_eq!(names(&due), ["b", "c", "d"]);
    let writes = cluster.schedule(&state, &due, &mut stamper());
    apply(&mut state, writes)
        .iter()
        .for_each(|change| cluster.observe(change));
    assert_eq!(names(&cluster.due(&state, 100)), Vec::<String>::new());
    assert_eq!(state.pods_on("n1").count(), 1);
}

fn any_node() -> impl Strategy<Value = String> {
    (1..4u8, 1..4u8, 1..6u8, 0..6u8).prop_map(|(cpu, mem, pods, flag)| {
        let flag = [
            "",
            "",
            " cordon",
            " down",
            " zone=a",
            " taint=gpu:NoExecute",
        ][usize::from(flag)];
        format!("cpu={cpu} mem={mem}Gi pods={pods}{flag}")
    })
}

fn any_pod() -> impl Strategy<Value = String> {
    (0..3u8, 0..3u8, 0..3u8, 0..6u8).prop_map(|(cpu, mem, owner, flag)| {
        let flag = ["", "", "", " port=80", " zone=a", " tolerates=gpu"][usize::from(flag)];
        format!(
            "cpu={}m mem={mem}Gi of=w{owner}{flag}",
            u16::from(cpu) * 400
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_node_is_overcommitted_and_a_kept_cluster_agrees_with_a_fresh_one(
        nodes in proptest::collection::vec(any_node(), 0..6),
        pods in proptest::collection::vec(any_pod(), 0..30),
        batch in 1..10usize,
        ends in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let number = |texts: Vec<String>, prefix: &str| -> String {
            let lines = texts.iter().enumerate().map(|(n, text)| format!("{prefix}{n:02} {text}"));
            lines.collect::<Vec<_>>().join(",")
        };
        let mut state = state(&number(nodes, "n"), &number(pods, "p"));
        let mut kept = Cluster::read(&state);
        let mut ends = ends.into_iter();
        loop {
            let due: Vec<Object> = kept.due(&state, batch);
            let fresh = Cluster::read(&state).schedule(&state, &due, &mut stamper());
            let writes = kept.schedule(&state, &due, &mut stamper());
            prop_assert_eq!(&writes, &fresh, "a kept cluster decides like a fresh one");
            apply(&mut state, writes).iter().for_each(|change| kept.observe(change));
            // Now and then a pod ends and makes room.
            let pods: Vec<Object> = state.list(Kind::Pod, None).cloned().collect();
            match ends.next() {
                Some(index) if !pods.is_empty() => {
                    let gone = Write::remove(index.get(&pods));
                    apply(&mut state, vec![gone]).iter().for_each(|change| kept.observe(change));
                }
                _ if due.is_empty() => break,
                _ => {}
            }
        }
        for node in state.list(Kind::Node, None) {
            let value = node.to_value();
            let allocatable = &value["status"]["allocatable"];
            let limit = |resource: &str| skiff_api::quantity::units(allocatable[resource].as_str().unwrap()).unwrap();
            let on: Vec<&Object> = state.pods_on(&node.key().name).collect();
            let sum = |of: fn(&skiff_api::Requests) -> i64| -> i64 {
                on.iter().map(|pod| of(&pod.pod().unwrap().requests)).sum()
            };
            prop_assert!(sum(|r| r.cpu_millicores) <= limit("cpu") * 1000);
            prop_assert!(sum(|r| r.memory_bytes) <= limit("memory"));
            prop_assert!(i64::try_from(on.len()).unwrap() <= limit("pods"));
            prop_assert!(on.iter().filter(|pod| !pod.pod().unwrap().host_ports.is_empty()).count() <= 1);
        }
        // Whatever still waits fits nowhere.
        for pod in waiting(&state) {
            let verdicts = explain(&Cluster::read(&state), pod);
            prop_assert!(verdicts.iter().all(|verdict| !verdict.unfit.is_empty()), "{pod:?}");
        }
    }
}
