//! A disk in memory that loses, tears, fills and stalls on demand, for tests and the simulator.
//!
//! It models what a file system promises and no more: a written sector may or may not survive a
//! crash until `sync_data`; names survive in the order they were made, up to any point, until
//! `sync_dir`. Sectors of 512 bytes are never torn inside, as on real media.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};

const SECTOR: usize = 512;

/// Files in memory behind the [`Disk`] door, with faults. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    released: Condvar,
}

#[derive(Debug)]
struct Inner {
    /// What the process sees.
    names: BTreeMap<PathBuf, usize>,
    /// What would be there after a crash, but for `unsynced_names`.
    durable_names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<NameChange>,
    files: Vec<Contents>,
    /// The seed of the choices that crashes make.
    random: u64,
    /// Writes and syncs that still succeed; then the power is gone.
    operations_left: Option<u64>,
    operations: u64,
    capacity_bytes: u64,
    holding_syncs: bool,
    /// So many syncs of directories fail, and do nothing.
    dir_syncs_failing: u64,
    /// Counts crashes: handles of an earlier life are dead.
    life: u64,
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(PathBuf, usize),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Debug, Default)]
struct Contents {
    current: Vec<u8>,
    durable: Vec<u8>,
    dirty_sectors: BTreeSet<usize>,
}

