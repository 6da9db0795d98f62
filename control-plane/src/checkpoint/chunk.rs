//! Records as one stream of bytes, cut into chunks: sled takes a few large values with less work than
//! many small ones, but not too large ones.

use bytes::Bytes;

use super::mark::{Fields, Summary};
use super::{CheckpointError, Record};

/// Larger values go to files that sled never syncs.
const CHUNK_BYTES: usize = 4000;
/// revision, length, checksum: before each body.
const HEADER_BYTES: usize = 8 + 4 + 4;

/// Cuts records into chunks, until there are no more or `take` wants none; tells what they come to.
pub(super) fn cut(
    records: &mut dyn Iterator<Item = Record>,
    mut take: impl FnMut(Vec<u8>) -> bool,
) -> Summary {
    let mut summary = Summary::default();
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    for record in records {
        let header = header(&record, summary.add(&record));
        for mut bytes in [header.as_slice(), &record.body] {
            while !bytes.is_empty() {
                let room = CHUNK_BYTES - chunk.len();
                let (now, later) = bytes.split_at(room.min(bytes.len()));
                chunk.extend_from_slice(now);
                bytes = later;
                if chunk.len() == CHUNK_BYTES {
                    let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_BYTES));
                    if !take(full) {
                        return summary;
                    }
                }
            }
        }
    }
    if !chunk.is_empty() {
        take(chunk);
    }
    summary
}

fn header(record: &Record, sum: u32) -> Vec<u8> {
    let len = u32::try_from(record.body.len()).unwrap_or(u32::MAX);
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&record.revision.to_le_bytes());
    header.extend_from_slice(&len.to_le_bytes());
    header.extend_from_slice(&sum.to_le_bytes());
    header
}

/// Joins chunks of any length to records again.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    /// What does not make a whole record yet.
    bytes: Vec<u8>,
    summary: Summary,
}

impl Joiner {
    /// Takes the next chunk; gives each record that it completes to `visit`.
    pub(super) fn add(
        &mut self,
        chunk: &[u8],
        visit: &mut dyn FnMut(Record),
    ) -> Result<(), CheckpointError> {
        self.bytes.extend_from_slice(chunk);
        let mut rest = self.bytes.as_slice();
        while let Some((header, after)) = rest.split_at_checked(HEADER_BYTES) {
            let mut header = Fields(header);
            let (revision, len, sum) = (header.u64(), header.u32(), header.u32());
            let len = len.map_or(usize::MAX, |len| len as usize);
            let Some((body, after)) = after.split_at_checked(len) else {
                break;
            };
            let record = Record {
                revision: revision.unwrap_or_default(),
                body: Bytes::copy_from_slice(body),
            };
            if Some(self.summary.add(&record)) != sum {
                return Err(DAMAGED);
            }
            visit(record);
            rest = after;
        }
        let used = self.bytes.len() - rest.len();
        self.bytes.drain(..used);
        Ok(())
    }

    /// What all records came to.
    pub(super) fn end(self) -> Result<Summary, CheckpointError> {
        if self.bytes.is_empty() {
            Ok(self.summary)
        } else {
            Err(DAMAGED)
        }
    }
}

const DAMAGED: CheckpointError = CheckpointError::Damaged("an object is damaged");

#[cfg(test)]
mod tests {
    use super::*;

    fn records(lens: &[usize]) -> Vec<Record> {
        let record = |(at, len): (usize, &usize)| Record {
            revision: at as u64,
            body: vec![b'a' + u8::try_from(at % 20).unwrap(); *len].into(),
        };
        lens.iter().enumerate().map(record).collect()
    }

    fn cut_all(records: &[Record]) -> (Vec<Vec<u8>>, Summary) {
        let mut chunks = Vec::new();
        let summary = cut(&mut records.iter().cloned(), |chunk| {
            chunks.push(chunk);
            true
        });
        (chunks, summary)
    }

    fn join_all(chunks: &[Vec<u8>]) -> Result<(Vec<Record>, Summary), CheckpointError> {
        let (mut joiner, mut found) = (Joiner::default(), Vec::new());
        for chunk in chunks {
            joiner.add(chunk, &mut |record| found.push(record))?;
        }
        Ok((found, joiner.end()?))
    }

    #[test]
    fn records_of_all_lengths_come_back() {
        let around = CHUNK_BYTES - HEADER_BYTES;
        let cases: [&[usize]; 5] = [
            &[],
            &[0, 0, 1],
            &[around - 1, around, around + 1, 5],
            &[CHUNK_BYTES - 8, 100, 100_000, 0, 3],
            &[900; 50],
        ];
        for lens in cases {
            let records = records(lens);
            let (chunks, summary) = cut_all(&records);
            assert!(
                chunks
                    .iter()
                    .rev()
                    .skip(1)
                    .all(|chunk| chunk.len() == CHUNK_BYTES)
            );
            assert_eq!(join_all(&chunks).unwrap(), (records, summary), "{lens:?}");
        }
    }

    #[test]
    fn chunks_may_end_anywhere() {
        let records = records(&[0, 10, 5000, 3]);
        let (chunks, summary) = cut_all(&records);
        let bytes = chunks.concat();
        for len in [1, 7, 16, 17, 4999] {
            let chunks: Vec<_> = bytes.chunks(len).map(<[u8]>::to_vec).collect();
            assert_eq!(join_all(&chunks).unwrap(), (records.clone(), summary));
        }
    }

    #[test]
    fn a_changed_byte_and_a_missing_end_are_found() {
        let (chunks, summary) = cut_all(&records(&[700, 700]));
        let bytes = chunks.concat();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            let found = join_all(&[changed]).map(|(_, found)| found);
            assert!(found.is_err() || found.unwrap() != summary, "byte {at}");
        }
        let short = bytes[..bytes.len() - 1].to_vec();
        assert!(join_all(&[short]).is_err());
    }

    #[test]
    fn cutting_ends_when_nobody_takes_the_chunks() {
        let mut taken = 0;
        cut(&mut records(&[3000; 1000]).into_iter(), |_| {
            taken += 1;
            taken < 3
        });
        assert_eq!(taken, 3);
    }
}
