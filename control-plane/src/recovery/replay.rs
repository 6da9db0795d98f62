//! The state at the very end of a stopped member's log: the newest checkpoint, and every entry
//! behind it, committed or not. Whether those not known to be committed were acknowledged, nobody
//! can tell any more; so they are kept.

use protobuf::Message as _;
use raft::eraftpb::{ConfChange, ConfChangeV2, ConfState, Entry, EntryType};
use raft::{Config, GetEntriesContext, RawNode, Storage as _};
use skiff_engine::Command;

use super::RecoveryError;
use crate::log::LogView;
use crate::raft::unpack;
use crate::snapshot::StateAt;

/// Entries are read in portions of about this size.
const PORTION_BYTES: u64 = 8 << 20;

/// The state as of the last entry.
pub(super) fn replay(
    member: u64,
    mut at: StateAt,
    view: &LogView,
) -> Result<StateAt, RecoveryError> {
    let mut members = Members::new(member, view, at.mark.index)?;
    let last = view.last();
    while at.mark.index < last {
        let (low, high) = (at.mark.index + 1, last + 1);
        let portion = view.entries(low, high, PORTION_BYTES, GetEntriesContext::empty(false))?;
        for entry in portion {
            apply(&mut at, &entry, &mut members)?;
        }
    }
    at.mark.revision = at.state.revision().0;
    Ok(at)
}

fn apply(at: &mut StateAt, entry: &Entry, members: &mut Members) -> Result<(), RecoveryError> {
    let unusable = |why: String| RecoveryError::Entry {
        index: entry.index,
        why,
    };
    if entry.index != at.mark.index + 1 {
        return Err(unusable(format!("it follows entry {}", at.mark.index)));
    }
    (at.mark.index, at.mark.term) = (entry.index, entry.term);
    if entry.get_entry_type() != EntryType::EntryNormal {
        at.mark.conf_state = members.change(entry);
        return Ok(());
    }
    let commands = unpack(&entry.data).ok_or_else(|| unusable("it is not commands".into()))?;
    for command in commands {
        let command = Command::decode(command).map_err(|err| unusable(err.to_string()))?;
        at.state.apply(&command);
    }
    Ok(())
}

/// raft-rs itself, asked only what changes of members come to.
struct Members(RawNode<LogView>);

impl Members {
    fn new(member: u64, view: &LogView, applied: u64) -> Result<Self, RecoveryError> {
        let config = Config {
            id: member,
            applied,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        Ok(Self(RawNode::new(&config, view.clone(), &logger)?))
    }

    /// The members behind a change. One that raft refuses is skipped, as every member does.
    fn change(&mut self, entry: &Entry) -> ConfState {
        let changed = match entry.get_entry_type() {
            EntryType::EntryNormal => None,
            EntryType::EntryConfChange => ConfChange::parse_from_bytes(&entry.data)
                .ok()
                .and_then(|change| self.0.apply_conf_change(&change).ok()),
            EntryType::EntryConfChangeV2 => ConfChangeV2::parse_from_bytes(&entry.data)
                .ok()
                .and_then(|change| self.0.apply_conf_change(&change).ok()),
        };
        changed.unwrap_or_else(|| self.0.raft.prs().conf().to_conf_state())
    }
}
