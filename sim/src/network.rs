//! The network: delays, order, cut links, lost messages, broken connections. Decides what arrives
//! and when; delivers nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::message::{Message, Peer};
use crate::rng::Rng;
use crate::time::{Time, micros, millis};

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives then.
    Arrives(Time),
    /// It never does; whatever it belonged to is noticed as broken then.
    Lost(Time),
}

/// All links.
#[derive(Debug)]
pub struct Network {
    rng: Rng,
    /// Cut links, each one way.
    cut: BTreeSet<(Peer, Peer)>,
    /// Per link: nothing arrives before what was sent before it.
    last: BTreeMap<(Peer, Peer), Time>,
    /// Of a thousand messages between servers, so many are lost; of others, a tenth of that.
    pub(crate) lost_per_mille: u64,
    /// Whether messages between servers may overtake each other.
    pub(crate) reorders: bool,
}

impl Network {
    /// All links are good.
    pub(crate) const fn new(rng: Rng) -> Self {
        Self {
            rng,
            cut: BTreeSet::new(),
            last: BTreeMap::new(),
            lost_per_mille: 0,
            reorders: false,
        }
    }

    /// Cuts a link, one way.
    pub(crate) fn cut(&mut self, from: Peer, to: Peer) {
        self.cut.insert((from, to));
    }

    /// Makes a link good again.
    pub(crate) fn mend(&mut self, from: Peer, to: Peer) {
        self.cut.remove(&(from, to));
    }

    /// Makes all links good again.
    pub(crate) fn mend_all(&mut self) {
        self.cut.clear();
    }

    /// Whether a link is cut.
    pub(crate) fn is_cut(&self, from: Peer, to: Peer) -> bool {
        self.cut.contains(&(from, to))
    }

    /// Decides about a message that is sent now.
    pub(crate) fn send(&mut self, now: Time, from: Peer, to: Peer, message: &Message) -> Fate {
        let between_servers = matches!((from, to), (Peer::Server(_), Peer::Server(_)));
        let lost = if between_servers {
            self.lost_per_mille
        } else {
            self.lost_per_mille / 10
        };
        if self.is_cut(from, to) || self.rng.per_mille(lost) {
            // A broken connection is noticed by what is not acknowledged, in seconds.
            return Fate::Lost(now + millis(self.rng.between(500, 5000)));
        }
        let raft = matches!(message, Message::Raft(_));
        let arrives = now + self.delay(message);
        if raft && self.reorders {
            let detour = if self.rng.per_mille(200) { 30 } else { 0 };
            return Fate::Arrives(arrives + millis(self.rng.between(0, detour)));
        }
        let last = self.last.entry((from, to)).or_default();
        let arrives = arrives.max(*last + micros(1));
        // A snapshot goes beside the other messages and holds none of them up.
        if !matches!(message, Message::Snapshot(_)) {
            *last = arrives;
        }
        Fate::Arrives(arrives)
    }

    fn delay(&mut self, message: &Message) -> Duration {
        if matches!(message, Message::Snapshot(_)) {
            return millis(self.rng.between(20, 500));
        }
        match self.rng.below(100) {
            0 => millis(self.rng.between(2, 40)),
            _ => micros(self.rng.between(100, 800)),
        }
    }
}
