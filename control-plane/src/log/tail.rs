//! What is known of the log without reading it: where it begins and ends, the term of each entry,
//! where each one stands on disk, and the newest entries themselves.
//!
//! Shared between the raft thread, which appends and reads, and the log's writer, which tells what
//! has become durable. Plain memory: nobody waits for the disk while holding it.

use std::collections::VecDeque;
use std::sync::Arc;

use raft::eraftpb::{Entry, HardState};

use super::segment::Segment;
use super::{Base, frame};

/// Entries kept in memory once they are durable and applied, for peers that lag a little. Small,
/// since an idle server pays for it.
const CACHE_BYTES_MAX: usize = 2 << 20;

/// Where a frame with entries stands; it is good for the entries from `first` up to the next
/// place's `first`.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) first: u64,
    pub(super) segment: Arc<Segment>,
    pub(super) offset: u32,
    pub(super) len: u32,
}

/// Where to find a run of entries.
#[derive(Debug)]
pub(super) enum Found {
    Here(Vec<Entry>),
    /// To be read from the first of each pair on, up to the second.
    OnDisk(Vec<(Place, u64)>),
}

/// Why entries cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    Compacted,
    Unavailable,
}

#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) base: Base,
    pub(super) hard_state: HardState,
    last: u64,
    /// The first index of each run of entries of one term.
    terms: VecDeque<(u64, u64)>,
    places: VecDeque<Place>,
    /// The newest entries, without a gap up to `last`.
    cache: VecDeque<Entry>,
    cache_bytes: usize,
    durable: u64,
    applied: u64,
}

impl Tail {
    pub(super) const fn first(&self) -> u64 {
        self.base.index + 1
    }

    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn term(&self, index: u64) -> Result<u64, Absent> {
        if index == self.base.index {
            return Ok(self.base.term);
        }
        if index < self.base.index {
            return Err(Absent::Compacted);
        }
        if index > self.last {
            return Err(Absent::Unavailable);
        }
        let run = self.terms.partition_point(|(first, _)| *first <= index);
        let run = run.checked_sub(1).and_then(|run| self.terms.get(run));
        run.map(|(_, term)| *term).ok_or(Absent::Unavailable)
    }

    /// Starts the log anew behind `base`, keeping the entries after it if they continue it.
    pub(super) fn rebase(&mut self, base: Base) {
        if base.index < self.base.index {
            return;
        }
        // While the log is read at start, entries before the new base may be gone already.
        let term = self.term(base.index).unwrap_or(base.term);
        let continued = base.index <= self.last && term == base.term;
        let first = base.index + 1;
        self.base = base;
        if !continued {
            self.truncate(0);
            self.last = first - 1;
            self.durable = first - 1;
            return;
        }
        while self.terms.get(1).is_some_and(|(next, _)| *next <= first) {
            self.terms.pop_front();
        }
        if let Some((run, _)) = self.terms.front_mut() {
            *run = (*run).max(first);
        }
        if first > self.last {
            self.terms.clear();
        }
        while self.places.get(1).is_some_and(|next| next.first <= first) {
            self.places.pop_front();
        }
        while self.cache.front().is_some_and(|entry| entry.index < first) {
            self.evict_front();
        }
    }

    /// Forgets the entries from `index` on.
    fn truncate(&mut self, index: u64) {
        while self.terms.back().is_some_and(|(first, _)| *first >= index) {
            self.terms.pop_back();
        }
        while self.places.back().is_some_and(|place| place.first >= index) {
            self.places.pop_back();
        }
        while self.cache.back().is_some_and(|entry| entry.index >= index) {
            if let Some(entry) = self.cache.pop_back() {
                self.cache_bytes -= frame::entry_len(&entry);
            }
        }
        self.last = self.last.min(index.saturating_sub(1));
        self.durable = self.durable.min(self.last);
    }

    /// Notes the index and term of a new last entry; whatever stood there and behind is gone.
    pub(super) fn note(&mut self, index: u64, term: u64) {
        if index <= self.last {
            self.truncate(index);
        }
        if self.terms.back().is_none_or(|(_, last)| *last != term) {
            self.terms.push_back((index, term));
        }
        self.last = index;
    }

    /// Appends entries that are not durable yet.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.note(entry.index, entry.term);
            self.cache_bytes += frame::entry_len(entry);
            self.cache.push_back(entry.clone());
        }
    }

    /// Notes where entries have become durable.
    pub(super) fn placed(&mut self, place: Place, last: u64, last_term: u64) {
        while self
            .places
            .back()
            .is_some_and(|old| old.first >= place.first)
        {
            self.places.pop_back();
        }
        self.places.push_back(place);
        // Entries that were replaced in the meantime are durable in vain.
        if self.term(last) == Ok(last_term) {
            self.durable = self.durable.max(last);
        }
        self.evict();
    }

    /// Notes how far the entries were applied.
    pub(super) fn applied(&mut self, index: u64) {
        self.applied = self.applied.max(index);
        self.evict();
    }

    fn evict(&mut self) {
        let needless = self.durable.min(self.applied);
        while self.cache_bytes > CACHE_BYTES_MAX
            && self
                .cache
                .front()
                .is_some_and(|entry| entry.index <= needless)
        {
            self.evict_front();
        }
    }

    fn evict_front(&mut self) {
        if let Some(entry) = self.cache.pop_front() {
            self.cache_bytes -= frame::entry_len(&entry);
        }
    }

    /// Finds the entries from `low` up to `high`, not including it: some from the first on, at
    /// most `bytes_max` of them but at least one.
    pub(super) fn find(&self, low: u64, high: u64, bytes_max: u64) -> Result<Found, Absent> {
        if low < self.first() {
            return Err(Absent::Compacted);
        }
        if high > self.last + 1 {
            return Err(Absent::Unavailable);
        }
        let cached_from = self
            .cache
            .front()
            .map_or(self.last + 1, |entry| entry.index);
        if low >= cached_from {
            let skip = usize::try_from(low - cached_from).unwrap_or(usize::MAX);
            let count = usize::try_from(high - low).unwrap_or(usize::MAX);
            let mut bytes = 0;
            let run = self
                .cache
                .iter()
                .skip(skip)
                .take(count)
                .take_while(|entry| {
                    let first = bytes == 0;
                    bytes += frame::entry_len(entry) as u64;
                    first || bytes <= bytes_max
                });
            return Ok(Found::Here(run.cloned().collect()));
        }
        let high = high.min(cached_from);
        let start = self
            .places
            .partition_point(|place| place.first <= low)
            .saturating_sub(1);
        let mut bytes = 0;
        let mut found = Vec::new();
        for (at, place) in self.places.iter().enumerate().skip(start) {
            if place.first >= high || bytes > bytes_max {
                break;
            }
            let end = self
                .places
                .get(at + 1)
                .map_or(self.last + 1, |next| next.first);
            found.push((place.clone(), end.min(high)));
            bytes += u64::from(place.len);
        }
        Ok(Found::OnDisk(found))
    }
}
