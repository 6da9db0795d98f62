use proptest::prelude::*;
use serde_json::{Value, json};
use skiff_api::{Key, Kind, Object};

use crate::plan::world::{World, deployment, template};

fn key() -> Key {
    Key::new(Kind::Deployment, "d", "web")
}

fn web(world: &World) -> Value {
    world.state.get(&key()).unwrap().to_value()
}

fn condition(deployment: &Value, kind: &str) -> (String, String, String) {
    let found = crate::plan::condition::find(&deployment["status"], kind).unwrap();
    let text = |field: &str| found[field].as_str().unwrap_or("").to_owned();
    (text("status"), text("reason"), text("message"))
}

fn set_image(world: &mut World, image: &str) {
    world.change(&key(), |web| {
        web["spec"]["template"] = template("web", image)
    });
}

/// Lets the agent run and reap everything until nothing moves any more.
fn finish(world: &mut World) {
    for _ in 0..100 {
        let before = world.state.revision();
        world.settle();
        world.run_all();
        world.reap();
        if world.state.revision() == before {
            return;
        }
    }
    panic!("the rollout does not end");
}

fn rolled_out(replicas: i64) -> World {
    let mut world = World::new(1);
    world.put(deployment("web", replicas, "one"));
    finish(&mut world);
    world
}

fn set_of(world: &World, image: &str) -> Value {
    let sets = world.list(Kind::ReplicaSet);
    let values: Vec<Value> = sets.iter().map(Object::to_value).collect();
    let found = values
        .iter()
        .find(|set| set["spec"]["template"]["spec"]["containers"][0]["image"] == image);
    found.unwrap().clone()
}

#[test]
fn a_deployment_becomes_ready_pods() {
    let world = rolled_out(3);
    let set = set_of(&world, "one");
    assert_eq!(set["spec"]["replicas"], 3);
    let annotations = &set["metadata"]["annotations"];
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "1");
    assert_eq!(
        annotations["deployment.kubernetes.io/desired-replicas"],
        "3"
    );
    assert_eq!(annotations["deployment.kubernetes.io/max-replicas"], "4");
    let hash = &set["spec"]["selector"]["matchLabels"]["pod-template-hash"];
    assert_eq!(
        set["metadata"]["name"],
        format!("web-{}", hash.as_str().unwrap())
    );
    assert_eq!(world.active().len(), 3);
    for pod in world.active() {
        let pod = pod.to_value();
        assert_eq!(pod["metadata"]["labels"]["pod-template-hash"], *hash);
        assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "ReplicaSet");
        assert_eq!(skiff_api::check(Kind::Pod, &pod), Ok(vec![]));
    }
    let web = web(&world);
    assert_eq!(
        web["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "1"
    );
    let mut status = web["status"].clone();
    status.as_object_mut().unwrap().remove("conditions");
    let expected = json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3,
        "readyReplicas": 3, "availableReplicas": 3});
    assert_eq!(status, expected);
    assert_eq!(condition(&web, "Available").1, "MinimumReplicasAvailable");
    let (status, reason, message) = condition(&web, "Progressing");
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("True", "NewReplicaSetAvailable")
    );
    assert!(
        message.ends_with("has successfully progressed."),
        "{message}"
    );
    let name = set["metadata"]["name"].as_str().unwrap();
    assert_eq!(
        world.said("ScalingReplicaSet"),
        [format!("Scaled up replica set {name} from 0 to 3")]
    );
    for kind in [Kind::Deployment, Kind::ReplicaSet, Kind::Event] {
        for object in world.list(kind) {
            assert_eq!(
                skiff_api::check(kind, &object.to_value()),
                Ok(vec![]),
                "{object:?}"
            );
        }
    }
}

