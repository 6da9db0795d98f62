//! The disk in memory as a server sees it, honest or not.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use skiff_control_plane::disk::{Disk, DiskFile, MemoryDisk};

use crate::mutation::Mutation;

/// Where a frame of the log has its first record, and the tag of a hard state there.
const FIRST_RECORD: usize = 24;
const HARD_STATE: u8 = 2;
/// A hard state alone takes this much.
const HARD_STATE_FRAME: usize = 512;
const HARD_STATE_RECORD: usize = 25;

/// A disk that skips some syncs.
#[derive(Clone, Debug)]
pub(super) struct HastyDisk {
    inner: MemoryDisk,
    only_votes: bool,
}

/// The disk for a server, as honest as the simulation wants it.
pub(super) fn of(disk: &MemoryDisk, mutation: Option<Mutation>) -> Arc<dyn Disk> {
    let only_votes = match mutation {
        Some(Mutation::AcknowledgeBeforeSync) => false,
        Some(Mutation::ForgetVote) => true,
        Some(_) | None => return Arc::new(disk.clone()),
    };
    Arc::new(HastyDisk {
        inner: disk.clone(),
        only_votes,
    })
}

impl HastyDisk {
    fn wrap(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(HastyFile {
            inner: file,
            only_votes: self.only_votes,
            skips: AtomicBool::new(false),
        })
    }
}

impl Disk for HastyDisk {
    fn create(&self, path: &Path, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.inner.create(path, len).map(|file| self.wrap(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.inner.open(path).map(|file| self.wrap(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.create_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.inner.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.inner.lock(path)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.inner.free_bytes(dir)
    }
}

#[derive(Debug)]
struct HastyFile {
    inner: Arc<dyn DiskFile>,
    only_votes: bool,
    /// The next sync is skipped.
    skips: AtomicBool,
}

impl DiskFile for HastyFile {
    fn len_bytes(&self) -> io::Result<u64> {
        self.inner.len_bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let vote = bytes.len() == HARD_STATE_FRAME
            && bytes.get(FIRST_RECORD) == Some(&HARD_STATE)
            && bytes
                .iter()
                .skip(FIRST_RECORD + HARD_STATE_RECORD)
                .all(|byte| *byte == 0);
        self.skips
            .store(vote || !self.only_votes, Ordering::Relaxed);
        self.inner.write_at(offset, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.skips.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.inner.sync_data()
    }
}
