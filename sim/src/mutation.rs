//! Mistakes on purpose: each is a way in which the real servers, agents or clients could be wrong,
//! made where the simulation stands in for them. One that no seed notices is a hole in the net.

use std::fmt;
use std::str::FromStr;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// What was written counts as durable before the fdatasync.
    AcknowledgeBeforeSync,
    /// A vote is given, and forgotten by a crash.
    ForgetVote,
    /// A server comes back under its old id with an empty disk.
    ForgetDisk,
    /// A write is acknowledged when it was proposed.
    AcknowledgeBeforeCommit,
    /// A write whose fate is unknown is reported as failed.
    CallUnknownFailed,
    /// One follower skips an entry of the log.
    SkipEntry,
    /// A server reads its own state where the latest was asked for.
    StaleRead,
    /// A server that no longer leads refuses writes because of what it sees in its old state.
    RefuseUnsure,
    /// A change is not told to watchers.
    DropWatchEvent,
    /// A watch that broke goes on with what happens from now on.
    ResumeFromNow,
    /// The scheduler looks at an old state and binds whatever is there now.
    BindUnguarded,
    /// A wake-up that comes while its loop is at work is forgotten.
    ForgetWakeUp,
}

impl Mutation {
    /// Every mistake there is.
    pub const ALL: [Self; 12] = [
        Self::AcknowledgeBeforeSync,
        Self::ForgetVote,
        Self::ForgetDisk,
        Self::AcknowledgeBeforeCommit,
        Self::CallUnknownFailed,
        Self::SkipEntry,
        Self::StaleRead,
        Self::RefuseUnsure,
        Self::DropWatchEvent,
        Self::ResumeFromNow,
        Self::BindUnguarded,
        Self::ForgetWakeUp,
    ];
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl FromStr for Mutation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|one| one.to_string() == text);
        known.ok_or_else(|| format!("{text:?} is no mistake; there are {:?}", Self::ALL))
    }
}
