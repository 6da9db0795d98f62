use serde_json::{Value, json};
use skiff_api::{Key, Kind, Object};

use crate::plan::world::{World, template};

fn key() -> Key {
    Key::new(Kind::ReplicaSet, "d", "rs")
}

fn world(replicas: i64) -> World {
    let mut world = World::new(1);
    world.put(json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": "rs", "namespace": "d", "generation": 1},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "a"}},
            "template": template("a", "i")}}));
    world
}

fn scale(world: &mut World, replicas: i64) {
    world.change(&key(), |set| set["spec"]["replicas"] = replicas.into());
    world.settle();
}

fn status(world: &World) -> Value {
    world.state.get(&key()).unwrap().to_value()["status"].clone()
}

#[test]
fn missing_pods_are_made_at_once_and_said() {
    let mut world = world(3);
    let plan = world.step(&super::CONTROLLER, &key());
    assert_eq!(world.active().len(), 3, "in one command");
    assert!(plan.again_at.is_none());
    for pod in world.active() {
        let pod = pod.to_value();
        assert_eq!(pod["metadata"]["generateName"], "rs-");
        assert_eq!(pod["status"]["phase"], "Pending");
        assert_eq!(pod["status"]["qosClass"], "BestEffort");
        assert_eq!(skiff_api::check(Kind::Pod, &pod), Ok(vec![]));
    }
    assert_eq!(world.said("SuccessfulCreate").len(), 3);
    let expected = json!({"replicas": 3, "fullyLabeledReplicas": 3, "observedGeneration": 1});
    assert_eq!(status(&world), expected);
    world.run_all();
    world.settle();
    assert_eq!(status(&world)["availableReplicas"], 3);
}

#[test]
fn the_same_sight_names_the_same_pods() {
    let names = |seed| {
        let world = world(3);
        let mut stamper = crate::Stamper::new(world.now, seed);
        let plan = super::plan(&world.state, &key(), &mut stamper);
        let pods = plan
            .writes
            .iter()
            .filter(|write| write.key().kind == Kind::Pod);
        pods.map(|write| write.key().clone()).collect::<Vec<Key>>()
    };
    assert_eq!(
        names(1),
        names(2),
        "a plan whose fate is unknown may be proposed again"
    );
}

#[test]
fn many_pods_come_in_bursts() {
    let mut world = world(1200);
    let plan = world.step(&super::CONTROLLER, &key());
    assert_eq!(plan.again_at, Some(world.now));
    assert_eq!(world.active().len(), super::BURST);
    assert_eq!(world.said("SuccessfulCreate").len(), super::NOTES);
    world.settle();
    assert_eq!(world.active().len(), 1200);
    scale(&mut world, 0);
    assert_eq!(
        world.list(Kind::Pod).len(),
        0,
        "never bound, so gone at once"
    );
}

