//! Servers that give up.

use super::Judgement;

/// The sentence.
pub const SENTENCE: &str = "a server does not stop by itself";

/// A server said that it cannot go on, though nobody had broken its disk.
pub(super) fn died(server: usize, why: &str) -> Judgement {
    Err(format!("s{} stopped: {why}", server + 1))
}
