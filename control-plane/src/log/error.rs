//! What can go wrong with the log, in words that name the way out.

use std::io;
use std::path::{Path, PathBuf};

use super::is_no_space;

/// Why the log could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// An intact frame stands behind a damaged one: more than a torn last write.
    #[error(
        "the raft log is damaged: {path} at byte {offset} should hold frame {missing} and does \
         not, yet frame {later} behind it is intact; acknowledged writes may be missing, so this \
         server does not start. If other servers of the cluster run, move this one's data directory \
         away and let it join again; otherwise go on with a server that is left with `skiff cluster \
         recover`, or with a backup with `skiff cluster restore`",
         path = path.display()
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where the damage begins.
        offset: u64,
        /// The number of the frame that should be there.
        missing: u64,
        /// The number of an intact frame behind it.
        later: u64,
    },
    /// An intact frame says something that no version known here writes.
    #[error("{} at byte {offset} was written by a newer version of skiff", path.display())]
    Version {
        /// The segment or the format file.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// There are segments but the file that describes them is missing or damaged.
    #[error(
        "{} is missing or damaged, so the raft log beside it cannot be read; put the file back; or, \
         if other servers of the cluster run, move the data directory away and join again; or make a \
         new server with `skiff cluster restore`",
         path.display()
    )]
    Format {
        /// The format file.
        path: PathBuf,
    },
    /// The directory or a file in it could not be made.
    #[error("create the raft log in {}", path.display())]
    Create {
        /// What was to be made.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A segment could not be opened or read.
    #[error("read the raft log in {}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A frame could not be written or synced. What is on disk is unknown.
    #[error("write the raft log {}", path.display())]
    Write {
        /// The segment.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The disk is full and every segment written in advance is used up. Nothing is lost: the
    /// same append may be tried again.
    #[error("the disk is full: there is no space for another segment of the raft log")]
    NoSpace,
}

impl LogError {
    pub(super) fn create(path: &Path, source: io::Error) -> Self {
        Self::Create {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        // File systems that copy on write can run full inside a file that was written before. The
        // frame was not acknowledged and is written again as a whole, so trying again is safe.
        if is_no_space(&source) {
            Self::NoSpace
        } else {
            Self::Write {
                path: path.to_owned(),
                source,
            }
        }
    }
}
