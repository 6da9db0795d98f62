//! What everybody in a simulation shares: time, chance, the network, the events to come, the
//! witness and the trace.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::event::{Event, Events};
use crate::invariants::Witness;
use crate::message::{Answer, Call, Message, Peer, Refusal, Request, Response};
use crate::mutation::Mutation;
use crate::network::{Fate, Network};
use crate::options::Options;
use crate::rng::Rng;
use crate::time::{Time, millis};
use crate::trace::Trace;

/// The shared part of a simulation.
#[derive(Debug)]
pub struct Context {
    /// The time.
    pub(crate) now: Time,
    /// All chance but that of the network.
    pub(crate) rng: Rng,
    /// What is going to happen.
    pub(crate) events: Events,
    /// The links.
    pub(crate) network: Network,
    /// What happened, for people.
    pub(crate) trace: Trace,
    /// What happened, for the invariants.
    pub(crate) witness: Witness,
    /// What was asked for.
    pub(crate) options: Options,
    /// Watches whose connection is broken: nothing more comes on them.
    broken: BTreeSet<u64>,
    last_id: u64,
    /// The faults are over and clients do nothing more.
    pub(crate) calm: bool,
}

impl Context {
    /// The context of a simulation that begins.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut rng = Rng::new(options.seed);
        let network = Network::new(rng.fork());
        Self {
            now: Time::default(),
            rng,
            events: Events::default(),
            network,
            trace: Trace::new(options.whole_trace),
            witness: Witness::new(options.servers),
            options,
            broken: BTreeSet::new(),
            last_id: 0,
            calm: false,
        }
    }

    /// Adds a line to the trace.
    pub(crate) fn say(&mut self, words: std::fmt::Arguments<'_>) {
        self.trace.line(self.now, words);
    }

    /// Plans an event.
    pub(crate) fn after(&mut self, delay: Duration, event: Event) {
        self.events.plan(self.now + delay, event);
    }

    /// Whether this mistake is to be made.
    pub(crate) fn makes(&self, mutation: Mutation) -> bool {
        self.options.mutation == Some(mutation)
    }

    /// Sends something off.
    pub(crate) fn send(&mut self, from: Peer, to: Peer, message: Message) {
        if self.is_broken(&message) {
            return;
        }
        match self.network.send(self.now, from, to, &message) {
            Fate::Arrives(at) => self.events.plan(at, Event::Deliver { from, to, message }),
            Fate::Lost(noticed) => self.lost(noticed, (from, to), &message),
        }
    }

    /// Whether it belongs to a watch whose connection is broken: what was behind a lost item on it
    /// never arrives.
    pub(crate) fn is_broken(&self, message: &Message) -> bool {
        if let Message::Watch { id, .. } = message {
            self.broken.contains(id)
        } else {
            false
        }
    }

    /// Whether the connection of a request or watch is broken, which who waits for it may not have
    /// noticed.
    pub(crate) fn is_lost(&self, id: Option<u64>) -> bool {
        id.is_some_and(|id| self.broken.contains(&id))
    }

    /// Sees to it that those learn of a lost message who would.
    pub(crate) fn lost(&mut self, noticed: Time, (from, to): (Peer, Peer), message: &Message) {
        let broken = |peer, id| Event::Broken { peer, id };
        match message {
            Message::Raft(_) | Message::Beat => {}
            Message::Snapshot(parts) => self.fail_snapshot(noticed, (to, from), parts.0.to),
            // The connection of the snapshot broke before its end: it counts as failed.
            Message::SnapshotDone { member, .. } => {
                self.fail_snapshot(noticed, (from, to), *member);
            }
            Message::Request(request) => {
                self.broken.insert(request.id);
                self.events.plan(noticed, broken(from, request.id));
            }
            Message::Response(response) => self.events.plan(noticed, broken(to, response.id)),
            Message::Watch { id, .. } => self.break_watch(noticed, (from, to), *id),
        }
    }

    /// Tells the sender of a snapshot that it failed: each one must be told of.
    fn fail_snapshot(&mut self, noticed: Time, (from, to): (Peer, Peer), member: u64) {
        let message = Message::SnapshotDone {
            member,
            arrived: false,
        };
        let event = Event::Deliver { from, to, message };
        self.events.plan(noticed, event);
    }

    /// Breaks the connection of a watch; both ends notice.
    pub(crate) fn break_watch(&mut self, noticed: Time, (from, to): (Peer, Peer), id: u64) {
        self.broken.insert(id);
        for peer in [from, to] {
            self.events.plan(noticed, Event::Broken { peer, id });
        }
    }

    /// Sends a request to a server and returns its id.
    pub(crate) fn ask(&mut self, from: Peer, server: usize, call: Call) -> u64 {
        self.last_id += 1;
        let request = Request {
            id: self.last_id,
            forwarded: false,
            call,
        };
        self.send(
            from,
            Peer::Server(server),
            Message::Request(Box::new(request)),
        );
        self.last_id
    }

    /// Answers a request.
    pub(crate) fn answer(
        &mut self,
        from: usize,
        to: Peer,
        id: u64,
        answer: Result<Answer, Refusal>,
    ) {
        let response = Response { id, answer };
        self.send(
            Peer::Server(from),
            to,
            Message::Response(Box::new(response)),
        );
    }

    /// Some milliseconds, by chance.
    pub(crate) fn some_millis(&mut self, low: u64, high: u64) -> Duration {
        millis(self.rng.between(low, high))
    }
}
