//! How often a client may ask: a token bucket, kept as the one moment at which it is full again.

use std::time::Duration;

use crate::route::Rate;

/// Nanoseconds of this process' own clock.
pub type Nanos = u64;

/// Lets a request pass or not. `full_at` is what was returned for the client's last request.
///
/// # Errors
/// How long the client should wait.
pub fn pass(full_at: Nanos, now: Nanos, rate: Rate) -> Result<Nanos, Duration> {
    let cost = nanos(rate.interval);
    let room = cost.saturating_mul(u64::from(rate.burst));
    let full_at = full_at.max(now).saturating_add(cost);
    let too_far = full_at.saturating_sub(now.saturating_add(room));
    if too_far > 0 {
        return Err(Duration::from_nanos(too_far));
    }
    Ok(full_at)
}

/// Whether the client's bucket is full, so that it need not be remembered.
#[must_use]
pub fn is_full(full_at: Nanos, now: Nanos) -> bool {
    full_at <= now
}

fn nanos(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}
