//! Reading the whole log at start: cuts a torn tail, refuses damage, finds the spares.
//!
//! Frames are numbered without a gap, and a frame is written only after the one before it was
//! synced. So an intact frame behind a damaged one proves that the damaged one was durable once.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::LogError;
use super::frame::{self, HEADER, Item, SECTOR};
use super::segment::{SEGMENT_BYTES, Segment, sequence_of};
use super::tail::{Place, Tail};
use crate::disk::Disk;

/// The number of a log's first frame.
pub(super) const FIRST_NUMBER: u64 = 1;
const FORMAT_FILE: &str = "FORMAT";
const FORMAT_FILE_NEW: &str = "FORMAT.new";
const FORMAT_WORDS: &str = "skiff-log 1 ";
/// The format file is one sector: it is there wholly or not at all.
const FORMAT_BYTES: usize = SECTOR;

pub(super) struct Recovered {
    pub(super) tail: Tail,
    pub(super) salt: u32,
    /// The segment with the last frame, and where the next one goes.
    pub(super) active: Option<(Arc<Segment>, u64)>,
    pub(super) full: Vec<(Arc<Segment>, u64)>,
    pub(super) spares: VecDeque<Arc<Segment>>,
    pub(super) next_sequence: u64,
    pub(super) next_number: u64,
}

pub(super) fn recover(disk: &Arc<dyn Disk>, dir: &Path) -> Result<Recovered, LogError> {
    disk.create_dir(dir)
        .map_err(|source| LogError::create(dir, source))?;
    let names = disk
        .list(dir)
        .map_err(|source| LogError::read(dir, source))?;
    let mut sequences: Vec<u64> = names.iter().filter_map(|name| sequence_of(name)).collect();
    sequences.sort_unstable();
    let salt = read_or_make_salt(disk.as_ref(), dir, &names, sequences.is_empty())?;
    let mut segments = Vec::new();
    for sequence in &sequences {
        let segment = Segment::open(disk.as_ref(), dir, *sequence);
        segments.push(Arc::new(
            segment.map_err(|source| LogError::read(dir, source))?,
        ));
    }
    let mut scan = Scan::new(salt);
    for segment in &segments {
        scan.segment(segment)?;
    }
    let mut recovered = scan.finish(segments)?;
    recovered.next_sequence = sequences.last().map_or(0, |last| last + 1);
    drop_short_spares(disk.as_ref(), dir, &mut recovered)?;
    Ok(recovered)
}

/// A spare that is too short is what a crash left of making one.
fn drop_short_spares(disk: &dyn Disk, dir: &Path, found: &mut Recovered) -> Result<(), LogError> {
    let spares = std::mem::take(&mut found.spares);
    let (good, short): (VecDeque<_>, VecDeque<_>) = spares
        .into_iter()
        .partition(|spare| spare.len == SEGMENT_BYTES);
    found.spares = good;
    for spare in &short {
        disk.remove(&spare.path)
            .map_err(|source| LogError::create(&spare.path, source))?;
    }
    if short.is_empty() {
        return Ok(());
    }
    disk.sync_dir(dir)
        .map_err(|source| LogError::create(dir, source))
}

struct Scan {
    salt: u32,
    tail: Tail,
    /// Nothing until the first frame was found: its number may be any.
    next_number: Option<u64>,
    active: Option<(Arc<Segment>, u64)>,
    full: Vec<(Arc<Segment>, u64)>,
    active_last: u64,
    /// Where the frame after the last one should be and is not.
    end: Option<(Arc<Segment>, u64)>,
    /// Whether a segment without frames was read in full.
    empty_seen: bool,
    buffer: Vec<u8>,
}

impl Scan {
    fn new(salt: u32) -> Self {
        Self {
            salt,
            tail: Tail::default(),
            next_number: None,
            active: None,
            full: Vec::new(),
            active_last: 0,
            end: None,
            empty_seen: false,
            buffer: Vec::new(),
        }
    }

