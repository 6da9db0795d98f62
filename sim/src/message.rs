//! What goes over the simulated network, and who may send it.

use std::fmt;

use raft::eraftpb;
use serde_json::Value;
use skiff_api::{Key, Kind, Object, Revision};
use skiff_control_plane::snapshot::StateAt;
use skiff_control_plane::watch::Interest;
use skiff_engine::Change;

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// A server, by its place; its member id is one more.
    Server(usize),
    /// The agent of a node.
    Agent(usize),
    /// A client.
    Client(usize),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(index) => write!(f, "s{}", index + 1),
            Self::Agent(index) => write!(f, "n{}", index + 1),
            Self::Client(index) => write!(f, "c{}", index + 1),
        }
    }
}

/// What is sent.
#[derive(Debug)]
pub enum Message {
    /// Between members of the raft group.
    Raft(Box<eraftpb::Message>),
    /// A snapshot between members, all of it at once.
    Snapshot(Box<(eraftpb::Message, StateAt)>),
    /// What became of a snapshot, to the one that sent it.
    SnapshotDone {
        /// Who was to take it.
        member: u64,
        /// Whether it did.
        arrived: bool,
    },
    /// To a server.
    Request(Box<Request>),
    /// From a server.
    Response(Box<Response>),
    /// A node shows that it is alive.
    Beat,
    /// Something new on a watch.
    Watch {
        /// Which watch: the id of the request that began it.
        id: u64,
        /// What is new.
        item: Item,
    },
}

/// What comes on a watch.
#[derive(Clone, Debug)]
pub enum Item {
    /// The next change that it wants.
    Change(Box<Change>),
    /// It has seen everything up to here.
    Bookmark(Revision),
    /// The reader was too slow, or the server forgot too much: list again.
    Gone,
}

/// A request as it arrives at a server.
#[derive(Clone, Debug)]
pub struct Request {
    /// Unique in a simulation.
    pub id: u64,
    /// Whether another server passed it on: once is enough.
    pub forwarded: bool,
    /// What is asked for.
    pub call: Call,
}

/// What can be asked of a server: the verbs of its API.
#[derive(Clone, Debug)]
pub enum Call {
    /// POST.
    Create(Kind, Value),
    /// PUT.
    Update(Key, Value),
    /// PATCH with a merge patch, of the status if so said.
    Patch {
        /// Of what.
        key: Key,
        /// The patch.
        patch: Value,
        /// Of its status only.
        status: bool,
    },
    /// DELETE.
    Delete {
        /// Of what.
        key: Key,
        /// Only this life of it, and with no grace.
        at_once: Option<String>,
    },
    /// GET of one object as of now.
    Get(Key),
    /// GET of many as of now.
    List(Interest),
    /// A watch from a revision on.
    Watch(Interest, Revision),
}

impl Call {
    /// Whether it may change something.
    #[must_use]
    pub const fn is_write(&self) -> bool {
        match self {
            Self::Create(..) | Self::Update(..) | Self::Patch { .. } | Self::Delete { .. } => true,
            Self::Get(_) | Self::List(_) | Self::Watch(..) => false,
        }
    }
}

/// A server's answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// Of the request.
    pub id: u64,
    /// What was asked for, or why not.
    pub answer: Result<Answer, Refusal>,
}

/// A good answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The object written or read, or all that were listed.
    pub objects: Vec<Object>,
    /// The revision of the state that was read.
    pub revision: Revision,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request was wrong, or met something else than it expected: it did not happen.
    No(u16),
    /// Not here, or not now: it did not happen.
    Later(u16),
    /// It may have happened.
    Unknown,
}
