//! Election time-outs that are the same in every run of a simulation. raft-rs draws them from the
//! thread's random numbers; they are replaced after each call that may have drawn one.

use super::{ELECTION_TICKS, Node};

/// From what a member's election time-outs are made, instead of chance.
#[derive(Clone, Copy, Debug)]
pub struct ElectionSeed(pub u64);

#[derive(Debug)]
pub(super) struct Pinned {
    seed: u64,
    ticks: u64,
}

impl Pinned {
    pub(super) const fn new(seed: ElectionSeed) -> Self {
        Self {
            seed: seed.0,
            ticks: 0,
        }
    }

    pub(super) const fn tick(&mut self) {
        self.ticks += 1;
    }

    /// The time-out in force, in ticks: another one in every term and every few elections' time,
    /// so that two members do not collide for ever.
    fn timeout(&self, member: u64, term: u64) -> usize {
        let epoch = self.ticks / (4 * ELECTION_TICKS as u64);
        let mixed = [member, term, epoch]
            .into_iter()
            .fold(self.seed, |mixed, number| mix(mixed ^ number));
        ELECTION_TICKS + usize::try_from(mixed % ELECTION_TICKS as u64).unwrap_or(0)
    }
}

/// One step of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Node {
    /// Puts the pinned time-out in the place of the one that was drawn.
    pub(super) fn pin(&mut self) {
        if let Some(pinned) = &self.pinned {
            let (member, term) = (self.raw.raft.id, self.raw.raft.term);
            let timeout = pinned.timeout(member, term);
            self.raw.raft.set_randomized_election_timeout(timeout);
        }
    }
}
