//! What is going to happen, in order of time; at the same time, in order of planning.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::message::{Message, Peer};
use crate::time::Time;

/// Something that happens at a point in time.
#[derive(Debug)]
pub enum Event {
    /// A message arrives.
    Deliver {
        /// From whom.
        from: Peer,
        /// At whom.
        to: Peer,
        /// What.
        message: Message,
    },
    /// A server's thread has something to do. Void if the server has died meanwhile.
    Server {
        /// Which.
        server: usize,
        /// In which of its lives.
        life: u64,
        /// What.
        part: Part,
    },
    /// A dead server is started.
    StartServer(usize),
    /// An agent has something to do. Void if the agent has died meanwhile.
    Agent {
        /// Which.
        agent: usize,
        /// In which of its lives.
        life: u64,
        /// What.
        task: Task,
    },
    /// A dead agent is started.
    StartAgent(usize),
    /// A client goes on.
    Client {
        /// Which.
        client: usize,
        /// Why.
        turn: Turn,
    },
    /// A connection turns out to be broken.
    Broken {
        /// Who notices.
        peer: Peer,
        /// What was on it: a request or a watch.
        id: u64,
    },
    /// A fault begins or ends, by its place in the plan.
    Fault(usize),
    /// The operator goes on.
    Operator,
    /// Somebody looks whether the cluster has healed.
    Look,
}

/// The threads of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Raft's clock.
    Tick,
    /// The thread that owns raft.
    Driver,
    /// The thread that owns the log.
    Writer,
    /// The thread that owns the state.
    Applier,
    /// The thread that takes checkpoints.
    Keeper,
    /// The thread that prepares segments.
    Preparer,
    /// The leader's loops.
    Loops,
    /// The loop that looks at heartbeats.
    Health,
    /// The task that notices when the server was stopped.
    Attention,
    /// Watches say how far they are.
    Bookmarks,
}

/// What an agent has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// To look, plan and report.
    Pass,
    /// To do the next step for a pod.
    Step(std::sync::Arc<str>),
    /// To show that it is alive.
    Beat,
    /// To keep its node's object true.
    KeepNode,
    /// To give up waiting for an answer.
    TimeOut(u64),
    /// To try its watches again.
    Follow,
}

/// Why a client goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It has thought long enough.
    Next,
    /// It has waited long enough for an answer.
    TimeOut(u64),
    /// It tries its watch again.
    Follow,
}

#[derive(Debug)]
struct Planned {
    at: Time,
    number: u64,
    event: Event,
}

/// The events to come.
#[derive(Debug, Default)]
pub struct Events {
    heap: BinaryHeap<Planned>,
    planned: u64,
}

impl Events {
    /// Plans an event.
    pub(crate) fn plan(&mut self, at: Time, event: Event) {
        self.planned += 1;
        self.heap.push(Planned {
            at,
            number: self.planned,
            event,
        });
    }

    /// Takes the next one.
    pub(crate) fn next(&mut self) -> Option<(Time, Event)> {
        self.heap.pop().map(|next| (next.at, next.event))
    }
}

impl Ord for Planned {
    /// The earliest is the greatest: that is what the heap gives first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}
