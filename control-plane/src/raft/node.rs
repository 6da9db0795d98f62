//! raft-rs without threads, clocks or disks: calls go in, a [`Turn`] of work comes out. The driver
//! runs one in real time, the simulator many in virtual time.

use std::collections::VecDeque;

use raft::eraftpb::{HardState, Message, MessageType};
use raft::{Config, RawNode, ReadOnlyOption, SnapshotStatus, StateRole};

use super::inbox::{Proposal, Report};
use super::{
    COMMITTED_BYTES_MAX, ELECTION_TICKS, FollowerStatus, HEARTBEAT_TICKS, MESSAGE_BYTES_MAX,
    MESSAGES_IN_FLIGHT_MAX, RaftStatus, UNCOMMITTED_BYTES_MAX, logger, packing,
};
use crate::log::LogView;
use crate::snapshot::StateAt;
use crate::store::ProposeError;

mod members;
mod pacing;
mod pinned;
mod turn;

pub use pinned::ElectionSeed;
pub(crate) use turn::{Committed, Decided, Turn, Write};

/// Commands are merged into entries of about this size: large enough to share the cost of an
/// entry, small enough to keep messages to peers short.
const ENTRY_BYTES: usize = 256 << 10;

/// Proposals that stand at an index of our log.
#[derive(Debug)]
struct Pending {
    index: u64,
    term: u64,
    proposals: Vec<Proposal>,
}

/// One member's raft.
pub(crate) struct Node {
    raw: RawNode<LogView>,
    view: LogView,
    pending: VecDeque<Pending>,
    /// Writes that are not durable yet: number and bytes.
    writes: VecDeque<(u64, u64)>,
    /// Entries that the applier has and has not applied: index and bytes.
    unapplied: VecDeque<(u64, u64)>,
    /// The last index of each group of commands that may not be committed yet.
    groups: VecDeque<u64>,
    /// What followers were last told to be committed.
    told_commit: u64,
    /// Bytes proposed since the last turn.
    proposed_bytes: u64,
    /// A change of the hard state that may wait for the next write.
    hard_state: Option<HardState>,
    /// Whether we led when we last looked, and in which term.
    led: Option<u64>,
    /// Snapshots that are durable here and that raft has not decided about.
    incoming: Vec<StateAt>,
    /// The newest term and vote.
    voted: (u64, u64),
    /// The write that makes them durable, until it has.
    voting: Option<u64>,
    pinned: Option<pinned::Pinned>,
}

impl Node {
    /// A member that has applied everything up to `applied`.
    pub(crate) fn new(
        member: u64,
        view: LogView,
        applied: u64,
        seed: Option<ElectionSeed>,
    ) -> raft::Result<Self> {
        let config = Config {
            id: member,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied,
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_inflight_msgs: MESSAGES_IN_FLIGHT_MAX,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ReadOnlyOption::Safe,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: COMMITTED_BYTES_MAX,
            // `tell_commit` does, if no append follows at once.
            skip_bcast_commit: true,
            ..Config::default()
        };
        let mut raw = RawNode::new(&config, view.clone(), &logger::logger())?;
        let voted = (raw.raft.term, raw.raft.vote);
        let voters = raw.raft.prs().conf().to_conf_state().voters;
        if voters == [member] {
            // Nobody else could win: there is no election time-out to wait for.
            raw.campaign()?;
        }
        let mut node = Self {
            raw,
            view,
            pending: VecDeque::new(),
            writes: VecDeque::new(),
            unapplied: VecDeque::new(),
            groups: VecDeque::new(),
            told_commit: 0,
            proposed_bytes: 0,
            hard_state: None,
            led: None,
            incoming: Vec::new(),
            voted,
            voting: None,
            pinned: seed.map(pinned::Pinned::new),
        };
        node.pin();
        Ok(node)
    }

    pub(super) fn tick(&mut self) {
        self.raw.tick();
        if let Some(pinned) = &mut self.pinned {
            pinned.tick();
        }
        self.pin();
    }

    /// Takes a message from a peer.
    pub(super) fn step(&mut self, message: Message) {
        if message.get_msg_type() == MessageType::MsgSnapshot {
            tracing::warn!(
                from = message.from,
                "a snapshot without its state was dropped"
            );
            return;
        }
        if let Err(err) = self.raw.step(message) {
            tracing::debug!(%err, "a peer's message was not taken");
        }
        self.pin();
    }

    /// Takes a snapshot whose state is durable here already.
    pub(super) fn step_snapshot(&mut self, message: Message, snapshot: StateAt) {
        self.incoming.push(snapshot);
        if let Err(err) = self.raw.step(message) {
            tracing::debug!(%err, "a snapshot was not taken");
        }
        if self.raw.snap().is_none() {
            self.incoming.clear();
        }
        self.pin();
    }

    /// Takes the transport's word about another member.
    pub(super) fn report(&mut self, report: Report) {
        match report {
            Report::Unreachable(member) => self.raw.report_unreachable(member),
            Report::Snapshot { member, arrived } => {
                let status = if arrived {
                    SnapshotStatus::Finish
                } else {
                    SnapshotStatus::Failure
                };
                self.raw.report_snapshot(member, status);
            }
        }
    }

    pub(super) fn read_index(&mut self, context: Vec<u8>) {
        self.raw.read_index(context);
    }

