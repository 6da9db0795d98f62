use serde_json::{Value, json};
use skiff_api::{Key, Kind, Millis, Object};

use crate::admit::{DeleteOptions, Deletion, Propagation, Request, Stamp, delete};
use crate::command::Write;
use crate::plan::world::{World, deployment};

/// `b<a,x!` is an object `b` owned by `a` and, blocking its foreground deletion, by `x`.
fn put(world: &mut World, text: &str) {
    let (name, owners) = text.split_once('<').unwrap_or((text, ""));
    let owners: Vec<Value> = owners
        .split(',')
        .filter(|owner| !owner.is_empty())
        .map(|owner| {
            let name = owner.trim_end_matches('!');
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": format!("u-{name}"),
                "blockOwnerDeletion": owner.ends_with('!')})
        })
        .collect();
    world.put(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata":
        {"name": name, "namespace": "d", "uid": format!("u-{name}"), "ownerReferences": owners}}));
}

fn key(name: &str) -> Key {
    Key::new(Kind::ConfigMap, "d", name)
}

/// A user's deletion.
fn ask(world: &mut World, key: &Key, propagation: Propagation) {
    let old = world.state.get(key).unwrap().clone();
    let stamp = Stamp::draw(&mut world.stamper());
    let options = DeleteOptions {
        propagation: Some(propagation),
        ..DeleteOptions::default()
    };
    let request = Request {
        state: &world.state,
        stamp,
        user: "user",
    };
    let write = match delete(&old, &options, &request).unwrap() {
        Deletion::Now => Write::remove(&old),
        Deletion::Mark(new) => Write::replace(&old, new),
        Deletion::Unchanged(_) => return,
    };
    world.apply(vec![write]);
}

fn left(world: &World) -> String {
    let names = world.list(Kind::ConfigMap).into_iter().map(|object| {
        let owners: Vec<String> = object
            .meta()
            .owners
            .iter()
            .map(|owner| owner.name.to_string())
            .collect();
        let owners = if owners.is_empty() {
            String::new()
        } else {
            format!("<{}", owners.join(","))
        };
        format!("{}{owners}", object.key().name)
    });
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn dependents_follow_their_owners() {
    use Propagation::{Background, Foreground, Orphan};
    let cases = [
        // name, objects, how `a` is deleted, what is left
        ("a dependent follows", "a b<a", Background, ""),
        ("a chain follows", "a b<a c<b", Background, ""),
        ("another owner keeps it", "a x b<a,x", Background, "b<x x"),
        ("a stranger stays", "a b<a c", Background, "c"),
        ("an orphan stays", "a b<a c<b", Orphan, "b c<b"),
        ("in the foreground all go", "a b<a! c<b!", Foreground, ""),
        (
            "in the foreground another owner keeps it",
            "a x b<a!,x",
            Foreground,
            "b<x x",
        ),
    ];
    for (name, objects, how, expected) in cases {
        let mut world = World::new(1);
        for text in objects.split(' ') {
            put(&mut world, text);
        }
        world.settle();
        ask(&mut world, &key("a"), how);
        world.settle();
        assert_eq!(left(&world), expected, "{name}");
    }
}

#[test]
fn what_is_made_for_an_owner_that_is_gone_goes() {
    let mut world = World::new(1);
    put(&mut world, "b<a");
    world.settle();
    assert_eq!(left(&world), "");
}

#[test]
fn a_deployment_in_foreground_deletion_outlives_its_pods() {
    let mut world = World::new(1);
    let web = world.put(deployment("web", 2, "one"));
    world.settle();
    world.run_all();
    world.settle();
    ask(&mut world, web.key(), Propagation::Foreground);
    world.settle();
    let count = |world: &World, kind| world.list(kind).len();
    assert_eq!(count(&world, Kind::Deployment), 1);
    assert_eq!(count(&world, Kind::ReplicaSet), 1);
    assert!(
        world
            .list(Kind::Pod)
            .iter()
            .all(|pod| pod.meta().deletion.is_some())
    );
    world.reap();
    world.settle();
    assert_eq!(count(&world, Kind::Pod), 0);
    assert_eq!(count(&world, Kind::ReplicaSet), 0);
    assert_eq!(count(&world, Kind::Deployment), 0);
}

#[test]
fn a_change_wakes_those_that_it_concerns() {
    let mut world = World::new(1);
    for text in ["a", "b<a", "c"] {
        put(&mut world, text);
    }
    let a = world.state.get(&key("a")).unwrap().clone();
    let writes = vec![Write::remove(&a)];
    let changes = world
        .state
        .apply(&crate::Command {
            term: 1,
            at: Millis(0),
            writes,
        })
        .changes;
    assert_eq!(super::wakes(&world.state, &changes[0]), [key("b")]);
}

#[test]
fn a_namespace_goes_with_all_that_is_in_it() {
    let mut world = World::new(1);
    put(&mut world, "a");
    world.put(deployment("web", 2, "one"));
    world.settle();
    world.run_all();
    world.settle();
    assert_eq!(world.list(Kind::ServiceAccount).len(), 1, "its default one");
    let namespace = Key::cluster(Kind::Namespace, "d");
    world.change(&namespace, |d| {
        d["spec"]["finalizers"] = json!(["kubernetes"])
    });
    ask(&mut world, &namespace, Propagation::Background);
    world.settle();
    let kinds: Vec<Kind> = world.state.objects().map(Object::kind).collect();
    assert_eq!(
        kinds,
        [Kind::Namespace, Kind::Node, Kind::Pod, Kind::Pod],
        "pods take their time"
    );
    world.reap();
    world.settle();
    let kinds: Vec<Kind> = world.state.objects().map(Object::kind).collect();
    assert_eq!(kinds, [Kind::Node]);
}
