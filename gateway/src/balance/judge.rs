//! Judging a canary by what a window's requests say: further, wait, or back.

use crate::route::Auto;

/// What was counted of one version in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Requests that ended.
    pub requests: u64,
    /// Those that failed: 5xx, or no answer.
    pub errors: u64,
    /// The time that all took until the answer's head, in microseconds.
    pub micros: u64,
}

/// What to do with a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Too little is known yet.
    Wait,
    /// Give it this weight.
    Promote(u8),
    /// Take all requests from it, for this reason.
    RollBack(String),
}

/// Judges a canary of this weight by a window.
#[must_use]
pub fn judge(auto: &Auto, weight_percent: u8, stable: Count, canary: Count) -> Verdict {
    if weight_percent == 0 || canary.requests < u64::from(auto.requests_min) {
        return Verdict::Wait;
    }
    let (bad, usual) = (per_mille(canary), per_mille(stable));
    if bad > usual + u64::from(auto.errors_max_percent) * 10 {
        return Verdict::RollBack(format!(
            "{} of 1000 requests to the canary failed, and {usual} of 1000 to the stable one",
            bad
        ));
    }
    // Without the stable one's there is nothing to compare with; the errors were judged.
    if stable.requests >= u64::from(auto.requests_min) {
        let (slow, mean) = (
            canary.micros / canary.requests,
            stable.micros / stable.requests,
        );
        if slow > mean.saturating_mul(u64::from(auto.latency_max_percent)) / 100 {
            return Verdict::RollBack(format!(
                "the canary takes {slow} µs on average, and the stable one {mean} µs"
            ));
        }
    }
    if weight_percent >= 100 {
        return Verdict::Wait;
    }
    Verdict::Promote(weight_percent.saturating_add(auto.step_percent).min(100))
}

fn per_mille(count: Count) -> u64 {
    count.errors * 1000 / count.requests.max(1)
}