#[test]
fn pods_that_end_or_leave_are_replaced() {
    let mut world = world(2);
    world.settle();
    world.run_all();
    let pods = world.active();
    world.now = world.now.after(super::BACK_OFF);
    world.change(pods[0].key(), |pod| {
        pod["status"]["phase"] = "Failed".into()
    });
    world.change(pods[1].key(), |pod| {
        pod["metadata"]["deletionTimestamp"] = "2026-11-23T00:00:30Z".into();
        pod["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    });
    world.settle();
    assert_eq!(
        world.list(Kind::Pod).len(),
        4,
        "the old ones are still there"
    );
    assert_eq!(status(&world)["replicas"], 2);
    for _ in 0..9 {
        let pods = world.active();
        let alive = pods
            .iter()
            .find(|pod| !pod.pod().unwrap().phase.is_terminal())
            .unwrap();
        world.change(alive.key(), |pod| pod["status"]["phase"] = "Failed".into());
        world.now = world.now.after(super::BACK_OFF);
        world.settle();
    }
    let failed = world
        .active()
        .iter()
        .filter(|pod| pod.pod().unwrap().phase.is_terminal())
        .count();
    assert_eq!(failed, super::FAILED_KEPT, "some are kept to be looked at");
}

#[test]
fn a_pod_that_fails_at_once_is_replaced_after_a_while() {
    let mut world = world(1);
    world.settle();
    let pod = world.active()[0].clone();
    world.change(pod.key(), |pod| pod["status"]["phase"] = "Failed".into());
    let again = world.settle().unwrap();
    assert_eq!(world.list(Kind::Pod).len(), 1);
    assert_eq!(again, pod.meta().created.after(super::BACK_OFF));
    world.now = again;
    world.settle();
    assert_eq!(world.list(Kind::Pod).len(), 2);
}

/// Makes four pods as the words say, scales to one less, and returns which went.
fn gone(words: [&str; 4]) -> usize {
    let mut world = world(4);
    world.settle();
    let pods: Vec<Object> = world.active();
    for (pod, words) in pods.iter().zip(words) {
        world.run(pod.key(), "n1", true);
        world.change(pod.key(), |pod| {
            let mut words = words.split(' ').filter(|word| !word.is_empty());
            words
                .by_ref()
                .for_each(|word| match word.split_once('=').unwrap_or((word, "")) {
                    ("unassigned", _) => {
                        pod["spec"].as_object_mut().unwrap().remove("nodeName");
                    }
                    ("pending", _) => pod["status"]["phase"] = "Pending".into(),
                    ("unready", _) => pod["status"]["conditions"][0]["status"] = "False".into(),
                    ("on", node) => pod["spec"]["nodeName"] = node.into(),
                    ("cost", cost) => {
                        let name = "controller.kubernetes.io/pod-deletion-cost";
                        pod["metadata"]["annotations"][name] = cost.into();
                    }
                    ("ready", since) => {
                        let since = format!("2026-01-01T00:00:{since}Z");
                        pod["status"]["conditions"][0]["lastTransitionTime"] = since.into();
                    }
                    ("restarts", count) => {
                        let count: i64 = count.parse().unwrap();
                        pod["status"]["containerStatuses"] = json!([{"restartCount": count}]);
                    }
                    (other, _) => panic!("{other}"),
                });
        });
    }
    world.change(&key(), |set| set["spec"]["replicas"] = 3.into());
    world.step(&super::CONTROLLER, &key());
    let left = world.active();
    pods.iter()
        .position(|pod| !left.iter().any(|l| l.key() == pod.key()))
        .unwrap()
}

#[test]
fn surplus_goes_in_kubernetes_order() {
    let cases = [
        // name, the pods, which goes
        (
            "an unassigned one before a pending one",
            ["", "pending", "unassigned pending", ""],
            2,
        ),
        (
            "a pending one before an unready one",
            ["", "unready", "pending unready", ""],
            2,
        ),
        (
            "an unready one before a cheap one",
            ["cost=-5", "", "unready", ""],
            2,
        ),
        (
            "a cheap one before a crowded one",
            ["on=n1", "on=n1", "on=n2 cost=-5", "on=n3"],
            2,
        ),
        (
            "of the fullest node",
            ["on=n2", "on=n3", "on=n1 ready=59", "on=n1"],
            3,
        ),
        (
            "the last to become ready",
            ["ready=10", "ready=30", "ready=20", "ready=10"],
            1,
        ),
        (
            "the most restarted",
            ["restarts=1", "restarts=2", "restarts=7", ""],
            2,
        ),
    ];
    for (name, words, expected) in cases {
        assert_eq!(gone(words), expected, "{name}");
    }
}

#[test]
fn orphans_are_adopted_and_strangers_released() {
    let mut world = world(1);
    let orphan = world.put(json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "orphan", "namespace": "d", "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "Pending"}}));
    world.settle();
    assert_eq!(world.active().len(), 1, "the orphan is the one pod wanted");
    world.change(orphan.key(), |pod| {
        pod["metadata"]["labels"] = json!({"app": "debug"})
    });
    world.settle();
    assert_eq!(world.active().len(), 2);
    assert!(
        world
            .state
            .get(orphan.key())
            .unwrap()
            .meta()
            .owners
            .is_empty()
    );
}

#[test]
fn a_ready_pod_becomes_available_with_time() {
    let mut world = world(1);
    world.change(&key(), |set| set["spec"]["minReadySeconds"] = 10.into());
    world.settle();
    world.run_all();
    let again = world.settle().unwrap();
    assert_eq!(status(&world)["readyReplicas"], 1);
    assert!(status(&world)["availableReplicas"].is_null());
    assert_eq!(again, world.now.after(std::time::Duration::from_secs(10)));
    world.now = again;
    world.settle();
    assert_eq!(status(&world)["availableReplicas"], 1);
}

#[test]
fn nothing_is_made_in_a_namespace_that_is_going() {
    let mut world = world(2);
    world.change(&Key::cluster(Kind::Namespace, "d"), |d| {
        d["metadata"]["deletionTimestamp"] = "2026-11-23T00:00:00Z".into();
    });
    world.step(&super::CONTROLLER, &key());
    assert_eq!(world.list(Kind::Pod).len(), 0);
}
