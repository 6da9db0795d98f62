//! The record that closes a checkpoint: where it stands in history, and what its objects must come
//! to.

use super::{Mark, Record};

const MARK_VERSION: u8 = 1;

/// What all records together must come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    count: u64,
    pub(super) bytes: u64,
    sum: u32,
}

impl Summary {
    /// Adds a record; returns its own checksum.
    pub(super) fn add(&mut self, record: &Record) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&record.revision.to_le_bytes());
        hasher.update(&record.body);
        let sum = hasher.finalize();
        self.count += 1;
        self.bytes += record.body.len() as u64;
        self.sum = self.sum.rotate_left(1) ^ sum;
        sum
    }
}

pub(crate) fn encode(mark: &Mark, summary: Summary) -> Vec<u8> {
    let mut bytes = vec![MARK_VERSION, u8::from(mark.conf_state.auto_leave)];
    let numbers = [
        mark.index,
        mark.term,
        mark.revision,
        summary.count,
        summary.bytes,
    ];
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes.extend_from_slice(&summary.sum.to_le_bytes());
    let conf = &mark.conf_state;
    for ids in [
        &conf.voters,
        &conf.learners,
        &conf.voters_outgoing,
        &conf.learners_next,
    ] {
        bytes.extend_from_slice(&u32::try_from(ids.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
    }
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Option<(Mark, Summary)> {
    let (bytes, sum) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    if u32::from_le_bytes(sum.try_into().ok()?) != crc32fast::hash(bytes) {
        return None;
    }
    let (head, rest) = bytes.split_at_checked(2)?;
    let [MARK_VERSION, auto_leave] = head else {
        return None;
    };
    let mut fields = Fields(rest);
    let mut mark = Mark::default();
    (mark.index, mark.term, mark.revision) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let summary = Summary {
        count: fields.u64()?,
        bytes: fields.u64()?,
        sum: fields.u32()?,
    };
    mark.conf_state.auto_leave = *auto_leave != 0;
    mark.conf_state.voters = fields.ids()?;
    mark.conf_state.learners = fields.ids()?;
    mark.conf_state.voters_outgoing = fields.ids()?;
    mark.conf_state.learners_next = fields.ids()?;
    Some((mark, summary))
}

pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn ids(&mut self) -> Option<Vec<u64>> {
        let count = self.u32()?;
        (0..count).map(|_| self.u64()).collect()
    }
}
