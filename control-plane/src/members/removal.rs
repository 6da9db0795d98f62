//! Decides whether a server may be removed: what would cost the cluster its quorum is refused.
//! Pure.

use super::{Members, Role, is_active, role};
use crate::raft::RaftStatus;

/// How many of so many voters must be alive.
#[must_use]
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

/// Whether a server may be removed. `force` lets pass what costs the quorum, but nothing removes
/// the last voter.
///
/// # Errors
/// Why not and how to proceed, in words.
pub fn check(members: &Members, status: &RaftStatus, id: u64, force: bool) -> Result<(), String> {
    let name = |id: u64| match members.get(&id) {
        Some(member) => member.name.clone(),
        None => format!("server {id}"),
    };
    match role(status, id) {
        None | Some(Role::Learner) => return Ok(()),
        Some(Role::Leader | Role::Voter) => {}
    }
    let others = status.voters.iter().copied().filter(|other| *other != id);
    let others: Vec<u64> = others.collect();
    if others.is_empty() {
        return Err(format!(
            "{} is the last server with a vote: without it there is no cluster; add another first \
             with `skiff cluster add`",
            name(id)
        ));
    }
    let silent = others.iter().filter(|other| !is_active(status, **other));
    let silent: Vec<String> = silent.map(|other| name(*other)).collect();
    let alive = others.len() - silent.len();
    let needed = quorum(others.len());
    if alive >= needed || force {
        return Ok(());
    }
    Err(format!(
        "without {} only {alive} of {} servers with a vote would be alive and {needed} must be, so \
         no write would be accepted; start {} again or remove it first, or use --force",
        name(id),
        others.len(),
        silent.join(", "),
    ))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, members};
    use super::*;

    type Ids = &'static [u64];
    /// Name, voters, learners, those that are silent, whom to remove, words of the refusal.
    type Case = (&'static str, Ids, Ids, Ids, u64, Option<&'static str>);

    #[test]
    fn what_costs_the_quorum_is_refused() {
        let cases: [Case; 12] = [
            ("one of three", &[1, 2, 3], &[], &[], 3, None),
            ("the leader of three", &[1, 2, 3], &[], &[], 1, None),
            ("the dead one of three", &[1, 2, 3], &[], &[3], 3, None),
            (
                "a live one of three while one is dead",
                &[1, 2, 3],
                &[],
                &[3],
                2,
                Some("without b only 1 of 2 servers"),
            ),
            (
                "the leader while one of three is dead",
                &[1, 2, 3],
                &[],
                &[3],
                1,
                Some("start c again"),
            ),
            ("one of two", &[1, 2], &[], &[], 2, None),
            ("the dead one of two", &[1, 2], &[], &[2], 2, None),
            ("the last voter", &[1], &[2], &[], 1, Some("is the last")),
            ("a learner", &[1], &[2], &[2], 2, None),
            ("nobody", &[1], &[], &[], 9, None),
            (
                "one of five, one dead",
                &[1, 2, 3, 4, 5],
                &[],
                &[5],
                4,
                None,
            ),
            (
                "one of four, two dead",
                &[1, 2, 3, 4],
                &[],
                &[3, 4],
                2,
                Some("without b only 1 of 3 servers with a vote would be alive and 2 must be"),
            ),
        ];
        let all = members(1..=5);
        for (name, voters, learners, silent, id, expected) in cases {
            let status = group(voters, learners, silent);
            let refused = check(&all, &status, id, false).err();
            assert_eq!(refused.is_some(), expected.is_some(), "{name}: {refused:?}");
            let words = refused.unwrap_or_default();
            assert!(words.contains(expected.unwrap_or("")), "{name}: {words}");
            let forced = check(&all, &status, id, true);
            assert_eq!(forced.is_ok(), voters != [id], "{name}, by force");
        }
    }
}
