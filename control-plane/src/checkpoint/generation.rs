//! Generations: one directory for each checkpoint, written once, under a name that it gets only
//! when it is complete.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::CheckpointError;

/// How many complete generations stay: the newest, and the one to fall back to.
pub(super) const KEPT: usize = 2;
const PREFIX: &str = "gen-";
const UNFINISHED: &str = ".new";
const DAMAGED: &str = ".damaged";

/// The directory in which generation directories stand.
#[derive(Clone, Debug)]
pub(super) struct Generations {
    dir: PathBuf,
}

impl Generations {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The numbers of the complete generations, oldest first.
    pub(super) fn complete(&self) -> Result<Vec<u64>, CheckpointError> {
        let names = self.names()?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{PREFIX}{number:08}"))
    }

    /// An empty directory for a generation that is being written.
    pub(super) fn begin(&self, number: u64) -> Result<PathBuf, CheckpointError> {
        step("create", &self.dir, fs::create_dir_all(&self.dir))?;
        let path = self
            .path(number)
            .with_extension(UNFINISHED.trim_start_matches('.'));
        if path.exists() {
            step("remove", &path, fs::remove_dir_all(&path))?;
        }
        step("create", &path, fs::create_dir(&path))?;
        Ok(path)
    }

    /// Syncs a generation and gives it its name.
    pub(super) fn complete_as(&self, written: &Path, number: u64) -> Result<(), CheckpointError> {
        sync_tree(written)?;
        let path = self.path(number);
        step("rename", written, fs::rename(written, &path))?;
        step("sync", &self.dir, sync_dir(&self.dir))?;
        if let Some(above) = self.dir.parent() {
            step("sync", above, sync_dir(above))?;
        }
        Ok(())
    }

    /// Puts a damaged generation out of the way, for whoever wants to look at it.
    pub(super) fn set_aside(&self, number: u64) -> Result<(), CheckpointError> {
        let from = self.path(number);
        let to = from.with_extension(DAMAGED.trim_start_matches('.'));
        if to.exists() {
            step("remove", &to, fs::remove_dir_all(&to))?;
        }
        step("rename", &from, fs::rename(&from, &to))
    }

    /// Removes unfinished generations and all complete ones but the newest.
    pub(super) fn tidy(&self) -> Result<(), CheckpointError> {
        for name in self
            .names()?
            .iter()
            .filter(|name| name.ends_with(UNFINISHED))
        {
            let path = self.dir.join(name);
            step("remove", &path, fs::remove_dir_all(&path))?;
        }
        let complete = self.complete()?;
        for number in complete.iter().rev().skip(KEPT) {
            let path = self.path(*number);
            step("remove", &path, fs::remove_dir_all(&path))?;
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, CheckpointError> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(err) => return step("list", &self.dir, Err(err)),
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        step("list", &self.dir, names.collect())
    }
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// Syncs every file below a directory, and the directories themselves: the database's own flush
/// does not survive a power loss.
pub(super) fn sync_tree(dir: &Path) -> Result<(), CheckpointError> {
    let list = || fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>();
    for entry in step("list", dir, list())? {
        let path = entry.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            step(
                "sync",
                &path,
                File::open(&path).and_then(|file| file.sync_all()),
            )?;
        }
    }
    step("sync", dir, sync_dir(dir))
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn step<T>(step: &'static str, path: &Path, done: io::Result<T>) -> Result<T, CheckpointError> {
    done.map_err(|source| CheckpointError::Files {
        step,
        path: path.to_owned(),
        source,
    })
}
