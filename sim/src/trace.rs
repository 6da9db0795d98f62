//! What happened, as lines: the last of them for people, a hash of all of them for comparing runs.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};

use crate::time::Time;

/// Lines that are kept: as many as somebody reads to understand a failure.
const KEPT: usize = 200;

/// The lines of a run.
#[derive(Clone, Debug)]
pub struct Trace {
    lines: VecDeque<String>,
    hash: u64,
    count: u64,
    /// Every line, if somebody wants to read them all.
    all: Option<String>,
}

impl Trace {
    /// No lines yet; all of them are kept if `whole`.
    #[must_use]
    pub fn new(whole: bool) -> Self {
        Self {
            lines: VecDeque::new(),
            hash: FNV_START,
            count: 0,
            all: whole.then(String::new),
        }
    }

    /// Adds a line.
    pub fn line(&mut self, at: Time, words: fmt::Arguments<'_>) {
        let mut line = if self.lines.len() >= KEPT {
            self.lines.pop_front().unwrap_or_default()
        } else {
            String::new()
        };
        line.clear();
        // Writing to a String cannot fail.
        write!(line, "{at} {words}").unwrap_or_default();
        self.hash = hash(self.hash, line.as_bytes());
        self.count += 1;
        if let Some(all) = &mut self.all {
            all.push_str(&line);
            all.push('\n');
        }
        self.lines.push_back(line);
    }

    /// The same for two runs that did the same.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines there were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The last lines.
    pub fn last(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// Every line, if that was asked for.
    #[must_use]
    pub fn whole(&self) -> Option<&str> {
        self.all.as_deref()
    }
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// Continues an FNV-1a hash; the end of each piece counts too.
#[must_use]
pub fn hash(mut hash: u64, bytes: &[u8]) -> u64 {
    for byte in bytes.iter().copied().map(u64::from).chain([0x100]) {
        hash = (hash ^ byte).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

/// The hash of one piece.
#[must_use]
pub fn hash_of(bytes: &[u8]) -> u64 {
    hash(FNV_START, bytes)
}
