//! The thread that takes checkpoints, and then has the log cut.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;

use raft::eraftpb::Message;
use skiff_engine::State;
use tokio::sync::oneshot;

use super::{Inbox, Job};
use crate::checkpoint::{CheckpointError, Checkpoints, Mark};
use crate::log::Base;
use crate::snapshot::StateAt;

/// Steps of priority (nice(2)) that the keeper stands behind the rest of the server.
const NICE: i32 = 10;

/// What the keeper is asked for.
#[derive(Debug)]
pub(crate) enum Task {
    /// To keep a state that was applied here.
    Keep(StateAt),
    /// To keep a state that came from the leader, and then to hand it to raft.
    Install(Install),
}

/// A snapshot on its way in.
#[derive(Debug)]
pub(crate) struct Install {
    /// The message that announced it.
    pub(crate) message: Message,
    pub(crate) snapshot: StateAt,
    /// Answered when it is durable, or why it isn't.
    pub(crate) reply: oneshot::Sender<Result<(), String>>,
}

/// The keeper and what it is connected to.
pub(crate) struct Keeper {
    pub(crate) checkpoints: Box<dyn Checkpoints>,
    pub(crate) tasks: Receiver<Task>,
    pub(crate) writer: Sender<Job>,
    pub(crate) inbox: Arc<Inbox>,
    /// The newest checkpoint there is.
    pub(crate) newest: Option<Mark>,
    /// How that went, for whoever orders the next.
    pub(crate) kept: Arc<Kept>,
}

/// How the newest attempt at a checkpoint went.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Bytes of objects in the newest checkpoint.
    bytes: AtomicU64,
    failed: AtomicBool,
}

impl Kept {
    /// There is one of about this state.
    pub(crate) fn of(state: &State) -> Self {
        let bytes = state.objects().map(|object| object.body().len() as u64);
        Self {
            bytes: AtomicU64::new(bytes.sum()),
            failed: false.into(),
        }
    }

    /// Bytes of objects in the newest checkpoint.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether an attempt has failed since this was asked last.
    pub(crate) fn take_failure(&self) -> bool {
        self.failed.swap(false, Ordering::Relaxed)
    }
}

/// Lowers the priority of this thread and of the database's, which it starts: a write that somebody
/// waits for goes first. A tenth of a busy core is left to them.
fn give_way() {
    if let Err(err) = rustix::process::nice(NICE) {
        tracing::debug!(%err, "checkpoints keep the priority of the server");
    }
}

impl Keeper {
    /// Starts the thread. It ends when the senders of tasks are gone.
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub(crate) fn start(mut self) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || {
                give_way();
                while let Ok(task) = self.tasks.recv() {
                    self.work(task);
                }
            })
    }

    /// Does one task, if there is one.
    pub(crate) fn step(&mut self) -> bool {
        let task = self.tasks.try_recv();
        let worked = task.is_ok();
        if let Ok(task) = task {
            self.work(task);
        }
        worked
    }

    fn work(&mut self, task: Task) {
        match task {
            Task::Keep(state) => self.keep(&state),
            Task::Install(install) => self.install(install),
        }
    }

    fn keep(&mut self, state: &StateAt) {
        let mark = &state.mark;
        if !self.is_news(mark) {
            // A snapshot came in while this one waited.
            return;
        }
        if let Err(err) = self.write(state) {
            // The log has everything; it is cut when a later attempt succeeds.
            self.kept.failed.store(true, Ordering::Relaxed);
            tracing::warn!(%err, index = mark.index, "no checkpoint was taken");
            return;
        }
        tracing::info!(index = mark.index, "took a checkpoint");
        // The log reaches back to the checkpoint before: should the new one be damaged, that one
        // and the log make the same state.
        if let Some(previous) = self.newest.replace(mark.clone()) {
            // The writer is gone when the server stops; the next start works with a longer log.
            drop(self.writer.send(Job::Cut(Base::at(&previous))));
        }
    }

    /// Before raft may forget its log for a snapshot, the snapshot has to be as durable as the log.
    fn install(&mut self, install: Install) {
        let Install {
            message,
            snapshot,
            reply,
        } = install;
        let mark = &snapshot.mark;
        if self.is_news(mark) {
            if let Err(err) = self.write(&snapshot) {
                tracing::warn!(%err, index = mark.index, "a snapshot could not be stored");
                // Whoever asked may have gone away; the same below.
                drop(reply.send(Err(err.to_string())));
                return;
            }
            self.newest = Some(mark.clone());
        }
        self.inbox.snapshot(message, snapshot);
        drop(reply.send(Ok(())));
    }

    fn write(&mut self, state: &StateAt) -> Result<(), CheckpointError> {
        let mut bytes = 0;
        let counted = state.records();
        let mut counted = counted.inspect(|record| bytes += record.body.len() as u64);
        self.checkpoints.write(&state.mark, &mut counted)?;
        self.kept.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn is_news(&self, mark: &Mark) -> bool {
        self.newest
            .as_ref()
            .is_none_or(|newest| newest.index < mark.index)
    }
}
