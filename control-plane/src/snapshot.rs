//! A whole state in pieces: what a leader streams to a member that is too far behind, and what a
//! backup file holds.
//!
//! A row of frames, each `length u32 | crc32 u32 | kind u8 | payload`, little-endian: one with the
//! [`Mark`], then objects in the order of their keys, at last one that counts them. Each frame can
//! be checked by itself, so a broken stream goes on behind the last good frame.

use bytes::Bytes;
use skiff_api::{Malformed, Object, Revision};
use skiff_engine::State;

use crate::checkpoint::{Mark, Record, mark};

/// Frames of objects are about this long: a fraction of a millisecond of work.
const FRAME_BYTES: usize = 256 << 10;
/// A longer frame is not one: the largest object is far smaller.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// What stands before a frame's payload: its length, its checksum.
pub const HEAD_BYTES: usize = 8;

const MARK: u8 = 1;
const OBJECTS: u8 = 2;
const END: u8 = 3;

/// A state, and where in history it stands.
#[derive(Clone, Debug, Default)]
pub struct StateAt {
    /// Where it stands.
    pub mark: Mark,
    /// The objects.
    pub state: State,
}

impl StateAt {
    /// The objects as a checkpoint keeps them.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.state.objects().map(|object| Record {
            revision: object.revision().0,
            body: Bytes::copy_from_slice(object.body()),
        })
    }

    /// Everything as frames, whole ones, in order. The same state makes the same frames.
    pub fn frames(&self) -> impl Iterator<Item = Bytes> + Send + use<> {
        let mut at = Some(Place::Mark);
        let this = self.clone();
        std::iter::from_fn(move || {
            let place = at.take()?;
            let (frame, next) = this.frame(place);
            at = next;
            Some(frame)
        })
    }

    fn frame(&self, place: Place) -> (Bytes, Option<Place>) {
        let after = match place {
            Place::Mark => {
                let payload = mark::encode(&self.mark, mark::Summary::default());
                return (seal(MARK, &payload), Some(Place::Objects(None)));
            }
            Place::End => {
                let count = (self.state.len() as u64).to_le_bytes();
                return (seal(END, &count), None);
            }
            Place::Objects(after) => after,
        };
        let mut payload = Vec::with_capacity(FRAME_BYTES + FRAME_BYTES / 4);
        let mut last = None;
        for object in self.state.objects_after(after.as_ref()) {
            let body = object.body();
            payload.extend_from_slice(&object.revision().0.to_le_bytes());
            payload.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
            payload.extend_from_slice(body);
            if payload.len() >= FRAME_BYTES {
                last = Some(object.key().clone());
                break;
            }
        }
        let next = last.map_or(Place::End, |last| Place::Objects(Some(last)));
        (seal(OBJECTS, &payload), Some(next))
    }
}

enum Place {
    Mark,
    Objects(Option<skiff_api::Key>),
    End,
}

fn seal(kind: u8, payload: &[u8]) -> Bytes {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(payload);
    let len = u32::try_from(payload.len() + 1).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(HEAD_BYTES + 1 + payload.len());
    frame.extend_from_slice(&len.to_le_bytes());
    frame.extend_from_slice(&hasher.finalize().to_le_bytes());
    frame.push(kind);
    frame.extend_from_slice(payload);
    frame.into()
}

/// Why frames are not a state.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A frame's checksum or form is wrong.
    #[error("frame {frame} is damaged")]
    Damaged {
        /// Which one, from 0.
        frame: u64,
    },
    /// The end is missing, or objects are.
    #[error("the snapshot is not complete")]
    Incomplete,
    /// An object is not one.
    #[error("it holds an object that this version cannot read")]
    Object(#[source] Malformed),
}

/// Puts frames together again.
#[derive(Debug, Default)]
pub struct Assembly {
    unread: Vec<u8>,
    frames: u64,
    mark: Option<Mark>,
    objects: Vec<Object>,
    complete: bool,
}

