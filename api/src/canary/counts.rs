//! What is counted of one version of a service: answers by how long they took, and failures.
//!
//! The buckets are a quarter of an octave wide, so that two times in one bucket differ by a quarter
//! at most: coarser ones could not tell a canary that is half as slow again from one that is not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Longer than this is as long as this, in microseconds: half an hour.
const MICROS_MAX: u64 = (1 << 31) - 1;

/// How many buckets there are.
pub const BUCKETS: u8 = 120;

/// Counts that only grow, or what they grew by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Answers with 5xx.
    pub errors: u64,
    /// All answers, by [`bucket`].
    pub latency: BTreeMap<u8, u64>,
}

impl Counts {
    /// All answers.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let counts = self.latency.values();
        counts.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, more: &Self) {
        self.errors = self.errors.saturating_add(more.errors);
        for (bucket, count) in &more.latency {
            let sum = self.latency.entry(*bucket).or_default();
            *sum = sum.saturating_add(*count);
        }
    }

    /// What was counted since `earlier`; `None` if something is lower now, so that these are not the
    /// same counters any more.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let mut grown = Self {
            errors: self.errors.checked_sub(earlier.errors)?,
            latency: self.latency.clone(),
        };
        for (bucket, before) in &earlier.latency {
            let count = grown.latency.entry(*bucket).or_default();
            *count = count.checked_sub(*before)?;
        }
        grown.latency.retain(|_, count| *count > 0);
        Some(grown)
    }
}

/// The bucket of a time.
#[must_use]
pub fn bucket(micros: u64) -> u8 {
    let micros = micros.min(MICROS_MAX);
    if micros < 4 {
        return u8::try_from(micros).unwrap_or(0);
    }
    let octave = micros.ilog2() - 1;
    let quarter = (micros >> (octave - 1)) & 3;
    u8::try_from(u64::from(octave) * 4 + quarter).unwrap_or(u8::MAX)
}

/// The shortest time of a bucket, and the shortest that is too long for it, in microseconds.
#[must_use]
pub fn bounds_micros(bucket: u8) -> (u64, u64) {
    (lowest(u64::from(bucket)), lowest(u64::from(bucket) + 1))
}

fn lowest(bucket: u64) -> u64 {
    if bucket < 4 {
        return bucket;
    }
    (4 + bucket % 4) << (bucket / 4 - 1).min(60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_its_bucket_and_buckets_are_narrow() {
        let powers = (0..31).flat_map(|power| [(1_u64 << power) - 1, 1 << power, (1 << power) + 1]);
        for micros in (0..10_000).chain(powers).chain([MICROS_MAX]) {
            let (low, high) = bounds_micros(bucket(micros));
            assert!((low..high).contains(&micros), "{micros}: {low}..{high}");
            assert!(high - low <= low / 4 + 1, "{low}..{high}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn growth_is_seen_and_so_is_a_new_beginning() {
        let counts = |errors, latency: &[(u8, u64)]| Counts {
            errors,
            latency: latency.iter().copied().collect(),
        };
        let earlier = counts(1, &[(10, 5), (20, 1)]);
        let later = counts(3, &[(10, 9), (20, 1), (30, 2)]);
        let grown = later.since(&earlier).unwrap();
        assert_eq!(grown, counts(2, &[(10, 4), (30, 2)]));
        assert_eq!(grown.requests(), 6);
        let mut sum = earlier.clone();
        sum.add(&grown);
        assert_eq!(sum, later);
        assert_eq!(counts(0, &[(10, 9), (20, 1)]).since(&earlier), None);
        assert_eq!(counts(1, &[(10, 9)]).since(&earlier), None);
    }
}
