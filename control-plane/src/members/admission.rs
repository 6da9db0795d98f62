//! Decides whether a server may join, and under which id. Pure: the list and the raft group as the
//! leader sees them go in, an admission or a refusal in words comes out.

use serde::{Deserialize, Serialize};

use super::format::{self, Formats};
use super::{List, Member, Members, Role, is_active, role};
use crate::raft::RaftStatus;

/// Servers of one cluster: each of them costs every write a message, and more than two losses at
/// once are survived by seven already.
pub const MEMBERS_MAX: usize = 9;
/// Longest `HOST:PORT`: a DNS name and a port.
const ADDRESS_MAX: usize = 260;

/// What a joining server says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applicant {
    /// The name that it wants.
    pub name: String,
    /// `HOST:PORT` at which the others reach it.
    pub address: String,
    /// What it understands; the first version's if it says nothing.
    #[serde(default)]
    pub formats: Formats,
}

/// A server that may join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The new member.
    pub member: Member,
    /// The list with the new member and without those that it replaces.
    pub members: Members,
    /// Members of the raft group that it replaces: earlier attempts that never got a vote.
    pub replaced: Vec<u64>,
}

/// Admits a server. One of the same name that never got a vote is an earlier attempt of the same
/// server, which begins again with an empty data directory.
///
/// # Errors
/// Why not and what to do, in words.
pub fn admit(list: &List, status: &RaftStatus, applicant: &Applicant) -> Result<Admission, String> {
    check_address(&applicant.address)?;
    format::check(&list.members, applicant.formats)?;
    let mut members = list.members.clone();
    let mut replaced = Vec::new();
    for member in list.members.values() {
        if member.name != applicant.name && member.address != applicant.address {
            continue;
        }
        if let Some(role) = role(status, member.id) {
            check_claim(member, role, status, applicant)?;
            replaced.push(member.id);
        }
        members.remove(&member.id);
    }
    if members.len() >= MEMBERS_MAX {
        return Err(format!(
            "the cluster has {MEMBERS_MAX} servers, more are not served; remove one with \
             `skiff cluster remove`"
        ));
    }
    let member = Member {
        id: list.next_id(status),
        name: applicant.name.clone(),
        address: applicant.address.clone(),
        format: applicant.formats.newest,
    };
    members.insert(member.id, member.clone());
    Ok(Admission {
        member,
        members,
        replaced,
    })
}

/// Whether the applicant may take the place of a member with its name or address.
fn check_claim(
    member: &Member,
    role: Role,
    status: &RaftStatus,
    applicant: &Applicant,
) -> Result<(), String> {
    let Member { name, address, .. } = member;
    let alive = is_active(status, member.id);
    let what = if *name == applicant.name {
        format!("the name {name:?} belongs to the server at {address}")
    } else {
        format!("the address {address} belongs to the server {name:?}")
    };
    match (role, alive) {
        (Role::Leader | Role::Voter, true) => Err(format!(
            "{what}, which is alive; give this one another with --name and --advertise"
        )),
        (Role::Leader | Role::Voter, false) => Err(format!(
            "{what}, which has a vote and is silent; start it again with its data directory, or \
             remove it first: skiff cluster remove {name}"
        )),
        (Role::Learner, true) if *address != applicant.address => Err(format!(
            "{what}, which is joining; give this one another name with --name"
        )),
        (Role::Learner, _) => Ok(()),
    }
}

/// Checks a `HOST:PORT`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn check_address(address: &str) -> Result<(), String> {
    let host_and_port = address.rsplit_once(':').filter(|(host, port)| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host_ok = match bracketed {
            Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(plain),
        };
        host_ok && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if host_and_port.is_some() && address.len() <= ADDRESS_MAX {
        Ok(())
    } else {
        Err(format!(
            "{address:?} is no address at which others reach a server; write HOST:PORT"
        ))
    }
}

#[cfg(test)]
mod tests {
    use skiff_engine::State;

