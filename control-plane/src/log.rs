//! The raft log on disk (step 6 of the walk): entries and hard state in pre-written segments, one
//! frame and one fdatasync for each group, one writer.
//!
//! - `frame`: the unit that is there wholly or not at all; - `segment`: files, written in advance
//!   and recycled; - `tail`: what is known without reading; - `recover`: reading it all at start;
//! - `view`: what raft reads.
//!
//! What [`Log::append`] returned for survives a power loss. An append that did not return may
//! leave a torn frame at the end, which is cut at the next start; damage anywhere else stops the
//! start, since acknowledged writes may be missing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use raft::eraftpb::{ConfState, Entry, HardState};

use crate::checkpoint::Mark;
use crate::disk::Disk;

mod error;
mod frame;
mod preparer;
mod recover;
mod segment;
mod tail;
mod view;

pub use error::LogError;
pub use preparer::Preparer;
pub(crate) use preparer::prepare;
pub use view::{LogView, Room, Snapshots};

use frame::FrameBuilder;
use segment::{Pool, Segment};
use tail::Place;

/// Entries are grouped into frames of about this size; a longer batch takes several syncs.
const FRAME_PAYLOAD_BYTES_MAX: usize = 2 << 20;
/// The largest entry: it must fit into one segment, with what begins a segment.
pub const ENTRY_BYTES_MAX: usize = 6 << 20;
/// A frame buffer beyond this is given back after use.
const BUFFER_BYTES_KEPT: usize = 256 << 10;

/// Where the log begins: everything up to `index` is in a checkpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Base {
    /// The last index that is not in the log.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The members as of `index`.
    pub conf_state: ConfState,
}

impl Base {
    /// A log that continues what a mark describes.
    #[must_use]
    pub fn at(mark: &Mark) -> Self {
        Self {
            index: mark.index,
            term: mark.term,
            conf_state: mark.conf_state.clone(),
        }
    }
}

/// What one append makes durable, all together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The new hard state, if it changed.
    pub hard_state: Option<HardState>,
    /// Entries without a gap; they replace whatever stands at their indexes and behind.
    pub entries: Vec<Entry>,
}

impl Batch {
    /// Whether there is nothing to write.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.hard_state.is_none() && self.entries.is_empty()
    }

    /// Adds what came later.
    pub fn merge(&mut self, later: Self) {
        if later.hard_state.is_some() {
            self.hard_state = later.hard_state;
        }
        if let Some(first) = later.entries.first().map(|entry| entry.index) {
            while self
                .entries
                .last()
                .is_some_and(|entry| entry.index >= first)
            {
                self.entries.pop();
            }
        }
        self.entries.extend(later.entries);
    }
}

/// The writer of the log; there is one.
#[derive(Debug)]
pub struct Log {
    view: LogView,
    active: Arc<Segment>,
    offset: u64,
    next_number: u64,
    salt: u32,
    /// Segments before the active one, with the last index that each held when it was left.
    full: Vec<(Arc<Segment>, u64)>,
    /// The highest index written to the active segment.
    active_last: u64,
    /// As of the last durable frame, as is the base. Raft and others may know of newer ones already.
    hard_state: HardState,
    base: Base,
    builder: FrameBuilder,
}