    /// Reads one segment: frames that continue the log, then anything that must not be there.
    fn segment(&mut self, segment: &Arc<Segment>) -> Result<(), LogError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        if !self.may_hold_frames(segment, &mut buffer)? {
            self.buffer = buffer;
            return Ok(());
        }
        let number_before = self.next_number;
        let mut offset = 0;
        while let Some(bytes) = buffer.get(offset..) {
            let Some(found) = frame::parse(bytes, self.salt) else {
                break;
            };
            if self.next_number.is_some_and(|next| next != found.number) {
                break;
            }
            let len = frame::frame_len(found.payload.len());
            self.take(segment, offset as u64, len, found)?;
            offset += len;
        }
        self.refuse_later(segment, &buffer, offset)?;
        self.empty_seen |= self.next_number == number_before;
        self.buffer = buffer;
        Ok(())
    }

    /// Fills the buffer with the segment, or tells from its first bytes that it is a spare: a
    /// segment is always filled from its start. The first one that looks empty is read all the
    /// same: a medium may return zeros for what it lost.
    fn may_hold_frames(&self, segment: &Segment, buffer: &mut Vec<u8>) -> Result<bool, LogError> {
        let len = usize::try_from(segment.len).unwrap_or(usize::MAX);
        let read = |buffer: &mut Vec<u8>, len: usize| {
            buffer.resize(len, 0);
            let read = segment.file.read_at(0, buffer);
            read.map_err(|source| LogError::read(&segment.path, source))
        };
        read(buffer, len.min(SECTOR))?;
        if self.empty_seen && buffer.iter().take(HEADER).all(|byte| *byte == 0) {
            return Ok(false);
        }
        read(buffer, len)?;
        Ok(true)
    }

    fn take(
        &mut self,
        segment: &Arc<Segment>,
        offset: u64,
        len: usize,
        found: frame::Frame<'_>,
    ) -> Result<(), LogError> {
        let path = || segment.path.clone();
        let items = frame::items(found.payload);
        let items = items.ok_or_else(|| LogError::Version {
            path: path(),
            offset,
        })?;
        if let Some((left, _)) = self
            .active
            .take()
            .filter(|(left, _)| !Arc::ptr_eq(left, segment))
        {
            self.full.push((left, self.active_last));
        }
        let mut entries: Vec<(u64, u64)> = Vec::new();
        for item in items {
            match item {
                Item::Base(base) => self.tail.rebase(base),
                Item::HardState(state) => self.tail.hard_state = state,
                Item::Entry(entry) => entries.push((entry.index, entry.term)),
            }
        }
        for (index, term) in &entries {
            self.tail.note(*index, *term);
        }
        if let (Some((first, _)), Some((last, term))) = (entries.first(), entries.last()) {
            let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
            let (offset, len) = (narrow(offset), narrow(len as u64));
            let place = Place {
                first: *first,
                segment: segment.clone(),
                offset,
                len,
            };
            self.tail.placed(place, *last, *term);
            self.active_last = self.active_last.max(*last);
        }
        self.next_number = Some(found.number + 1);
        self.active = Some((segment.clone(), offset + len as u64));
        self.end = None;
        Ok(())
    }

    /// Fails if an intact frame that was written later stands anywhere from `offset` on.
    fn refuse_later(
        &mut self,
        segment: &Arc<Segment>,
        buffer: &[u8],
        offset: usize,
    ) -> Result<(), LogError> {
        let end = self
            .end
            .get_or_insert_with(|| (segment.clone(), offset as u64))
            .clone();
        let rest = buffer.get(offset..).unwrap_or_default();
        for at in (0..rest.len()).step_by(SECTOR) {
            let Some(found) = frame::parse(rest.get(at..).unwrap_or_default(), self.salt) else {
                continue;
            };
            let missing = self.next_number.unwrap_or(FIRST_NUMBER);
            if found.number > missing || self.next_number.is_none() {
                let (path, offset) = (end.0.path.clone(), end.1);
                return Err(LogError::Damaged {
                    path,
                    offset,
                    missing,
                    later: found.number,
                });
            }
        }
        Ok(())
    }

    fn finish(self, segments: Vec<Arc<Segment>>) -> Result<Recovered, LogError> {
        if let Some((active, _)) = &self.active {
            // What a killed process wrote may be in the page cache only. It counts from now on,
            // so it must be durable from now on.
            let synced = active.file.sync_data();
            synced.map_err(|source| LogError::write(&active.path, source))?;
        }
        let active = self.active.as_ref().map(|(segment, _)| segment.sequence);
        let behind = |segment: &Arc<Segment>| active.is_none_or(|it| segment.sequence > it);
        Ok(Recovered {
            spares: segments.into_iter().filter(behind).collect(),
            tail: self.tail,
            salt: self.salt,
            active: self.active,
            full: self.full,
            next_sequence: 0,
            next_number: self.next_number.unwrap_or(FIRST_NUMBER),
        })
    }
}

fn read_or_make_salt(
    disk: &dyn Disk,
    dir: &Path,
    names: &[String],
    empty: bool,
) -> Result<u32, LogError> {
    let path = dir.join(FORMAT_FILE);
    if names.iter().any(|name| name == FORMAT_FILE) {
        let mut bytes = [0; FORMAT_BYTES];
        let read = disk
            .open(&path)
            .and_then(|file| file.read_at(0, &mut bytes));
        read.map_err(|source| LogError::read(&path, source))?;
        return parse_format(&bytes).ok_or(LogError::Format { path });
    }
    if !empty {
        return Err(LogError::Format { path });
    }
    let salt = rand::random();
    let make = || {
        let new = dir.join(FORMAT_FILE_NEW);
        if names.iter().any(|name| name == FORMAT_FILE_NEW) {
            disk.remove(&new)?;
        }
        let file = disk.create(&new, FORMAT_BYTES as u64)?;
        file.write_at(0, format!("{FORMAT_WORDS}{salt:08x}\n").as_bytes())?;
        file.sync_data()?;
        disk.rename(&new, &path)?;
        disk.sync_dir(dir)
    };
    make().map_err(|source| LogError::create(&path, source))?;
    Ok(salt)
}

fn parse_format(bytes: &[u8]) -> Option<u32> {
    let line = std::str::from_utf8(bytes.split(|byte| *byte == b'\n').next()?).ok()?;
    u32::from_str_radix(line.strip_prefix(FORMAT_WORDS)?, 16).ok()
}
