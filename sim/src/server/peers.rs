//! What servers send each other: raft's messages, snapshots, requests passed on, and the answers.

use raft::eraftpb::{EntryType, MessageType};
use skiff_control_plane::raft::member::Ticket;

use super::{Turn, place_of};
use crate::context::Context;
use crate::event::Part;
use crate::message::{Message, Peer};
use crate::mutation::Mutation;

/// The entry that a forgetful follower skips is one of so many.
const SKIPPED_PER_MILLE: u64 = 5;

/// Snapshots that are being stored, and who sent them.
#[derive(Debug, Default)]
pub(super) struct Installs(Vec<(Peer, Ticket<Result<(), String>>)>);

impl Installs {
    /// Tells the senders of those that are done.
    pub(super) fn poll(&mut self, context: &mut Context, (index, member): (usize, u64)) {
        self.0.retain_mut(|(sender, ticket)| {
            let Some(stored) = ticket.poll() else {
                return true;
            };
            let message = Message::SnapshotDone {
                member,
                arrived: matches!(stored, Some(Ok(()))),
            };
            context.send(Peer::Server(index), *sender, message);
            false
        });
    }

    pub(super) fn senders(&self) -> impl Iterator<Item = Peer> {
        self.0.iter().map(|(sender, _)| *sender)
    }
}

impl Turn<'_> {
    /// Sends off what the member has for the others.
    pub(super) fn flush(&mut self, context: &mut Context) {
        let me = Peer::Server(self.index);
        let mut messages = self.running.outbox.take();
        // Raft keeps its peers in a hash map, whose order may differ between machines.
        messages.sort_by_key(|message| message.to);
        for message in messages {
            let to = Peer::Server(place_of(message.to, context.options.servers));
            if message.get_msg_type() != MessageType::MsgSnapshot {
                context.send(me, to, Message::Raft(Box::new(message)));
                continue;
            }
            let index = message.get_snapshot().get_metadata().index;
            let member = message.to;
            match self.running.member.snapshot_at(index) {
                Some(state) => {
                    context.say(format_args!("{me} sends {to} a snapshot of index {index}"));
                    context.send(me, to, Message::Snapshot(Box::new((message, state))));
                }
                None => self.running.member.report_snapshot(member, false),
            }
        }
    }

    /// Takes what arrives.
    pub(super) fn receive(&mut self, context: &mut Context, from: Peer, message: Message) {
        match message {
            // For the one whose place this server has taken.
            Message::Raft(message) if message.to != self.id => {}
            Message::Snapshot(parts) if parts.0.to != self.id => {
                let refused = Message::SnapshotDone {
                    member: parts.0.to,
                    arrived: false,
                };
                context.send(Peer::Server(self.index), from, refused);
            }
            Message::Raft(mut message) => {
                if context.makes(Mutation::SkipEntry)
                    && self.index == 0
                    && context.rng.per_mille(SKIPPED_PER_MILLE)
                {
                    skip_one(&mut message);
                }
                self.running.member.receive(*message);
                self.plan(context, Part::Driver);
            }
            Message::Snapshot(parts) => {
                let (message, state) = *parts;
                match self.running.member.install(message, state) {
                    Some(ticket) => self.running.installs.0.push((from, ticket)),
                    None => {
                        let refused = Message::SnapshotDone {
                            member: self.id,
                            arrived: false,
                        };
                        context.send(Peer::Server(self.index), from, refused);
                    }
                }
                self.plan(context, Part::Keeper);
            }
            Message::SnapshotDone { member, arrived } => {
                self.running.member.report_snapshot(member, arrived);
                self.plan(context, Part::Driver);
            }
            Message::Request(request) => self.request(context, from, *request),
            Message::Response(response) => {
                let desk = &mut self.running.desk;
                desk.hand_on(context, self.index, response.id, response.answer);
            }
            Message::Beat => {
                if let Peer::Agent(node) = from {
                    let name = crate::agent::name(node);
                    self.running.heard.insert(name, context.now);
                }
            }
            // Servers watch nothing.
            Message::Watch { .. } => {}
        }
    }
}

/// Takes the commands out of one entry: whoever applies it applies nothing.
fn skip_one(message: &mut raft::eraftpb::Message) {
    let mut entries = message.mut_entries().iter_mut();
    if let Some(entry) = entries
        .find(|entry| entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty())
    {
        entry.data.clear();
    }
}
