//! Checkpoints in sled, in its safest use: a new database for each, one writer, small values,
//! everything synced by us and read back before it counts.
//!
//! sled panics on damage instead of returning an error, so it runs on a thread of its own.

use std::path::Path;
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::generation::{Generations, sync_tree};
use super::mark::{self, Fields, Summary};
use super::{Checkpoint, CheckpointError, Checkpoints, Mark, Record};

/// Larger values go to files that sled never syncs.
const CHUNK_BYTES: usize = 4000;
/// sled's page cache: a checkpoint is written and read once, in order.
const CACHE_BYTES: u64 = 4 << 20;
/// Records between the two halves of a write: bounds what waits in memory.
const RECORDS_QUEUED_MAX: usize = 256;
/// Key of the record that closes a checkpoint; every other key is an 8-byte number of an object
/// and a 4-byte number of a chunk.
const MARK_KEY: &[u8] = b"mark";
/// revision, length, checksum: before the body in an object's first chunk.
const RECORD_HEADER: usize = 8 + 4 + 4;
/// Free space that a checkpoint leaves to the log and to others.
const SPACE_KEPT_BYTES: u64 = 64 << 20;
/// How often a lock that is held is tried again…
const LOCK_TRIES: u32 = 100;
/// …and after how long: a child becomes its program within milliseconds.
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// Checkpoints as sled databases in one directory.
#[derive(Debug)]
pub struct SledCheckpoints {
    generations: Generations,
    /// The size of what was written last: an estimate of what comes next.
    last_bytes: u64,
}

impl SledCheckpoints {
    /// Keeps checkpoints below `dir`, which need not exist yet.
    #[must_use]
    pub fn new(dir: &Path) -> Self {
        Self {
            generations: Generations::new(dir),
            last_bytes: 0,
        }
    }

    fn check_space(&self) -> Result<(), CheckpointError> {
        let dir = self.generations.dir();
        let existing = dir.ancestors().find(|path| path.exists()).unwrap_or(dir);
        let Ok(stat) = rustix::fs::statvfs(existing) else {
            return Ok(());
        };
        let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        // sled takes up to three times the size of what it holds while it is being filled.
        let needed_bytes = self
            .last_bytes
            .saturating_mul(3)
            .saturating_add(SPACE_KEPT_BYTES);
        if free_bytes < needed_bytes {
            return Err(CheckpointError::NoSpace {
                needed_bytes,
                free_bytes,
            });
        }
        Ok(())
    }
}

impl Checkpoints for SledCheckpoints {
    fn write(
        &mut self,
        mark: &Mark,
        records: &mut dyn Iterator<Item = Record>,
    ) -> Result<(), CheckpointError> {
        self.generations.tidy()?;
        self.check_space()?;
        let number = self
            .generations
            .complete()?
            .last()
            .map_or(1, |last| last + 1);
        let path = self.generations.begin(number)?;
        let summary = fill(&path, mark, records)?;
        sync_tree(&path)?;
        let reading = path.clone();
        let found = on_own_thread(move || read(&reading, &mut |_| ()))?;
        if found != (mark.clone(), summary) {
            return Err(CheckpointError::Damaged("it reads back differently"));
        }
        self.generations.complete_as(&path, number)?;
        self.last_bytes = summary.bytes;
        self.generations.tidy()
    }

    fn load(&mut self) -> Result<Option<Checkpoint>, CheckpointError> {
        for number in self.generations.complete()?.into_iter().rev() {
            let path = self.generations.path(number);
            let collect = move || {
                let mut records = Vec::new();
                let (mark, summary) = read(&path, &mut |record| records.push(record))?;
                Ok((Checkpoint { mark, records }, summary))
            };
            match on_own_thread(collect) {
                Ok((checkpoint, summary)) => {
                    self.last_bytes = summary.bytes;
                    return Ok(Some(checkpoint));
                }
                Err(err) => {
                    tracing::error!(%err, number, "a checkpoint cannot be read; it is set aside");
                    self.generations.set_aside(number)?;
                }
            }
        }
        Ok(None)
    }
}

fn on_own_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CheckpointError> + Send + 'static,
) -> Result<T, CheckpointError> {
    let thread = thread::Builder::new()
        .name("checkpoint-db".into())
        .spawn(work);
    join(thread.map_err(CheckpointError::Thread)?)
}

fn join<T>(thread: thread::JoinHandle<Result<T, CheckpointError>>) -> Result<T, CheckpointError> {
    thread.join().unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(CheckpointError::Panicked(text.unwrap_or_default()))
    })
}

