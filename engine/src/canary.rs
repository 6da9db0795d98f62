//! Judges one step of a canary: whether it goes on, gets more, gets everything or nothing.
//!
//! Both faults are shares of requests: those that failed, and those that were slow, which means
//! slower than the stable version's p99 and what is allowed on top of it. So one test decides both
//! (`evidence`), and there are three answers to it. What is surely worse than allowed is rolled back
//! at once; what does not look worse goes on when its time is over; and what looks worse, but may be
//! chance, gets more time and no more requests until it is clear.

mod evidence;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use skiff_api::canary::{Counts, Settings, bounds_micros};

pub use self::evidence::Share;
use self::evidence::{Evidence, weigh};

/// Which part of the requests is slower than the quantile that is compared: p99.
const SLOW: f64 = 0.01;

/// A canary is never slow by less than this, in microseconds: where answers take a millisecond, the
/// network alone may double that.
const SLOWER_MIN_MICROS: u64 = 10_000;

/// The other one of two, in words.
const STABLE: &str = "the stable version's";

/// What is known of a step.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The canary's share of a hundred requests.
    pub weight_percent: u8,
    /// How long it has had it.
    pub age: Duration,
    /// What was counted of the stable version meanwhile.
    pub stable: &'a Counts,
    /// What was counted of the canary.
    pub canary: &'a Counts,
}

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// It goes on.
    Wait(Pending),
    /// The canary gets so many of a hundred requests from now on.
    Advance(u8),
    /// The canary is good: it gets everything, and is judged no more.
    Promote,
    /// The canary is bad: it gets nothing, and is judged no more.
    RollBack(Fault),
}

/// Why a step goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pending {
    /// Somebody has set its weight to zero.
    Paused,
    /// Its time is not over.
    Young,
    /// The canary got too few requests to be judged.
    FewRequests,
    /// This may be a fault, or chance.
    Unclear(Fault),
}

/// What is wrong with a canary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// More of its requests fail.
    Errors {
        /// Of its requests.
        canary: Share,
        /// Of the stable version's.
        stable: Share,
    },
    /// More of its requests are slow.
    Latency {
        /// Its p99.
        canary_micros: u64,
        /// The stable version's p99.
        stable_micros: u64,
    },
}

/// Judges a step.
#[must_use]
pub fn judge(settings: &Settings, seen: &Seen<'_>) -> Verdict {
    if seen.weight_percent == 0 {
        return Verdict::Wait(Pending::Paused);
    }
    if seen.canary.requests() < settings.requests {
        let is_over = seen.age >= settings.interval;
        return Verdict::Wait(if is_over {
            Pending::FewRequests
        } else {
            Pending::Young
        });
    }
    let faults = [errors(settings, seen), latency(settings, seen)];
    let of = |wanted| faults.iter().find(|(evidence, _)| *evidence == wanted);
    if let Some((_, fault)) = of(Evidence::Sure) {
        return Verdict::RollBack(*fault);
    }
    if seen.age < settings.interval {
        return Verdict::Wait(Pending::Young);
    }
    if let Some((_, fault)) = of(Evidence::Unclear) {
        return Verdict::Wait(Pending::Unclear(*fault));
    }
    if seen.weight_percent >= 100 {
        return Verdict::Promote;
    }
    let next = seen.weight_percent.saturating_add(settings.step_percent);
    Verdict::Advance(next.min(100))
}

/// Where nothing went to the stable version, the canary's own share of errors is what counts.
fn errors(settings: &Settings, seen: &Seen<'_>) -> (Evidence, Fault) {
    let (canary, stable) = (failed(seen.canary), failed(seen.stable));
    let margin = f64::from(settings.errors_basis_points) / 10_000.0;
    let fault = Fault::Errors { canary, stable };
    (weigh(canary, stable, margin), fault)
}

/// Without a stable version beside it, nothing says what is slow.
fn latency(settings: &Settings, seen: &Seen<'_>) -> (Evidence, Fault) {
    let (canary_micros, stable_micros) = (p99_micros(seen.canary), p99_micros(seen.stable));
    let fault = Fault::Latency {
        canary_micros,
        stable_micros,
    };
    if seen.stable.requests() == 0 {
        return (Evidence::None, fault);
    }
    let allowed = stable_micros / 100 * u64::from(settings.latency_percent);
    let limit = stable_micros.saturating_add(allowed.max(SLOWER_MIN_MICROS));
    let slow = |counts: &Counts| Share::new(slower(counts, limit), counts.requests());
    (weigh(slow(seen.canary), slow(seen.stable), SLOW), fault)
}

/// The end of the bucket that holds the 99th of a hundred answers; 0 without answers.
fn p99_micros(counts: &Counts) -> u64 {
    let all = counts.requests();
    let mut left = all.saturating_sub(all / 100);
    for (bucket, count) in &counts.latency {
        left = left.saturating_sub(*count);
        if left == 0 && *count > 0 {
            return bounds_micros(*bucket).1;
        }
    }
    0
}

/// The answers that surely took as long as `limit`: of a bucket's, the doubt is the canary's.
fn slower(counts: &Counts, limit: u64) -> u64 {
    let slow = counts.latency.iter();
    slow.filter(|(bucket, _)| bounds_micros(**bucket).0 >= limit)
        .fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

fn failed(counts: &Counts) -> Share {
    Share::new(counts.errors, counts.requests())
}

/// How both versions did: `0.4 % of its 250 requests failed (p99 34 ms), …`.
#[must_use]
pub fn compared(canary: &Counts, stable: &Counts) -> String {
    let p99 = |counts| millis(p99_micros(counts));
    let of_canary = failed(canary).in_words("its");
    let text = format!("{of_canary} requests failed (p99 {})", p99(canary));
    let of_stable = failed(stable);
    if of_stable.is_of_nothing() {
        return text;
    }
    let of_stable = of_stable.in_words(STABLE);
    format!("{text}, {of_stable} (p99 {})", p99(stable))
}

/// A time in words: `34 ms`.
fn millis(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000_000 => format!("{} ms", micros / 1_000),
        _ => format!("{} s", micros / 1_000_000),
    }
}

/// After the canary's name: `web-2: 4.2 % of its requests failed, …`.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errors { canary, stable } => {
                write!(f, "{} requests failed, ", canary.in_words("its"))?;
                if stable.is_of_nothing() {
                    return f.write_str("and there were none to the stable version");
                }
                f.write_str(&stable.in_words(STABLE))
            }
            Self::Latency {
                canary_micros,
                stable_micros,
            } => write!(
                f,
                "p99 of its answers is {}, of the stable version's {}",
                millis(*canary_micros),
                millis(*stable_micros)
            ),
        }
    }
}

/// A sentence about a step.
impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused => f.write_str("its weight was set to 0"),
            Self::Young => f.write_str("its time is not over"),
            Self::FewRequests => f.write_str("it has got too few requests to be judged"),
            Self::Unclear(fault) => write!(f, "{fault}, which may be chance"),
        }
    }
}
