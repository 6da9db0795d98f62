//! Makes a survivor the only member of its group, at the end of its log.
//!
//! The order is what makes a crash harmless: a checkpoint counts wholly or not at all, and it alone
//! decides who the members are, so until it is complete the old group is there, and from then on
//! the new one. That the log begins behind it is only tidy.

use raft::eraftpb::{ConfState, HardState};

use super::{Found, RecoveryError, list};
use crate::checkpoint::Mark;
use crate::log::{Base, Log, LogError};
use crate::store::StoreConfig;

/// Where the group of one stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Rebuilt {
    /// The index, term and revision at which it goes on, and its only member.
    pub mark: Mark,
    /// How many objects it holds.
    pub objects: usize,
}

/// Makes the member that was found the only one, with everything that it has. Revisions are moved
/// on by `margin`.
///
/// # Errors
/// [`RecoveryError`]; then either the old group is untouched, or the new one is in force already
/// and only has to be started.
pub fn rebuild(
    config: &mut StoreConfig,
    found: Found,
    margin: u64,
) -> Result<Rebuilt, RecoveryError> {
    let Found {
        mut log, at, lock, ..
    } = found;
    let next = list::fresh_id(&at);
    let term = log.view().hard_state().term + 1;
    let mut at = list::moved_on(at, config.member, next, margin)?;
    at.mark.conf_state = only(config.member);
    // Twice, since the newest checkpoint but one is what a start falls back to: it must not bring
    // the old group back.
    config.checkpoints.write(&at.mark, &mut at.records())?;
    config.checkpoints.write(&at.mark, &mut at.records())?;
    match begin(&mut log, &at.mark, term) {
        // The checkpoint is there and decides; the first start that has space tidies up.
        Ok(()) | Err(LogError::NoSpace) => {}
        Err(err) => return Err(err.into()),
    }
    drop((log, lock));
    Ok(Rebuilt {
        objects: at.state.len(),
        mark: at.mark,
    })
}

/// A group of one.
pub(super) fn only(member: u64) -> ConfState {
    ConfState {
        voters: vec![member],
        ..ConfState::default()
    }
}

/// Has the log begin behind a checkpoint, with everything in it committed.
pub(super) fn begin(log: &mut Log, mark: &Mark, term: u64) -> Result<(), LogError> {
    let hard_state = HardState {
        term,
        commit: mark.index,
        ..HardState::default()
    };
    log.replace(Base::at(mark), Some(&hard_state))
}