impl Log {
    /// Opens the log in `dir`, or makes one that begins at `fresh` if there is none.
    ///
    /// # Errors
    /// [`LogError::Damaged`] if something is wrong that a torn last write doesn't explain; any
    /// other if the disk fails.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, fresh: &Base) -> Result<Self, LogError> {
        let recovered = recover::recover(&disk, dir)?;
        let pool = Pool::new(disk, dir, recovered.spares, recovered.next_sequence);
        let view = LogView::new(recovered.tail, Arc::new(pool), recovered.salt);
        let (hard_state, base) = (view.hard_state(), view.base());
        let (active, offset) = match recovered.active {
            Some(active) => active,
            None => {
                let first = view
                    .pool()
                    .take()
                    .map_or_else(|| view.pool().create_first(), Ok);
                (first.map_err(|source| LogError::create(dir, source))?, 0)
            }
        };
        let mut log = Self {
            active_last: view.last(),
            view,
            active,
            offset,
            next_number: recovered.next_number,
            salt: recovered.salt,
            full: recovered.full,
            hard_state,
            base,
            builder: FrameBuilder::default(),
        };
        if log.next_number == recover::FIRST_NUMBER {
            log.rebase(fresh.clone())?;
        }
        log.publish_room();
        Ok(log)
    }

    /// What raft and others read.
    #[must_use]
    pub fn view(&self) -> LogView {
        self.view.clone()
    }

    /// Makes a batch durable and empties it as it does. After [`LogError::NoSpace`] it holds what is
    /// left to write: appended again, it goes on from there, however often it finds no space.
    ///
    /// # Errors
    /// [`LogError::NoSpace`] if no segment is left, [`LogError::Write`] if the disk failed: the
    /// log's state on disk is then unknown and the process must end.
    pub fn append(&mut self, batch: &mut Batch) -> Result<(), LogError> {
        while !batch.is_empty() {
            let count = group_len(&batch.entries);
            let group = batch.entries.get(..count).unwrap_or_default();
            self.write_group(batch.hard_state.as_ref(), group)?;
            batch.hard_state = None;
            batch.entries.drain(..count);
        }
        Ok(())
    }

    /// Notes durably that the log begins behind `base`, and frees the segments that hold nothing
    /// else. Entries behind `base` stay if they continue it and are dropped otherwise.
    ///
    /// # Errors
    /// As for [`Log::append`].
    pub fn rebase(&mut self, base: Base) -> Result<(), LogError> {
        self.replace(base, None)
    }

    /// [`Log::rebase`] with a hard state that becomes durable in the same moment: no term in the
    /// log may be above the one that raft knows.
    ///
    /// # Errors
    /// As for [`Log::append`].
    pub fn replace(&mut self, base: Base, hard_state: Option<&HardState>) -> Result<(), LogError> {
        self.view.rebase(base.clone());
        self.write_frame(Some(&base), hard_state, &[])?;
        let kept = self.full.iter().position(|(_, last)| *last > base.index);
        let freed: Vec<_> = self.full.drain(..kept.unwrap_or(self.full.len())).collect();
        self.view
            .pool()
            .free(freed.into_iter().map(|(segment, _)| segment));
        Ok(())
    }

    /// Waits for space, at most `limit`: for a spare segment, or, if it was not a segment that was
    /// missing, for whatever else the file system lacks.
    pub fn wait_for_space(&self, limit: Duration) {
        let pool = self.view.pool();
        if pool.spare_bytes() == 0 {
            pool.wait_for_spare(limit);
        } else {
            pool.pause(limit);
        }
    }

    fn write_group(&mut self, hard: Option<&HardState>, group: &[Entry]) -> Result<(), LogError> {
        let (offset, len) = self.write_frame(None, hard, group)?;
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            return Ok(());
        };
        let segment = self.active.clone();
        let place = Place {
            first: first.index,
            segment,
            offset,
            len,
        };
        self.view.placed(place, last.index, last.term);
        self.active_last = self.active_last.max(last.index);
        Ok(())
    }

    /// Writes and syncs one frame; tells where it stands.
    fn write_frame(
        &mut self,
        base: Option<&Base>,
        hard: Option<&HardState>,
        group: &[Entry],
    ) -> Result<(u32, u32), LogError> {
        self.build(base, hard, group);
        let len = frame::frame_len(self.builder.payload_len()) as u64;
        if self.offset + len > self.active.len {
            self.go_to_next_segment()?;
        }
        if self.offset == 0 {
            // Each segment stands by itself: those before it may be gone.
            let (durable_base, durable) = (self.base.clone(), self.hard_state.clone());
            let (base, hard) = (base.unwrap_or(&durable_base), hard.unwrap_or(&durable));
            self.build(Some(base), Some(hard), group);
        }
        let bytes = self.builder.finish(self.next_number, self.salt);
        let len = bytes.len() as u64;
        if self.offset + len > self.active.len {
            let source = io::Error::other("an entry is larger than a segment");
            return Err(LogError::write(&self.active.path, source));
        }
        let written = self.active.file.write_at(self.offset, bytes);
        let outcome = written.and_then(|()| self.active.file.sync_data());
        outcome.map_err(|source| LogError::write(&self.active.path, source))?;
        let offset = self.offset;
        self.offset += len;
        self.next_number += 1;
        if let Some(hard) = hard {
            self.hard_state = hard.clone();
        }
        if let Some(base) = base.filter(|base| base.index >= self.base.index) {
            self.base = base.clone();
        }
        self.builder.shrink(BUFFER_BYTES_KEPT);
        self.publish_room();
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok((narrow(offset), narrow(len)))
    }

    fn build(&mut self, base: Option<&Base>, hard: Option<&HardState>, group: &[Entry]) {
        self.builder.start();
        if let Some(base) = base {
            self.builder.push_base(base);
        }
        if let Some(hard) = hard {
            self.builder.push_hard_state(hard);
        }
        for entry in group {
            self.builder.push_entry(entry);
        }
    }

    fn go_to_next_segment(&mut self) -> Result<(), LogError> {
        let next = self.view.pool().take().ok_or(LogError::NoSpace)?;
        let left = std::mem::replace(&mut self.active, next);
        self.full.push((left, self.active_last));
        self.offset = 0;
        Ok(())
    }

    fn publish_room(&self) {
        self.view
            .set_active_room(self.active.len.saturating_sub(self.offset));
    }
}

/// How many of the entries go into the next frame: at least one.
fn group_len(entries: &[Entry]) -> usize {
    let mut bytes = 0;
    let fitting = entries.iter().take_while(|entry| {
        bytes += frame::entry_len(entry);
        bytes <= FRAME_PAYLOAD_BYTES_MAX
    });
    fitting.count().max(1).min(entries.len())
}

/// The directory of the log below a store's directory.
#[must_use]
pub fn dir_below(store: &Path) -> PathBuf {
    store.join("log")
}

/// Whether an error means that the disk is full, now.
pub(crate) fn is_no_space(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests;
