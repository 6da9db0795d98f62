//! The only way to the driver: everything that others want of raft, taken all at once.
//!
//! The driver is woken only for what it can use: while it can't take proposals, they gather without
//! waking it, and go together in the next append.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use raft::eraftpb::Message;
use skiff_engine::{Command, Outcome};
use tokio::sync::oneshot;

use super::Permit;
use super::reads::ReadRequest;
use crate::snapshot::StateAt;
use crate::store::{ChangeError, MemberChange, ProposeError, TransferError};

/// Messages from peers that wait; more are dropped, as on a bad network.
const MESSAGES_MAX: usize = 4096;
/// Bytes of entries in messages that wait.
const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// A command on its way into the log.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// Kept decoded for the applier.
    pub(crate) command: Command,
    /// Its encoding.
    pub(crate) bytes: Vec<u8>,
    /// The one term in which it may come into the log.
    pub(crate) only_in: Option<u64>,
    pub(crate) reply: oneshot::Sender<Result<Vec<Outcome>, ProposeError>>,
    pub(crate) permit: Permit,
}

impl Proposal {
    /// Answers that it failed.
    pub(crate) fn fail(self, why: ProposeError) {
        // Whoever asked may have gone away; nobody else is to be told.
        drop(self.reply.send(Err(why)));
    }
}

/// What the transport has to say about another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// It cannot be reached.
    Unreachable(u64),
    /// The snapshot for it arrived, or never will.
    Snapshot { member: u64, arrived: bool },
}

/// A change of members that is asked for; answered when it is in force.
#[derive(Debug)]
pub(crate) struct ChangeRequest {
    pub(crate) change: MemberChange,
    pub(crate) reply: oneshot::Sender<Result<(), ChangeError>>,
}

/// Asks for another leader; answered with who was asked to take over.
#[derive(Debug)]
pub(crate) struct TransferRequest {
    pub(crate) to: Option<u64>,
    pub(crate) reply: oneshot::Sender<Result<u64, TransferError>>,
}

/// What has gathered.
#[derive(Debug, Default)]
pub(super) struct Mail {
    pub(super) proposals: Vec<Proposal>,
    pub(super) messages: Vec<Message>,
    message_bytes: usize,
    /// Snapshots whose state is durable, with the messages that announced them.
    pub(super) snapshots: Vec<(Message, StateAt)>,
    pub(super) reports: Vec<Report>,
    pub(super) changes: Vec<ChangeRequest>,
    pub(super) transfers: Vec<TransferRequest>,
    pub(super) reads: Vec<ReadRequest>,
    /// The newest ready that became durable.
    pub(super) durable: Option<u64>,
    pub(super) stopping: bool,
    /// Another thread of the store is gone and has said why.
    pub(super) broken: bool,
}

#[derive(Debug, Default)]
struct Slot {
    mail: Mail,
    /// Something happened that needs no further word: entries were applied, space was found.
    nudged: bool,
    taking_proposals: bool,
    closed: bool,
}

