//! What raft and the rest of the store read of the log, while its writer writes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::frame::{self, Item};
use super::segment::Pool;
use super::tail::{Absent, Found, Place, Tail};
use super::{Base, LogError};
use crate::checkpoint::Mark;

/// A shared view of the log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogView {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tail: Mutex<Tail>,
    pool: Arc<Pool>,
    salt: u32,
    active_room: AtomicU64,
    start: Mutex<Option<(u64, ConfState)>>,
    snapshots: OnceLock<Arc<dyn Snapshots>>,
}

/// Who has states for members that are too far behind for the log.
pub trait Snapshots: Send + Sync + fmt::Debug {
    /// Keeps a state at `index` or later for being sent and tells where it stands; nothing if
    /// there is none yet.
    fn promise(&self, index: u64) -> Option<Mark>;
}

/// How much can still be appended without asking the file system for space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes in segments that are ready.
    pub bytes: u64,
    /// Whether more cannot be had, because the disk is full.
    pub no_space: bool,
}

impl LogView {
    pub(super) fn new(tail: Tail, pool: Arc<Pool>, salt: u32) -> Self {
        let (tail, active_room, start) = (Mutex::new(tail), AtomicU64::new(0), Mutex::new(None));
        let snapshots = OnceLock::new();
        Self {
            shared: Arc::new(Shared {
                tail,
                pool,
                salt,
                active_room,
                start,
                snapshots,
            }),
        }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.shared
            .tail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    pub(super) fn set_active_room(&self, bytes: u64) {
        self.shared.active_room.store(bytes, Ordering::Release);
    }

    pub(crate) fn rebase(&self, base: Base) {
        self.tail().rebase(base);
    }

    pub(super) fn placed(&self, place: Place, last: u64, last_term: u64) {
        self.tail().placed(place, last, last_term);
    }

    /// What can be appended now.
    #[must_use]
    pub fn room(&self) -> Room {
        let bytes = self.shared.active_room.load(Ordering::Acquire) + self.pool().spare_bytes();
        Room {
            bytes,
            no_space: self.pool().no_space(),
        }
    }

    /// Whether the disk is full and the next append may have to wait.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        let room = self.room();
        room.no_space && room.bytes < super::segment::FIRST_SEGMENT_BYTES
    }

    /// Where the log begins.
    #[must_use]
    pub fn base(&self) -> Base {
        self.tail().base.clone()
    }

    /// The index of the last entry, durable or not.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.tail().last()
    }

    /// The hard state as raft knows it, durable or not. Its commit index never lies behind the
    /// end of the log.
    #[must_use]
    pub fn hard_state(&self) -> HardState {
        let tail = self.tail();
        let mut state = tail.hard_state.clone();
        state.commit = state.commit.min(tail.last()).max(tail.base.index);
        state
    }

    /// Tells raft to start from an applied state that is newer than the beginning of the log.
    pub fn start_at(&self, applied: u64, conf_state: ConfState) {
        *self
            .shared
            .start
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some((applied, conf_state));
        self.applied(applied);
    }

    /// Tells where snapshots come from; there are none before, and only the first word counts.
    pub fn set_snapshots(&self, snapshots: Arc<dyn Snapshots>) {
        self.shared.snapshots.get_or_init(|| snapshots);
    }

    /// Takes in entries that are on their way to the disk; raft reads them from now on.
    pub fn append(&self, entries: &[Entry]) {
        self.tail().append(entries);
    }

    /// Notes how far the entries were applied: older ones need not stay in memory.
    pub fn applied(&self, index: u64) {
        self.tail().applied(index);
    }

    /// Reads entries from `low` up to `high`, not including it: some from the first on, about
    /// `bytes_max` of them but at least one.
    fn read(&self, low: u64, high: u64, bytes_max: u64) -> Result<Vec<Entry>, StorageError> {
        let found = self
            .tail()
            .find(low, high, bytes_max)
            .map_err(storage_error)?;
        let places = match found {
            Found::Here(entries) => return Ok(entries),
            Found::OnDisk(places) => places,
        };
        let mut entries = Vec::new();
        for (place, end) in places {
            match read_place(&place, self.shared.salt) {
                Ok(found) => {
                    entries.extend(
                        found
                            .into_iter()
                            .filter(|e| low <= e.index && e.index < end),
                    );
                }
                // The segment may have been freed and written anew since we looked.
                Err(_) if low < self.tail().first() => return Err(StorageError::Compacted),
                Err(err) => return Err(StorageError::Other(Box::new(err))),
            }
        }
        raft::util::limit_size(&mut entries, Some(bytes_max));
        Ok(entries)
    }
}

fn read_place(place: &Place, salt: u32) -> Result<Vec<Entry>, LogError> {
    let path = &place.segment.path;
    let mut bytes = vec![0; usize::try_from(place.len).unwrap_or(usize::MAX)];
    let offset = u64::from(place.offset);
    let read = place.segment.file.read_at(offset, &mut bytes);
    read.map_err(|source| LogError::read(path, source))?;
    let items = frame::parse(&bytes, salt).and_then(|frame| frame::items(frame.payload));
    let damaged = || {
        let source = std::io::Error::other(format!("the frame at byte {offset} is damaged"));
        LogError::read(path, source)
    };
    let items = items.ok_or_else(damaged)?.into_iter();
    let entries = items.filter_map(|item| match item {
        Item::Entry(entry) => Some(entry),
        Item::HardState(_) | Item::Base(_) => None,
    });
    Ok(entries.collect())
}

const fn storage_error(absent: Absent) -> StorageError {
    match absent {
        Absent::Compacted => StorageError::Compacted,
        Absent::Unavailable => StorageError::Unavailable,
    }
}

impl Storage for LogView {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let start = self
            .shared
            .start
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut hard_state = self.hard_state();
        let Some((applied, conf_state)) = start else {
            return Ok(RaftState::new(hard_state, self.base().conf_state));
        };
        // What was applied was committed, even if that was not written down yet.
        hard_state.commit = hard_state.commit.max(applied);
        Ok(RaftState::new(hard_state, conf_state))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        Ok(self.read(low, high, max_size.into().unwrap_or(u64::MAX))?)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        Ok(self.tail().term(index).map_err(storage_error)?)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.tail().first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.tail().last())
    }

    fn snapshot(&self, index: u64, _to: u64) -> raft::Result<Snapshot> {
        let promised = self
            .shared
            .snapshots
            .get()
            .and_then(|all| all.promise(index));
        let mark = promised.ok_or(StorageError::SnapshotTemporarilyUnavailable)?;
        // The state itself goes another way: raft only has to know where it stands.
        let mut snapshot = Snapshot::default();
        let meta = snapshot.mut_metadata();
        (meta.index, meta.term) = (mark.index, mark.term);
        meta.set_conf_state(mark.conf_state);
        Ok(snapshot)
    }
}
