//! What a store does as a member of its group: messages, snapshots, changes of members, handing
//! over the leadership.

use raft::eraftpb::Message;

use super::Store;
use crate::snapshot::StateAt;

/// A change of who belongs to the group. One at a time; each goes through joint consensus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// Adds a member that receives everything and has no vote.
    AddLearner(u64),
    /// Gives a learner its vote.
    Promote(u64),
    /// Removes a voter or learner.
    Remove(u64),
}

/// Why the members were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Another member leads, or none. Nothing was changed; ask the leader.
    #[error("this server is not the leader")]
    NotLeader {
        /// The leader's member id, if one is known.
        leader: Option<u64>,
    },
    /// Another change is under way. Nothing was changed; try again when it is done.
    #[error("another change of the servers is under way")]
    UnderWay,
    /// It makes no sense: the member is unknown, is one already, or is the last voter.
    #[error("{0}")]
    Refused(String),
    /// The change was not confirmed in time, or the leadership was lost: look at the members.
    #[error("the change was not confirmed; it may have happened")]
    Unconfirmed,
}

/// Why the leadership was not handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// This member does not lead.
    #[error("this server is not the leader")]
    NotLeader {
        /// The leader's member id, if one is known.
        leader: Option<u64>,
    },
    /// There is no such voter, or no other at all.
    #[error("there is no such voter to take over")]
    NoSuchVoter,
    /// The other member did not take over in time; this one leads on.
    #[error("the other server did not take over in time")]
    TimedOut,
}

impl Store {
    /// Takes a message from another member; those with a snapshot come through
    /// [`Store::install`].
    pub fn receive(&self, message: Message) {
        self.inner.inbox.message(message);
    }

    /// The state that a snapshot message from this member stands for; nothing if it is no longer
    /// kept. The message itself carries no data.
    #[must_use]
    pub fn snapshot_at(&self, index: u64) -> Option<StateAt> {
        let _ = index;
        None
    }

    /// Makes a snapshot from the leader durable and then gives it to raft, with the message that
    /// announced it. Returns when it is durable.
    ///
    /// # Errors
    /// Why it could not be stored, in words; the leader is to be told that it failed.
    pub async fn install(&self, message: Message, snapshot: StateAt) -> Result<(), String> {
        let _ = (message, snapshot);
        Err("not yet".into())
    }

    /// Notes that a member could not be reached: raft sends less until it answers.
    pub fn report_unreachable(&self, member: u64) {
        let _ = member;
    }

    /// Notes what became of a snapshot for a member. Must be told for each one sent, or the
    /// member is never sent anything again.
    pub fn report_snapshot(&self, member: u64, arrived: bool) {
        let _ = (member, arrived);
    }

    /// Changes the members; returns when the change is in force.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change_members(&self, change: MemberChange) -> Result<(), ChangeError> {
        let _ = change;
        Err(ChangeError::UnderWay)
    }

    /// Hands the leadership over, to the given voter or to the one that is furthest; returns who
    /// leads now.
    ///
    /// # Errors
    /// [`TransferError`].
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<u64, TransferError> {
        let _ = to;
        Err(TransferError::TimedOut)
    }
}
