//! The thread that takes checkpoints, and then has the log cut.

use std::io;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;

use bytes::Bytes;
use skiff_engine::State;

use super::Job;
use crate::checkpoint::{Checkpoints, Mark, Record};
use crate::log::Base;

/// A state to be kept, and where in history it stands.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(super) mark: Mark,
    pub(super) state: State,
}

/// The keeper and what it is connected to.
pub(crate) struct Keeper {
    pub(crate) checkpoints: Box<dyn Checkpoints>,
    pub(crate) snapshots: Receiver<Snapshot>,
    pub(crate) writer: Sender<Job>,
    /// The newest checkpoint there is.
    pub(crate) newest: Option<Mark>,
}

impl Keeper {
    /// Starts the thread. It ends when the sender of snapshots is gone.
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub(crate) fn start(mut self) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name("checkpoint".into())
            .spawn(move || {
                while let Ok(snapshot) = self.snapshots.recv() {
                    self.keep(&snapshot);
                }
            })
    }

    fn keep(&mut self, snapshot: &Snapshot) {
        let mark = &snapshot.mark;
        let mut records = snapshot.state.objects().map(|object| Record {
            revision: object.revision().0,
            body: Bytes::copy_from_slice(object.body()),
        });
        if let Err(err) = self.checkpoints.write(mark, &mut records) {
            // The log has everything; it is cut when a later attempt succeeds.
            tracing::warn!(%err, index = mark.index, "no checkpoint was taken");
            return;
        }
        tracing::info!(index = mark.index, "took a checkpoint");
        // The log reaches back to the checkpoint before: should the new one be damaged, that one
        // and the log make the same state.
        if let Some(previous) = self.newest.replace(mark.clone()) {
            let Mark {
                index,
                term,
                conf_state,
                ..
            } = previous;
            // The writer is gone when the server stops; the next start works with a longer log.
            drop(self.writer.send(Job::Cut(Base {
                index,
                term,
                conf_state,
            })));
        }
    }
}
