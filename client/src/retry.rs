//! May a failed request be sent again, where, and when? Pure: failures in, verdicts out.
//!
//! A write is sent again only if the server surely did not act on it: it was never sent, or the
//! server refused it before looking at it. A read, and a write that its caller calls repeatable,
//! may go to another server after any failure.

use std::time::Duration;

/// A request is sent no more once this has passed since it was made: an election is over long
/// before, and a person does not wait longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long one server may take to be reached while there is another to ask: enough for one lost
/// packet of the handshake.
const DIAL_SHORT: Duration = Duration::from_millis(1500);

/// How long the last server that is left may take to be reached.
const DIAL_LONG: Duration = Duration::from_secs(5);

/// The first wait after a failure; each next one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest single wait after a refusal; a server that asks for more is asked after this.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The longest single wait for servers to have a leader: elections take less than a second.
const ELECTION_WAIT: Duration = Duration::from_millis(500);

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
    /// It changes something, and twice the same as once.
    RepeatableWrite,
}

/// What went wrong, told apart by what the server may have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server could not be reached.
    Dial,
    /// A kept connection was closed before the request went out.
    Stale,
    /// The request went out and no whole answer came.
    Lost,
    /// The server was too busy and did nothing.
    Busy {
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The server knows no leader, or is behind what was asked for, and did nothing.
    Unready {
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
    servers: usize,
    /// Servers that may still be tried after one that gave no answer.
    others: usize,
    stale_allowed: bool,
    busy: Backoff,
    unready: Backoff,
}

impl Attempts {
    pub(crate) fn new(effect: Effect, servers: usize) -> Self {
        Self {
            effect,
            servers,
            others: servers.saturating_sub(1),
            stale_allowed: true,
            busy: Backoff::up_to(LONGEST_WAIT),
            unready: Backoff::up_to(ELECTION_WAIT),
        }
    }

    /// How long the next server may take to be reached.
    pub(crate) fn dial_limit(&self) -> Duration {
        if self.others > 0 {
            DIAL_SHORT
        } else {
            DIAL_LONG
        }
    }

    /// Decides after a failure. `elapsed` is the time since the request was made; `chance` in
    /// `0.0..1.0` spreads the waits of many clients.
    pub(crate) fn judge(&mut self, failure: Failure, elapsed: Duration, chance: f64) -> Verdict {
        if elapsed >= PATIENCE {
            return Verdict::GiveUp;
        }
        match (failure, self.effect) {
            (Failure::Lost, Effect::Write) => Verdict::GiveUp,
            (Failure::Stale, _) if self.stale_allowed => {
                self.stale_allowed = false;
                Verdict::Again
            }
            (Failure::Lost, _) if self.servers == 1 && self.stale_allowed => {
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
            (Failure::Busy { retry_after }, _) => {
                let wait = match retry_after {
                    Some(wait) => spread(wait.min(LONGEST_WAIT), chance),
                    None => self.busy.wait(chance),
                };
                self.after(wait)
            }
            (Failure::Unready { retry_after }, _) => {
                // Another server may be ready at once, whatever this one thinks of itself.
                let wait = self.unready.wait(chance);
                self.after(retry_after.map_or(wait, |longest| wait.min(longest)))
            }
        }
    }

    /// A server that answers proves that the cluster is there: all of it may be tried once more.
    fn after(&mut self, wait: Duration) -> Verdict {
        self.others = self.servers.saturating_sub(1);
        self.stale_allowed = true;
        Verdict::After(wait)
    }
}

/// Which of a row of servers to ask after the one at `at`: the next one around that is not in
/// trouble, be it the same one; the very next one if all are.
pub(crate) fn next(at: usize, in_trouble: &[bool]) -> usize {
    let count = in_trouble.len().max(1);
    let well = |index: &usize| in_trouble.get(*index) == Some(&false);
    let around = |step| (at + step) % count;
    (1..=count).map(around).find(well).unwrap_or(around(1))
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
    use Effect::{Read, RepeatableWrite, Write};
    use Failure::{Dial, Lost, Stale};
    use Verdict::{Again, Elsewhere, GiveUp};

    const BUSY: Failure = Failure::Busy { retry_after: None };
    const UNREADY: Failure = Failure::Unready { retry_after: None };

    fn after(millis: u64) -> Verdict {
        Verdict::After(Duration::from_millis(millis))
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table")]
    fn failures_are_judged() {
        type Row<'a> = (&'a str, Effect, usize, &'a [Failure], &'a [Verdict]);
        let hour = Some(Duration::from_secs(3600));
        let cases: [Row<'_>; 12] = [
            (
                "a lost write is never repeated",
                Write,
                3,
                &[Lost],
                &[GiveUp],
            ),
            (
                "a lost write that is repeatable is sent elsewhere",
                RepeatableWrite,
                3,
                &[Lost, Lost, Lost],
                &[Elsewhere, Elsewhere, GiveUp],
            ),
            (
                "a lost read is asked elsewhere",
                Read,
                2,
                &[Lost, Lost],
                &[Elsewhere, GiveUp],
            ),
            (
                "a read lost by the only server is asked again, once",
                Read,
                1,
                &[Lost, Lost],
                &[Again, GiveUp],
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
                &[after(50), GiveUp],
            ),
            (
                "waits double",
                Read,
                1,
                &[BUSY, BUSY, BUSY],
                &[after(50), after(100), after(200)],
            ),
            (
                "one dead server does not end an election's patience",
                Write,
                3,
                &[Dial, UNREADY, UNREADY, Dial, UNREADY, UNREADY, Dial],
                &[
                    Elsewhere,
                    after(50),
                    after(100),
                    Elsewhere,
                    after(200),
                    after(250),
                    Elsewhere,
                ],
            ),
            (
                "a server without a leader cannot send others away for long",
                Write,
                3,
                &[Failure::Unready { retry_after: hour }],
                &[after(50)],
            ),
            (
                "a busy server can, within bounds",
                Write,
                3,
                &[Failure::Busy { retry_after: hour }],
                &[after(1000)],
            ),
        ];
        for (name, effect, servers, failures, expected) in cases {
            let mut attempts = Attempts::new(effect, servers);
            let judge = |failure: &Failure| attempts.judge(*failure, Duration::ZERO, 0.0);
            let found: Vec<_> = failures.iter().map(judge).collect();
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn patience_ends_whatever_fails() {
        let failures = [Dial, Stale, Lost, BUSY, UNREADY];
        for failure in failures {
            let mut elapsed = Duration::ZERO;
            let mut attempts = Attempts::new(Read, 3);
            while let Verdict::After(wait) = attempts.judge(failure, elapsed, 1.0) {
                elapsed += wait;
                assert!(elapsed < PATIENCE + LONGEST_WAIT, "{failure:?}");
            }
            assert_eq!(
                Attempts::new(Read, 3).judge(failure, PATIENCE, 1.0),
                GiveUp,
                "{failure:?}"
            );
        }
    }

    #[test]
    fn only_the_last_server_is_dialled_patiently() {
        let mut attempts = Attempts::new(Read, 2);
        assert_eq!(attempts.dial_limit(), DIAL_SHORT);
        attempts.judge(Dial, DIAL_SHORT, 0.0);
        assert_eq!(attempts.dial_limit(), DIAL_LONG);
        assert_eq!(Attempts::new(Read, 1).dial_limit(), DIAL_LONG);
    }

    #[test]
    fn servers_in_trouble_are_passed_over() {
        let cases: [(&str, usize, &[bool], usize); 6] = [
            ("the next one", 0, &[false, false, false], 1),
            ("around", 2, &[false, false, false], 0),
            ("the one after", 0, &[true, true, false], 2),
            ("itself, if it alone is well", 0, &[false, true, true], 0),
            ("all are in trouble", 1, &[true, true, true], 2),
            ("the only one", 0, &[true], 0),
        ];
        for (name, at, in_trouble, expected) in cases {
            assert_eq!(next(at, in_trouble), expected, "{name}");
        }
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
