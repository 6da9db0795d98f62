//! The thread that owns raft. It never waits for anything but its inbox and its clock.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use raft::eraftpb::MessageType;

use super::inbox::{ChangeRequest, Inbox, Mail, Proposal, TransferRequest};
use super::node::{Decided, Node, Turn};
use super::reads::Reads;
use super::{Job, OnFatal, Outbound, Shared, TICK, spawn_vital};
use crate::log::LogView;
use crate::store::{ChangeError, ProposeError};

/// Log space that proposals leave to what must be written even on a full disk: hard states and the
/// heads of segments.
const LOG_RESERVE_BYTES: u64 = 256 << 10;
/// Entries from peers are dropped while this much is on its way to the disk; raft sends again.
const UNWRITTEN_BYTES_MAX: u64 = 64 << 20;
/// The same while this much waits to be applied.
const UNAPPLIED_BYTES_MAX: u64 = 64 << 20;
/// After a pause of the process, time is made up for at most this many ticks: a burst of them would
/// look like a silent leader.
const TICKS_IN_A_ROW: u32 = 4;
/// A member that has known no leader for so long is cut off: an election takes a second or two.
const CUT_OFF: Duration = Duration::from_secs(4);
/// A leader whose write to the disk takes longer than this asks another one to take over: what it
/// cannot write it cannot apply, and nobody else may answer for it.
const STUCK: Duration = Duration::from_secs(5);
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
    pub(crate) applier: Sender<Vec<Decided>>,
    pub(crate) fatal: OnFatal,
    /// A number that this member has in no other life.
    pub(crate) life: u64,
}

/// A driver at work.
pub(super) struct Running {
    driver: Driver,
    reads: Reads,
    waiting: VecDeque<Proposal>,
    /// The change of members that is under way, in the term in which it was proposed.
    changing: Option<(ChangeRequest, Option<u64>)>,
    next_tick: Instant,
    /// When a leader was known last.
    led_at: Instant,
    /// The oldest write that is not durable, and since when it has been that.
    oldest_write: Option<(u64, Instant)>,
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
        let running = self.begin(Instant::now());
        spawn_vital("raft", &fatal, move || running.run())
    }

    /// A driver that is stepped by hand.
    pub(super) fn begin(self, now: Instant) -> Running {
        let reads = Reads::new(self.node.member(), self.life);
        Running {
            driver: self,
            reads,
            waiting: VecDeque::new(),
            changing: None,
            next_tick: now + TICK,
            led_at: now,
            oldest_write: None,
            stop_at: None,
            broken: false,
        }
    }
}

impl Running {
    fn run(mut self) {
        self.take_turns();
        while !self.is_done() {
            let mail = self
                .driver
                .inbox
                .wait(self.next_tick, self.wants_proposals());
            self.pass(mail, Instant::now());
        }
        let left = self.driver.inbox.close();
        let unanswered = self.waiting.drain(..).chain(left.proposals);
        unanswered.for_each(|one| one.fail(ProposeError::Stopped));
        self.driver.shared.end();
    }

    /// Does what there is to do, without waiting for anything.
    pub(super) fn step(&mut self, now: Instant) {
        let mail = self.driver.inbox.take(self.wants_proposals());
        self.pass(mail, now);
    }

    /// When raft's clock has to be moved on.
    pub(super) const fn next_tick(&self) -> Instant {
        self.next_tick
    }

    fn pass(&mut self, mail: Mail, now: Instant) {
        self.take(mail, now);
        if self.wants_proposals() {
            // What was just made durable or confirmed has made room for them.
            self.waiting.extend(self.driver.inbox.take_proposals());
        }
        self.tick(now);
        self.leave_a_stuck_disk(now);
        self.propose();
        self.driver.node.applied(self.driver.shared.applied());
        if let Some(context) = self.reads.ask(now) {
            self.driver.node.read_index(context);
        }
        self.take_turns();
        self.note_leader(now);
        self.answer_change();
    }

    fn note_leader(&mut self, now: Instant) {
        if self.driver.node.knows_leader() {
            self.led_at = now;
        }
        let silence = now.saturating_duration_since(self.led_at);
        self.driver.shared.set_cut_off(silence >= CUT_OFF);
    }

    fn wants_proposals(&self) -> bool {
        self.waiting.is_empty() && self.driver.node.takes_proposals()
    }

    fn is_done(&self) -> bool {
        let Some(limit) = self.stop_at else {
            return self.broken;
        };
        let (node, inbox) = (&self.driver.node, &self.driver.inbox);
        let gathered = !self.waiting.is_empty() || inbox.has_proposals();
        let busy = node.has_pending() || node.writes_under_way() > 0 || gathered;
        self.broken || !busy || Instant::now() >= limit
    }

