//! May a failed request be sent again, where, and when? Pure: failures in, verdicts out.
//!
//! A write is sent again only if the server surely did not act on it: it was never sent, or the
//! server refused it before looking at it. A read may go to another server after any failure.

use std::time::Duration;

/// Refusals (429, 503) are waited out this long before they become the caller's.
pub(crate) const REFUSAL_WINDOW: Duration = Duration::from_secs(10);

/// The first wait after a failure; each next one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest single wait after a refusal; a server that asks for more is asked after this.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Waits that double from failure to failure, spread so that many clients do not come together.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn up_to(longest: Duration) -> Self {
        Self {
            next: FIRST_WAIT,
            longest,
        }
    }

    /// The next wait; `chance` in `0.0..1.0` spreads it over its upper half.
    pub(crate) fn wait(&mut self, chance: f64) -> Duration {
        let wait = spread(self.next, chance);
        self.next = (self.next * 2).min(self.longest);
        wait
    }

    /// All is well again.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST_WAIT;
    }
}

fn spread(wait: Duration, chance: f64) -> Duration {
    wait.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

/// Whether sending the request twice could do harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It changes nothing.
    Read,
    /// It changes something.
    Write,
}

/// What went wrong, told apart by what the server may have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server could not be reached.
    Dial,
    /// A kept connection was closed before the request went out.
    Stale,
    /// The request went out and no answer came.
    Lost,
    /// The server was too busy, or without a leader, and did nothing.
    Refused {
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Tell the caller.
    GiveUp,
    /// Ask the same server again, over a new connection.
    Again,
    /// Ask another server.
    Elsewhere,
    /// Ask another server after a wait.
    After(Duration),
}

/// The history of one request.
#[derive(Debug)]
pub(crate) struct Attempts {
    effect: Effect,
    /// Servers that may still be tried after a failure to reach one.
    others: usize,
    stale_allowed: bool,
    backoff: Backoff,
    waited: Duration,
}

impl Attempts {
    pub(crate) fn new(effect: Effect, servers: usize) -> Self {
        Self {
            effect,
            others: servers.saturating_sub(1),
            stale_allowed: true,
            backoff: Backoff::up_to(LONGEST_WAIT),
            waited: Duration::ZERO,
        }
    }

    /// Decides after a failure; `chance` in `0.0..1.0` spreads the waits of many clients.
    pub(crate) fn judge(&mut self, failure: Failure, chance: f64) -> Verdict {
        match (failure, self.effect) {
            (Failure::Lost, Effect::Write) => Verdict::GiveUp,
            (Failure::Stale, _) | (Failure::Lost, Effect::Read) if self.stale_allowed => {
                self.stale_allowed = false;
                Verdict::Again
            }
            (Failure::Dial | Failure::Stale | Failure::Lost, _) => {
                if self.others == 0 {
                    return Verdict::GiveUp;
                }
                self.others -= 1;
                Verdict::Elsewhere
            }
            (Failure::Refused { retry_after }, _) => self.wait(retry_after, chance),
        }
    }

    fn wait(&mut self, retry_after: Option<Duration>, chance: f64) -> Verdict {
        if self.waited >= REFUSAL_WINDOW {
            return Verdict::GiveUp;
        }
        let wait = match retry_after {
            Some(wait) => spread(wait.min(LONGEST_WAIT), chance),
            None => self.backoff.wait(chance),
        };
        self.waited += wait.max(Duration::from_millis(1));
        Verdict::After(wait)
    }
}

/// A number in `0.0..1.0` for spreading waits.
pub(crate) fn chance() -> f64 {
    use ring::rand::SecureRandom;
    let mut byte = [0; 2];
    match ring::rand::SystemRandom::new().fill(&mut byte) {
        Ok(()) => f64::from(u16::from_be_bytes(byte)) / 65_536.0,
        // Without randomness the waits are merely not spread.
        Err(ring::error::Unspecified) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Effect::{Read, Write};
    use Failure::{Dial, Lost, Stale};
    use Verdict::{Again, Elsewhere, GiveUp};

    const BUSY: Failure = Failure::Refused { retry_after: None };

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn failures_are_judged() {
        type Row<'a> = (&'a str, Effect, usize, &'a [Failure], &'a [Verdict]);
        let cases: [Row<'_>; 7] = [
            (
                "a lost write is never repeated",
                Write,
                3,
                &[Lost],
                &[GiveUp],
            ),
            (
                "a lost read is asked again, then elsewhere",
                Read,
                2,
                &[Lost, Lost, Lost],
                &[Again, Elsewhere, GiveUp],
            ),
            (
                "each server is dialled once",
                Write,
                3,
                &[Dial, Dial, Dial],
                &[Elsewhere, Elsewhere, GiveUp],
            ),
            (
                "the only server is dialled once",
                Read,
                1,
                &[Dial],
                &[GiveUp],
            ),
            (
                "a closed connection is replaced, also for a write",
                Write,
                1,
                &[Stale, Stale],
                &[Again, GiveUp],
            ),
            (
                "a write lost after a refusal is not repeated",
                Write,
                2,
                &[BUSY, Lost],
                &[Verdict::After(Duration::from_millis(50)), GiveUp],
            ),
            (
                "waits double",
                Read,
                1,
                &[BUSY, BUSY, BUSY],
                &[
                    Verdict::After(Duration::from_millis(50)),
                    Verdict::After(Duration::from_millis(100)),
                    Verdict::After(Duration::from_millis(200)),
                ],
            ),
        ];
        for (name, effect, servers, failures, expected) in cases {
            let mut attempts = Attempts::new(effect, servers);
            let found: Vec<_> = failures.iter().map(|f| attempts.judge(*f, 0.0)).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn refusals_end() {
        let mut attempts = Attempts::new(Write, 1);
        let longest = Failure::Refused {
            retry_after: Some(Duration::from_secs(3600)),
        };
        let mut waited = Duration::ZERO;
        while let Verdict::After(wait) = attempts.judge(longest, 1.0) {
            waited += wait;
            assert!(
                waited < REFUSAL_WINDOW + LONGEST_WAIT,
                "the window bounds the waits"
            );
        }
        assert!(waited >= REFUSAL_WINDOW, "the window is used");
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::up_to(Duration::from_millis(300));
        let waits: Vec<_> = (0..4).map(|_| backoff.wait(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 300, 300]);
        backoff.reset();
        assert_eq!(backoff.wait(0.0), Duration::from_millis(50));
    }

    #[test]
    fn chance_is_a_share() {
        assert!((0.0..1.0).contains(&chance()));
    }
}
