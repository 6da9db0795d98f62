//! The recent changes, for watches that begin in the past (step 8 of the walk).
//! Bounded by bytes: what is older is forgotten and a watcher that asks for it starts over.

use std::collections::VecDeque;

use skiff_api::{Object, Revision};

use crate::apply::Change;

/// The history no longer reaches back that far: `410 Gone`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too old resource version: {asked} ({oldest})")]
pub struct Expired {
    /// What was asked for.
    pub asked: Revision,
    /// The oldest revision that a watch can start from.
    pub oldest: Revision,
}

/// A bounded run of changes without gaps.
#[derive(Debug)]
pub struct History {
    changes: VecDeque<Change>,
    /// Changes up to and including this revision are forgotten.
    forgotten: Revision,
    bytes: usize,
    bytes_max: usize,
}

impl History {
    /// A history that begins behind `start` and holds about `bytes_max` bytes of objects.
    #[must_use]
    pub const fn new(start: Revision, bytes_max: usize) -> Self {
        Self {
            changes: VecDeque::new(),
            forgotten: start,
            bytes: 0,
            bytes_max,
        }
    }

    /// Tells an empty history where the state stands that it begins with.
    pub fn begin_at(&mut self, revision: Revision) {
        if self.changes.is_empty() {
            self.forgotten = self.forgotten.max(revision);
        }
    }

    /// Forgets everything: what changed up to this revision is not known.
    pub fn restart_at(&mut self, revision: Revision) {
        self.changes.clear();
        self.bytes = 0;
        self.forgotten = revision;
    }

    /// Adds the next change and forgets the oldest ones over the bound.
    pub fn push(&mut self, change: Change) {
        // The first one says where the recovered state stood; after that there are no gaps.
        self.begin_at(Revision(change.revision.0.saturating_sub(1)));
        self.bytes += weight(&change);
        self.changes.push_back(change);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.changes.pop_front() else {
                break;
            };
            self.bytes -= weight(&oldest);
            self.forgotten = oldest.revision;
        }
    }

    /// The changes after a revision, oldest first.
    ///
    /// # Errors
    /// [`Expired`] if some of them are forgotten.
    pub fn since(&self, revision: Revision) -> Result<impl Iterator<Item = &Change>, Expired> {
        if revision < self.forgotten {
            return Err(Expired {
                asked: revision,
                oldest: self.forgotten,
            });
        }
        let first = self
            .changes
            .partition_point(|change| change.revision <= revision);
        Ok(self.changes.range(first..))
    }
}

/// What a change keeps alive: the object before it is mostly the one that the previous change to
/// it keeps alive anyway, so only the one after it counts.
fn weight(change: &Change) -> usize {
    const OVERHEAD: usize = 512;
    OVERHEAD
        + change
            .now
            .as_ref()
            .map_or(0, |object: &Object| object.body().len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(revision: u64) -> Change {
        let object = Object::from_value(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "namespace": "d"}}))
        .unwrap();
        Change {
            revision: Revision(revision),
            was: None,
            now: Some(object),
        }
    }

    #[test]
    fn it_reaches_back_as_far_as_its_bytes_allow() {
        let mut history = History::new(Revision(10), weight(&change(0)) * 3);
        let since = |history: &History, revision| {
            history
                .since(Revision(revision))
                .map(|changes| changes.map(|change| change.revision.0).collect::<Vec<_>>())
        };
        for revision in 11..=13 {
            history.push(change(revision));
        }
        assert_eq!(since(&history, 10), Ok(vec![11, 12, 13]));
        history.push(change(14));
        let expired = Expired {
            asked: Revision(10),
            oldest: Revision(11),
        };
        assert_eq!(since(&history, 10), Err(expired));
        assert_eq!(since(&history, 11), Ok(vec![12, 13, 14]));
        assert_eq!(since(&history, 14), Ok(vec![]));
        assert_eq!(expired.to_string(), "too old resource version: 10 (11)");
    }
}