impl MemoryDisk {
    /// An empty disk without faults and with endless space; `seed` decides what crashes lose.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let inner = Inner {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            files: Vec::new(),
            random: seed,
            operations_left: None,
            operations: 0,
            capacity_bytes: u64::MAX,
            holding_syncs: false,
            dir_syncs_failing: 0,
            life: 0,
        };
        Self {
            shared: Arc::new(Shared {
                inner: Mutex::new(inner),
                released: Condvar::new(),
            }),
        }
    }

    /// Lets `operations` more writes, syncs and name changes succeed, then fails everything until
    /// [`MemoryDisk::crash`]. The write that meets the limit is half done.
    pub fn fail_after(&self, operations: u64) {
        self.lock().operations_left = Some(operations);
    }

    /// How many writes, syncs and name changes were asked for so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Limits the sum of all file lengths.
    pub fn set_capacity_bytes(&self, bytes: u64) {
        self.lock().capacity_bytes = bytes;
    }

    /// Makes every `sync_data` wait until [`MemoryDisk::release_syncs`]: a disk as slow as wanted.
    pub fn hold_syncs(&self) {
        self.lock().holding_syncs = true;
    }

    /// Ends [`MemoryDisk::hold_syncs`].
    pub fn release_syncs(&self) {
        self.lock().holding_syncs = false;
        self.shared.released.notify_all();
    }

    /// Makes the next `count` syncs of directories fail.
    pub fn fail_dir_syncs(&self, count: u64) {
        self.lock().dir_syncs_failing = count;
    }

    /// Cuts the power: unsynced sectors and names survive or vanish by chance, faults end, and
    /// every open handle is dead.
    pub fn crash(&self) {
        let mut inner = self.lock();
        let choices = inner.unsynced_names.len() as u64 + 1;
        let kept = usize::try_from(inner.choose(choices)).unwrap_or(0);
        let changes: Vec<_> = inner.unsynced_names.drain(..).take(kept).collect();
        for change in &changes {
            apply_name(&mut inner.durable_names, change);
        }
        inner.names = inner.durable_names.clone();
        for file in 0..inner.files.len() {
            inner.lose_unsynced(file);
        }
        inner.operations_left = None;
        inner.holding_syncs = false;
        inner.life += 1;
        drop(inner);
        self.shared.released.notify_all();
    }

    /// Flips the bits of one byte, current and durable: damage that no crash explains.
    ///
    /// # Errors
    /// There is no such file, or it is shorter.
    pub fn damage(&self, path: &Path, offset: u64) -> io::Result<()> {
        let mut inner = self.lock();
        let file = inner.find(path)?;
        let contents = inner.contents(file)?;
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        for bytes in [&mut contents.current, &mut contents.durable] {
            let byte = bytes.get_mut(at).ok_or(io::ErrorKind::UnexpectedEof)?;
            *byte ^= 0xff;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared
            .inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn change_name(&self, change: NameChange) -> io::Result<()> {
        let mut inner = self.lock();
        inner.operate()?;
        apply_name(&mut inner.names, &change);
        inner.unsynced_names.push(change);
        Ok(())
    }

    fn handle(&self, file: usize) -> Arc<dyn DiskFile> {
        Arc::new(MemoryFile {
            disk: self.clone(),
            file,
            life: self.lock().life,
        })
    }
}

fn apply_name(names: &mut BTreeMap<PathBuf, usize>, change: &NameChange) {
    match change {
        NameChange::Add(path, file) => {
            names.insert(path.clone(), *file);
        }
        NameChange::Remove(path) => {
            names.remove(path);
        }
        NameChange::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
    }
}

impl Inner {
    /// SplitMix64: enough chance for a fault, and the same on every platform.
    fn choose(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    fn operate(&mut self) -> io::Result<()> {
        self.operations += 1;
        match &mut self.operations_left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names
            .get(path)
            .copied()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn contents(&mut self, file: usize) -> io::Result<&mut Contents> {
        self.files
            .get_mut(file)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used_bytes(&self) -> u64 {
        let live: BTreeSet<usize> = self.names.values().copied().collect();
        live.iter()
            .filter_map(|file| self.files.get(*file))
            .map(|f| f.current.len() as u64)
            .sum()
    }

    fn lose_unsynced(&mut self, file: usize) {
        let Some(contents) = self.files.get_mut(file) else {
            return;
        };
        let dirty = std::mem::take(&mut contents.dirty_sectors);
        for sector in dirty {
            let survives = self.choose(2) == 0;
            if let Some(contents) = self.files.get_mut(file).filter(|_| survives) {
                contents.keep_sector(sector);
            }
        }
        if let Some(contents) = self.files.get_mut(file) {
            contents.current = contents.durable.clone();
        }
    }
}

impl Contents {
    fn keep_sector(&mut self, sector: usize) {
        let end = ((sector + 1) * SECTOR).min(self.current.len());
        let range = sector * SECTOR..end;
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        if let (Some(to), Some(from)) =
            (self.durable.get_mut(range.clone()), self.current.get(range))
        {
            to.copy_from_slice(from);
        }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.current.len() < end {
            self.current.resize(end, 0);
        }
        if let Some(to) = self.current.get_mut(offset..end) {
            to.copy_from_slice(bytes);
        }
        self.dirty_sectors
            .extend(offset / SECTOR..end.div_ceil(SECTOR));
    }

    fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty_sectors) {
            self.keep_sector(sector);
        }
    }
}

impl Disk for MemoryDisk {
    fn create(&self, path: &Path, len: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.lock();
        inner.operate()?;
        if inner.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if inner.used_bytes().saturating_add(len) > inner.capacity_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let zeros = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let contents = Contents {
            current: zeros.clone(),
            durable: zeros,
            ..Contents::default()
        };
        inner.files.push(contents);
        let file = inner.files.len() - 1;
        inner.names.insert(path.to_owned(), file);
        inner
            .unsynced_names
            .push(NameChange::Add(path.to_owned(), file));
        drop(inner);
        Ok(self.handle(file))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.lock().find(path)?;
        Ok(self.handle(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.lock().find(from)?;
        self.change_name(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.lock().find(path)?;
        self.change_name(NameChange::Remove(path.to_owned()))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let inner = self.lock();
        let inside = inner.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into()))
            .collect())
    }

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        inner.operate()?;
        if inner.dir_syncs_failing > 0 {
            inner.dir_syncs_failing -= 1;
            return Err(io::Error::other("the directory cannot be synced"));
        }
        for change in std::mem::take(&mut inner.unsynced_names) {
            apply_name(&mut inner.durable_names, &change);
        }
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        // Crashed lives of a test may linger; their handles are dead, which is what matters.
        Ok(Box::new(()))
    }

    fn free_bytes(&self, _dir: &Path) -> io::Result<u64> {
        let inner = self.lock();
        Ok(inner.capacity_bytes.saturating_sub(inner.used_bytes()))
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    file: usize,
    life: u64,
}

impl MemoryFile {
    fn lock(&self) -> io::Result<MutexGuard<'_, Inner>> {
        let inner = self.disk.lock();
        if inner.life == self.life {
            Ok(inner)
        } else {
            Err(io::Error::other("a handle from before the crash"))
        }
    }
}

impl DiskFile for MemoryFile {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.lock()?.contents(self.file)?.current.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut inner = self.lock()?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let from = inner
            .contents(self.file)?
            .current
            .get(offset..)
            .unwrap_or_default();
        let from = from
            .get(..buffer.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(from);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.lock()?;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let outcome = inner.operate();
        let written = if outcome.is_ok() {
            bytes.len()
        } else {
            bytes.len() / 2
        };
        inner
            .contents(self.file)?
            .write(offset, bytes.get(..written).unwrap_or_default());
        outcome
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.lock()?;
        while inner.holding_syncs {
            let released = &self.disk.shared.released;
            inner = released.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if inner.life != self.life {
            return Err(io::Error::other("a handle from before the crash"));
        }
        inner.operate()?;
        inner.contents(self.file)?.sync();
        Ok(())
    }
}
