//! The way back after a disaster, offline: a cluster out of a backup, a group of one out of a
//! survivor of a group that has lost its quorum.
//!
//! - `report`: what a stopped member has; - `decide`: who has the most and what would be lost, pure,
//!   and `words`: the same for people; - `rebuild`: makes a survivor the only voter;
//! - `restore`: writes a backup into an empty directory; - `replay`: a state out of checkpoint and
//!   log; - `list`: the list of servers in a state; - `place`: a server's data directory.
//!
//! Both ways, revisions go on a good deal further: somebody may have seen revisions that were lost,
//! and must never see them again with another meaning.

use std::io;
use std::path::PathBuf;

use skiff_api::Malformed;

use crate::checkpoint::CheckpointError;
use crate::log::LogError;
use crate::members::record::RecordError;
use crate::pki::PkiError;
use crate::store::OpenError;

mod decide;
mod list;
mod place;
mod rebuild;
mod replay;
mod report;
mod restore;
#[cfg(test)]
mod tests;
mod words;

pub use decide::{JudgeError, Verdict, judge};
pub use place::{DataDir, refuse_unfinished, restore_into};
pub use rebuild::{Rebuilt, rebuild};
pub use report::{Found, Survivor, examine};
pub use restore::{Restored, restore};
pub use words::explain;

/// How far revisions are moved on by default: as far as a busy cluster gets in some minutes, so
/// that it is beyond whatever was acknowledged after the backup or by lost members, if a backup is
/// not very old. A revision is a u64; there are enough of them.
pub const REVISION_MARGIN: u64 = 1_000_000;

/// Why a directory was not recovered or restored.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// There is no store.
    #[error("{} holds no raft log; name the --data-dir of a server", dir.display())]
    NoStore {
        /// The directory.
        dir: PathBuf,
    },
    /// A server runs on the directory.
    #[error("a server is running on {}; stop it first", dir.display())]
    Running {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory to restore into is in use.
    #[error("{} is not empty; restore into a new directory, or move what is there away", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// A restore broke off here.
    #[error(
        "a restore into {} was not finished; run `skiff cluster restore` again",
        dir.display()
    )]
    Unfinished {
        /// The directory.
        dir: PathBuf,
    },
    /// The CA is not the one that the backup belongs to, or key and certificate don't fit.
    #[error("the CA is of no use: {0}")]
    Ca(&'static str),
    /// The store cannot be read.
    #[error("read the store")]
    Store(#[source] OpenError),
    /// The log cannot be read or written.
    #[error("use the raft log")]
    Log(#[from] LogError),
    /// raft-rs refused what the log says.
    #[error("read the raft log")]
    Raft(#[from] raft::Error),
    /// An entry of the log cannot be applied.
    #[error("entry {index} cannot be applied: {why}")]
    Entry {
        /// Which one.
        index: u64,
        /// Why not.
        why: String,
    },
    /// A checkpoint cannot be written.
    #[error("write a checkpoint")]
    Checkpoint(#[from] CheckpointError),
    /// The list of servers cannot be written.
    #[error("write the list of servers")]
    List(#[source] Malformed),
    /// Revisions would run out.
    #[error("revision {revision} cannot be moved on by {margin}")]
    Revision {
        /// What it is.
        revision: u64,
        /// What was to be added.
        margin: u64,
    },
    /// A file cannot be read or written.
    #[error("{step} {}", path.display())]
    File {
        /// What was tried.
        step: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The name is none for a server.
    #[error("{0}")]
    Name(String),
    /// Which member the directory belongs to cannot be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A key or certificate cannot be written.
    #[error("write the cluster's keys")]
    Pki(#[from] PkiError),
}