    use super::super::tests::{group, list, members};
    use super::*;

    fn applicant(name: &str, address: &str) -> Applicant {
        Applicant {
            name: name.into(),
            address: address.into(),
            formats: Formats::default(),
        }
    }

    /// Three voters `a`, `b`, `c` of which `c` is silent, and a learner `d`.
    fn cluster() -> (List, RaftStatus) {
        let mut state = State::default();
        list(&mut state, &members([1, 2, 3, 4]));
        (List::read(&state), group(&[1, 2, 3], &[4], &[3]))
    }

    #[test]
    fn names_and_addresses_of_others_are_not_taken() {
        let cases = [
            ("a new server", "e", "10.0.0.5:6443", Ok((5, vec![]))),
            (
                "a learner that begins again",
                "d",
                "10.0.0.4:6443",
                Ok((5, vec![4])),
            ),
            (
                "another with a joining server's name",
                "d",
                "10.0.0.9:6443",
                Err("which is joining"),
            ),
            (
                "a voter's name",
                "b",
                "10.0.0.9:6443",
                Err("the name \"b\" belongs to the server at 10.0.0.2:6443, which is alive"),
            ),
            (
                "a lost voter's name",
                "c",
                "10.0.0.3:6443",
                Err("skiff cluster remove c"),
            ),
            (
                "the leader's address",
                "e",
                "10.0.0.1:6443",
                Err("the address 10.0.0.1:6443 belongs to the server \"a\""),
            ),
            ("no address", "e", "10.0.0.5", Err("write HOST:PORT")),
        ];
        let (list, status) = cluster();
        for (name, wanted, address, expected) in cases {
            let found = admit(&list, &status, &applicant(wanted, address));
            match (found, expected) {
                (Ok(admission), Ok((id, replaced))) => {
                    assert_eq!(admission.member.id, id, "{name}");
                    assert_eq!(admission.replaced, replaced, "{name}");
                    assert_eq!(admission.members[&id].name, wanted, "{name}");
                    let names = admission.members.values().map(|member| &member.name);
                    assert_eq!(names.filter(|name| *name == wanted).count(), 1, "{name}");
                }
                (Err(words), Err(expected)) => assert!(words.contains(expected), "{name}: {words}"),
                (found, expected) => panic!("{name}: {found:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn a_silent_learner_gives_its_name_to_another_machine() {
        let (list, _) = cluster();
        let status = group(&[1, 2, 3], &[4], &[4]);
        let admission = admit(&list, &status, &applicant("d", "10.0.0.9:6443")).unwrap();
        assert_eq!(admission.replaced, [4]);
    }

    #[test]
    fn an_entry_that_never_reached_the_group_is_replaced() {
        let (list, _) = cluster();
        let status = group(&[1, 2, 3], &[], &[]);
        let admission = admit(&list, &status, &applicant("d", "10.0.0.4:6443")).unwrap();
        assert!(admission.replaced.is_empty());
        assert!(!admission.members.contains_key(&4));
    }

    #[test]
    fn a_cluster_does_not_grow_for_ever() {
        let mut state = State::default();
        list(&mut state, &members(1..=9));
        let (list, status) = (List::read(&state), group(&[1], &[], &[]));
        let refused = admit(&list, &status, &applicant("z", "10.0.1.1:6443"));
        assert!(refused.unwrap_err().contains("9 servers"));
    }

    #[test]
    fn addresses_are_host_and_port() {
        let cases = [
            ("10.0.0.1:6443", true),
            ("server-1.example.com:6443", true),
            ("[fd00::1]:6443", true),
            ("fd00::1:6443", false),
            ("host", false),
            ("host:0", false),
            ("host:port", false),
            (":6443", false),
            ("user@host:1", false),
            ("host/path:1", false),
        ];
        for (address, expected) in cases {
            assert_eq!(check_address(address).is_ok(), expected, "{address}");
        }
    }
}
