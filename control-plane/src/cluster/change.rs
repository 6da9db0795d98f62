//! What administrators do with the servers: remove one, give one its vote, hand the leadership over.

use std::time::Duration;

use axum::extract::State as Shared;
use axum::response::Response;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use skiff_api::{Reason, Status};

use super::{
    Cluster, Who, answer, must_administrate, not_answered, not_leading, not_transferred, refuse,
    unchanged,
};
use crate::join::{Failure, read};
use crate::members::{Members, Role, agreement, removal, role};
use crate::raft::RaftStatus;
use crate::store::{MemberChange, TransferError};

/// Where a server is removed.
pub(super) const REMOVE: &str = "/skiff/v1/cluster/remove";
/// How often a new leader is asked to remove the old one, and how long between: it leads as soon
/// as its first entry is on a quorum of disks.
const ASK_TIMES: usize = 20;
const ASK_PAUSE: Duration = Duration::from_millis(200);

/// How often to look whether a new leader takes writes.
const LOOK: Duration = Duration::from_millis(10);

/// Which server, by name or by id.
#[derive(Debug, Serialize, Deserialize)]
struct Target {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
struct TransferRequest {
    #[serde(default)]
    to: Option<String>,
}

/// The server that was changed.
#[derive(Debug, Serialize, Deserialize)]
struct Changed {
    id: u64,
    name: String,
}

pub(super) async fn remove(
    Shared(cluster): Shared<Cluster>,
    who: Who,
    body: Bytes,
) -> Result<Response, Failure> {
    must_administrate(&who)?;
    let target: Target = read(&body)?;
    cluster.must_lead()?;
    let _changing = cluster.0.changing.lock().await;
    let (list, status) = cluster.view().await?;
    let changed = target.find(&list.members, &status)?;
    let id = changed.id;
    removal::check(&list.members, &status, id, target.force).map_err(refuse)?;
    if role(&status, id) == Some(Role::Leader) {
        return answer(&cluster.remove_myself(id, target.force).await?);
    }
    if role(&status, id).is_some() {
        let removed = cluster
            .store()
            .change_members(MemberChange::Remove(id))
            .await;
        removed.map_err(|err| unchanged(&err))?;
    }
    cluster.drop_entry(id).await?;
    tracing::info!(member = id, name = changed.name, "a server was removed");
    answer(&changed)
}

pub(super) async fn promote(
    Shared(cluster): Shared<Cluster>,
    who: Who,
    body: Bytes,
) -> Result<Response, Failure> {
    must_administrate(&who)?;
    let target: Target = read(&body)?;
    cluster.must_lead()?;
    let _changing = cluster.0.changing.lock().await;
    let (list, status) = cluster.view().await?;
    let changed = target.find(&list.members, &status)?;
    check_promotion(&status, &changed, target.force).map_err(refuse)?;
    let promoted = cluster
        .store()
        .change_members(MemberChange::Promote(changed.id));
    promoted.await.map_err(|err| unchanged(&err))?;
    tracing::info!(
        member = changed.id,
        name = changed.name,
        "a server got its vote"
    );
    answer(&changed)
}

pub(super) async fn transfer(
    Shared(cluster): Shared<Cluster>,
    who: Who,
    body: Bytes,
) -> Result<Response, Failure> {
    must_administrate(&who)?;
    let request: TransferRequest = read(&body)?;
    cluster.must_lead()?;
    let _changing = cluster.0.changing.lock().await;
    let (list, status) = cluster.view().await?;
    let to = match request.to {
        Some(name) => Some(find(&list.members, &status, &name)?),
        None => None,
    };
    check_transfer(&list.members, &status, to).map_err(refuse)?;
    let leader = match to {
        Some(id) if id == status.member => id,
        _ => {
            let moved = cluster.store().transfer_leadership(to).await;
            moved.map_err(|err| not_transferred(&err))?
        }
    };
    answer(&Changed {
        id: leader,
        name: name_of(&list.members, leader),
    })
}

impl Cluster {
    /// Hands the leadership over and lets the new leader remove this server.
    async fn remove_myself(&self, id: u64, force: bool) -> Result<Changed, Status> {
        let moved = self.store().transfer_leadership(None).await;
        let leader = moved.map_err(|err| not_transferred(&err))?;
        let members = crate::members::of(&self.store().state());
        let target = Target {
            name: None,
            id: Some(id),
            force,
        };
        let leader = members.get(&leader).ok_or_else(|| not_leading(None))?;
        let mut attempts = 1;
        loop {
            match self.ask(&leader.address, REMOVE).post(&target).await {
                Err(err) if err.is_passing() && attempts < ASK_TIMES => attempts += 1,
                asked => return asked.map_err(not_answered),
            }
            tokio::time::sleep(ASK_PAUSE).await;
        }
    }