/// Where mail gathers.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    inner: Mutex<Slot>,
    arrived: Condvar,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands in proposals that belong together.
    pub(crate) fn propose(&self, proposals: Vec<Proposal>) {
        let mut inner = self.lock();
        if inner.closed || inner.mail.stopping {
            drop(inner);
            proposals
                .into_iter()
                .for_each(|one| one.fail(ProposeError::Stopped));
            return;
        }
        inner.mail.proposals.extend(proposals);
        if inner.taking_proposals {
            self.arrived.notify_one();
        }
    }

    /// Hands in a message from a peer.
    pub(crate) fn message(&self, message: Message) {
        let bytes: usize = message.entries.iter().map(|entry| entry.data.len()).sum();
        self.put(|mail| {
            let room = mail.message_bytes == 0 || mail.message_bytes + bytes <= MESSAGE_BYTES_MAX;
            if room && mail.messages.len() < MESSAGES_MAX {
                mail.message_bytes += bytes;
                mail.messages.push(message);
            }
        });
    }

    /// Hands in a snapshot that is durable here, with the message that announced it.
    pub(crate) fn snapshot(&self, message: Message, snapshot: StateAt) {
        self.put(|mail| mail.snapshots.push((message, snapshot)));
    }

    /// Hands in the transport's word about another member.
    pub(crate) fn report(&self, report: Report) {
        self.put(|mail| {
            if mail.reports.len() < MESSAGES_MAX {
                mail.reports.push(report);
            }
        });
    }

    /// Asks for a change of members.
    pub(crate) fn change(&self, request: ChangeRequest) {
        self.put(|mail| mail.changes.push(request));
    }

    /// Asks for another leader.
    pub(crate) fn transfer(&self, request: TransferRequest) {
        self.put(|mail| mail.transfers.push(request));
    }

    /// Puts something in, unless the driver is gone, and wakes it.
    fn put(&self, put: impl FnOnce(&mut Mail)) {
        let mut inner = self.lock();
        if !inner.closed {
            put(&mut inner.mail);
            inner.nudged = true;
        }
        self.arrived.notify_one();
    }

    /// Asks for an index that a linearizable read must wait for.
    pub(crate) fn read(&self, request: ReadRequest) {
        self.put(|mail| mail.reads.push(request));
    }

    /// Tells that a ready and all before it are durable.
    pub(super) fn durable(&self, number: u64) {
        let mut inner = self.lock();
        inner.mail.durable = Some(number);
        self.arrived.notify_one();
    }

    /// Makes the driver look around: entries were applied, or the disk has space again.
    pub(crate) fn nudge(&self) {
        self.lock().nudged = true;
        self.arrived.notify_one();
    }

    /// Whether [`Inbox::stop`] was called.
    pub(super) fn is_stopping(&self) -> bool {
        self.lock().mail.stopping
    }

    /// Whether the driver is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Asks the driver to finish what is under way and to end.
    pub(crate) fn stop(&self) {
        self.lock().mail.stopping = true;
        self.arrived.notify_one();
    }

    /// Tells the driver that another thread cannot go on.
    pub(super) fn fail(&self) {
        let mut inner = self.lock();
        inner.mail.broken = true;
        inner.nudged = true;
        self.arrived.notify_one();
    }

    /// Refuses everything from now on; returns what was left.
    pub(super) fn close(&self) -> Mail {
        let mut inner = self.lock();
        inner.closed = true;
        std::mem::take(&mut inner.mail)
    }

    /// Waits for mail until `deadline`. Proposals are left where they are unless wanted.
    pub(super) fn wait(&self, deadline: Instant, with_proposals: bool) -> Mail {
        let mut inner = self.lock();
        inner.taking_proposals = with_proposals;
        let stopping = inner.mail.stopping;
        let idle = |inner: &mut Slot| {
            let mail = &inner.mail;
            mail.durable.is_none()
                && mail.stopping == stopping
                && !inner.nudged
                && (mail.proposals.is_empty() || !with_proposals)
        };
        let limit = deadline.saturating_duration_since(Instant::now());
        let waited = self.arrived.wait_timeout_while(inner, limit, idle);
        let (mut inner, _timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        inner.take(with_proposals)
    }

    /// The proposals that have gathered meanwhile.
    pub(super) fn take_proposals(&self) -> Vec<Proposal> {
        std::mem::take(&mut self.lock().mail.proposals)
    }

    /// Whether proposals have gathered.
    pub(super) fn has_proposals(&self) -> bool {
        !self.lock().mail.proposals.is_empty()
    }

    /// The mail that is there, without waiting.
    pub(super) fn take(&self, with_proposals: bool) -> Mail {
        self.lock().take(with_proposals)
    }
}

impl Slot {
    fn take(&mut self, with_proposals: bool) -> Mail {
        self.taking_proposals = false;
        self.nudged = false;
        let stopping = self.mail.stopping;
        let mut mail = std::mem::take(&mut self.mail);
        self.mail.stopping = stopping;
        if !with_proposals {
            self.mail.proposals = std::mem::take(&mut mail.proposals);
        }
        mail
    }
}