#[test]
fn a_new_image_replaces_the_pods_and_going_back_reuses_the_set() {
    let mut world = rolled_out(4);
    set_image(&mut world, "two");
    finish(&mut world);
    assert_eq!(set_of(&world, "one")["spec"]["replicas"], 0);
    assert_eq!(set_of(&world, "two")["spec"]["replicas"], 4);
    assert_eq!(
        web(&world)["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );
    set_image(&mut world, "one");
    finish(&mut world);
    let one = set_of(&world, "one");
    assert_eq!(one["spec"]["replicas"], 4);
    assert_eq!(
        one["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "3"
    );
    assert_eq!(
        one["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"],
        "1"
    );
    assert_eq!(world.list(Kind::ReplicaSet).len(), 2);
}

#[test]
fn old_sets_beyond_the_limit_go() {
    let mut world = rolled_out(1);
    for image in ["two", "three", "four", "five"] {
        set_image(&mut world, image);
        finish(&mut world);
    }
    let mut images: Vec<String> = world
        .list(Kind::ReplicaSet)
        .iter()
        .map(|set| set.to_value()["spec"]["template"]["spec"]["containers"][0]["image"].to_string())
        .collect();
    images.sort();
    assert_eq!(
        images,
        ["\"five\"", "\"four\"", "\"three\""],
        "the limit is 2 old ones"
    );
}

#[test]
fn a_bad_image_stalls_and_names_the_pod_and_its_cause() {
    let mut world = rolled_out(4);
    set_image(&mut world, "nope");
    world.settle();
    assert_eq!(
        set_of(&world, "nope")["spec"]["replicas"],
        2,
        "one surges, one may be missing"
    );
    assert_eq!(set_of(&world, "one")["spec"]["replicas"], 3);
    let bad: Vec<Object> = world
        .active()
        .into_iter()
        .filter(|pod| pod.to_value()["spec"]["containers"][0]["image"] == "nope")
        .collect();
    for pod in &bad {
        world.change(pod.key(), |pod| {
            pod["spec"]["nodeName"] = "n1".into();
            pod["status"]["containerStatuses"] = json!([{"name": "c", "state": {"waiting":
                {"reason": "ImagePullBackOff", "message": "Back-off pulling image \"nope\""}}}]);
        });
    }
    let again = world.settle().expect("a deadline");
    let (status, reason, message) = condition(&web(&world), "Progressing");
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("True", "ReplicaSetUpdated")
    );
    let cause = format!(
        "is progressing. Blocked by pod {}: container c: \
         ImagePullBackOff: Back-off pulling image \"nope\"",
        bad[0].key().name
    );
    assert!(message.ends_with(&cause), "{message}");
    world.now = again;
    world.settle();
    let (status, reason, message) = condition(&web(&world), "Progressing");
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "ProgressDeadlineExceeded")
    );
    assert!(
        message.contains("has timed out progressing. Blocked by pod"),
        "{message}"
    );
    assert_eq!(condition(&web(&world), "Available").0, "True");
    set_image(&mut world, "one");
    finish(&mut world);
    assert_eq!(
        condition(&web(&world), "Progressing").1,
        "NewReplicaSetAvailable"
    );
}

#[test]
fn recreate_waits_until_the_last_old_pod_is_gone() {
    let mut world = rolled_out(2);
    world.change(&key(), |web| {
        web["spec"]["strategy"] = json!({"type": "Recreate"})
    });
    set_image(&mut world, "two");
    world.settle();
    assert_eq!(world.active().len(), 0);
    assert_eq!(world.list(Kind::Pod).len(), 2, "on their way out");
    assert_eq!(world.list(Kind::ReplicaSet).len(), 1, "no new set yet");
    world.reap();
    world.settle();
    assert_eq!(set_of(&world, "two")["spec"]["replicas"], 2);
    finish(&mut world);
    assert_eq!(
        condition(&web(&world), "Progressing").1,
        "NewReplicaSetAvailable"
    );
}

#[test]
fn a_paused_deployment_scales_and_does_not_roll() {
    let mut world = rolled_out(2);
    world.change(&key(), |web| web["spec"]["paused"] = true.into());
    set_image(&mut world, "two");
    world.change(&key(), |web| web["spec"]["replicas"] = 5.into());
    finish(&mut world);
    assert_eq!(world.list(Kind::ReplicaSet).len(), 1);
    assert_eq!(set_of(&world, "one")["spec"]["replicas"], 5);
    assert_eq!(condition(&web(&world), "Progressing").1, "DeploymentPaused");
    world.change(&key(), |web| web["spec"]["paused"] = false.into());
    finish(&mut world);
    assert_eq!(set_of(&world, "two")["spec"]["replicas"], 5);
}

#[test]
fn a_taken_name_is_stepped_around() {
    let mut world = World::new(1);
    world.put(deployment("web", 1, "one"));
    world.settle();
    let taken = set_of(&world, "one")["metadata"]["name"].clone();
    let mut world = World::new(2);
    let mut other = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"name": taken, "namespace": "d", "generation": 1}});
    other["spec"] = json!({"replicas": 0, "selector": {"matchLabels": {"app": "other"}},
        "template": template("other", "one")});
    world.put(other);
    world.put(deployment("web", 1, "one"));
    finish(&mut world);
    assert_eq!(web(&world)["status"]["collisionCount"], 1);
    assert_eq!(world.active().len(), 1);
}

