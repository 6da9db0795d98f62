//! A server: the real member of the raft group with the real log on a disk in memory, the real watch
//! hub, the real passes of the loops, and a desk for requests. What threads do elsewhere happens
//! here in steps, at times that chance decides.

mod decide;
mod desk;
mod disk;
mod loops;
mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use raft::eraftpb::{self, MessageType};
use skiff_api::Revision;
use skiff_control_plane::checkpoint::MemoryCheckpoints;
use skiff_control_plane::disk::MemoryDisk;
use skiff_control_plane::raft::Outbound;
use skiff_control_plane::raft::member::{Member, Ticket, Wrote};
use skiff_control_plane::snapshot::StateAt;
use skiff_control_plane::store::StoreConfig;
use skiff_control_plane::watch::WatchHub;
use skiff_engine::plan::Heartbeats;

use crate::context::Context;
use crate::event::{Event, Part};
use crate::message::{Message, Peer, Request, Response};
use crate::mutation::Mutation;
use crate::time::{Time, micros, millis};

/// Recent changes kept for watches, in bytes: few, so that readers meet 410 now and then.
const HISTORY_BYTES: usize = 1 << 20;
/// One step of raft's clock, as the driver's.
const TICK: Duration = Duration::from_millis(50);
/// How often the loops look at heartbeats.
const HEALTH: Duration = skiff_control_plane::loops::HEALTH_PACE;
/// How often watches say how far they are.
const BOOKMARKS: Duration = Duration::from_secs(5);
