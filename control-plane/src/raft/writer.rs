//! The thread that owns the log on disk: everything that has gathered while one fdatasync ran goes
//! into the next.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use raft::eraftpb::Message;

use super::node::Write;
use super::{Inbox, OnFatal, Outbound, spawn_vital};
use crate::log::{Base, Batch, Log, LogError};

/// How long to wait for a segment before looking whether the server stops.
const SPACE_WAIT: Duration = Duration::from_millis(100);
/// How long a stopping server waits for space. What is lost then was never acknowledged.
const SPACE_WAITS_AT_STOP: usize = 20;

/// What the writer is asked for.
#[derive(Debug)]
pub(crate) enum Job {
    /// To make a batch durable.
    Write(Write),
    /// To cut the log behind a checkpoint.
    Cut(Base),
}

/// The writer and what it is connected to.
pub(crate) struct Writer {
    pub(crate) log: Log,
    pub(crate) jobs: Receiver<Job>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) outbound: Arc<dyn Outbound>,
    pub(crate) fatal: OnFatal,
}

/// The writes that go to the disk together.
#[derive(Debug, Default)]
struct Group {
    number: Option<u64>,
    batch: Batch,
    messages: Vec<Message>,
}

impl Writer {
    /// Starts the thread. It ends when all senders of jobs are gone and everything is written.
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub(crate) fn start(mut self) -> io::Result<JoinHandle<()>> {
        let fatal = self.fatal.clone();
        spawn_vital("log-write", &fatal, move || match self.run() {
            Ok(()) => {}
            Err(LogError::NoSpace) => {
                tracing::warn!("stopped on a full disk; what was not acknowledged is dropped");
            }
            Err(err) => {
                (self.fatal)(&Chain(&err).to_string());
                self.inbox.fail();
            }
        })
    }

    fn run(&mut self) -> Result<(), LogError> {
        while let Ok(first) = self.jobs.recv() {
            let mut group = Group::default();
            let mut cut = group.add(first);
            while cut.is_none()
                && let Ok(next) = self.jobs.try_recv()
            {
                cut = group.add(next);
            }
            self.write(group)?;
            if let Some(base) = cut {
                self.cut(base)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, group: Group) -> Result<(), LogError> {
        let Some(number) = group.number else {
            return Ok(());
        };
        if group.batch.hard_state.is_some() || !group.batch.entries.is_empty() {
            self.append(&group.batch)?;
        }
        if !group.messages.is_empty() {
            self.outbound.send(group.messages);
        }
        self.inbox.durable(number);
        Ok(())
    }

    /// Appends; while the disk is full, waits until it isn't. Others see to it that this is rare:
    /// proposals are refused first.
    fn append(&mut self, batch: &Batch) -> Result<(), LogError> {
        let mut waits_at_stop = 0;
        loop {
            match self.log.append(batch) {
                Err(LogError::NoSpace) if waits_at_stop < SPACE_WAITS_AT_STOP => {
                    self.log.wait_for_space(SPACE_WAIT);
                    waits_at_stop += usize::from(self.inbox.is_stopping());
                }
                outcome => return outcome,
            }
        }
    }

    fn cut(&mut self, base: Base) -> Result<(), LogError> {
        match self.log.rebase(base) {
            Err(LogError::NoSpace) => {
                tracing::warn!("the disk is too full to cut the raft log; the next time will do");
                Ok(())
            }
            outcome => outcome,
        }
    }
}

impl Group {
    /// Adds a job; returns a cut, which must come after the writes so far.
    fn add(&mut self, job: Job) -> Option<Base> {
        match job {
            Job::Write(write) => {
                self.number = Some(write.number);
                self.batch.merge(write.batch);
                self.messages.extend(write.messages);
                None
            }
            Job::Cut(base) => Some(base),
        }
    }
}

/// An error with its causes.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(err) = cause {
            write!(f, ": {err}")?;
            cause = err.source();
        }
        Ok(())
    }
}
