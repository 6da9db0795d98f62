//! What became of the requests of one stream.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// Failures told one by one; more of them are only counted.
const TOLD_MAX: usize = 2000;

/// A request that got no good answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When it was sent, in milliseconds of the calendar.
    pub sent_ms: u64,
    /// How long it took to fail, in milliseconds.
    pub took_ms: u64,
    /// Why.
    pub why: String,
}

/// What became of the requests of one stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Requests sent.
    pub sent: u64,
    /// Those without a good answer.
    pub failed: u64,
    /// Half of the good answers came within this, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 good answers came within this, in milliseconds.
    pub p99_ms: f64,
    /// The failures, oldest first, up to some number.
    pub failures: Vec<Failure>,
    /// Good answers' times, in microseconds; empty once the account is closed.
    #[serde(skip)]
    times: Vec<u32>,
}

impl Account {
    /// Enters one request.
    pub fn enter(&mut self, sent: SystemTime, took: Duration, outcome: Result<(), String>) {
        self.sent += 1;
        let Err(why) = outcome else {
            self.times
                .push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
            return;
        };
        self.failed += 1;
        if self.failures.len() < TOLD_MAX {
            self.failures.push(Failure {
                sent_ms: millis(sent),
                took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                why,
            });
        }
    }

    /// Adds another client's.
    pub fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.failures.sort_by_key(|failure| failure.sent_ms);
        self.times.extend(other.times);
    }

    /// Works out the quantiles.
    pub fn close(&mut self) {
        self.times.sort_unstable();
        let at = |share: usize| {
            let index = (self.times.len() * share / 100).min(self.times.len().saturating_sub(1));
            f64::from(self.times.get(index).copied().unwrap_or(0)) / 1000.0
        };
        (self.p50_ms, self.p99_ms) = (at(50), at(99));
        self.times = Vec::new();
    }

    /// The failures of requests that were sent at this time or later.
    pub fn failures_since(&self, since_ms: u64) -> impl Iterator<Item = &Failure> {
        let since = move |failure: &&Failure| failure.sent_ms >= since_ms;
        self.failures.iter().filter(since)
    }
}

/// Milliseconds of the calendar.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_answers_make_the_quantiles_and_the_others_are_told() {
        let mut account = Account::default();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(5);
        for took in 1..=100 {
            account.enter(at, Duration::from_millis(took), Ok(()));
        }
        let mut other = Account::default();
        other.enter(at, Duration::from_secs(9), Err("reset".to_owned()));
        account.add(other);
        account.close();
        assert_eq!((account.sent, account.failed), (101, 1));
        assert!((account.p50_ms - 51.0).abs() < 1e-9, "{}", account.p50_ms);
        assert!((account.p99_ms - 100.0).abs() < 1e-9, "{}", account.p99_ms);
        assert_eq!(account.failures_since(5000).count(), 1);
        assert_eq!(account.failures_since(5001).count(), 0);
    }
}
