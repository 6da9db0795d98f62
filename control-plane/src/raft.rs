//! The replicated log at work (steps 6 and 7 of the walk): raft-rs, driven by threads that each do
//! one thing.
//!
//! ```text
//! propose ─▶ inbox ─▶ driver (owns RawNode, ticks) ─▶ writer (one fdatasync per group) ─▶ inbox
//!                        │  ▲ messages                  └▶ outbound, what must be durable first
//!                        │  └───────────── peers ◀─ outbound
//!                        └▶ applier (state, watchers, answers) ─▶ keeper (checkpoints, cuts log)
//! ```
//!
//! - `node`: raft-rs without threads, clocks or disks; `driver`: its thread; `inbox`: the only way
//!   to it; - `writer`, `applier`, `keeper`: the others; - `reads`: ReadIndex; - `admission`: how
//!   much may be under way; - `packing`: commands in entries.
//!
//! The driver never waits for a disk or for an application of entries, so that ticks are never late.

use std::time::Duration;

use ::raft::eraftpb::Message;

mod admission;
mod applier;
mod driver;
mod inbox;
mod keeper;
mod logger;
pub mod member;
mod node;
mod packing;
mod reads;
mod shared;
mod vital;
mod writer;

pub use node::ElectionSeed;
pub use vital::OnFatal;

pub(crate) use admission::{Admission, BYTES_MAX as PROPOSAL_BYTES_MAX, Permit};
pub(crate) use applier::Applier;
pub(crate) use driver::Driver;
pub(crate) use inbox::{ChangeRequest, Inbox, Proposal, Report, TransferRequest};
pub(crate) use keeper::{Install, Keeper, Kept, Task};
pub(crate) use node::Node;
pub(crate) use packing::{PACK_OVERHEAD, unpack};
pub(crate) use shared::Shared;
pub(crate) use vital::{abort_on_fatal, spawn_vital};
pub(crate) use writer::{Job, Step, Unfinished, Writer};

/// One step of raft's clock.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// A follower campaigns after 10 to 20 ticks (0.5 to 1 s) without its leader.
const ELECTION_TICKS: usize = 10;
/// A leader shows itself every 2 ticks.
const HEARTBEAT_TICKS: usize = 2;
/// Entries in one message to a peer: bounds what one lost message costs.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Messages on their way to a peer before it answers. To a peer that is far behind raft sends them
/// all in one turn, and the peer has to take them in: with hundreds of MiB, heartbeats were late on
/// both sides and elections followed.
const MESSAGES_IN_FLIGHT_MAX: usize = 16;
/// Entries that were proposed and not yet committed; proposals beyond it are refused.
const UNCOMMITTED_BYTES_MAX: u64 = 64 << 20;
/// Committed entries handed to the applier in one go.
const COMMITTED_BYTES_MAX: u64 = 16 << 20;

/// Where messages to other members go. There are none in a group of one.
pub trait Outbound: Send + Sync {
    /// Sends messages, each to the member in its `to`, in order per member. Must not wait: what
    /// cannot be queued is dropped, raft sends again.
    fn send(&self, messages: Vec<Message>);
}

/// The outbound side of a group of one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Outbound for Alone {
    fn send(&self, messages: Vec<Message>) {
        tracing::debug!(
            count = messages.len(),
            "dropped messages: there is no transport"
        );
    }
}

/// How a member sees its group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftStatus {
    /// This member's id.
    pub member: u64,
    /// The current term.
    pub term: u64,
    /// The leader, if one is known.
    pub leader: Option<u64>,
    /// The last index known to be committed.
    pub commit: u64,
    /// The last index applied to the state.
    pub applied: u64,
    /// The last index in the log, durable or not.
    pub last_index: u64,
    /// The ids of the voting members.
    pub voters: Vec<u64>,
    /// The ids of the members that only learn.
    pub learners: Vec<u64>,
    /// Whether a change of members is in its joint phase: the voters before and after it both have
    /// to agree to everything.
    pub changing: bool,
    /// On the leader: how far each other member is.
    pub followers: Vec<FollowerStatus>,
}

/// How a leader sees another member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowerStatus {
    /// The member's id.
    pub member: u64,
    /// The last index that it is known to have.
    pub matched: u64,
    /// Whether it was heard within the last election time-out.
    pub active: bool,
    /// Whether it is being sent a snapshot.
    pub in_snapshot: bool,
}