    fn take(&mut self, mail: Mail, now: Instant) {
        self.broken |= mail.broken;
        if mail.stopping && self.stop_at.is_none() {
            self.stop_at = Some(now + STOP_LIMIT);
        }
        let node = &mut self.driver.node;
        if let Some(number) = mail.durable {
            node.durable(number);
        }
        let full = node.unwritten_bytes() > UNWRITTEN_BYTES_MAX
            || node.unapplied_bytes() > UNAPPLIED_BYTES_MAX
            || self.driver.view.is_exhausted();
        for message in mail.messages {
            // Other messages have entries as well, which never come to the log.
            if !full || message.get_msg_type() != MessageType::MsgAppend {
                node.step(message);
            }
        }
        for (message, snapshot) in mail.snapshots {
            self.driver.node.step_snapshot(message, snapshot);
            // Raft's word about one snapshot is heard before it gets another.
            self.take_turns();
        }
        let node = &mut self.driver.node;
        mail.reports.into_iter().for_each(|one| node.report(one));
        for TransferRequest { to, reply } in mail.transfers {
            // Whoever asked may have gone away; the same below.
            drop(reply.send(node.transfer(to)));
        }
        self.reads.add(mail.reads, now);
        self.waiting.extend(mail.proposals);
        mail.changes.into_iter().for_each(|one| self.change(one));
    }

    fn change(&mut self, request: ChangeRequest) {
        let node = &mut self.driver.node;
        let proposed = if self.changing.is_some() {
            Err(ChangeError::UnderWay)
        } else {
            node.propose_change(request.change)
        };
        match proposed {
            Ok(()) => self.changing = Some((request, node.leads())),
            Err(err) => drop(request.reply.send(Err(err))),
        }
    }

    /// Answers a change of members once it is in force, or nobody knows whether it ever will be.
    fn answer_change(&mut self) {
        let node = &self.driver.node;
        let Some((request, term)) = &self.changing else {
            return;
        };
        let outcome = if node.leads() != *term {
            Err(ChangeError::Unconfirmed)
        } else if node.is_in_force(request.change) {
            Ok(())
        } else if request.reply.is_closed() {
            Err(ChangeError::Unconfirmed)
        } else {
            return;
        };
        if let Some((request, _)) = self.changing.take() {
            drop(request.reply.send(outcome));
        }
    }

    fn tick(&mut self, now: Instant) {
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

    /// Hands the leadership over when the disk has not done a write for long. Heartbeats do not wait
    /// for the disk, so no other server would ever try.
    fn leave_a_stuck_disk(&mut self, now: Instant) {
        let node = &mut self.driver.node;
        let oldest = node.oldest_write();
        match (oldest, self.oldest_write) {
            (Some(number), Some((known, since))) if number == known => {
                let stuck = now.saturating_duration_since(since) >= STUCK;
                if !stuck || node.leads().is_none() {
                    return;
                }
                if let Ok(to) = node.transfer(None) {
                    tracing::warn!(to, "the disk does not write; another server is to lead");
                }
                // Should it not have come to that, it is tried again.
                self.oldest_write = Some((number, now));
            }
            (oldest, _) => self.oldest_write = oldest.map(|number| (number, now)),
        }
    }

    /// Proposes what waits, as far as the log is sure to have space for it.
    fn propose(&mut self) {
        let node = &mut self.driver.node;
        if self.waiting.is_empty() {
            return;
        }
        if node.leads().is_none() {
            let refusal = node.refusal();
            self.waiting
                .drain(..)
                .for_each(|one| one.fail(refusal.clone()));
            return;
        }
        if !node.takes_proposals() {
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
        loop {
            while let Some(turn) = self.driver.node.turn() {
                self.driver.shared.set_elected(self.driver.node.leads());
                self.dispatch(turn);
            }
            if !self.driver.node.tell_commit() {
                break;
            }
        }
        let shared = &self.driver.shared;
        let mut status = shared.status_mut();
        self.driver.node.fill_status(&mut status);
        let sending = status.followers.iter().any(|one| one.in_snapshot);
        drop(status);
        if !sending {
            shared.forget_promises();
        }
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
        if turn.members_changed {
            driver.node.fill_members(&mut driver.shared.status_mut());
        }
        if !turn.decided.is_empty() {
            self.broken |= driver.applier.send(turn.decided).is_err();
        }
    }
}
