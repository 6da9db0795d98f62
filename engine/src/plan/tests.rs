use serde_json::json;
use skiff_api::{Key, Kind};

use super::world::{World, deployment};
use super::*;
use crate::command::{Command, Write};

/// The keys that each controller is woken for, `controller: key` by `controller: key`.
fn woken(world: &mut World, write: Write) -> String {
    let command = Command {
        term: 1,
        at: world.now,
        writes: vec![write],
    };
    let changes = world.state.apply(&command).changes;
    let mut words = Vec::new();
    for controller in controllers() {
        for change in &changes {
            let mut keys = (controller.wakes)(&world.state, change);
            keys.dedup();
            words.extend(keys.iter().map(|key| format!("{}: {key}", controller.name)));
        }
    }
    words.join(", ")
}

/// A Deployment `web` of one pod, at rest.
fn world() -> (World, Object, Object) {
    let mut world = World::new(1);
    world.put(deployment("web", 1, "one"));
    world.settle();
    let (set, pod) = (
        world.list(Kind::ReplicaSet).remove(0),
        world.active().remove(0),
    );
    (world, set, pod)
}

fn changed(object: &Object, pointer: &str, value: serde_json::Value) -> Write {
    let mut draft = Draft::of(object);
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    draft.value.pointer_mut(parent).unwrap()[field] = value;
    draft.write().unwrap()
}

#[test]
fn a_change_wakes_those_whom_it_concerns() {
    let (mut world, set, pod) = world();
    let name = &set.key().name;
    let sets = format!("replica_set: replicasets/d/{name}");
    let web = "deployment: deployments/d/web";
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let label = changed(&pod, "/metadata/labels/x", "y".into());
    assert_eq!(
        woken(&mut world, label),
        format!("{web}, {sets}"),
        "an unready pod"
    );
    let pod = world.state.get(pod.key()).unwrap().clone();
    let ready = changed(&pod, "/status/conditions", ready);
    assert_eq!(woken(&mut world, ready), sets, "a ready pod");
    let pod = world.state.get(pod.key()).unwrap().clone();
    let bound = changed(&pod, "/spec/nodeName", "gone".into());
    assert_eq!(
        woken(&mut world, bound),
        format!("{sets}, pod_gc: nodes/gone"),
        "to a lost node"
    );
    let scaled = changed(&set, "/spec/replicas", 2.into());
    assert_eq!(woken(&mut world, scaled), format!("{web}, {sets}"), "a set");
    let set = world.state.get(set.key()).unwrap().clone();
    let gone = format!("{web}, {sets}, garbage: {}", pod.key());
    assert_eq!(
        woken(&mut world, Write::remove(&set)),
        gone,
        "a set that went"
    );
    let node = world
        .state
        .get(&Key::cluster(Kind::Node, "n1"))
        .unwrap()
        .clone();
    assert_eq!(
        woken(&mut world, Write::remove(&node)),
        "pod_gc: nodes/n1, node_cidr: nodes/"
    );
    let account = world.list(Kind::ServiceAccount).remove(0);
    assert_eq!(
        woken(&mut world, Write::remove(&account)),
        "namespace: namespaces/d"
    );
}

#[test]
fn a_matching_orphan_wakes_its_adopter() {
    let (mut world, set, pod) = world();
    let orphan = |object: &Object| {
        let uid = object.meta().controller().unwrap().uid.clone();
        Draft::of(object).released_by(&uid).write().unwrap()
    };
    let write = orphan(&pod);
    assert!(woken(&mut world, write).contains(&format!("replica_set: {}", set.key())));
    let set = world.state.get(set.key()).unwrap().clone();
    let write = orphan(&set);
    assert!(woken(&mut world, write).contains("deployment: deployments/d/web"));
}
