//! Writes a state into an empty store, as a group of one that goes on from there.

use super::rebuild::{begin, only};
use super::{RecoveryError, list};
use crate::log::{self, Base, Log};
use crate::snapshot::StateAt;
use crate::store::StoreConfig;

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The id of the one member: one that the old cluster gave to nobody, so that whatever is left
    /// of it cannot take this member for one of its own.
    pub member: u64,
    /// The revision at which it goes on.
    pub revision: u64,
    /// How many objects there are.
    pub objects: usize,
}

/// The id that the one member of a restored cluster gets.
#[must_use]
pub(super) fn member_for(at: &StateAt) -> u64 {
    list::fresh_id(at)
}

/// Writes a state into the empty store of `config`, whose member becomes the only one. Revisions
/// are moved on by `margin`.
///
/// # Errors
/// [`RecoveryError`]; the store must be thrown away then.
pub fn restore(
    config: &mut StoreConfig,
    at: StateAt,
    margin: u64,
) -> Result<Restored, RecoveryError> {
    let member = config.member;
    let next = list::fresh_id(&at).max(member + 1);
    let mut at = list::moved_on(at, member, next, margin)?;
    // A log that begins at 0 would be a new one.
    at.mark.index = at.mark.index.max(1);
    at.mark.term = at.mark.term.max(1);
    at.mark.conf_state = only(member);
    config.checkpoints.write(&at.mark, &mut at.records())?;
    let dir = log::dir_below(&config.dir);
    let mut log = Log::open(config.disk.clone(), &dir, &Base::at(&at.mark))?;
    begin(&mut log, &at.mark, at.mark.term + 1)?;
    Ok(Restored {
        member,
        revision: at.mark.revision,
        objects: at.state.len(),
    })
}
