//! The servers of the cluster: who they are and where. Kept as entries of the ConfigMap
//! `kube-system/skiff-servers`, so that the list is replicated like everything else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use skiff_api::{Key, Kind};
use skiff_engine::State;

/// The namespace and name of the ConfigMap.
const LIST: (&str, &str) = ("kube-system", "skiff-servers");
/// An entry's name is this and the member's id.
const PREFIX: &str = "server-";

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

/// Where the list is kept.
#[must_use]
pub fn key() -> Key {
    Key::new(Kind::ConfigMap, LIST.0, LIST.1)
}

/// The servers as a state lists them.
#[must_use]
pub fn of(state: &State) -> Members {
    let Some(list) = state.get(&key()) else {
        return Members::new();
    };
    let value = list.to_value();
    let entries = value.get("data").and_then(|data| data.as_object());
    let members = entries.into_iter().flatten().filter_map(|(name, text)| {
        let id: u64 = name.strip_prefix(PREFIX)?.parse().ok()?;
        let member: Member = serde_json::from_str(text.as_str()?).ok()?;
        (member.id == id).then_some((id, member))
    });
    members.collect()
}
