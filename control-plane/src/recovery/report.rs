//! What a stopped member has: read from its directory, or from a report made on another machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RecoveryError, replay};
use crate::log::{self, Log};
use crate::members;
use crate::snapshot::StateAt;
use crate::store::open::{self, Stopped};
use crate::store::{OpenError, StoreConfig};

/// The format of reports.
pub(super) const FORMAT: u16 = 1;

/// How far a member got. Reports carry it from machine to machine as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Survivor {
    /// The format of the report.
    pub format: u16,
    /// The SHA-256 of the certificate of the cluster's CA, in hex; empty if there is none.
    pub cluster: String,
    /// Its id in the group.
    pub id: u64,
    /// Its name; empty if it is not known.
    pub name: String,
    /// The term of its hard state.
    pub term: u64,
    /// The index of its last entry.
    pub last_index: u64,
    /// The term of its last entry.
    pub last_term: u64,
    /// The last entry that it knows to be committed.
    pub commit: u64,
    /// The last entry in its newest checkpoint.
    pub checkpoint: u64,
    /// The revision of its state at its last entry.
    pub revision: u64,
    /// The voting members as of its last entry.
    pub voters: Vec<u64>,
    /// While a change of members was under way: those who voted before.
    pub outgoing: Vec<u64>,
    /// The members without a vote as of its last entry.
    pub learners: Vec<u64>,
    /// The names of the members, as far as they are known.
    pub names: BTreeMap<u64, String>,
}

/// A stopped member, read; its directory is locked for as long as this lives.
pub struct Found {
    /// The report.
    pub survivor: Survivor,
    pub(super) log: Log,
    /// The state at its last entry.
    pub(super) at: StateAt,
    pub(super) lock: Box<dyn Send + Sync>,
}

/// Reads the store of a stopped member. Changes nothing that a start of the server would not.
///
/// # Errors
/// [`RecoveryError`]: there is no store, a server works in it, or it is damaged.
pub fn examine(config: &mut StoreConfig, cluster: &str) -> Result<Found, RecoveryError> {
    if !holds_a_store(config) {
        let dir = config.dir.clone();
        return Err(RecoveryError::NoStore { dir });
    }
    let read = open::read(config).map_err(|err| {
        if let OpenError::InUse { dir } = err {
            RecoveryError::Running { dir }
        } else {
            RecoveryError::Store(err)
        }
    });
    let Stopped {
        log,
        at: checkpoint,
        lock,
        ..
    } = read?;
    let checkpoint_index = checkpoint.mark.index;
    let at = replay::replay(config.member, checkpoint, &log.view())?;
    let survivor = describe(config.member, cluster, checkpoint_index, &log, &at);
    Ok(Found {
        survivor,
        log,
        at,
        lock,
    })
}

/// A log that is not there would be made by opening it.
fn holds_a_store(config: &StoreConfig) -> bool {
    let names = config.disk.list(&log::dir_below(&config.dir));
    names.is_ok_and(|names| !names.is_empty())
}

fn describe(id: u64, cluster: &str, checkpoint: u64, log: &Log, at: &StateAt) -> Survivor {
    let hard_state = log.view().hard_state();
    let conf = at.mark.conf_state.clone();
    let listed = members::of(&at.state).into_values();
    let names: BTreeMap<u64, String> = listed.map(|member| (member.id, member.name)).collect();
    Survivor {
        format: FORMAT,
        cluster: cluster.to_owned(),
        id,
        name: names.get(&id).cloned().unwrap_or_default(),
        term: hard_state.term,
        last_index: at.mark.index,
        last_term: at.mark.term,
        commit: hard_state.commit.max(checkpoint),
        checkpoint,
        revision: at.mark.revision,
        voters: conf.voters,
        outgoing: conf.voters_outgoing,
        learners: conf.learners,
        names,
    }
}
