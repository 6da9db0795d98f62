//! The thread that owns the state: applies committed entries in order, shows the result, tells
//! watchers, then answers proposers. The order of these is a promise: whoever has an answer finds
//! it in the state.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread::JoinHandle;

use skiff_engine::{Change, Command, Outcome};
use tokio::sync::oneshot;

use super::inbox::Proposal;
use super::keeper::{Kept, Task};
use super::node::{Committed, Decided};
use super::{Inbox, OnFatal, Permit, Shared, spawn_vital, unpack};
use crate::snapshot::StateAt;
use crate::store::{News, OnApplied, ProposeError};

/// After a checkpoint was put off or failed, this much more is applied before the next attempt.
const RETRY_BYTES: u64 = 8 << 20;
/// Bytes of entries that come in for each byte of the last checkpoint before the next is taken: a
/// database takes about twice what it holds, so no more goes to checkpoints than goes to the log.
const BYTES_PER_BYTE: u64 = 2;
/// An orderly stop takes a checkpoint if at least this much would have to be replayed: less is
/// replayed in a fraction of a second, and stopping should not take longer than that either.
const WORTH_A_CHECKPOINT_BYTES: u64 = 32 << 20;

/// The applier and what it is connected to.
pub(crate) struct Applier {
    pub(crate) at: StateAt,
    pub(crate) decided: Receiver<Vec<Decided>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) keeper: SyncSender<Task>,
    /// Bytes of entries between checkpoints, at least.
    pub(crate) checkpoint_bytes: u64,
    /// How the last one went: the next one waits for [`BYTES_PER_BYTE`] times what that one holds.
    pub(crate) kept: Arc<Kept>,
    /// Bytes of entries since the last one.
    pub(crate) bytes: u64,
    pub(crate) on_applied: OnApplied,
    pub(crate) fatal: OnFatal,
}

type Answer = (
    oneshot::Sender<Result<Vec<Outcome>, ProposeError>>,
    Vec<Outcome>,
    Permit,
);

impl Applier {
    /// Starts the thread. It ends when the sender of committed entries is gone and all are applied.
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub(crate) fn start(mut self) -> io::Result<JoinHandle<()>> {
        let fatal = self.fatal.clone();
        spawn_vital("apply", &fatal, move || {
            while let Ok(decided) = self.decided.recv() {
                if let Err(why) = self.work(decided) {
                    (self.fatal)(&why);
                    self.inbox.fail();
                    return;
                }
            }
            if self.bytes >= WORTH_A_CHECKPOINT_BYTES {
                // The keeper works off what it has before it ends; the thread that stops us joins
                // it.
                drop(self.keeper.send(Task::Keep(self.at.clone())));
            }
        })
    }

    /// Applies what there is, without waiting for more; whether there was anything.
    ///
    /// # Errors
    /// Why this member's state can no longer be trusted.
    pub(crate) fn step(&mut self) -> Result<bool, String> {
        match self.decided.try_recv() {
            Ok(decided) => self.work(decided).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    fn work(&mut self, mut decided: Vec<Decided>) -> Result<(), String> {
        while let Ok(more) = self.decided.try_recv() {
            decided.extend(more);
        }
        let mut entries = Vec::with_capacity(decided.len());
        for one in decided {
            match one {
                Decided::Entry(entry) => entries.push(entry),
                Decided::Snapshot(snapshot) => {
                    self.apply(std::mem::take(&mut entries))?;
                    self.restore(*snapshot);
                }
            }
        }
        self.apply(entries)
    }

    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), String> {
        let mut answers: Vec<Answer> = Vec::new();
        let mut changes = Vec::new();
        for entry in entries {
            self.apply_entry(entry, &mut changes, &mut answers)?;
        }
        self.at.mark.revision = self.at.state.revision().0;
        self.shared.publish(self.at.clone());
        if !changes.is_empty() {
            (self.on_applied)(&self.at.state, News::Changes(&changes));
        }
        self.shared
            .set_applied(self.at.mark.index, self.at.mark.term);
        for (reply, outcomes, permit) in answers {
            drop(permit);
            // Whoever asked may have gone away.
            drop(reply.send(Ok(outcomes)));
        }
        if self.kept.take_failure() {
            self.try_again_soon();
        }
        if self.bytes >= self.distance() {
            self.take_checkpoint();
        }
        Ok(())
    }

    /// Takes the state of a snapshot, which is durable already, instead of what was applied here.
    fn restore(&mut self, snapshot: StateAt) {
        tracing::info!(
            index = snapshot.mark.index,
            "took the state from a snapshot"
        );
        self.at = snapshot;
        self.bytes = 0;
        self.shared.publish(self.at.clone());
        (self.on_applied)(&self.at.state, News::Restored);
        self.shared
            .set_applied(self.at.mark.index, self.at.mark.term);
        self.inbox.nudge();
    }

    fn apply_entry(
        &mut self,
        entry: Committed,
        changes: &mut Vec<Change>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), String> {
        if entry.index != self.at.mark.index + 1 {
            return Err(format!(
                "entry {} came after entry {}",
                entry.index, self.at.mark.index
            ));
        }
        (self.at.mark.index, self.at.mark.term) = (entry.index, entry.term);
        self.bytes += entry.data.len() as u64;
        if let Some(members) = entry.members {
            self.at.mark.conf_state = members;
            return Ok(());
        }
        if let Some(own) = entry.own {
            for Proposal {
                command,
                reply,
                permit,
                ..
            } in own
            {
                let applied = self.at.state.apply(&command);
                changes.extend(applied.changes);
                answers.push((reply, applied.outcomes, permit));
            }
            return Ok(());
        }
        let unreadable = |why: &str| format!("entry {} cannot be applied: {why}", entry.index);
        let commands = unpack(&entry.data).ok_or_else(|| unreadable("it is not commands"))?;
        for command in commands {
            let command = Command::decode(command).map_err(|err| unreadable(&err.to_string()))?;
            changes.extend(self.at.state.apply(&command).changes);
        }
        Ok(())
    }

    /// Bytes of entries between this checkpoint and the next.
    fn distance(&self) -> u64 {
        self.checkpoint_bytes
            .max(self.kept.bytes().saturating_mul(BYTES_PER_BYTE))
    }

    fn try_again_soon(&mut self) {
        self.bytes = self.distance().saturating_sub(RETRY_BYTES);
    }

    fn take_checkpoint(&mut self) {
        match self.keeper.try_send(Task::Keep(self.at.clone())) {
            Ok(()) => self.bytes = 0,
            // The last one is still being written.
            Err(_) => self.try_again_soon(),
        }
    }
}
