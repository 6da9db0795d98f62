//! The one narrow door to the disk for everything that must survive a crash (step 6 of the walk).
//!
//! Two implementations: [`RealDisk`] and [`MemoryDisk`], which tears, loses, fills and stalls on
//! demand. Code behind this door must never touch `std::fs` directly, or the simulator is blind.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

mod memory;

pub use memory::MemoryDisk;

/// Zeros are written and synced in slices of this size, so that preparing a file never queues
/// more than this much in front of somebody else's fdatasync.
const ZERO_SLICE_BYTES: usize = 1 << 20;

/// A file system, as far as durable storage needs one. Paths are below one data directory.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a new file of `len` zero bytes that are really written and synced, so that later
    /// writes inside it need no space and no file-system journal. Leaves nothing on failure.
    /// The name is durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// The file exists, or the file system failed; `StorageFull` if there is no space.
    fn create(&self, path: &Path, len: u64) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// The file does not exist or cannot be opened.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, replacing what had it. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// The file system failed.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// The file system failed.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names of the files in a directory, in no order; none if it does not exist.
    ///
    /// # Errors
    /// The file system failed.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Makes a directory and those above it; they are durable when this returns.
    ///
    /// # Errors
    /// The file system failed.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// The file system failed.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Keeps other processes from locking the same path, until the guard is dropped.
    ///
    /// # Errors
    /// `WouldBlock` if another has it, or the file system failed.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;

    /// Bytes that this process may still use on the file system of `dir`.
    ///
    /// # Errors
    /// The file system failed.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file of fixed length.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// The length in bytes.
    ///
    /// # Errors
    /// The file system failed.
    fn len_bytes(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// The file ends first, or the file system failed.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; they survive a power loss only after `sync_data`.
    ///
    /// # Errors
    /// The file system failed; any part of the bytes may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Waits until everything written is on the medium (fdatasync).
    ///
    /// # Errors
    /// The file system failed; any part of what was unsynced may be lost.
    fn sync_data(&self) -> io::Result<()>;
}

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        match write_zeros(&file, len) {
            Ok(()) => Ok(Arc::new(RealFile(file))),
            Err(err) => {
                drop(file);
                fs::remove_file(path)?;
                Err(err)
            }
        }
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(err) => return Err(err),
        };
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        // Each new directory is a name in the one above it.
        for above in dir.ancestors().take(3).filter(|path| path.is_dir()) {
            self.sync_dir(above)?;
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

fn write_zeros(file: &File, len: u64) -> io::Result<()> {
    let zeros = vec![0_u8; ZERO_SLICE_BYTES];
    let mut at = 0;
    while at < len {
        let slice = usize::try_from(len - at)
            .unwrap_or(usize::MAX)
            .min(zeros.len());
        file.write_all_at(zeros.get(..slice).unwrap_or_default(), at)?;
        file.sync_data()?;
        at += slice as u64;
    }
    file.sync_all()
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
