//! Checkpoints in sled, in its safest use: a new database for each, one writer, small values,
//! everything synced by us and read back before it counts.
//!
//! sled panics on damage instead of returning an error, so it runs on a thread of its own.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::chunk::{self, Joiner};
use super::generation::{Generations, sync_tree};
use super::mark::{self, Summary};
use super::{Checkpoint, CheckpointError, Checkpoints, Mark, Record};

/// sled's page cache: a checkpoint is written and read once, in order.
const CACHE_BYTES: u64 = 4 << 20;
/// Chunks between the two halves of a write: bounds what waits in memory.
const CHUNKS_QUEUED_MAX: usize = 64;
/// Key of the record that closes a checkpoint; every other key is a chunk's number, in big endian.
const MARK_KEY: &[u8] = b"mark";
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
        let written = write_to(&path, mark, records);
        let completed =
            written.and_then(|bytes| self.generations.complete_as(&path, number).map(|()| bytes));
        match completed {
            Ok(bytes) => {
                self.last_bytes = bytes;
                self.generations.tidy()
            }
            Err(err) => {
                // What is left of it may be all that the log lacks on a full disk.
                if let Err(left) = self.generations.tidy() {
                    tracing::warn!(error = %left, "an unfinished checkpoint is still there");
                }
                Err(err)
            }
        }
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

/// Writes a checkpoint, makes it durable and reads it back; tells how many bytes its objects have.
fn write_to(
    path: &Path,
    mark: &Mark,
    records: &mut dyn Iterator<Item = Record>,
) -> Result<u64, CheckpointError> {
    let summary = fill(path, mark, records)?;
    sync_tree(path)?;
    let reading = path.to_owned();
    let found = on_own_thread(move || read(&reading, &mut |_| ()))?;
    if found != (mark.clone(), summary) {
        return Err(CheckpointError::Damaged("it reads back differently"));
    }
    Ok(summary.bytes)
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
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Vec<u8>>(CHUNKS_QUEUED_MAX);
    let (closing, closes) = std::sync::mpsc::channel::<Vec<u8>>();
    let path = path.to_owned();
    let thread = thread::Builder::new()
        .name("checkpoint-db".into())
        .spawn(move || {
            let database = open(&path)?;
            let fail = |step| move |source| CheckpointError::Database { step, source };
            for (number, chunk) in receiver.into_iter().enumerate() {
                let inserted = database.insert((number as u64).to_be_bytes(), chunk);
                inserted.map_err(fail("fill"))?;
            }
            // Without it the other side broke off, and the database is never completed.
            if let Ok(mark) = closes.recv() {
                database.insert(MARK_KEY, mark).map_err(fail("fill"))?;
            }
            database.flush().map_err(fail("flush"))?;
            Ok(())
        });
    let thread = thread.map_err(CheckpointError::Thread)?;
    let summary = chunk::cut(records, |chunk| sender.send(chunk).is_ok());
    drop(sender);
    // The other side is gone only if it failed; joining it tells why.
    drop(closing.send(mark::encode(mark, summary)));
    join(thread)?;
    Ok(summary)
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
    let mut joiner = Joiner::default();
    for pair in database.iter() {
        let (key, chunk) = pair.map_err(fail)?;
        if key != MARK_KEY {
            joiner.add(&chunk, visit)?;
        }
    }
    if joiner.end()? != expected {
        return Err(CheckpointError::Damaged("objects are missing or changed"));
    }
    Ok((mark, expected))
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
