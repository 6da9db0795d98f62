//! What the clients asked for and what they were told: the only witness of what was promised.

use crate::time::Time;

/// What a client does to one key. Every value is written once at most, so a value tells who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Creates the object with a value.
    Create(u64),
    /// Sets the value, whatever it was.
    Put(u64),
    /// Sets the value, if the object is still as it was when it had the value `from`.
    Swap {
        /// The value that the client had read.
        from: u64,
        /// The value that it writes.
        to: u64,
    },
    /// Deletes the object.
    Delete,
    /// Reads the value, as fresh as the cluster has it.
    Read,
}

/// How it ended, as far as the client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It happened; a read found this value, or no object. For a write the revision that it made.
    Ok {
        /// What a read found.
        found: Option<u64>,
        /// The revision of the object.
        revision: u64,
    },
    /// It did not happen, and never will.
    Failed,
    /// It may have happened, or may yet happen.
    Unknown,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Which client.
    pub client: usize,
    /// Which key.
    pub key: String,
    /// What.
    pub act: Act,
    /// When it was asked for.
    pub invoked: Time,
    /// When the answer came; none if it is still waited for.
    pub returned: Option<Time>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Act {
    /// The value that it writes.
    #[must_use]
    pub const fn writes(self) -> Option<u64> {
        match self {
            Self::Create(value) | Self::Put(value) | Self::Swap { to: value, .. } => Some(value),
            Self::Delete | Self::Read => None,
        }
    }
}
