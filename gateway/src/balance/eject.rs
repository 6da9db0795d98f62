//! Leaving out an endpoint that fails again and again, for longer each time.

use super::Tick;

/// Failures in a row after which an endpoint is left out.
pub const FAILURES_MAX: u32 = 3;

/// The first time that an endpoint is left out, in milliseconds.
const FIRST_MS: Tick = 5_000;

/// The longest time: whoever comes back is noticed within it.
const LONGEST_MS: Tick = 60_000;

/// Without a failure for so long, the next time is the first again.
const FORGIVEN_MS: Tick = 300_000;

/// What is remembered of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Failures since the last success.
    pub in_a_row: u32,
    /// How often it was left out lately.
    pub times: u32,
    /// Until when it is left out.
    pub until: Tick,
}

/// How a request ended, as far as its endpoint is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was answered.
    Good,
    /// No connection, no answer, or an answer that says that the service cannot (502, 503, 504).
    Bad,
}

/// What becomes of an endpoint after a request. `others_out` of `count` endpoints are left out
/// already: never more than half of all.
#[must_use]
pub fn after(
    history: History,
    ending: Ending,
    now: Tick,
    (others_out, count): (usize, usize),
) -> History {
    match ending {
        Ending::Good => History {
            in_a_row: 0,
            ..history
        },
        Ending::Bad => {
            let in_a_row = history.in_a_row.saturating_add(1);
            let is_out = history.until > now;
            let may = (others_out + 1) * 2 <= count;
            if is_out || in_a_row < FAILURES_MAX || !may {
                return History {
                    in_a_row,
                    ..history
                };
            }
            let forgiven = now.saturating_sub(history.until) > FORGIVEN_MS;
            let times = if forgiven { 0 } else { history.times };
            let pause = FIRST_MS.saturating_mul(1 << times.min(8)).min(LONGEST_MS);
            History {
                // One more failure afterwards is enough.
                in_a_row: FAILURES_MAX - 1,
                times: times + 1,
                until: now + pause,
            }
        }
    }
}
