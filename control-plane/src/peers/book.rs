//! Who is to be dialled, and who may dial us: decisions on the list of servers.

use std::collections::BTreeMap;

use crate::members::Members;
use crate::raft::RaftStatus;

/// What to do so that the connections fit the list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Members that vanished or moved.
    pub(super) hang_up: Vec<u64>,
    /// Members to dial, and where.
    pub(super) dial: Vec<(u64, String)>,
}

/// Compares whom we are connected to with the list.
pub(super) fn changes(dialled: &BTreeMap<u64, String>, listed: &Members, own: u64) -> Changes {
    let stays = |member: u64, address: &str| {
        member != own
            && listed
                .get(&member)
                .is_some_and(|one| one.address == address)
    };
    let hang_up = dialled
        .iter()
        .filter(|(member, address)| !stays(**member, address))
        .map(|(member, _)| *member);
    let dial = listed
        .values()
        .filter(|one| one.id != own && dialled.get(&one.id) != Some(&one.address))
        .map(|one| (one.id, one.address.clone()));
    Changes {
        hang_up: hang_up.collect(),
        dial: dial.collect(),
    }
}

/// Whether a dialler does not belong to the cluster.
///
/// Our list may be behind: a server that was added while we were away is not in it yet, and may
/// even lead, or need our vote. So only a member that hears its leader says no, and never to that
/// leader.
pub(super) fn is_stranger(from: u64, own: u64, listed: &Members, status: &RaftStatus) -> bool {
    let known = listed.contains_key(&from)
        || status.voters.contains(&from)
        || status.learners.contains(&from);
    let follows_another = status.leader.is_some_and(|leader| leader != from);
    from == own || (!known && listed.contains_key(&own) && follows_another)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::Member;

    /// `1=a 2=b`
    fn listed(text: &str) -> Members {
        let members = text.split_whitespace().map(|word| {
            let (id, address) = word.split_once('=').unwrap();
            let id = id.parse().unwrap();
            let member = Member {
                id,
                name: format!("s{id}"),
                address: address.into(),
                format: 1,
            };
            (id, member)
        });
        members.collect()
    }

    #[test]
    fn connections_follow_the_list() {
        let cases = [
            ("a new list", "", "1=a 2=b 3=c", vec![], vec!["2=b", "3=c"]),
            ("nothing changed", "2=b 3=c", "1=a 2=b 3=c", vec![], vec![]),
            ("one vanished", "2=b 3=c", "1=a 2=b", vec![3], vec![]),
            ("one moved", "2=b", "1=a 2=x", vec![2], vec!["2=x"]),
            ("an empty list", "2=b", "", vec![2], vec![]),
        ];
        for (name, dialled, list, hang_up, dial) in cases {
            let dialled = listed(dialled).into_iter();
            let dialled = dialled.map(|(id, member)| (id, member.address)).collect();
            let found = changes(&dialled, &listed(list), 1);
            let dials: Vec<String> = found
                .dial
                .iter()
                .map(|(id, address)| format!("{id}={address}"))
                .collect();
            assert_eq!(
                (found.hang_up, dials),
                (hang_up, dial.iter().map(ToString::to_string).collect()),
                "{name}"
            );
        }
    }

    #[test]
    fn only_who_hears_a_leader_turns_strangers_away() {
        let known = "1=a 2=b 3=c";
        let cases = [
            ("a listed member", 2, known, Some(3), false),
            ("a removed member", 4, known, Some(3), true),
            ("a leader that is not listed yet", 4, known, Some(4), false),
            ("somebody who may need our vote", 4, known, None, false),
            ("a voter that is not listed yet", 5, known, Some(3), false),
            ("a list that lacks ourselves", 4, "2=b 3=c", Some(3), false),
            ("no list", 4, "", Some(3), false),
            ("somebody with our id", 1, known, None, true),
        ];
        for (name, from, list, leader, expected) in cases {
            let status = RaftStatus {
                leader,
                voters: vec![1, 2, 3, 5],
                ..RaftStatus::default()
            };
            assert_eq!(
                is_stranger(from, 1, &listed(list), &status),
                expected,
                "{name}"
            );
        }
    }
}
