use skiff_api::Millis;
use skiff_engine::{Command, Outcome};

use super::*;
use crate::raft::FollowerStatus;

/// A server with the name of its id: 1 is `a`.
pub(crate) fn member(id: u64) -> Member {
    let letter = char::from(b'`' + u8::try_from(id).unwrap());
    Member {
        id,
        name: letter.to_string(),
        address: format!("10.0.0.{id}:6443"),
        format: 1,
    }
}

pub(crate) fn members(ids: impl IntoIterator<Item = u64>) -> Members {
    ids.into_iter().map(|id| (id, member(id))).collect()
}

/// A group as server 1, its leader, sees it; `silent` are not heard.
pub(crate) fn group(voters: &[u64], learners: &[u64], silent: &[u64]) -> RaftStatus {
    let others = voters.iter().chain(learners).filter(|id| **id != 1);
    let followers = others.map(|id| FollowerStatus {
        member: *id,
        matched: 100,
        active: !silent.contains(id),
        in_snapshot: false,
    });
    RaftStatus {
        member: 1,
        leader: Some(1),
        last_index: 100,
        followers: followers.collect(),
        voters: voters.to_vec(),
        learners: learners.to_vec(),
        ..RaftStatus::default()
    }
}

pub(crate) fn list(state: &mut State, members: &Members) -> Outcome {
    let mut stamper = Stamper::new(Millis(0), 7);
    let write = List::read(state).replace_by(members, &mut stamper).unwrap();
    let command = Command {
        term: 1,
        at: Millis(0),
        writes: vec![write],
    };
    state.apply(&command).outcomes.remove(0)
}

#[test]
fn the_list_reads_back_and_an_id_never_comes_again() {
    let mut state = State::default();
    assert_eq!(List::read(&state).next_id(&group(&[1], &[], &[])), 2);
    list(&mut state, &members([1, 2, 3]));
    assert_eq!(of(&state), members([1, 2, 3]));
    list(&mut state, &members([1]));
    let read = List::read(&state);
    assert_eq!(read.members, members([1]));
    assert_eq!(read.next_id(&group(&[1], &[], &[])), 4);
    assert_eq!(read.next_id(&group(&[1, 7], &[9], &[])), 10);
    let mut stamper = Stamper::new(Millis(0), 1);
    assert_eq!(read.replace_by(&members([1]), &mut stamper), None);
}

#[test]
fn a_list_that_changed_meanwhile_is_not_overwritten() {
    let mut state = State::default();
    list(&mut state, &members([1]));
    let mut stamper = Stamper::new(Millis(0), 7);
    let stale = List::read(&state).replace_by(&members([1, 2]), &mut stamper);
    list(&mut state, &members([1, 3]));
    let command = Command {
        term: 1,
        at: Millis(0),
        writes: stale.into_iter().collect(),
    };
    let outcome = state.apply(&command).outcomes.remove(0);
    assert!(matches!(outcome, Outcome::Conflict { .. }), "{outcome:?}");
    assert_eq!(of(&state), members([1, 3]));
}

#[test]
fn entries_that_nobody_can_read_are_passed_over() {
    let data = serde_json::json!({
        "server-1": r#"{"id":1,"name":"a","address":"10.0.0.1:6443","format":1}"#,
        "server-2": r#"{"id":3,"name":"liar","address":"10.0.0.2:6443"}"#,
        "server-x": "{}", "server-4": "no JSON", "next-id": "many", "note": "keep out",
    });
    let draft = Draft::new(
        Kind::ConfigMap,
        LIST.0,
        LIST.1,
        &mut Stamper::new(Millis(0), 1),
    );
    let mut state = State::default();
    let command = Command {
        term: 1,
        at: Millis(0),
        writes: vec![draft.with("data", data).create()],
    };
    state.apply(&command);
    assert_eq!(of(&state), members([1]));
}

#[test]
fn roles_are_those_of_the_raft_group() {
    let status = group(&[1, 2], &[3], &[2]);
    let roles = [1, 2, 3, 4].map(|id| role(&status, id));
    let expected = [
        Some(Role::Leader),
        Some(Role::Voter),
        Some(Role::Learner),
        None,
    ];
    assert_eq!(roles, expected);
    assert_eq!(
        [1, 2, 3, 4].map(|id| is_active(&status, id)),
        [true, false, true, false]
    );
}
