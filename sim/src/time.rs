//! Virtual time: it moves from event to event, and nowhere else.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use skiff_api::Millis;

/// A point in virtual time, in microseconds since the simulation began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

/// What the clocks on the walls show when a simulation begins: 2026-01-01T00:00:00Z.
const EPOCH: Millis = Millis(1_767_225_600_000);

impl Time {
    /// How long ago an earlier point was; nothing for a later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// What a clock on the wall shows that is so many milliseconds wrong.
    #[must_use]
    pub fn wall(self, wrong_millis: i64) -> Millis {
        let since = i64::try_from(self.0 / 1000).unwrap_or(i64::MAX);
        Millis(EPOCH.0.saturating_add(since).saturating_add(wrong_millis))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        let micros = u64::try_from(later.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

/// Seconds, with six digits behind the point.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>4}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// So many milliseconds.
#[must_use]
pub const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// So many microseconds.
#[must_use]
pub const fn micros(count: u64) -> Duration {
    Duration::from_micros(count)
}
