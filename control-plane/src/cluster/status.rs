//! Who the servers are, and how they do.

use axum::Extension;
use axum::extract::State as Shared;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::{Cluster, Who, answer, must_administrate};
use crate::auth;
use crate::join::Failure;
use crate::members::{Members, Role, agreement, is_active, role, write_format};
use crate::raft::RaftStatus;

/// Where administrators look.
pub(super) const STATUS: &str = "/skiff/v1/cluster/status";

#[derive(Serialize)]
struct Servers<'a> {
    servers: Vec<Place<'a>>,
    leader: Option<u64>,
}

#[derive(Serialize)]
struct Place<'a> {
    id: u64,
    name: &'a str,
    address: &'a str,
}

/// The cluster as one server sees it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct View {
    /// Who leads, if anybody.
    leader: Option<u64>,
    /// Which server says all this.
    answered_by: u64,
    /// The format of commands and snapshots that all servers understand.
    format: u16,
    term: u64,
    commit: u64,
    applied: u64,
    /// Whether a change of servers is under way.
    changing: bool,
    members: Vec<MemberView>,
}

/// What only the leader knows is absent in the view of another server.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MemberView {
    id: u64,
    name: String,
    address: String,
    format: u16,
    role: Option<Role>,
    active: Option<bool>,
    matched: Option<u64>,
    lag: Option<u64>,
    in_snapshot: Option<bool>,
}

/// The servers, for everybody with an identity: agents dial all of them.
pub(super) async fn servers(
    Shared(cluster): Shared<Cluster>,
    who: Who,
) -> Result<Response, Failure> {
    if who.is_none() {
        return Err(auth::unauthorized().into());
    }
    let members = crate::members::of(&cluster.store().state());
    let servers = members.values().map(|member| Place {
        id: member.id,
        name: &member.name,
        address: &member.address,
    });
    answer(&Servers {
        servers: servers.collect(),
        leader: cluster.store().status().leader,
    })
}

/// How the servers do: as the leader sees it, if it can be asked.
pub(super) async fn status(
    Shared(cluster): Shared<Cluster>,
    who: Who,
) -> Result<Response, Failure> {
    must_administrate(&who)?;
    // A server asks only because it does not lead: it is not sent on.
    let asked_by_server = who.is_some_and(|Extension(who)| who.is_server());
    let elsewhere = !cluster.store().is_leader() && !asked_by_server;
    if let Some(leader) = cluster.leader().filter(|_| elsewhere) {
        match cluster.ask(&leader.address, STATUS).get::<View>().await {
            Ok(view) => return answer(&view),
            Err(err) => tracing::debug!(error = %err, "the leader does not say how it is"),
        }
    }
    let members = crate::members::of(&cluster.store().state());
    answer(&view(&members, &cluster.store().status()))
}

fn view(members: &Members, status: &RaftStatus) -> View {
    let leads = status.leader == Some(status.member);
    let listed = members.values().map(|member| {
        let mut view = follower(status, member.id, leads);
        view.name.clone_from(&member.name);
        view.address.clone_from(&member.address);
        view.format = member.format;
        view
    });
    let group = status.voters.iter().chain(&status.learners);
    let unlisted = group.filter(|id| !members.contains_key(id));
    let unlisted = unlisted.map(|id| follower(status, *id, leads));
    View {
        leader: status.leader,
        answered_by: status.member,
        format: write_format(members),
        term: status.term,
        commit: status.commit,
        applied: status.applied,
        changing: status.changing,
        members: listed.chain(unlisted).collect(),
    }
}

fn follower(status: &RaftStatus, id: u64, leads: bool) -> MemberView {
    let mut followers = status.followers.iter();
    let follower = followers.find(|one| one.member == id).filter(|_| leads);
    let own = leads && id == status.member;
    MemberView {
        id,
        name: String::new(),
        address: String::new(),
        format: 0,
        role: role(status, id),
        active: leads.then(|| is_active(status, id)),
        matched: follower
            .map(|one| one.matched)
            .or(own.then_some(status.last_index)),
        lag: follower
            .map(|one| agreement::lag(status, one))
            .or(own.then_some(0)),
        in_snapshot: follower.map(|one| one.in_snapshot).or(own.then_some(false)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::tests::{group, members};

    #[test]
    fn the_leader_knows_more_than_others() {
        let mut status = group(&[1, 2], &[3], &[2]);
        status.last_index = 105;
        let seen = view(&members([1, 2, 3, 4]), &status);
        let rows = seen.members.iter().map(|one| {
            let MemberView {
                role, active, lag, ..
            } = one;
            (one.name.as_str(), *role, *active, *lag)
        });
        let expected = [
            ("a", Some(Role::Leader), Some(true), Some(0)),
            ("b", Some(Role::Voter), Some(false), Some(5)),
            ("c", Some(Role::Learner), Some(true), Some(5)),
            ("d", None, Some(false), None),
        ];
        assert_eq!(rows.collect::<Vec<_>>(), expected);
        status.leader = Some(2);
        let seen = view(&members([1, 2]), &status);
        assert_eq!(seen.members[1].role, Some(Role::Leader));
        assert!(seen.members.iter().all(|one| one.active.is_none()));
        let unlisted = &seen.members[2];
        assert_eq!((unlisted.id, unlisted.role), (3, Some(Role::Learner)));
    }
}