impl Assembly {
    /// How many whole frames were taken: where a broken stream has to go on.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Where the state stands, once the first frame is there.
    #[must_use]
    pub const fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// Forgets a part of a frame: the stream goes on with a whole one.
    pub fn resume(&mut self) {
        self.unread.clear();
    }

    /// Takes bytes, in order, however they were cut.
    ///
    /// # Errors
    /// [`SnapshotError`]; nothing of the assembly can be used then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.unread.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(len) = self.whole_frame(at)? {
            let frame = self.unread.get(at..at + len).unwrap_or_default().to_vec();
            self.take(&frame)?;
            at += len;
        }
        self.unread.drain(..at);
        Ok(())
    }

    /// The state, once every frame was taken.
    ///
    /// # Errors
    /// [`SnapshotError::Incomplete`] if some are missing.
    pub fn finish(self) -> Result<StateAt, SnapshotError> {
        let Self {
            mark: Some(mark),
            complete: true,
            objects,
            unread,
            frames,
        } = self
        else {
            return Err(SnapshotError::Incomplete);
        };
        if !unread.is_empty() {
            return Err(SnapshotError::Damaged { frame: frames });
        }
        let state = State::restore(Revision(mark.revision), objects);
        Ok(StateAt { mark, state })
    }

    fn damaged(&self) -> SnapshotError {
        SnapshotError::Damaged { frame: self.frames }
    }

    /// The length of the frame that begins at `at`, if all of it is there.
    fn whole_frame(&self, at: usize) -> Result<Option<usize>, SnapshotError> {
        let rest = self.unread.get(at..).unwrap_or_default();
        let Some((len, _)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let len = usize::try_from(u32::from_le_bytes(*len)).unwrap_or(usize::MAX);
        if len == 0 || len > FRAME_BYTES_MAX {
            return Err(self.damaged());
        }
        Ok((rest.len() >= HEAD_BYTES + len).then_some(HEAD_BYTES + len))
    }

    fn take(&mut self, frame: &[u8]) -> Result<(), SnapshotError> {
        let damaged = || SnapshotError::Damaged { frame: self.frames };
        let (head, body) = frame.split_at_checked(HEAD_BYTES).ok_or_else(damaged)?;
        let sum = head.get(4..).and_then(|sum| sum.try_into().ok());
        if sum.map(u32::from_le_bytes) != Some(crc32fast::hash(body)) || self.complete {
            return Err(damaged());
        }
        match body.split_first().ok_or_else(damaged)? {
            (&MARK, payload) if self.mark.is_none() => {
                let (mark, _) = mark::decode(payload).ok_or_else(damaged)?;
                self.mark = Some(mark);
            }
            (&OBJECTS, payload) if self.mark.is_some() => self.take_objects(payload)?,
            (&END, payload) if self.mark.is_some() => {
                let count = <[u8; 8]>::try_from(payload).map_err(|_| damaged())?;
                if u64::from_le_bytes(count) != self.objects.len() as u64 {
                    return Err(SnapshotError::Incomplete);
                }
                self.complete = true;
            }
            _ => return Err(damaged()),
        }
        self.frames += 1;
        Ok(())
    }

    fn take_objects(&mut self, mut payload: &[u8]) -> Result<(), SnapshotError> {
        while !payload.is_empty() {
            let (revision, body, rest) = split_object(payload).ok_or_else(|| self.damaged())?;
            let object = Object::from_body(body);
            let object = object.map_err(SnapshotError::Object)?;
            self.objects.push(object.with_revision(revision));
            payload = rest;
        }
        Ok(())
    }
}

fn split_object(payload: &[u8]) -> Option<(Revision, &[u8], &[u8])> {
    let (revision, rest) = payload.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
    let (body, rest) = rest.split_at_checked(len)?;
    Some((Revision(u64::from_le_bytes(*revision)), body, rest))
}

#[cfg(test)]
mod tests;
