//! Deciding about endpoints: which gets a request, which is left out for a while, what is tried
//! again, who asks too often. Pure: clock and chance are arguments.

pub mod eject;
pub mod limit;
pub mod pick;
pub mod retry;
#[cfg(test)]
mod tests;

/// Milliseconds of this process' own clock, which only goes forward.
pub type Tick = u64;
