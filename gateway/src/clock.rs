//! This process' own clock: it only goes forward, and costs little to read.

use std::time::Instant;

use crate::balance::Tick;
use crate::balance::limit::Nanos;

/// Counts from when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds.
    pub(crate) fn tick(self) -> Tick {
        Tick::try_from(self.0.elapsed().as_millis()).unwrap_or(Tick::MAX)
    }

    /// Nanoseconds; enough for five centuries.
    pub(crate) fn nanos(self) -> Nanos {
        Nanos::try_from(self.0.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }
}
