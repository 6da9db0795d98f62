use proptest::prelude::*;
use serde_json::json;
use skiff_api::{Kind, Millis, Uid};

use super::*;

fn pod(name: &str, node: &str, owner: &str) -> Object {
    Object::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "d",
            "ownerReferences": [{"uid": owner, "kind": "ReplicaSet", "name": "r"}]},
        "spec": {"nodeName": node},
    }))
    .unwrap()
}

fn run(state: &mut State, writes: Vec<Write>) -> Applied {
    state.apply(&Command {
        term: 1,
        at: Millis(0),
        writes,
    })
}

fn names<'a>(objects: impl Iterator<Item = &'a Object>) -> Vec<&'a str> {
    objects.map(|object| object.key().name.as_ref()).collect()
}

#[test]
fn guards_decide_over_each_write_by_itself() {
    let mut state = State::default();
    let applied = run(
        &mut state,
        vec![
            Write::create(pod("a", "", "o")),
            Write::create(pod("a", "n1", "o")),
            Write::create(pod("b", "", "o")),
        ],
    );
    let found = Some(Revision(1));
    assert_eq!(
        applied.outcomes[1],
        Outcome::Conflict { found },
        "created twice"
    );
    assert_eq!(
        state.revision(),
        Revision(2),
        "a refused write takes no revision"
    );
    assert_eq!(applied.changes.len(), 2);

    let stale = pod("a", "", "o").with_revision(Revision(9));
    let applied = run(&mut state, vec![Write::remove(&stale)]);
    assert_eq!(applied.outcomes, [Outcome::Conflict { found }]);
}

#[test]
fn a_write_of_the_same_content_changes_nothing() {
    let mut state = State::default();
    run(&mut state, vec![Write::create(pod("a", "", "o"))]);
    let old = state.get(pod("a", "", "o").key()).unwrap().clone();
    let applied = run(&mut state, vec![Write::replace(&old, pod("a", "", "o"))]);
    assert_eq!(applied.outcomes, [Outcome::Done(old)]);
    assert!(applied.changes.is_empty());
    assert_eq!(state.revision(), Revision(1));
}

#[test]
fn a_removal_is_a_write_with_a_revision_of_its_own() {
    let mut state = State::default();
    run(&mut state, vec![Write::create(pod("a", "n1", "o"))]);
    let old = state.get(pod("a", "n1", "o").key()).unwrap().clone();
    let applied = run(&mut state, vec![Write::remove(&old)]);
    let removed = applied.changes[0].removed().unwrap();
    assert_eq!(removed.revision(), Revision(2));
    assert!(state.is_empty() && state.pods_on("n1").next().is_none());
}

#[test]
fn indexes_follow_the_objects() {
    let mut state = State::default();
    run(
        &mut state,
        vec![
            Write::create(pod("a", "", "o")),
            Write::create(pod("b", "n1", "p")),
        ],
    );
    assert_eq!(names(state.pods_on("")), ["a"]);
    let old = state.get(pod("a", "", "o").key()).unwrap().clone();
    run(&mut state, vec![Write::replace(&old, pod("a", "n1", "p"))]);
    assert_eq!(names(state.pods_on("")), [""; 0]);
    assert_eq!(names(state.pods_on("n1")), ["a", "b"]);
    assert_eq!(names(state.owned_by(&Uid::from("p"))), ["a", "b"]);
    assert_eq!(names(state.owned_by(&Uid::from("o"))), [""; 0]);
}

#[test]
fn lists_are_ranges_of_keys() {
    let config = |namespace: &str, name: &str| {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace}});
        Write::create(Object::from_value(value).unwrap())
    };
    let mut state = State::default();
    let writes = [("b", "2"), ("a", "1"), ("b", "1"), ("c", "1")];
    run(
        &mut state,
        writes
            .map(|(namespace, name)| config(namespace, name))
            .to_vec(),
    );
    assert_eq!(names(state.list(Kind::ConfigMap, Some("b"))), ["1", "2"]);
    assert_eq!(names(state.list(Kind::ConfigMap, None)).len(), 4);
    assert_eq!(names(state.list(Kind::Secret, None)).len(), 0);
    let after = skiff_api::Key::new(Kind::ConfigMap, "b", "1");
    assert_eq!(names(state.list_after(&after, None)), ["2", "1"]);
    assert_eq!(names(state.list_after(&after, Some("b"))), ["2"]);
}

proptest! {
    /// Snapshots never change, and a restored state is the state.
    #[test]
    fn a_restored_state_equals_the_original(
        steps in proptest::collection::vec((0u8..3, 0u8..6, 0u8..3), 1..60),
    ) {
        let mut state = State::default();
        for (verb, name, node) in steps {
            let object = pod(&format!("p{name}"), &format!("n{node}"), &format!("o{node}"));
            let before = state.clone();
            let write = match (verb, state.get(object.key()).cloned()) {
                (0, Some(old)) => Write::remove(&old),
                (_, Some(old)) => Write::replace(&old, object),
                (_, None) => Write::create(object),
            };
            let held = names(before.objects()).len();
            run(&mut state, vec![write]);
            prop_assert_eq!(names(before.objects()).len(), held);
        }
        let copy = State::restore(state.revision(), state.objects().cloned());
        prop_assert!(copy.objects().eq(state.objects()));
        for node in ["n0", "n1", "n2"] {
            prop_assert_eq!(names(copy.pods_on(node)), names(state.pods_on(node)));
        }
    }
}