/// Fills a new database, the records coming from this thread and sled running on another.
fn fill(
    path: &Path,
    mark: &Mark,
    records: &mut dyn Iterator<Item = Record>,
) -> Result<Summary, CheckpointError> {
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Record>(RECORDS_QUEUED_MAX);
    let (path, mark) = (path.to_owned(), mark.clone());
    let thread = thread::Builder::new()
        .name("checkpoint-db".into())
        .spawn(move || {
            let database = open(&path)?;
            let mut summary = Summary::default();
            for (number, record) in receiver.into_iter().enumerate() {
                let sum = summary.add(&record);
                insert(&database, number as u64, &record, sum)?;
            }
            let inserted = database.insert(MARK_KEY, mark::encode(&mark, summary));
            inserted.map_err(|source| CheckpointError::Database {
                step: "fill",
                source,
            })?;
            let flushed = database.flush();
            flushed.map_err(|source| CheckpointError::Database {
                step: "flush",
                source,
            })?;
            Ok(summary)
        });
    let thread = thread.map_err(CheckpointError::Thread)?;
    for record in records {
        // The other side is gone only if it failed; joining it tells why.
        if sender.send(record).is_err() {
            break;
        }
    }
    drop(sender);
    join(thread)
}

#[expect(
    clippy::disallowed_methods,
    reason = "nothing tells when a child has become its program"
)]
fn open(path: &Path) -> Result<sled::Db, CheckpointError> {
    let config = sled::Config::new()
        .path(path)
        .flush_every_ms(None)
        .cache_capacity(CACHE_BYTES);
    let mut left = LOCK_TRIES;
    loop {
        match config.open() {
            Err(sled::Error::Io(busy)) if is_locked(&busy) && left > 0 => {
                left -= 1;
                thread::sleep(LOCK_WAIT);
            }
            opened => {
                return opened.map_err(|source| CheckpointError::Database {
                    step: "open",
                    source,
                });
            }
        }
    }
}

/// Whether the database's lock is held. Nobody else opens it, but a child that this process is just
/// starting has all its files until it becomes its program, and their locks with them.
fn is_locked(err: &std::io::Error) -> bool {
    // sled keeps the system's error only as text.
    let text = err.to_string();
    text.contains("could not acquire lock") && text.contains("WouldBlock")
}

fn key(number: u64, chunk: usize) -> [u8; 12] {
    let mut key = [0; 12];
    let chunk = u32::try_from(chunk).unwrap_or(u32::MAX).to_be_bytes();
    for (to, from) in key
        .iter_mut()
        .zip(number.to_be_bytes().into_iter().chain(chunk))
    {
        *to = from;
    }
    key
}

fn insert(db: &sled::Db, number: u64, record: &Record, sum: u32) -> Result<(), CheckpointError> {
    let mut bytes = Vec::with_capacity(RECORD_HEADER + record.body.len());
    bytes.extend_from_slice(&record.revision.to_le_bytes());
    let len = u32::try_from(record.body.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.extend_from_slice(&record.body);
    for (at, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
        let inserted = db.insert(key(number, at), chunk);
        inserted.map_err(|source| CheckpointError::Database {
            step: "fill",
            source,
        })?;
    }
    Ok(())
}

/// Reads a whole database and verifies it at the end: what `visit` was given counts only then.
fn read(path: &Path, visit: &mut dyn FnMut(Record)) -> Result<(Mark, Summary), CheckpointError> {
    let database = open(path)?;
    let fail = |source| CheckpointError::Database {
        step: "read",
        source,
    };
    let closing = database.get(MARK_KEY).map_err(fail)?;
    let closing = closing.ok_or(CheckpointError::Damaged("it was never completed"))?;
    let (mark, expected) =
        mark::decode(&closing).ok_or(CheckpointError::Damaged("its mark is unreadable"))?;
    let mut bytes = Vec::new();
    let mut summary = Summary::default();
    for pair in database.iter() {
        let (key, chunk) = pair.map_err(fail)?;
        if key == MARK_KEY {
            continue;
        }
        if key
            .get(8..)
            .is_some_and(|chunk| chunk.iter().all(|byte| *byte == 0))
        {
            finish(&bytes, visit, &mut summary)?;
            bytes.clear();
        }
        bytes.extend_from_slice(&chunk);
    }
    finish(&bytes, visit, &mut summary)?;
    if summary != expected {
        return Err(CheckpointError::Damaged("objects are missing or changed"));
    }
    Ok((mark, summary))
}

/// Takes the chunks of one object together.
fn finish(
    bytes: &[u8],
    visit: &mut dyn FnMut(Record),
    summary: &mut Summary,
) -> Result<(), CheckpointError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let damaged = CheckpointError::Damaged("an object is damaged");
    let Some((header, body)) = bytes.split_at_checked(RECORD_HEADER) else {
        return Err(damaged);
    };
    let mut header = Fields(header);
    let (revision, len, sum) = (header.u64(), header.u32(), header.u32());
    let record = Record {
        revision: revision.unwrap_or_default(),
        body: Bytes::copy_from_slice(body),
    };
    if len.map(|len| len as usize) != Some(body.len()) || Some(summary.add(&record)) != sum {
        return Err(damaged);
    }
    visit(record);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_held_is_told_from_other_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let config = sled::Config::new().path(dir.path().join("db"));
        let _held = config.open().unwrap();
        let again = sled::Config::new().path(dir.path().join("db")).open();
        assert!(matches!(again, Err(sled::Error::Io(err)) if is_locked(&err)));
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let nowhere = sled::Config::new().path(file.join("db")).open();
        assert!(matches!(nowhere, Err(sled::Error::Io(err)) if !is_locked(&err)));
    }
}
