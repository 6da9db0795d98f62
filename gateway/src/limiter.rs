//! Who asked how often lately: one table per limit, bounded, in parts so that workers seldom meet.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::balance::limit::{self, Nanos};
use crate::route::Rate;

/// Parts of a table.
const PARTS: usize = 16;

/// Clients remembered in each part, 65,536 in all: about 4 MB. Beyond it those that could ask again
/// are forgotten first, then everybody of the part: a flood of addresses must not fill the memory.
const CLIENTS_MAX: usize = 4096;

/// The clients of one limit.
#[derive(Debug)]
pub(crate) struct Limiter {
    rate: Rate,
    hasher: RandomState,
    parts: [Mutex<HashMap<IpAddr, Nanos>>; PARTS],
}

impl Limiter {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            hasher: RandomState::new(),
            parts: Default::default(),
        }
    }

    /// Lets a client's request pass, or says how long it should wait.
    pub(crate) fn pass(&self, client: IpAddr, now: Nanos) -> Result<(), Duration> {
        let parts = u64::try_from(PARTS).unwrap_or(1);
        let index = usize::try_from(self.hasher.hash_one(client) % parts).unwrap_or(0);
        let Some(part) = self.parts.get(index) else {
            return Ok(());
        };
        let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
        let before = part.get(&client).copied().unwrap_or(0);
        let next = limit::pass(before, now, self.rate)?;
        if part.len() >= CLIENTS_MAX && !part.contains_key(&client) {
            part.retain(|_, full_at| !limit::is_full(*full_at, now));
            if part.len() >= CLIENTS_MAX {
                part.clear();
            }
        }
        part.insert(client, next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_addresses_stays_within_bounds() {
        let rate = Rate {
            interval: Duration::from_secs(1),
            burst: 1,
        };
        let limiter = Limiter::new(rate);
        for number in 0..200_000_u32 {
            let client = IpAddr::from(number.to_be_bytes());
            limiter.pass(client, 1).unwrap();
        }
        let sizes = limiter.parts.iter().map(|part| part.lock().unwrap().len());
        assert!(sizes.max().unwrap() <= CLIENTS_MAX);
    }
}
