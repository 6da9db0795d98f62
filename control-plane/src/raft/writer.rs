//! The thread that owns the log on disk: everything that has gathered while one fdatasync ran goes
//! into the next.

use std::collections::VecDeque;
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
    pub(crate) unfinished: Unfinished,
}

/// What the writer could not finish.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    /// The group that found no space.
    group: Option<Group>,
    /// What has to wait for another group, in order.
    waiting: VecDeque<Job>,
}

/// The writes that go to the disk together.
#[derive(Debug, Default)]
struct Group {
    number: Option<u64>,
    /// A snapshot took the place of the log: this goes first.
    base: Option<Base>,
    batch: Batch,
    messages: Vec<Message>,
    /// A checkpoint was taken: this goes last.
    cut: Option<Base>,
}

/// What a step of the writer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was written.
    Worked,
    /// There is nothing to write.
    Idle,
    /// The disk is full; the group under way is tried again by the next step.
    NoSpace,
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
        let mut waits_at_stop = 0;
        loop {
            match self.step()? {
                Step::Worked => {}
                Step::Idle => match self.jobs.recv() {
                    Ok(job) => self.unfinished.waiting.push_back(job),
                    Err(_) => return Ok(()),
                },
                // Others see to it that this is rare: proposals are refused first.
                Step::NoSpace if waits_at_stop < SPACE_WAITS_AT_STOP => {
                    self.log.wait_for_space(SPACE_WAIT);
                    waits_at_stop += usize::from(self.inbox.is_stopping());
                }
                Step::NoSpace => return Err(LogError::NoSpace),
            }
        }
    }

    /// Writes what has gathered, as one group, without waiting for more.
    ///
    /// # Errors
    /// The disk failed: the log's state on it is unknown.
    pub(crate) fn step(&mut self) -> Result<Step, LogError> {
        let Some(mut group) = self.unfinished.group.take().or_else(|| self.gather()) else {
            return Ok(Step::Idle);
        };
        match self.write(&mut group) {
            Ok(()) => {}
            Err(LogError::NoSpace) => {
                let cut = group.cut.take();
                self.unfinished.group = Some(group);
                self.make_room(cut)?;
                return Ok(Step::NoSpace);
            }
            Err(err) => return Err(err),
        }
        // Raft must not hear an answer to a message before it knows that what it says is durable.
        if let Some(number) = group.number {
            self.inbox.durable(number);
        }
        if !group.messages.is_empty() {
            self.outbound.send(group.messages);
        }
        if let Some(base) = group.cut {
            self.cut(base)?;
        }
        Ok(Step::Worked)
    }

    fn gather(&mut self) -> Option<Group> {
        let mut group = Group::default();
        group.add(self.next_job()?);
        while group.cut.is_none()
            && let Some(job) = self.next_job()
        {
            if matches!(&job, Job::Write(write) if write.base.is_some()) {
                self.unfinished.waiting.push_front(job);
                break;
            }
            group.add(job);
        }
        Some(group)
    }

    fn next_job(&mut self) -> Option<Job> {
        let waiting = self.unfinished.waiting.pop_front();
        waiting.or_else(|| self.jobs.try_recv().ok())
    }

    /// Does the cuts that wait behind a group without space: they free segments, and concern only
    /// what is durable already.
    fn make_room(&mut self, cut: Option<Base>) -> Result<(), LogError> {
        let mut cuts: Vec<Base> = cut.into_iter().collect();
        self.unfinished.waiting.extend(self.jobs.try_iter());
        self.unfinished.waiting.retain(|job| match job {
            Job::Write(_) => true,
            Job::Cut(base) => {
                cuts.push(base.clone());
                false
            }
        });
        cuts.into_iter().try_for_each(|base| self.cut(base))
    }

    /// Writes a group and takes out of it what is durable, so that the next attempt does only the
    /// rest: a group may be larger than all the segments that are ready.
    fn write(&mut self, group: &mut Group) -> Result<(), LogError> {
        if let Some(base) = &group.base {
            self.log
                .replace(base.clone(), group.batch.hard_state.as_ref())?;
            group.base = None;
        }
        self.log.append(&mut group.batch)
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
    fn add(&mut self, job: Job) {
        match job {
            Job::Write(write) => {
                self.number = Some(write.number);
                self.base = self.base.take().or(write.base);
                self.batch.merge(write.batch);
                self.messages.extend(write.messages);
            }
            Job::Cut(base) => self.cut = Some(base),
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
