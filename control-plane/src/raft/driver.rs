//! The thread that owns raft. It never waits for anything but its inbox and its clock.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::inbox::{Inbox, Mail, Proposal};
use super::node::{Committed, Node, Turn};
use super::reads::Reads;
use super::{Job, OnFatal, Outbound, Shared, TICK, spawn_vital};
use crate::log::LogView;
use crate::store::ProposeError;

/// Appends on their way to the disk before proposals are left to gather for the next one: one that
/// is being synced and one that follows at once.
const WRITES_UNDER_WAY: usize = 2;
/// Log space that proposals leave to what must be written even on a full disk: hard states and the
/// heads of segments.
const LOG_RESERVE_BYTES: u64 = 256 << 10;
/// Entries from peers are dropped while this much is on its way to the disk; raft sends again.
const UNWRITTEN_BYTES_MAX: u64 = 64 << 20;
/// After a pause of the process, time is made up for at most this many ticks: a burst of them would
/// look like a silent leader.
const TICKS_IN_A_ROW: u32 = 4;
/// How long a stopping server works on what was proposed before.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The driver and what it is connected to.
pub(crate) struct Driver {
    pub(crate) node: Node,
    pub(crate) view: LogView,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) outbound: Arc<dyn Outbound>,
    pub(crate) writer: Sender<Job>,
    pub(crate) applier: Sender<Vec<Committed>>,
    pub(crate) fatal: OnFatal,
}

struct Running {
    driver: Driver,
    reads: Reads,
    waiting: VecDeque<Proposal>,
    next_tick: Instant,
    stop_at: Option<Instant>,
    /// The writer or the applier is gone: it has reported why.
    broken: bool,
}

impl Driver {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system has no thread to give.
    pub(crate) fn start(self) -> io::Result<JoinHandle<()>> {
        let fatal = self.fatal.clone();
        let running = Running {
            driver: self,
            reads: Reads::default(),
            waiting: VecDeque::new(),
            next_tick: Instant::now() + TICK,
            stop_at: None,
            broken: false,
        };
        spawn_vital("raft", &fatal, move || running.run())
    }
}

impl Running {
    fn run(mut self) {
        self.take_turns();
        while !self.is_done() {
            let wants = self.wants_proposals();
            let mail = self.driver.inbox.wait(self.next_tick, wants);
            self.take(mail);
            self.tick();
            self.propose();
            self.driver.node.applied(self.driver.shared.applied());
            if let Some(context) = self.reads.ask(Instant::now()) {
                self.driver.node.read_index(context);
            }
            self.take_turns();
        }
        let left = self.driver.inbox.close();
        let unanswered = self.waiting.drain(..).chain(left.proposals);
        unanswered.for_each(|one| one.fail(ProposeError::Stopped));
        self.driver.shared.end();
    }

    fn wants_proposals(&self) -> bool {
        self.waiting.is_empty() && self.driver.node.writes_under_way() < WRITES_UNDER_WAY
    }

    fn is_done(&self) -> bool {
        let node = &self.driver.node;
        let busy = node.has_pending() || node.writes_under_way() > 0 || !self.waiting.is_empty();
        self.broken
            || self
                .stop_at
                .is_some_and(|limit| !busy || Instant::now() >= limit)
    }

    fn take(&mut self, mail: Mail) {
        self.broken |= mail.broken;
        if mail.stopping && self.stop_at.is_none() {
            self.stop_at = Some(Instant::now() + STOP_LIMIT);
        }
        let node = &mut self.driver.node;
        if let Some(number) = mail.durable {
            node.durable(number);
        }
        let full = node.unwritten_bytes() > UNWRITTEN_BYTES_MAX || self.driver.view.is_exhausted();
        for message in mail.messages {
            if !full || message.entries.is_empty() {
                node.step(message);
            }
        }
        self.reads.add(mail.reads, Instant::now());
        self.waiting.extend(mail.proposals);
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let mut ticks = 0;
        while self.next_tick <= now && ticks < TICKS_IN_A_ROW {
            self.driver.node.tick();
            self.next_tick += TICK;
            ticks += 1;
        }
        if self.next_tick <= now {
            self.next_tick = now + TICK;
        }
    }

    /// Proposes what waits, as far as the log is sure to have space for it.
    fn propose(&mut self) {
        let node = &mut self.driver.node;
        if self.waiting.is_empty() || node.writes_under_way() >= WRITES_UNDER_WAY {
            return;
        }
        if node.leads().is_none() {
            let refusal = node.refusal();
            self.waiting
                .drain(..)
                .for_each(|one| one.fail(refusal.clone()));
            return;
        }
        let room = self.driver.view.room();
        let mut unwritten = node.unwritten_bytes();
        let fitting = self.waiting.iter().take_while(|one| {
            unwritten += one.bytes.len() as u64;
            // At the end of a segment as much may be wasted as is written.
            2 * unwritten + LOG_RESERVE_BYTES <= room.bytes
        });
        let fitting = fitting.count();
        let proposals: Vec<_> = self.waiting.drain(..fitting).collect();
        if !proposals.is_empty() {
            node.propose(proposals);
        }
        if room.no_space {
            self.waiting
                .drain(..)
                .for_each(|one| one.fail(ProposeError::DiskFull));
        }
    }

    fn take_turns(&mut self) {
        while let Some(turn) = self.driver.node.turn() {
            self.driver.shared.set_elected(self.driver.node.leads());
            self.dispatch(turn);
        }
        self.driver
            .node
            .fill_status(&mut self.driver.shared.status_mut());
    }

    fn dispatch(&mut self, turn: Turn) {
        let driver = &self.driver;
        if !turn.messages.is_empty() {
            driver.outbound.send(turn.messages);
        }
        self.reads.answer(turn.reads);
        if let Some(write) = turn.write {
            self.broken |= driver.writer.send(Job::Write(write)).is_err();
        }
        if turn.committed.is_empty() {
            return;
        }
        if turn.committed.iter().any(|entry| entry.members.is_some()) {
            driver.node.fill_members(&mut driver.shared.status_mut());
        }
        self.broken |= driver.applier.send(turn.committed).is_err();
    }
}
