//! A member that is stepped by hand: the parts that [`Store`](crate::store::Store) runs on threads,
//! without threads, clocks or a wall. The simulator runs several of them in one thread and in
//! virtual time; each step does what the thread of the same name does at one wake-up.

use std::time::Instant;

use raft::eraftpb::Message;
use skiff_api::Millis;
use skiff_engine::{Outcome, State, Write};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::driver::Running;
use super::{
    Applier, ChangeRequest, Inbox, Install, Keeper, RaftStatus, Report, Shared, Step, Task,
    TransferRequest, Writer,
};
use crate::log::{self, LogView};
use crate::snapshot::StateAt;
use crate::store::open::recover;
use crate::store::{
    ChangeError, MemberChange, OnApplied, OpenError, ProposeError, Reply, StoreConfig,
    TransferError, propose,
};

/// One member, of which nothing happens by itself.
pub struct Member {
    shared: std::sync::Arc<Shared>,
    inbox: std::sync::Arc<Inbox>,
    tasks: std::sync::mpsc::SyncSender<Task>,
    view: LogView,
    driver: Running,
    writer: Writer,
    applier: Applier,
    keeper: Keeper,
}

/// What became of the writer's step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// A group became durable.
    Something,
    /// There was nothing to write.
    Nothing,
    /// The disk is full; the next step tries again.
    NoSpace,
}

/// An answer that comes later.
#[derive(Debug)]
pub struct Ticket<T>(oneshot::Receiver<T>);

impl<T> Ticket<T> {
    /// The answer, if it is there; `Some(None)` if there will never be one.
    pub fn poll(&mut self) -> Option<Option<T>> {
        match self.0.try_recv() {
            Ok(answer) => Some(Some(answer)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(None),
        }
    }
}

/// Writes under way; a large batch is answered in parts.
#[derive(Debug)]
pub struct WriteTicket {
    left: std::collections::VecDeque<Reply>,
    outcomes: Vec<Outcome>,
}

impl WriteTicket {
    /// What became of the writes, once all of them are decided or one part failed.
    pub fn poll(&mut self) -> Option<Result<Vec<Outcome>, ProposeError>> {
        while let Some(reply) = self.left.front_mut() {
            match reply.try_recv() {
                Ok(Ok(outcomes)) => self.outcomes.extend(outcomes),
                Ok(Err(err)) => return Some(Err(err)),
                Err(TryRecvError::Closed) => return Some(Err(ProposeError::Stopped)),
                Err(TryRecvError::Empty) => return None,
            }
            self.left.pop_front();
        }
        Some(Ok(std::mem::take(&mut self.outcomes)))
    }
}

impl Member {
    /// Recovers a member from its disk, as a store is opened.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        config: StoreConfig,
        on_applied: OnApplied,
        now: Instant,
    ) -> Result<Self, OpenError> {
        let (parts, _alone) = recover(config, on_applied)?;
        Ok(Self {
            shared: parts.driver.shared.clone(),
            inbox: parts.driver.inbox.clone(),
            tasks: parts.tasks,
            view: parts.view,
            driver: parts.driver.begin(now),
            writer: parts.writer,
            applier: parts.applier,
            keeper: parts.keeper,
        })
    }

    /// Lets raft take what was handed in and move its clock on to `now`.
    pub fn step_driver(&mut self, now: Instant) {
        self.driver.step(now);
    }

    /// When the driver wants to be stepped at the latest.
    #[must_use]
    pub const fn next_tick(&self) -> Instant {
        self.driver.next_tick()
    }

    /// Makes what waits for the disk durable, as one group.
    ///
    /// # Errors
    /// The disk failed, in words: this member has to be opened anew.
    pub fn step_writer(&mut self) -> Result<Wrote, String> {
        match self.writer.step() {
            Ok(Step::Worked) => Ok(Wrote::Something),
            Ok(Step::Idle) => Ok(Wrote::Nothing),
            Ok(Step::NoSpace) => Ok(Wrote::NoSpace),
            Err(err) => Err(err.to_string()),
        }
    }

    /// Applies what was committed; whether there was anything.
    ///
    /// # Errors
    /// The state can no longer be trusted, in words.
    pub fn step_applier(&mut self) -> Result<bool, String> {
        self.applier.step()
    }

    /// Takes a checkpoint or stores a snapshot; whether there was anything to do.
    pub fn step_keeper(&mut self) -> bool {
        self.keeper.step()
    }

    /// Prepares a segment of the log; whether there was anything to do and it could be done.
    pub fn step_preparer(&mut self) -> bool {
        let inbox = self.inbox.clone();
        log::prepare(&self.view, &move || inbox.nudge())
    }

    /// As [`Store::propose`](crate::store::Store::propose), at the time `at` of its clock.
    ///
    /// # Errors
    /// As there, as far as it is known at once.
    pub fn propose(&self, writes: Vec<Write>, at: Millis) -> Result<WriteTicket, ProposeError> {
        if !self.is_leader() {
            let RaftStatus { member, leader, .. } = self.status();
            let leader = leader.filter(|leader| *leader != member);
            return Err(ProposeError::NotLeader { leader });
        }
        let left = propose(&self.shared, &self.inbox, writes, at, None)?;
        Ok(WriteTicket {
            left: left.into(),
            outcomes: Vec::new(),
        })
    }

    /// The index that must be applied before a linearizable read may be answered.
    pub fn read_index(&self) -> Ticket<u64> {
        let (request, index) = oneshot::channel();
        self.inbox.read(request);
        Ticket(index)
    }

    /// Takes a message from another member.
    pub fn receive(&self, message: Message) {
        self.inbox.message(message);
    }

    /// The state that a snapshot message from this member stands for.
    #[must_use]
    pub fn snapshot_at(&self, index: u64) -> Option<StateAt> {
        self.shared.promised(index)
    }

    /// Takes a snapshot in; `None` if the keeper is busy: the sender has to try again.
    #[must_use]
    pub fn install(
        &self,
        message: Message,
        snapshot: StateAt,
    ) -> Option<Ticket<Result<(), String>>> {
        let (reply, stored) = oneshot::channel();
        let install = Install {
            message,
            snapshot,
            reply,
        };
        let sent = self.tasks.try_send(Task::Install(install));
        sent.is_ok().then_some(Ticket(stored))
    }

    /// Notes that a member could not be reached.
    pub fn report_unreachable(&self, member: u64) {
        self.inbox.report(Report::Unreachable(member));
    }

    /// Notes what became of a snapshot for a member.
    pub fn report_snapshot(&self, member: u64, arrived: bool) {
        self.inbox.report(Report::Snapshot { member, arrived });
    }

    /// Asks for a change of members; answered when it is in force.
    pub fn change_members(&self, change: MemberChange) -> Ticket<Result<(), ChangeError>> {
        let (reply, changed) = oneshot::channel();
        self.inbox.change(ChangeRequest { change, reply });
        Ticket(changed)
    }

    /// Asks another voter to take over; answered with whom.
    pub fn transfer(&self, to: Option<u64>) -> Ticket<Result<u64, TransferError>> {
        let (reply, asked) = oneshot::channel();
        self.inbox.transfer(TransferRequest { to, reply });
        Ticket(asked)
    }

    /// Whether this member leads and its state holds everything that was acknowledged before.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.shared.is_leading()
    }

    /// The latest applied state.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.state()
    }

    /// The latest applied state, and where in history it stands.
    #[must_use]
    pub fn state_at(&self) -> StateAt {
        self.shared.state_at()
    }

    /// How this member sees its group.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        self.shared.status()
    }
}
