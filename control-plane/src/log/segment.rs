//! Segments: the files of the log, written with zeros in advance and used again.
//!
//! A spare already bears the name of the place it will have, and both are durable, so that going
//! over to it costs the writer no metadata operation.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::disk::{Disk, DiskFile};

/// The length of every segment but the first. Written with zeros in some 30 ms, filled in a
/// second by a busy server.
pub(super) const SEGMENT_BYTES: u64 = 8 << 20;
/// The first segment is short: a new server is ready before a full one could be written.
pub(super) const FIRST_SEGMENT_BYTES: u64 = 1 << 20;
/// Spares that are made if there are none to recycle: one to go on with and one in reserve for
/// the time in which the disk is full.
const SPARES_MIN: usize = 2;
/// Freed segments beyond this many spares go back to the file system.
const SPARES_MAX: usize = 8;
const SUFFIX: &str = ".log";

/// One file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) sequence: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) len: u64,
}

impl Segment {
    pub(super) fn open(disk: &dyn Disk, dir: &Path, sequence: u64) -> io::Result<Self> {
        let path = path(dir, sequence);
        let file = disk.open(&path)?;
        let len = file.len_bytes()?;
        Ok(Self {
            sequence,
            path,
            file,
            len,
        })
    }
}

fn path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:016x}{SUFFIX}"))
}

/// The sequence number that a file name stands for, if it is a segment's.
pub(super) fn sequence_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_suffix(SUFFIX)?, 16).ok()
}

/// The segments that hold nothing that is needed.
#[derive(Debug)]
pub(super) struct Pool {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    state: Mutex<PoolState>,
    changed: Condvar,
}

#[derive(Debug)]
struct PoolState {
    spares: VecDeque<Arc<Segment>>,
    /// Compacted segments in their order in the log. They must leave it in this order, or a crash
    /// in between would leave a gap.
    freed: VecDeque<Arc<Segment>>,
    next_sequence: u64,
    /// Whether the directory was changed and not synced yet.
    unsynced: bool,
    /// What becomes a spare once it is.
    made: Option<Arc<Segment>>,
    no_space: bool,
    closed: bool,
}

impl Pool {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        spares: VecDeque<Arc<Segment>>,
        next_sequence: u64,
    ) -> Self {
        let freed = VecDeque::new();
        let state = PoolState {
            spares,
            freed,
            next_sequence,
            unsynced: false,
            made: None,
            no_space: false,
            closed: false,
        };
        let changed = Condvar::new();
        Self {
            disk,
            dir: dir.to_owned(),
            state: Mutex::new(state),
            changed,
        }
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next segment, if one is ready.
    pub(super) fn take(&self) -> Option<Arc<Segment>> {
        let spare = self.lock().spares.pop_front();
        self.changed.notify_all();
        spare
    }

    /// Bytes in spares.
    pub(super) fn spare_bytes(&self) -> u64 {
        self.lock().spares.iter().map(|spare| spare.len).sum()
    }

    /// Whether the last attempt to make a spare failed for lack of space.
    pub(super) fn no_space(&self) -> bool {
        self.lock().no_space
    }

    /// Takes segments whose entries are compacted, oldest first.
    pub(super) fn free(&self, segments: impl IntoIterator<Item = Arc<Segment>>) {
        self.lock().freed.extend(segments);
        self.changed.notify_all();
    }

    /// Does one piece of work: turns a freed segment into a spare, or removes it, or writes a new
    /// one. Tells whether there was anything to do. Only one thread may call this.
    ///
    /// What failed in the middle is finished by the next call.
    pub(super) fn prepare(&self) -> io::Result<bool> {
        if !self.lock().unsynced && !self.change()? {
            return Ok(false);
        }
        self.disk.sync_dir(&self.dir)?;
        let mut state = self.lock();
        let made = state.made.take();
        state.spares.extend(made);
        state.unsynced = false;
        state.no_space = false;
        drop(state);
        self.changed.notify_all();
        Ok(true)
    }

    /// Changes the directory, if there is anything to do. A number that was tried is not used again:
    /// its file may be there all the same.
    fn change(&self) -> io::Result<bool> {
        let (freed, spares) = {
            let state = self.lock();
            (state.freed.front().cloned(), state.spares.len())
        };
        let made = match freed {
            Some(freed) if spares < SPARES_MAX && freed.len == SEGMENT_BYTES => {
                let sequence = self.next_sequence();
                let path = path(&self.dir, sequence);
                self.disk.rename(&freed.path, &path)?;
                self.lock().freed.pop_front();
                Some(Segment {
                    sequence,
                    path,
                    file: freed.file.clone(),
                    len: freed.len,
                })
            }
            Some(freed) => {
                self.disk.remove(&freed.path)?;
                self.lock().freed.pop_front();
                None
            }
            None if spares < SPARES_MIN => Some(self.create(SEGMENT_BYTES)?),
            None => return Ok(false),
        };
        let mut state = self.lock();
        state.made = made.map(Arc::new);
        state.unsynced = true;
        Ok(true)
    }

    /// Makes the first segment of a new log.
    pub(super) fn create_first(&self) -> io::Result<Arc<Segment>> {
        let segment = Arc::new(self.create(FIRST_SEGMENT_BYTES)?);
        self.disk.sync_dir(&self.dir)?;
        Ok(segment)
    }

    fn create(&self, len: u64) -> io::Result<Segment> {
        let sequence = self.next_sequence();
        let path = path(&self.dir, sequence);
        let file = self.disk.create(&path, len)?;
        Ok(Segment {
            sequence,
            path,
            file,
            len,
        })
    }

    fn next_sequence(&self) -> u64 {
        let mut state = self.lock();
        let sequence = state.next_sequence;
        state.next_sequence += 1;
        sequence
    }

    /// Notes that the disk is full; proposals are refused until a spare could be made again.
    pub(super) fn set_no_space(&self) {
        self.lock().no_space = true;
        self.changed.notify_all();
    }

    /// Waits until there may be work for [`Pool::prepare`]; false when the pool was closed.
    pub(super) fn wait_for_work(&self) -> bool {
        let state = self.lock();
        let idle = |state: &mut PoolState| {
            let settled = state.freed.is_empty() && !state.unsynced;
            !state.closed && settled && state.spares.len() >= SPARES_MIN
        };
        let state = self.changed.wait_while(state, idle);
        !state.unwrap_or_else(PoisonError::into_inner).closed
    }

    /// Waits at most `limit`, less if the pool is closed; false if it was.
    pub(super) fn pause(&self, limit: Duration) -> bool {
        let state = self.lock();
        let waited = self
            .changed
            .wait_timeout_while(state, limit, |state| !state.closed);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// Waits until a spare is ready, the pool is closed, or `limit` has passed.
    pub(super) fn wait_for_spare(&self, limit: Duration) {
        let state = self.lock();
        let lacking = |state: &mut PoolState| !state.closed && state.spares.is_empty();
        drop(self.changed.wait_timeout_while(state, limit, lacking));
    }

    /// Ends all waiting, for good.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }
}
