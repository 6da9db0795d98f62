//! Waiting for a fact about other processes: the one place in the tests that lets time pass.

use std::time::{Duration, Instant};

/// Between two looks; a fact is seen at most this late.
const PAUSE: Duration = Duration::from_millis(50);

/// Between two looks where the moment itself is measured.
const PAUSE_CLOSE: Duration = Duration::from_millis(2);

/// Looks until the fact is there, and returns it.
///
/// `look` returns the fact, or what it saw instead, which the failure then quotes.
///
/// # Panics
/// If the fact is not there within `limit`.
pub fn until<T>(fact: &str, limit: Duration, look: impl FnMut() -> Result<T, String>) -> T {
    look_each(PAUSE, fact, limit, look)
}

/// The same, looking all the time: for measurements.
///
/// # Panics
/// If the fact is not there within `limit`.
pub fn closely<T>(fact: &str, limit: Duration, look: impl FnMut() -> Result<T, String>) -> T {
    look_each(PAUSE_CLOSE, fact, limit, look)
}

fn look_each<T>(
    pace: Duration,
    fact: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let began = Instant::now();
    loop {
        let seen = match look() {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        assert!(
            began.elapsed() < limit,
            "{fact}: not within {limit:?}; last seen: {seen}"
        );
        pause(pace);
    }
}

/// Looks for as long as `time`, and fails as soon as the fact does not hold.
///
/// # Panics
/// With what `look` saw instead of the fact.
pub fn throughout(fact: &str, time: Duration, mut look: impl FnMut() -> Result<(), String>) {
    let began = Instant::now();
    while began.elapsed() < time {
        if let Err(seen) = look() {
            panic!("{fact}: no longer after {:?}: {seen}", began.elapsed());
        }
        pause(PAUSE);
    }
}

/// Lets a fault strike at some moment of another process's work.
#[expect(
    clippy::disallowed_methods,
    reason = "other processes have no clock that we could drive"
)]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
