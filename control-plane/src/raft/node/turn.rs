//! What raft wants done: to write, to send, to apply.

use protobuf::Message as _;
use raft::ReadState;
use raft::eraftpb::{
    ConfChange, ConfChangeV2, ConfState, Entry, EntryType, HardState, Message, MessageType,
    Snapshot,
};

use super::Node;
use crate::log::{Base, Batch};
use crate::raft::inbox::Proposal;
use crate::snapshot::StateAt;
use crate::store::ProposeError;

/// What is to be made durable, and what may be sent only then.
#[derive(Debug, Default)]
pub(crate) struct Write {
    /// To be given to [`Node::durable`] when done.
    pub(in super::super) number: u64,
    /// A snapshot took the place of the log up to here.
    pub(in super::super) base: Option<Base>,
    pub(in super::super) batch: Batch,
    pub(in super::super) messages: Vec<Message>,
}

/// What the applier is given, in order.
#[derive(Debug)]
pub(crate) enum Decided {
    /// An entry was committed.
    Entry(Committed),
    /// A snapshot takes the place of the state.
    Snapshot(Box<StateAt>),
}

/// A committed entry.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(in super::super) index: u64,
    pub(in super::super) term: u64,
    pub(in super::super) data: bytes::Bytes,
    /// The decoded commands and whom to answer, if they were proposed here.
    pub(in super::super) own: Option<Vec<Proposal>>,
    /// The members from here on, if the entry changed them.
    pub(in super::super) members: Option<ConfState>,
}

/// The work that raft has for us.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(in super::super) write: Option<Write>,
    pub(in super::super) messages: Vec<Message>,
    pub(in super::super) decided: Vec<Decided>,
    pub(in super::super) reads: Vec<ReadState>,
    /// The members are others from here on.
    pub(in super::super) members_changed: bool,
}

impl Node {
    /// Takes the work that raft has, if it has any. Its write must go to the disk in order and what
    /// was decided to the applier in order; messages may go at once.
    pub(in super::super) fn turn(&mut self) -> Option<Turn> {
        if !self.raw.has_ready() {
            return None;
        }
        let mut ready = self.raw.ready();
        let number = ready.number();
        let mut turn = Turn {
            messages: ready.take_messages(),
            reads: ready.take_read_states(),
            ..Turn::default()
        };
        let votes = self.note_hard_state(ready.hs());
        let base = self.replace_log(ready.snapshot(), &mut turn);
        let entries = ready.take_entries();
        // What raft reads back while it is on its way to the disk.
        self.view.append(&entries);
        let must_write = ready.must_sync();
        let mut messages = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();
        self.raw.advance_append_async(ready);
        self.proposed_bytes = 0;
        if votes {
            self.voting = Some(number);
        }
        if self.voting.is_none() {
            // They say that we heard the leader, not what is on our disk: a slow disk must not
            // make us look dead. A new term has to be durable first.
            let (beats, rest) = messages
                .into_iter()
                .partition(|m| m.get_msg_type() == MessageType::MsgHeartbeatResponse);
            turn.messages.extend::<Vec<_>>(beats);
            messages = rest;
        }
        if must_write || !self.writes.is_empty() && !messages.is_empty() {
            let bytes = entries.iter().map(|entry| entry.data.len() as u64).sum();
            let hard_state = if must_write {
                self.hard_state.take()
            } else {
                None
            };
            self.writes.push_back((number, bytes));
            turn.write = Some(Write {
                number,
                base,
                batch: Batch {
                    hard_state,
                    entries,
                },
                messages,
            });
        } else {
            turn.messages.extend(messages);
            if self.writes.is_empty() {
                self.raw.on_persist_ready(number);
            }
        }
        self.hand_over(committed, &mut turn);
        self.notice_lost_leadership();
        Some(turn)
    }

    /// Keeps a new hard state for the next write; whether it is a new term or vote, which others
    /// may only hear of once it is durable.
    fn note_hard_state(&mut self, hard_state: Option<&HardState>) -> bool {
        let Some(new) = hard_state else { return false };
        let votes = (new.term, new.vote) != self.voted;
        self.voted = (new.term, new.vote);
        self.hard_state = Some(new.clone());
        votes
    }

    /// Lets a snapshot that raft has accepted take the place of the log and of the state.
    fn replace_log(&mut self, snapshot: &Snapshot, turn: &mut Turn) -> Option<Base> {
        if snapshot.is_empty() {
            return None;
        }
        let meta = snapshot.get_metadata();
        let base = Base {
            index: meta.index,
            term: meta.term,
            conf_state: meta.get_conf_state().clone(),
        };
        self.view.rebase(base.clone());
        let of_this = |at: &StateAt| (at.mark.index, at.mark.term) == (base.index, base.term);
        let accepted = self.incoming.drain(..).rfind(of_this);
        turn.decided
            .extend(accepted.map(|at| Decided::Snapshot(Box::new(at))));
        turn.members_changed = true;
        Some(base)
    }

    fn hand_over(&mut self, committed: Vec<Entry>, turn: &mut Turn) {
        for entry in committed {
            self.unapplied
                .push_back((entry.index, entry.data.len() as u64));
            let entry = self.commit(entry);
            turn.members_changed |= entry.members.is_some();
            turn.decided.push(Decided::Entry(entry));
        }
    }

    fn commit(&mut self, entry: Entry) -> Committed {
        let changed = match entry.get_entry_type() {
            EntryType::EntryNormal => None,
            EntryType::EntryConfChange => Some(
                ConfChange::parse_from_bytes(&entry.data)
                    .map_err(raft::Error::from)
                    .and_then(|change| self.raw.apply_conf_change(&change)),
            ),
            EntryType::EntryConfChangeV2 => Some(
                ConfChangeV2::parse_from_bytes(&entry.data)
                    .map_err(raft::Error::from)
                    .and_then(|change| self.raw.apply_conf_change(&change)),
            ),
        };
        // Whatever is wrong with a change is wrong for every member alike: all of them skip it.
        let members = changed.map(|changed| {
            changed.unwrap_or_else(|err| {
                tracing::error!(%err, index = entry.index, "a change of members was skipped");
                self.raw.raft.prs().conf().to_conf_state()
            })
        });
        let own = self.take_pending(entry.index, entry.term);
        let data = if members.is_some() {
            bytes::Bytes::new()
        } else {
            entry.data
        };
        Committed {
            index: entry.index,
            term: entry.term,
            data,
            own,
            members,
        }
    }

    /// The proposals that stand at this place; those whose place went to another are answered.
    fn take_pending(&mut self, index: u64, term: u64) -> Option<Vec<Proposal>> {
        while self
            .pending
            .front()
            .is_some_and(|pending| pending.index <= index)
        {
            let pending = self.pending.pop_front()?;
            if pending.index == index && pending.term == term {
                return Some(pending.proposals);
            }
            let refusal = self.refusal();
            pending
                .proposals
                .into_iter()
                .for_each(|one| one.fail(refusal.clone()));
        }
        None
    }

    /// Once another leads, nobody may ever tell us what became of our entries.
    fn notice_lost_leadership(&mut self) {
        let leads = self.leads();
        if self.led.is_some() && leads != self.led {
            let lost = self.pending.drain(..).flat_map(|pending| pending.proposals);
            lost.for_each(|one| one.fail(ProposeError::LeadershipLost));
            self.groups.clear();
        }
        self.led = leads;
    }
}