    /// Notes how far entries were applied.
    pub(super) fn applied(&mut self, index: u64) {
        while self.unapplied.front().is_some_and(|(at, _)| *at <= index) {
            self.unapplied.pop_front();
        }
        // The state of a snapshot may be shown before the log knows of it for good.
        let index = index.min(self.raw.raft.raft_log.persisted);
        if index > self.raw.raft.raft_log.applied {
            self.raw.advance_apply_to(index);
            self.view.applied(index);
        }
    }

    /// Notes that a write and those before it are durable.
    pub(super) fn durable(&mut self, number: u64) {
        while self
            .writes
            .front()
            .is_some_and(|(first, _)| *first <= number)
        {
            self.writes.pop_front();
        }
        if self.voting.is_some_and(|voting| voting <= number) {
            self.voting = None;
        }
        self.raw.on_persist_ready(number);
    }

    /// How many writes are under way.
    pub(super) fn writes_under_way(&self) -> usize {
        self.writes.len()
    }

    /// The number of the first write that is not durable.
    pub(super) fn oldest_write(&self) -> Option<u64> {
        self.writes.front().map(|(number, _)| *number)
    }

    pub(super) fn knows_leader(&self) -> bool {
        self.raw.raft.leader_id != 0
    }

    /// Who this is.
    pub(super) fn member(&self) -> u64 {
        self.raw.raft.id
    }

    /// How many bytes of entries are on their way to the disk.
    pub(super) fn unwritten_bytes(&self) -> u64 {
        self.proposed_bytes + self.writes.iter().map(|(_, bytes)| bytes).sum::<u64>()
    }

    /// How many bytes of entries wait for the applier.
    pub(super) fn unapplied_bytes(&self) -> u64 {
        self.unapplied.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Whether proposals wait for their commit.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The term in which this member leads, if it does.
    pub(super) fn leads(&self) -> Option<u64> {
        (self.raw.raft.state == StateRole::Leader).then_some(self.raw.raft.term)
    }

    /// Appends commands, several in one entry. Those that raft refuses, or that were meant for an
    /// earlier term, are answered.
    pub(super) fn propose(&mut self, proposals: Vec<Proposal>) {
        let mut bytes = 0;
        let mut group = Vec::new();
        let term = self.raw.raft.term;
        for proposal in proposals {
            if proposal.only_in.is_some_and(|only| only != term) {
                proposal.fail(ProposeError::NotLeader { leader: None });
                continue;
            }
            let len = packing::PACK_OVERHEAD + proposal.bytes.len();
            if bytes > 0 && bytes + len > ENTRY_BYTES {
                self.propose_entry(std::mem::take(&mut group));
                bytes = 0;
            }
            bytes += len;
            group.push(proposal);
        }
        if !group.is_empty() {
            self.propose_entry(group);
        }
        self.note_group();
    }

    fn propose_entry(&mut self, mut proposals: Vec<Proposal>) {
        let refusal = self.refusal();
        let data = packing::pack(&proposals);
        let len = data.len() as u64;
        if let Err(err) = self.raw.propose(Vec::new(), data) {
            tracing::debug!(%err, "a proposal was dropped");
            proposals
                .into_iter()
                .for_each(|one| one.fail(refusal.clone()));
            return;
        }
        for proposal in &mut proposals {
            // The encoding is in the entry; only the command itself is needed from here on.
            proposal.bytes = Vec::new();
        }
        self.proposed_bytes += len;
        let raft = &self.raw.raft;
        let (index, term) = (raft.raft_log.last_index(), raft.term);
        self.pending.push_back(Pending {
            index,
            term,
            proposals,
        });
    }

    /// Why raft would drop a proposal now.
    pub(super) fn refusal(&self) -> ProposeError {
        let raft = &self.raw.raft;
        if raft.state == StateRole::Leader && raft.lead_transferee.is_none() {
            return ProposeError::Overloaded;
        }
        let leader = Some(raft.leader_id).filter(|leader| *leader != 0 && *leader != raft.id);
        ProposeError::NotLeader { leader }
    }

    pub(crate) fn fill_status(&self, status: &mut RaftStatus) {
        let raft = &self.raw.raft;
        status.member = raft.id;
        status.term = raft.term;
        status.leader = Some(raft.leader_id).filter(|leader| *leader != 0);
        status.commit = raft.raft_log.committed;
        status.last_index = raft.raft_log.last_index();
        if status.voters.is_empty() {
            self.fill_members(status);
        }
        status.followers.clear();
        if raft.state != StateRole::Leader {
            return;
        }
        let others = raft.prs().iter().filter(|(id, _)| **id != raft.id);
        status
            .followers
            .extend(others.map(|(id, progress)| FollowerStatus {
                member: *id,
                matched: progress.matched,
                active: progress.recent_active,
                in_snapshot: progress.state == raft::ProgressState::Snapshot,
            }));
        status.followers.sort_unstable_by_key(|one| one.member);
    }

    pub(super) fn fill_members(&self, status: &mut RaftStatus) {
        let members = self.raw.raft.prs().conf().to_conf_state();
        (status.voters, status.learners) = (members.voters, members.learners);
        status.changing = !members.voters_outgoing.is_empty();
    }
}