    /// Lets another server lead, for this one to stop; returns when that one takes writes.
    ///
    /// A change of members that is not in force yet is waited for: half way it needs a majority of
    /// the old voters as well, and this one is about to go. The same goes for the first entry of
    /// the new leader.
    ///
    /// # Errors
    /// [`TransferError`]. May wait for ever; to be bounded by the caller.
    pub(crate) async fn hand_over(&self) -> Result<u64, TransferError> {
        let _changing = self.0.changing.lock().await;
        let last = self.store().status().last_index;
        let leader = self.store().transfer_leadership(None).await?;
        let mut looks = tokio::time::interval(LOOK);
        while self.store().status().commit <= last {
            looks.tick().await;
        }
        Ok(leader)
    }

    /// Takes a server out of the list.
    pub(super) async fn drop_entry(&self, id: u64) -> Result<(), Status> {
        self.change_list(|list, _| {
            let mut members = list.members.clone();
            members.remove(&id);
            Ok((members, ()))
        })
        .await
    }
}

impl Target {
    fn find(&self, members: &Members, status: &RaftStatus) -> Result<Changed, Status> {
        let id = match (&self.name, self.id) {
            (Some(name), None) => find(members, status, name)?,
            (None, Some(id)) => find(members, status, &id.to_string())?,
            (Some(_), Some(_)) | (None, None) => {
                let why = "name the server: either its name or its id";
                return Err(Status::failure(Reason::BadRequest, why));
            }
        };
        let name = name_of(members, id);
        Ok(Changed { id, name })
    }
}

/// The server with a name, or else with an id.
fn find(members: &Members, status: &RaftStatus, text: &str) -> Result<u64, Status> {
    let named = members.values().find(|member| member.name == text);
    if let Some(member) = named {
        return Ok(member.id);
    }
    let known = |id: &u64| members.contains_key(id) || role(status, *id).is_some();
    let by_id = text.parse().ok().filter(known);
    by_id.ok_or_else(|| {
        let names: Vec<&str> = members.values().map(|one| one.name.as_str()).collect();
        let why = format!(
            "there is no server {text:?}; the servers are {}",
            names.join(", ")
        );
        Status::failure(Reason::NotFound, why)
    })
}

fn name_of(members: &Members, id: u64) -> String {
    let member = members.get(&id);
    member.map_or_else(|| id.to_string(), |member| member.name.clone())
}

/// Whether a server may get its vote now.
fn check_promotion(status: &RaftStatus, server: &Changed, force: bool) -> Result<(), String> {
    let name = &server.name;
    match role(status, server.id) {
        Some(Role::Leader | Role::Voter) => return Err(format!("{name} has a vote already")),
        None => {
            return Err(format!(
                "{name} has not joined the raft group yet; try again"
            ));
        }
        Some(Role::Learner) => {}
    }
    let mut followers = status.followers.iter();
    let follower = followers.find(|one| one.member == server.id);
    let ready = follower.is_some_and(|one| agreement::is_caught_up(status, one));
    if ready || force {
        return Ok(());
    }
    Err(format!(
        "{name} has not caught up yet, and writes may have to wait for it; it gets its vote by \
         itself when it has, or at once with --force"
    ))
}

/// Whether the leadership can go to a server.
fn check_transfer(members: &Members, status: &RaftStatus, to: Option<u64>) -> Result<(), String> {
    match to {
        Some(id) if role(status, id) == Some(Role::Learner) => Err(format!(
            "{} has no vote yet and cannot lead",
            name_of(members, id)
        )),
        None if status.voters.len() < 2 => {
            Err("there is no other server with a vote that could lead".to_owned())
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::tests::{group, members};

    #[test]
    fn servers_are_found_by_name_and_by_id() {
        let (all, status) = (members([1, 2]), group(&[1, 2], &[7], &[]));
        assert_eq!(find(&all, &status, "b").unwrap(), 2);
        assert_eq!(find(&all, &status, "1").unwrap(), 1);
        assert_eq!(find(&all, &status, "7").unwrap(), 7);
        let words = find(&all, &status, "c").unwrap_err().message;
        assert_eq!(words, "there is no server \"c\"; the servers are a, b");
    }

    #[test]
    fn who_may_get_a_vote_and_who_may_lead() {
        let (all, status) = (members([1, 2, 3]), group(&[1, 2], &[3, 4], &[4]));
        let promotion = |id: u64, force| {
            let name = name_of(&all, id);
            check_promotion(&status, &Changed { id, name }, force).err()
        };
        let cases = [
            ("it follows", promotion(3, false), None),
            ("it is silent", promotion(4, false), Some("not caught up")),
            ("it is silent, by force", promotion(4, true), None),
            ("it has one", promotion(2, false), Some("already")),
            ("it is nobody", promotion(9, true), Some("not joined")),
            (
                "a voter",
                check_transfer(&all, &status, Some(2)).err(),
                None,
            ),
            ("any voter", check_transfer(&all, &status, None).err(), None),
            (
                "a learner",
                check_transfer(&all, &status, Some(3)).err(),
                Some("c has no vote"),
            ),
            (
                "nobody else",
                check_transfer(&all, &group(&[1], &[], &[]), None).err(),
                Some("no other server"),
            ),
        ];
        for (name, refused, expected) in cases {
            assert_eq!(refused.is_some(), expected.is_some(), "{name}");
            let words = refused.unwrap_or_default();
            assert!(words.contains(expected.unwrap_or("")), "{name}: {words}");
        }
    }
}
