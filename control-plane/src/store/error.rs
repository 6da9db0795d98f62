//! What the store says when it can't.

use std::io;
use std::path::PathBuf;

use crate::checkpoint::CheckpointError;
use crate::log::LogError;

/// Why writes were not acknowledged, and whether they may have happened all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another member leads, or none. The writes did not happen; ask the leader.
    #[error("this server is not the leader")]
    NotLeader {
        /// The leader's member id, if one is known.
        leader: Option<u64>,
    },
    /// Too much is under way. The writes did not happen; try again later.
    #[error("too many writes are under way")]
    Overloaded,
    /// The writes are too large to be proposed, now or ever. They did not happen.
    #[error("{bytes} bytes are too much to be written at once")]
    TooLarge {
        /// How large they are.
        bytes: usize,
    },
    /// The disk is full. The writes did not happen; reads go on.
    #[error("the disk is full")]
    DiskFull,
    /// Another server is of an older version, which could not read them. The writes did not happen;
    /// they will be taken once that server is upgraded.
    #[error(
        "{kind} is unknown to a server of an older version (the cluster writes format {written}, and \
         this takes {needed}; see `skiff cluster status`): upgrade all servers first"
    )]
    TooNew {
        /// The name of the kind.
        kind: &'static str,
        /// The format that it takes.
        needed: u16,
        /// The format that all servers understand.
        written: u16,
    },
    /// This member lost the leadership while the writes were under way. They may have happened, or
    /// may yet happen: read before trying again.
    #[error("the leadership was lost; the writes may have happened")]
    LeadershipLost,
    /// The store stops. The writes may have happened.
    #[error("the server is stopping; the writes may have happened")]
    Stopped,
}

/// Why no up-to-date state can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed in time that it still is one.
    #[error("no leader answered")]
    NoLeader,
    /// This member does not follow: it is far behind, or its disk does not write.
    #[error("this server lags behind")]
    Behind,
    /// The store stops.
    #[error("the server is stopping")]
    Stopped,
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory could not be made or locked.
    #[error("open the store in {}", dir.display())]
    Dir {
        /// The store's directory.
        dir: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another process works in the directory.
    #[error("another server works in {}", dir.display())]
    InUse {
        /// The store's directory.
        dir: PathBuf,
    },
    /// The log is unreadable or damaged.
    #[error("open the raft log")]
    Log(#[source] LogError),
    /// The checkpoints are unreadable.
    #[error("read the checkpoints")]
    Checkpoint(#[source] CheckpointError),
    /// There is a checkpoint but no log.
    #[error(
        "there is a checkpoint at entry {index} but no raft log: writes acknowledged later would be \
         forgotten. Put the log directory back; or, if other servers run, move this server's data \
         directory away and let it join again; or make a new one with `skiff cluster restore`"
    )]
    LogMissing {
        /// What the checkpoint holds.
        index: u64,
    },
    /// The log was cut behind a checkpoint that is not there.
    #[error(
        "the raft log begins behind entry {base} and no good checkpoint reaches it. If other \
         servers run, move this server's data directory away and let it join again; otherwise go \
         on with a server that is left with `skiff cluster recover`, or with a backup with `skiff \
         cluster restore`"
    )]
    CheckpointMissing {
        /// Where the log begins.
        base: u64,
    },
    /// An object in a checkpoint is not one.
    #[error("the checkpoint holds an object that this version cannot read")]
    Object(#[source] skiff_api::Malformed),
    /// raft-rs refused what the log says.
    #[error("start raft")]
    Raft(#[source] ::raft::Error),
    /// The operating system has no thread to give.
    #[error("start a thread")]
    Thread(#[source] io::Error),
    /// The log could not be replayed; the server's messages say why.
    #[error("the store did not become ready")]
    NotReady,
}
