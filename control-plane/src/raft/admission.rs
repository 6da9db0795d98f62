//! How much may be under way between `propose` and its answer: beyond it, callers are told to come
//! back later instead of piling up in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Commands under way. At 10,000 a second a full queue is waited out in less than half a second.
const COMMANDS_MAX: usize = 4096;
/// Bytes of commands under way; above the largest single proposal, so that each can be admitted.
pub(crate) const BYTES_MAX: usize = 64 << 20;

/// Counts what is under way. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admission {
    used: Arc<Used>,
}

#[derive(Debug, Default)]
struct Used {
    commands: AtomicUsize,
    bytes: AtomicUsize,
}

/// The right of one command to be under way; ends when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    used: Arc<Used>,
    bytes: usize,
}

impl Admission {
    /// A permit for a command of so many bytes, if there is room.
    pub(crate) fn admit(&self, bytes: usize) -> Option<Permit> {
        let commands = self.used.commands.fetch_add(1, Ordering::Relaxed);
        let before = self.used.bytes.fetch_add(bytes, Ordering::Relaxed);
        let permit = Permit {
            used: self.used.clone(),
            bytes,
        };
        (commands < COMMANDS_MAX && before.saturating_add(bytes) <= BYTES_MAX).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.used.commands.fetch_sub(1, Ordering::Relaxed);
        self.used.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_bounded_and_room_comes_back() {
        let admission = Admission::default();
        let large = admission.admit(BYTES_MAX).unwrap();
        assert!(admission.admit(1).is_none(), "no bytes left");
        drop(large);
        let many: Vec<_> = std::iter::from_fn(|| admission.admit(1)).collect();
        assert_eq!(many.len(), COMMANDS_MAX);
        drop(many);
        assert!(admission.admit(1).is_some());
    }
}