#[test]
fn an_orphaned_set_is_adopted_with_its_pods() {
    let mut world = rolled_out(3);
    let pods: Vec<Key> = world.active().iter().map(|pod| pod.key().clone()).collect();
    let set = world.list(Kind::ReplicaSet)[0].key().clone();
    world.change(&set, |set| {
        set["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("ownerReferences");
    });
    finish(&mut world);
    let owner = &world.state.get(&set).unwrap().meta().owners[0];
    assert_eq!(owner.name.as_ref(), "web");
    let now: Vec<Key> = world.active().iter().map(|pod| pod.key().clone()).collect();
    assert_eq!(now, pods);
}

/// What an impatient user, a slow agent and chance may do in the middle of a rollout.
#[derive(Clone, Debug)]
enum Act {
    /// The agent makes one pod ready.
    Ready(prop::sample::Index),
    /// A pod loses its readiness.
    Fail(prop::sample::Index),
    /// The agent removes what is on its way out.
    Reap,
    /// One controller plans once, on what is there.
    Plan(prop::sample::Index),
    /// The user changes the image.
    Image(u8),
    /// The user scales.
    Scale(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => any::<prop::sample::Index>().prop_map(Act::Ready),
        1 => any::<prop::sample::Index>().prop_map(Act::Fail),
        2 => Just(Act::Reap),
        8 => any::<prop::sample::Index>().prop_map(Act::Plan),
        1 => (0..3u8).prop_map(Act::Image),
        1 => (0..7u8).prop_map(Act::Scale),
    ]
}

fn act_out(world: &mut World, act: &Act) {
    match act {
        Act::Ready(index) | Act::Fail(index) => {
            let pods = world.active();
            if !pods.is_empty() {
                let ready = matches!(act, Act::Ready(_));
                world.run(index.get(&pods).key(), "n1", ready);
            }
        }
        Act::Reap => world.reap(),
        Act::Plan(index) => {
            let controllers = &crate::plan::controllers()[..2];
            let keys = controllers.iter().flat_map(|c| {
                (c.resync)(&world.state)
                    .into_iter()
                    .map(move |key| (c, key))
            });
            let keys: Vec<_> = keys.collect();
            let (controller, key) = index.get(&keys);
            world.step(controller, key);
        }
        Act::Image(image) => set_image(world, &image.to_string()),
        Act::Scale(replicas) => {
            world.change(&key(), |web| web["spec"]["replicas"] = (*replicas).into());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happens_it_ends_with_what_is_wanted(acts in proptest::collection::vec(act(), 0..60)) {
        let mut world = rolled_out(4);
        for act in &acts {
            act_out(&mut world, act);
        }
        finish(&mut world);
        let web = web(&world);
        let wanted = usize::try_from(web["spec"]["replicas"].as_u64().unwrap()).unwrap();
        prop_assert_eq!(world.active().len(), wanted);
        let image = &web["spec"]["template"]["spec"]["containers"][0]["image"];
        for pod in world.active() {
            prop_assert_eq!(&pod.to_value()["spec"]["containers"][0]["image"], image);
        }
        prop_assert_eq!(condition(&web, "Progressing").1, "NewReplicaSetAvailable");
    }

    #[test]
    fn a_rollout_never_leaves_its_bounds(
        replicas in 1..8i64, surge in 0..4i64, unavailable in 0..4i64,
        order in proptest::collection::vec(any::<prop::sample::Index>(), 40),
    ) {
        let mut world = World::new(1);
        let mut value = deployment("web", replicas, "one");
        value["spec"]["strategy"]["rollingUpdate"] =
            json!({"maxSurge": surge, "maxUnavailable": unavailable});
        let bounds = super::bounds::Bounds::read(&value["spec"]);
        world.put(value);
        finish(&mut world);
        set_image(&mut world, "two");
        let mut order = order.into_iter();
        loop {
            // Pods become ready and controllers plan in any order; nothing fails by itself.
            let controllers = crate::plan::controllers();
            let keys: Vec<_> = controllers[..2]
                .iter()
                .flat_map(|c| (c.resync)(&world.state).into_iter().map(move |key| (c, key)))
                .collect();
            let Some(index) = order.next() else { break };
            let (controller, key) = index.get(&keys);
            world.step(controller, key);
            let waiting: Vec<Object> =
                world.active().into_iter().filter(|pod| !pod.pod().unwrap().ready).collect();
            if !waiting.is_empty() && index.index(2) == 0 {
                world.run(index.get(&waiting).key(), "n1", true);
            }
            let count = |test: fn(&Object) -> bool| {
                i64::try_from(world.active().iter().filter(|pod| test(pod)).count()).unwrap()
            };
            let wanted: i64 = world.list(Kind::ReplicaSet).iter()
                .map(|set| set.to_value()["spec"]["replicas"].as_i64().unwrap()).sum();
            prop_assert!(wanted <= bounds.most(), "at most {}, wanted {wanted}", bounds.most());
            let ready = count(|pod| pod.pod().unwrap().ready);
            prop_assert!(ready >= bounds.fewest(), "at least {}, {ready} ready", bounds.fewest());
        }
        finish(&mut world);
        prop_assert_eq!(set_of(&world, "two")["spec"]["replicas"].as_i64(), Some(replicas));
    }
}
