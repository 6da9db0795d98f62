//! What a store does as a member of its group: messages, snapshots, changes of members, handing
//! over the leadership.

use std::time::Duration;

use raft::eraftpb::Message;
use tokio::sync::oneshot;

use super::Store;
use crate::raft::{ChangeRequest, Install, Report, Task, TransferRequest};
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

/// How long a change of members may take before its asker is told that it is not confirmed.
const CHANGE_MAX: Duration = Duration::from_secs(10);
/// How long another member may take to take over.
const TRANSFER_MAX: Duration = Duration::from_secs(2);
/// A member that has not applied a change of members yet turns the offer down without a word; raft
/// withdraws it after an election's time, and then it can be made again.
const TRANSFER_RETRY: Duration = Duration::from_millis(600);
/// How often to look who leads while a transfer is under way.
const TRANSFER_LOOK: Duration = Duration::from_millis(10);

impl Store {
    /// Takes a message from another member; those with a snapshot come through
    /// [`Store::install`].
    pub fn receive(&self, message: Message) {
        self.inner.inbox.message(message);
    }

    /// The latest applied state of this member, and where in history it stands.
    #[must_use]
    pub fn state_at(&self) -> StateAt {
        self.inner.shared.state_at()
    }

    /// The state that a snapshot message from this member stands for; nothing if it is no longer
    /// kept. The message itself carries no data.
    #[must_use]
    pub fn snapshot_at(&self, index: u64) -> Option<StateAt> {
        self.inner.shared.promised(index)
    }

    /// Makes a snapshot from the leader durable and then gives it to raft, with the message that
    /// announced it. Returns when it is durable.
    ///
    /// # Errors
    /// Why it could not be stored, in words; the leader is to be told that it failed.
    pub async fn install(&self, message: Message, snapshot: StateAt) -> Result<(), String> {
        let stopped = || "the server is stopping".to_owned();
        let tasks = self.inner.threads().tasks.clone().ok_or_else(stopped)?;
        let (reply, stored) = oneshot::channel();
        let install = Task::Install(Install {
            message,
            snapshot,
            reply,
        });
        // The queue is short, and a checkpoint that is being written may take seconds.
        let sent = tokio::task::spawn_blocking(move || tasks.send(install).is_ok());
        if !sent.await.unwrap_or(false) {
            return Err(stopped());
        }
        stored.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Notes that a member could not be reached: raft sends less until it answers.
    pub fn report_unreachable(&self, member: u64) {
        self.inner.inbox.report(Report::Unreachable(member));
    }

    /// Notes what became of a snapshot for a member. Must be told for each one sent, or the
    /// member is never sent anything again.
    pub fn report_snapshot(&self, member: u64, arrived: bool) {
        self.inner
            .inbox
            .report(Report::Snapshot { member, arrived });
    }

    /// Changes the members; returns when the change is in force.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub async fn change_members(&self, change: MemberChange) -> Result<(), ChangeError> {
        let (reply, changed) = oneshot::channel();
        self.inner.inbox.change(ChangeRequest { change, reply });
        let changed = tokio::time::timeout(CHANGE_MAX, changed).await;
        changed.map_or(Err(ChangeError::Unconfirmed), |answer| {
            answer.unwrap_or(Err(ChangeError::Unconfirmed))
        })
    }

    /// Hands the leadership over, to the given voter or to the one that is furthest; returns who
    /// leads now.
    ///
    /// # Errors
    /// [`TransferError`].
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<u64, TransferError> {
        let member = self.status().member;
        let limit = tokio::time::Instant::now() + TRANSFER_MAX;
        loop {
            let (reply, asked) = oneshot::channel();
            self.inner.inbox.transfer(TransferRequest { to, reply });
            asked.await.unwrap_or(Err(TransferError::TimedOut))?;
            let again = tokio::time::Instant::now() + TRANSFER_RETRY;
            while tokio::time::Instant::now() < again {
                match self.status().leader {
                    Some(leader) if leader != member => return Ok(leader),
                    _ => tokio::time::sleep(TRANSFER_LOOK).await,
                }
            }
            if tokio::time::Instant::now() >= limit {
                return Err(TransferError::TimedOut);
            }
        }
    }
}
