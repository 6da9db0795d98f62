//! Frames: the unit that is written with one fdatasync, and wholly there or not there at all.
//!
//! A frame starts on a sector, so that no write ever touches a sector that was acknowledged
//! before. Its checksums are seeded by the log's own random salt and it carries a number that
//! grows by one: neither what a recycled segment held before, nor anything that a user stored,
//! can pass for the next frame.

use raft::eraftpb::{ConfState, Entry, EntryType, HardState};

use crate::log::Base;

/// Frames begin at multiples of this, the size that media write in one piece.
pub(super) const SECTOR: usize = 512;
/// magic, length, number, payload checksum, header checksum.
pub(super) const HEADER: usize = 24;
const MAGIC: u32 = u32::from_le_bytes(*b"SKFR");

const ENTRY: u8 = 1;
const HARD_STATE: u8 = 2;
const BASE: u8 = 3;
/// What an entry costs beside its data and context.
const ENTRY_OVERHEAD: usize = 1 + 1 + 8 + 8 + 4 + 4;

/// The bytes that an entry takes in a frame.
pub(super) fn entry_len(entry: &Entry) -> usize {
    ENTRY_OVERHEAD + entry.data.len() + entry.context.len()
}

/// The bytes on disk of a frame with this much payload.
pub(super) const fn frame_len(payload: usize) -> usize {
    (HEADER + payload).next_multiple_of(SECTOR)
}

/// Builds one frame in a buffer that is used again and again.
#[derive(Debug, Default)]
pub(super) struct FrameBuilder {
    bytes: Vec<u8>,
}

impl FrameBuilder {
    /// Begins a frame, forgetting the one before.
    pub(super) fn start(&mut self) {
        self.bytes.clear();
        self.bytes.resize(HEADER, 0);
    }

    pub(super) fn push_entry(&mut self, entry: &Entry) {
        let bytes = &mut self.bytes;
        bytes.push(ENTRY);
        bytes.push(match entry.get_entry_type() {
            EntryType::EntryNormal => 0,
            EntryType::EntryConfChange => 1,
            EntryType::EntryConfChangeV2 => 2,
        });
        bytes.extend_from_slice(&entry.term.to_le_bytes());
        bytes.extend_from_slice(&entry.index.to_le_bytes());
        push_sized(bytes, &entry.context);
        push_sized(bytes, &entry.data);
    }

    pub(super) fn push_hard_state(&mut self, state: &HardState) {
        self.bytes.push(HARD_STATE);
        for number in [state.term, state.vote, state.commit] {
            self.bytes.extend_from_slice(&number.to_le_bytes());
        }
    }

    pub(super) fn push_base(&mut self, base: &Base) {
        self.bytes.push(BASE);
        self.bytes.extend_from_slice(&base.index.to_le_bytes());
        self.bytes.extend_from_slice(&base.term.to_le_bytes());
        let conf = &base.conf_state;
        self.bytes.push(u8::from(conf.auto_leave));
        let lists = [
            &conf.voters,
            &conf.learners,
            &conf.voters_outgoing,
            &conf.learners_next,
        ];
        for ids in lists {
            let packed: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
            push_sized(&mut self.bytes, &packed);
        }
    }

    /// Payload bytes so far.
    pub(super) fn payload_len(&self) -> usize {
        self.bytes.len() - HEADER
    }

    /// Seals the frame: pads it to whole sectors and writes its header.
    pub(super) fn finish(&mut self, number: u64, salt: u32) -> &[u8] {
        let len = self.payload_len();
        let payload_sum = checksum(salt, self.bytes.get(HEADER..).unwrap_or_default());
        let mut header = [0; HEADER];
        let fields: [&[u8]; 4] = [
            &MAGIC.to_le_bytes(),
            &u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes(),
            &number.to_le_bytes(),
            &payload_sum.to_le_bytes(),
        ];
        for (to, from) in header.iter_mut().zip(fields.concat()) {
            *to = from;
        }
        let header_sum = checksum(salt, header.get(..HEADER - 4).unwrap_or_default());
        for (to, from) in header
            .iter_mut()
            .skip(HEADER - 4)
            .zip(header_sum.to_le_bytes())
        {
            *to = from;
        }
        for (to, from) in self.bytes.iter_mut().zip(header) {
            *to = from;
        }
        self.bytes.resize(frame_len(len), 0);
        &self.bytes
    }

    /// Gives memory back after an unusually large frame.
    pub(super) fn shrink(&mut self, capacity_max: usize) {
        if self.bytes.capacity() > capacity_max {
            self.bytes = Vec::new();
        }
    }
}

fn push_sized(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(part);
}

fn checksum(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// A frame whose checksums hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) number: u64,
    pub(super) payload: &'a [u8],
}

