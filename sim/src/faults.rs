//! Which faults happen when, to whom, and for how long: a plan drawn from the seed before anything
//! happens. In the end comes calm.

use std::time::Duration;

use crate::message::Peer;
use crate::options::{Fault, Options};
use crate::rng::Rng;
use crate::time::{Time, millis};

/// The cluster comes up in peace for so long.
const PEACE: Duration = Duration::from_secs(4);
/// Milliseconds between the beginnings of faults.
const PAUSE: (u64, u64) = (200, 5000);
/// Milliseconds that a fault lasts.
const LASTS: (u64, u64) = (300, 12_000);
/// A clock jumps by at most so many milliseconds.
const JUMP: u64 = 90_000;
/// Of a thousand runs, in so many a node stays dead for ever.
const DEAD_FOR_EVER_PER_MILLE: u64 = 250;

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A server dies, together with its machine.
    KillServer(usize),
    /// It starts again.
    StartServer(usize),
    /// A server is stopped.
    Pause(usize),
    /// It goes on.
    Resume(usize),
    /// Links are cut.
    Cut(Vec<(Peer, Peer)>),
    /// They are good again.
    Mend(Vec<(Peer, Peer)>),
    /// So many of a thousand messages are lost.
    Lose(u64),
    /// Messages overtake each other, or no longer.
    Reorder(bool),
    /// A server's fdatasync takes so many milliseconds.
    SlowDisk(usize, Option<(u64, u64)>),
    /// A server's disk has so many bytes left.
    LimitDisk(usize, Option<u64>),
    /// A server's clock is wrong by so many milliseconds.
    SetClock(usize, i64),
    /// Whoever leads hands the leadership over.
    Transfer,
    /// A server's machine is lost for ever.
    Replace(usize),
    /// An agent dies.
    KillAgent(usize),
    /// A node dies, with all that runs on it.
    PowerOff(usize),
    /// An agent starts again, and its machine.
    StartAgent(usize),
    /// All faults end, but for one node that may stay dead.
    Calm(Option<usize>),
}

/// An act and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When.
    pub at: Time,
    /// What.
    pub act: Act,
}

/// Draws the plan of a simulation.
#[must_use]
pub fn plan(options: &Options, rng: &mut Rng) -> Vec<Planned> {
    let end = Time::default() + options.length;
    let mut plan = Vec::new();
    let mut at = Time::default() + PEACE;
    let kinds = options.faults.clone();
    while !kinds.is_empty() {
        at = at + millis(rng.between(PAUSE.0, PAUSE.1));
        if at >= end {
            break;
        }
        let until = at + millis(rng.between(LASTS.0, LASTS.1));
        let Some(kind) = rng.pick(&kinds).copied() else {
            break;
        };
        if let Some((begins, ends)) = draw(kind, options, rng) {
            plan.push(Planned { at, act: begins });
            plan.extend(ends.map(|act| Planned { at: until, act }));
        }
    }
    // What would end after the calm has ended with it.
    plan.retain(|planned| planned.at < end);
    let stays = options.has(Fault::Crash) && options.nodes > 2;
    let stays = stays && rng.per_mille(DEAD_FOR_EVER_PER_MILLE);
    let dead = stays.then(|| rng.index(options.nodes));
    plan.push(Planned {
        at: end,
        act: Act::Calm(dead),
    });
    plan
}

/// How a fault begins, and how it ends.
fn draw(kind: Fault, options: &Options, rng: &mut Rng) -> Option<(Act, Option<Act>)> {
    let server = rng.index(options.servers);
    Some(match kind {
        Fault::Crash => match rng.below(4) {
            0 if options.nodes > 0 => {
                let node = rng.index(options.nodes);
                (Act::PowerOff(node), Some(Act::StartAgent(node)))
            }
            1 if options.nodes > 0 => {
                let node = rng.index(options.nodes);
                (Act::KillAgent(node), Some(Act::StartAgent(node)))
            }
            _ => (Act::KillServer(server), Some(Act::StartServer(server))),
        },
        Fault::TornWrite => (Act::KillServer(server), Some(Act::StartServer(server))),
        Fault::Partition => {
            let links = partition(options, rng);
            (Act::Cut(links.clone()), Some(Act::Mend(links)))
        }
        Fault::Loss => (Act::Lose(rng.between(10, 300)), Some(Act::Lose(0))),
        Fault::Reorder => (Act::Reorder(true), Some(Act::Reorder(false))),
        Fault::SlowDisk => {
            let low = rng.between(50, 400);
            let slow = Some((low, low + rng.between(0, 800)));
            let fast = Some(Act::SlowDisk(server, None));
            (Act::SlowDisk(server, slow), fast)
        }
        Fault::DiskFull => {
            let spare = Some(rng.below(4 << 20));
            let free = Some(Act::LimitDisk(server, None));
            (Act::LimitDisk(server, spare), free)
        }
        Fault::Clock => {
            let jump = i64::try_from(rng.below(2 * JUMP)).unwrap_or(0);
            let wrong = jump - i64::try_from(JUMP).unwrap_or(0);
            (Act::SetClock(server, wrong), None)
        }
        Fault::Transfer => (Act::Transfer, None),
        Fault::Replace => (Act::Replace(server), None),
        Fault::Pause => (Act::Pause(server), Some(Act::Resume(server))),
    })
}

/// Links to cut: around one server or node, or between two, both ways or one.
fn partition(options: &Options, rng: &mut Rng) -> Vec<(Peer, Peer)> {
    let mut all: Vec<Peer> = (0..options.servers).map(Peer::Server).collect();
    let server = Peer::Server(rng.index(options.servers));
    let others: Vec<Peer> = match rng.below(4) {
        // From the other servers only: its clients still reach it.
        0 | 1 => all.clone(),
        // From one other server.
        2 => vec![Peer::Server(rng.index(options.servers))],
        // From everybody.
        _ => {
            all.extend((0..options.nodes).map(Peer::Agent));
            all.extend((0..crate::world::CLIENTS).map(Peer::Client));
            all
        }
    };
    let middle = match rng.below(4) {
        0 if options.nodes > 0 => Peer::Agent(rng.index(options.nodes)),
        _ => server,
    };
    let ways = rng.below(3);
    let pairs = others.into_iter().filter(|other| *other != middle);
    pairs
        .flat_map(|other| {
            let out = (ways != 1).then_some((middle, other));
            let back = (ways != 2).then_some((other, middle));
            [out, back]
        })
        .flatten()
        .collect()
}
