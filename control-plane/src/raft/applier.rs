//! The thread that owns the state: applies committed entries in order, shows the result, tells
//! watchers, then answers proposers. The order of these is a promise: whoever has an answer finds
//! it in the state.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread::JoinHandle;

use skiff_engine::{Change, Command, Outcome, State};
use tokio::sync::oneshot;

use super::inbox::Proposal;
use super::keeper::Snapshot;
use super::node::Committed;
use super::{Inbox, OnFatal, Permit, Shared, spawn_vital, unpack};
use crate::checkpoint::Mark;
use crate::store::{OnApplied, ProposeError};

/// After a checkpoint was put off or failed, this much more is applied before the next attempt.
const RETRY_BYTES: u64 = 8 << 20;
/// An orderly stop takes a checkpoint if at least this much would have to be replayed: less is
/// replayed in a fraction of a second, and stopping should not take longer than that either.
const WORTH_A_CHECKPOINT_BYTES: u64 = 32 << 20;

/// The applier and what it is connected to.
pub(crate) struct Applier {
    pub(crate) state: State,
    pub(crate) mark: Mark,
    pub(crate) committed: Receiver<Vec<Committed>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) keeper: SyncSender<Snapshot>,
    /// Bytes of entries between checkpoints.
    pub(crate) checkpoint_bytes: u64,
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
            while let Ok(mut entries) = self.committed.recv() {
                while let Ok(more) = self.committed.try_recv() {
                    entries.extend(more);
                }
                if let Err(why) = self.apply(entries) {
                    (self.fatal)(&why);
                    self.inbox.fail();
                    return;
                }
            }
            if self.bytes >= WORTH_A_CHECKPOINT_BYTES {
                // The keeper works off what it has before it ends; the thread that stops us joins
                // it.
                drop(self.keeper.send(self.snapshot()));
            }
        })
    }

    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), String> {
        let mut answers: Vec<Answer> = Vec::new();
        let mut changes = Vec::new();
        for entry in entries {
            self.apply_entry(entry, &mut changes, &mut answers)?;
        }
        self.mark.revision = self.state.revision().0;
        if !changes.is_empty() {
            self.shared.publish(self.state.clone());
            (self.on_applied)(&self.state, &changes);
        }
        self.shared.set_applied(self.mark.index, self.mark.term);
        for (reply, outcomes, permit) in answers {
            drop(permit);
            // Whoever asked may have gone away.
            drop(reply.send(Ok(outcomes)));
        }
        if self.bytes >= self.checkpoint_bytes {
            self.take_checkpoint();
        }
        Ok(())
    }

    fn apply_entry(
        &mut self,
        entry: Committed,
        changes: &mut Vec<Change>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), String> {
        if entry.index != self.mark.index + 1 {
            return Err(format!(
                "entry {} came after entry {}",
                entry.index, self.mark.index
            ));
        }
        (self.mark.index, self.mark.term) = (entry.index, entry.term);
        self.bytes += entry.data.len() as u64;
        if let Some(members) = entry.members {
            self.mark.conf_state = members;
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
                let applied = self.state.apply(&command);
                changes.extend(applied.changes);
                answers.push((reply, applied.outcomes, permit));
            }
            return Ok(());
        }
        let unreadable = |why: &str| format!("entry {} cannot be applied: {why}", entry.index);
        let commands = unpack(&entry.data).ok_or_else(|| unreadable("it is not commands"))?;
        for command in commands {
            let command = Command::decode(command).map_err(|err| unreadable(&err.to_string()))?;
            changes.extend(self.state.apply(&command).changes);
        }
        Ok(())
    }

    fn take_checkpoint(&mut self) {
        match self.keeper.try_send(self.snapshot()) {
            Ok(()) => self.bytes = 0,
            // The last one is still being written.
            Err(_) => self.bytes = self.checkpoint_bytes.saturating_sub(RETRY_BYTES),
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            mark: self.mark.clone(),
            state: self.state.clone(),
        }
    }
}
