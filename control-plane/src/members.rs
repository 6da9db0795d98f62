//! The servers of the cluster: who they are and where. Kept as entries of the ConfigMap
//! `kube-system/skiff-servers`, so that the list is replicated like everything else.
//!
//! Here is what is decided about it, all of it pure: [`admission`] of a new server, [`removal`] of
//! one, the [`agreement`] of the list with the raft group, and the [`format`]s that all of them
//! understand. `cluster` does what is decided here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use skiff_api::{Key, Kind, Object, Revision};
use skiff_engine::{Draft, Stamper, State, Write};

use crate::raft::RaftStatus;

pub mod admission;
pub mod agreement;
pub mod format;
pub mod record;
pub mod removal;
pub mod roster;

pub use format::{FORMAT, FORMAT_OLDEST, Formats, write_format};

/// The namespace and name of the ConfigMap.
const LIST: (&str, &str) = ("kube-system", "skiff-servers");
/// An entry's name is this and the member's id.
pub(crate) const PREFIX: &str = "server-";
/// The entry with the id that the next server gets.
pub(crate) const NEXT_ID: &str = "next-id";

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its id in the raft group; never given to another.
    pub id: u64,
    /// Its name, unique in the cluster.
    pub name: String,
    /// `HOST:PORT` at which the others and the clients reach it.
    pub address: String,
    /// The newest format of commands and snapshots that it understands.
    #[serde(default)]
    pub format: u16,
}

/// All servers by their ids.
pub type Members = BTreeMap<u64, Member>;

/// What a member of the raft group is to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Takes the writes.
    Leader,
    /// Has a vote.
    Voter,
    /// Receives everything and has no vote yet.
    Learner,
}

/// Where the list is kept.
#[must_use]
pub fn key() -> Key {
    Key::new(Kind::ConfigMap, LIST.0, LIST.1)
}

/// The servers as a state lists them.
#[must_use]
pub fn of(state: &State) -> Members {
    List::read(state).members
}

/// The URLs at which clients reach the servers.
#[must_use]
pub fn urls(members: &Members) -> Vec<String> {
    let addresses = members.values().map(|member| &member.address);
    addresses
        .map(|address| format!("https://{address}"))
        .collect()
}

/// What a member is to the raft group; `None` if it does not belong to it.
#[must_use]
pub fn role(status: &RaftStatus, id: u64) -> Option<Role> {
    if status.voters.contains(&id) {
        let leads = status.leader == Some(id);
        return Some(if leads { Role::Leader } else { Role::Voter });
    }
    status.learners.contains(&id).then_some(Role::Learner)
}

/// Whether the leader has heard a member lately; it always hears itself.
#[must_use]
pub fn is_active(status: &RaftStatus, id: u64) -> bool {
    let mut followers = status.followers.iter();
    id == status.member || followers.any(|one| one.member == id && one.active)
}

/// The list as a state holds it, with what is needed to write it again.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// The servers.
    pub members: Members,
    next_id: u64,
    object: Option<Object>,
}

impl List {
    /// Reads the list of a state; entries that nobody can read are passed over.
    #[must_use]
    pub fn read(state: &State) -> Self {
        let Some(object) = state.get(&key()) else {
            return Self::default();
        };
        let value = object.to_value();
        let entries = value.get("data").and_then(Value::as_object);
        let mut list = Self {
            object: Some(object.clone()),
            ..Self::default()
        };
        for (name, text) in entries.into_iter().flatten() {
            let Some(text) = text.as_str() else { continue };
            if name == NEXT_ID {
                list.next_id = text.parse().unwrap_or(0);
            }
            if let Some(member) = read_entry(name, text) {
                list.members.insert(member.id, member);
            }
        }
        list
    }

    /// The revision of the list: a list with a higher one is newer. 0 if there is none.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.object.as_ref().map_or(Revision(0), Object::revision)
    }

    /// An id that no server ever had: above the counter, above every entry, and above every member
    /// of the raft group, should somebody have deleted the list.
    #[must_use]
    pub fn next_id(&self, status: &RaftStatus) -> u64 {
        let known = self.members.keys().chain(&status.voters);
        let highest = known.chain(&status.learners).copied().max().unwrap_or(0);
        self.next_id.max(highest + 1)
    }

    /// The guarded write that makes `members` the list; `None` if it is that already.
    #[must_use]
    pub fn replace_by(self, members: &Members, stamper: &mut Stamper) -> Option<Write> {
        let highest = self.members.keys().chain(members.keys()).copied().max();
        let next_id = self.next_id.max(highest.unwrap_or(0) + 1);
        let draft = match &self.object {
            Some(object) => Draft::of(object),
            None => Draft::new(Kind::ConfigMap, LIST.0, LIST.1, stamper),
        };
        let mut data = Map::new();
        data.insert(NEXT_ID.to_owned(), next_id.to_string().into());
        for member in members.values() {
            // A struct of plain texts and numbers always serialises.
            let entry = serde_json::to_string(member).unwrap_or_default();
            data.insert(format!("{PREFIX}{}", member.id), entry.into());
        }
        draft.with("data", data.into()).write()
    }
}

fn read_entry(name: &str, text: &str) -> Option<Member> {
    let id: u64 = name.strip_prefix(PREFIX)?.parse().ok()?;
    let member: Member = serde_json::from_str(text).ok()?;
    (member.id == id).then_some(member)
}

#[cfg(test)]
pub(crate) mod tests;