/// Reads the frame at the start of `bytes`; nothing if there is no intact one.
pub(super) fn parse(bytes: &[u8], salt: u32) -> Option<Frame<'_>> {
    let header = bytes.get(..HEADER)?;
    let mut reader = Reader(header);
    let (magic, len) = (reader.u32()?, reader.u32()?);
    let (number, payload_sum, header_sum) = (reader.u64()?, reader.u32()?, reader.u32()?);
    if magic != MAGIC || checksum(salt, header.get(..HEADER - 4)?) != header_sum {
        return None;
    }
    let payload = bytes.get(HEADER..HEADER + usize::try_from(len).ok()?)?;
    (checksum(salt, payload) == payload_sum).then_some(Frame { number, payload })
}

/// One thing that a frame says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Entry(Entry),
    HardState(HardState),
    Base(Base),
}

/// Reads what a frame says; nothing if the payload is not what [`FrameBuilder`] writes, which an
/// intact checksum makes a fault of the program and not of the disk.
pub(super) fn items(payload: &[u8]) -> Option<Vec<Item>> {
    let mut reader = Reader(payload);
    let mut items = Vec::new();
    while let Some(tag) = reader.u8() {
        items.push(match tag {
            ENTRY => Item::Entry(reader.entry()?),
            HARD_STATE => Item::HardState(reader.hard_state()?),
            BASE => Item::Base(reader.base()?),
            _ => return None,
        });
    }
    Some(items)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u32()?).ok()?;
        self.take(len)
    }

    fn ids(&mut self) -> Option<Vec<u64>> {
        let packed = self.sized()?;
        packed
            .chunks(8)
            .map(|id| Some(u64::from_le_bytes(id.try_into().ok()?)))
            .collect()
    }

    fn entry(&mut self) -> Option<Entry> {
        let mut entry = Entry::default();
        entry.set_entry_type(match self.u8()? {
            0 => EntryType::EntryNormal,
            1 => EntryType::EntryConfChange,
            2 => EntryType::EntryConfChangeV2,
            _ => return None,
        });
        entry.term = self.u64()?;
        entry.index = self.u64()?;
        entry.context = bytes::Bytes::copy_from_slice(self.sized()?);
        entry.data = bytes::Bytes::copy_from_slice(self.sized()?);
        Some(entry)
    }

    fn hard_state(&mut self) -> Option<HardState> {
        let (term, vote, commit) = (self.u64()?, self.u64()?, self.u64()?);
        Some(HardState {
            term,
            vote,
            commit,
            ..HardState::default()
        })
    }

    fn base(&mut self) -> Option<Base> {
        let (index, term) = (self.u64()?, self.u64()?);
        let conf_state = ConfState {
            auto_leave: self.u8()? != 0,
            voters: self.ids()?,
            learners: self.ids()?,
            voters_outgoing: self.ids()?,
            learners_next: self.ids()?,
            ..ConfState::default()
        };
        Some(Base {
            index,
            term,
            conf_state,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(index: u64, data: &[u8]) -> Entry {
        let data = bytes::Bytes::copy_from_slice(data);
        Entry {
            index,
            term: 3,
            data,
            ..Entry::default()
        }
    }

    fn sample(data: &[u8]) -> (FrameBuilder, Vec<Item>) {
        let hard_state = HardState {
            term: 3,
            vote: 1,
            ..HardState::default()
        };
        let (voters, learners_next) = (vec![1, 2], vec![9]);
        let conf_state = ConfState {
            voters,
            learners_next,
            ..ConfState::default()
        };
        let base = Base {
            index: 7,
            term: 2,
            conf_state,
        };
        let mut builder = FrameBuilder::default();
        builder.start();
        builder.push_hard_state(&hard_state);
        builder.push_base(&base);
        builder.push_entry(&entry(8, data));
        let items = vec![
            Item::HardState(hard_state),
            Item::Base(base),
            Item::Entry(entry(8, data)),
        ];
        (builder, items)
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(data in prop::collection::vec(any::<u8>(), 0..2000), salt: u32) {
            let (mut builder, expected) = sample(&data);
            let bytes = builder.finish(5, salt);
            prop_assert_eq!(bytes.len() % SECTOR, 0);
            let frame = parse(bytes, salt).unwrap();
            prop_assert_eq!(frame.number, 5);
            prop_assert_eq!(items(frame.payload).unwrap(), expected);
            prop_assert!(parse(bytes, salt ^ 1).is_none(), "another log's frame is not ours");
        }

        #[test]
        fn one_flipped_bit_is_noticed(at in 0..300_usize, bit in 0..8_u8) {
            let (mut builder, _) = sample(&[7; 300]);
            let mut bytes = builder.finish(5, 1).to_vec();
            bytes[at] ^= 1 << bit;
            prop_assert!(parse(&bytes, 1).is_none());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(0..4_u8, 0..200)) {
            let _items = items(&bytes);
        }
    }
}
