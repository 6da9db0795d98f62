//! Checkpoints of the applied state, so that the log can be cut.
//!
//! A checkpoint is never the only copy of an acknowledged write while it is being made: the log
//! is cut only behind the *previous* one, after the new one was synced, read back and verified.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use raft::eraftpb::ConfState;

mod chunk;
mod generation;
pub(crate) mod mark;
mod sled_store;

pub use sled_store::SledCheckpoints;

/// What a checkpoint says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mark {
    /// The index of the last entry applied to the state.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The members as of that entry.
    pub conf_state: ConfState,
    /// The revision of the state.
    pub revision: u64,
}

/// One object in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The object's revision.
    pub revision: u64,
    /// The object's bytes.
    pub body: Bytes,
}

/// A checkpoint that was read and verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Where in history it stands.
    pub mark: Mark,
    /// Every object, in the order in which they were written.
    pub records: Vec<Record>,
}

/// Where checkpoints are kept. The newest two stay, older ones are removed.
pub trait Checkpoints: Send + fmt::Debug {
    /// Writes a checkpoint; on return it is durable and verified.
    ///
    /// # Errors
    /// [`CheckpointError`]; what was there before is untouched.
    fn write(
        &mut self,
        mark: &Mark,
        records: &mut dyn Iterator<Item = Record>,
    ) -> Result<(), CheckpointError>;

    /// Reads the newest checkpoint that verifies; nothing if there is none. One that doesn't is
    /// set aside.
    ///
    /// # Errors
    /// [`CheckpointError`] if the directory can't be read.
    fn load(&mut self) -> Result<Option<Checkpoint>, CheckpointError>;
}

/// Why a checkpoint could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk has not enough space to try.
    #[error(
        "the disk is too full for a checkpoint: {needed_bytes} bytes needed, {free_bytes} free"
    )]
    NoSpace {
        /// An upper bound of what it takes.
        needed_bytes: u64,
        /// What there is.
        free_bytes: u64,
    },
    /// A file or directory could not be made, listed, synced, renamed or removed.
    #[error("{step} {}", path.display())]
    Files {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The database refused.
    #[error("{step} the checkpoint's database")]
    Database {
        /// What was tried.
        step: &'static str,
        /// Why not.
        #[source]
        source: sled::Error,
    },
    /// The database broke down: that is how it reports damage.
    #[error("the checkpoint's database panicked: {0}")]
    Panicked(String),
    /// What was read is not what was written.
    #[error("the checkpoint does not verify: {0}")]
    Damaged(&'static str),
    /// No thread could be started to work on it.
    #[error("start a thread for the checkpoint")]
    Thread(#[source] io::Error),
}

/// Checkpoints in memory, for tests and the simulator. Clones share them, as processes share a
/// disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryCheckpoints {
    kept: Arc<Mutex<Vec<Checkpoint>>>,
}

impl MemoryCheckpoints {
    /// Spoils the newest one: the next load takes the one before.
    pub fn spoil_newest(&self) {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
    }

    /// The indexes of those kept, oldest first.
    #[must_use]
    pub fn indexes(&self) -> Vec<u64> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .map(|checkpoint| checkpoint.mark.index)
            .collect()
    }
}

impl Checkpoints for MemoryCheckpoints {
    fn write(
        &mut self,
        mark: &Mark,
        records: &mut dyn Iterator<Item = Record>,
    ) -> Result<(), CheckpointError> {
        let checkpoint = Checkpoint {
            mark: mark.clone(),
            records: records.collect(),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(checkpoint);
        let surplus = kept.len().saturating_sub(generation::KEPT);
        kept.drain(..surplus);
        Ok(())
    }

    fn load(&mut self) -> Result<Option<Checkpoint>, CheckpointError> {
        Ok(self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .last()
            .cloned())
    }
}

#[cfg(test)]
mod tests;
