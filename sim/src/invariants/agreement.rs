//! The servers' states against each other, by a hash that grows with each change.

use std::collections::BTreeMap;

use skiff_api::{Object, Revision};
use skiff_engine::{Change, State};

use super::Judgement;
use crate::trace;

/// The sentence.
pub const SENTENCE: &str = "all servers have the same state at the same index of the log";

/// The hashes of states. That of a state is the sum of its objects', so that a change of one object
/// changes it in no time.
#[derive(Debug)]
pub(super) struct Agreement {
    /// Of the state as of each revision, and who had it first.
    states: BTreeMap<Revision, (u64, usize)>,
    /// The revision at each index, and who was there first.
    indexes: BTreeMap<u64, (Revision, usize)>,
    /// Of each server's state now.
    now: Vec<u64>,
}

impl Agreement {
    pub(super) fn new(servers: usize) -> Self {
        Self {
            states: BTreeMap::new(),
            indexes: BTreeMap::new(),
            now: vec![0; servers],
        }
    }

    pub(super) fn applied(&mut self, server: usize, change: &Change) -> Judgement {
        let Some(now) = self.now.get_mut(server) else {
            return Ok(());
        };
        let side = |object: &Option<Object>| object.as_ref().map_or(0, hash);
        *now = now
            .wrapping_sub(side(&change.was))
            .wrapping_add(side(&change.now));
        let now = *now;
        self.agrees(server, change.revision, now)
    }

    /// Checks a whole state, and goes on from it.
    pub(super) fn recovered(&mut self, server: usize, state: &State) -> Judgement {
        let whole = state
            .objects()
            .fold(0_u64, |sum, object| sum.wrapping_add(hash(object)));
        if let Some(now) = self.now.get_mut(server) {
            *now = whole;
        }
        self.agrees(server, state.revision(), whole)
    }

    pub(super) fn reached(&mut self, server: usize, index: u64, revision: Revision) -> Judgement {
        let (known, first) = *self.indexes.entry(index).or_insert((revision, server));
        if known == revision {
            return Ok(());
        }
        Err(format!(
            "at index {index} s{} stands at revision {revision}, s{} stood at {known}",
            server + 1,
            first + 1
        ))
    }

    fn agrees(&mut self, server: usize, revision: Revision, hash: u64) -> Judgement {
        if revision == Revision(0) && hash == 0 {
            return Ok(());
        }
        let (known, first) = *self.states.entry(revision).or_insert((hash, server));
        if known == hash {
            return Ok(());
        }
        Err(format!(
            "at revision {revision} the state of s{} is not the one that s{} had",
            server + 1,
            first + 1
        ))
    }
}

fn hash(object: &Object) -> u64 {
    let revision = object.revision().0.to_le_bytes();
    trace::hash(trace::hash_of(&revision), object.body())
}
