//! The list of servers in a state that goes on with other members: ids that were given once are
//! never given again.

use serde_json::{Value, json};
use skiff_api::{Object, Revision};
use skiff_engine::State;

use super::RecoveryError;
use crate::checkpoint::Mark;
use crate::members::{self, NEXT_ID, PREFIX};
use crate::snapshot::StateAt;

/// An id that no member ever had.
pub(super) fn fresh_id(at: &StateAt) -> u64 {
    let conf = &at.mark.conf_state;
    let listed = members::of(&at.state).into_keys();
    let groups = [
        &conf.voters,
        &conf.learners,
        &conf.voters_outgoing,
        &conf.learners_next,
    ];
    let highest = groups.into_iter().flatten().copied().chain(listed).max();
    let behind = highest.map_or(1, |highest| highest + 1);
    behind.max(next_id(&at.state).unwrap_or(1))
}

/// The state with revisions moved on by `margin`, and a list of servers that names only `kept`, if
/// it is in it, and gives new members ids from `next` on. The mark tells the new revision.
pub(super) fn moved_on(
    at: StateAt,
    kept: u64,
    next: u64,
    margin: u64,
) -> Result<StateAt, RecoveryError> {
    let before = at.mark.revision;
    let beyond = || RecoveryError::Revision {
        revision: before,
        margin,
    };
    let revision = before.checked_add(margin).ok_or_else(beyond)?;
    // A change of the list needs a revision of its own.
    let revision = revision.max(before.checked_add(1).ok_or_else(beyond)?);
    let list = only(&at.state, kept, next)?;
    let list = list.map(|list| list.with_revision(Revision(revision)));
    let objects = at.state.objects().cloned().chain(list);
    let state = State::restore(Revision(revision), objects);
    let mark = Mark {
        revision,
        ..at.mark
    };
    Ok(StateAt { mark, state })
}

/// The list with one server in it, or with none; nothing if there is no list.
fn only(state: &State, kept: u64, next: u64) -> Result<Option<Object>, RecoveryError> {
    let Some(list) = state.get(&members::key()) else {
        return Ok(None);
    };
    let mut value = list.to_value();
    let Some(fields) = value.as_object_mut() else {
        return Ok(None);
    };
    let next = next.max(next_id(state).unwrap_or(1)).to_string();
    let mut data = json!({NEXT_ID: next});
    let entry = format!("{PREFIX}{kept}");
    let old = fields
        .get("data")
        .and_then(|data| data.get(&entry))
        .cloned();
    if let (Some(old), Some(data)) = (old, data.as_object_mut()) {
        data.insert(entry, old);
    }
    fields.insert("data".into(), data);
    Object::from_value(value)
        .map(Some)
        .map_err(RecoveryError::List)
}

fn next_id(state: &State) -> Option<u64> {
    let value: Value = state.get(&members::key())?.to_value();
    value.get("data")?.get(NEXT_ID)?.as_str()?.parse().ok()
}
