//! State × Command → outcomes and changes: the only mutation there is (step 7 of the walk).
//! The same on every server: no clock, no chance, no failure but a refused write.

use skiff_api::{Key, Object, Revision};

use crate::command::{Command, Expect, Write};
use crate::state::State;

/// What became of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was applied and made this revision; the object as it now is, or as it last was.
    Done(Object),
    /// The guard failed: nothing was written. What is there instead.
    Conflict {
        /// The object's revision, `None` if there is no such object.
        found: Option<Revision>,
    },
}

/// What happened to one object: the unit of the watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision that the write made.
    pub revision: Revision,
    /// The object before, `None` if it was created.
    pub was: Option<Object>,
    /// The object after, `None` if it was removed.
    pub now: Option<Object>,
}

impl Change {
    /// The object after the change, or before it if it was removed.
    ///
    /// # Panics
    /// Never: `apply` makes no change that has neither.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "apply makes no change without either side"
    )]
    pub fn object(&self) -> &Object {
        self.now
            .as_ref()
            .or(self.was.as_ref())
            .expect("a change has a side")
    }

    /// The key of the object changed.
    #[must_use]
    pub fn key(&self) -> &Key {
        self.object().key()
    }

    /// The removed object as of the revision of its removal: what a watcher is shown.
    #[must_use]
    pub fn removed(&self) -> Option<Object> {
        match (&self.now, &self.was) {
            (None, Some(was)) => Some(was.clone().with_revision(self.revision)),
            (Some(_), _) | (None, None) => None,
        }
    }
}

/// The result of one command.
#[derive(Debug, Default)]
pub struct Applied {
    /// One for each write, in order.
    pub outcomes: Vec<Outcome>,
    /// One for each write that succeeded and changed something, in order of revision.
    pub changes: Vec<Change>,
}

impl State {
    /// Applies a command.
    ///
    /// A put of exactly the content that is there succeeds without a new revision, as in
    /// Kubernetes: nothing happened, so nobody is told.
    pub fn apply(&mut self, command: &Command) -> Applied {
        let mut applied = Applied::default();
        for write in &command.writes {
            let (outcome, change) = self.apply_write(write);
            applied.outcomes.push(outcome);
            applied.changes.extend(change);
        }
        applied
    }

    fn apply_write(&mut self, write: &Write) -> (Outcome, Option<Change>) {
        let found = self.get(write.key()).map(Object::revision);
        match write {
            Write::Put { expect, object } => {
                if !expect.holds(found) {
                    return (Outcome::Conflict { found }, None);
                }
                if let Some(same) = self
                    .get(object.key())
                    .filter(|was| was.same_content(object))
                {
                    return (Outcome::Done(same.clone()), None);
                }
                let revision = self.advance();
                let now = object.clone().with_revision(revision);
                let was = self.insert(now.clone());
                let change = Change {
                    revision,
                    was,
                    now: Some(now.clone()),
                };
                (Outcome::Done(now), Some(change))
            }
            Write::Delete { expect, key } => match found {
                Some(_) if expect.holds(found) => {
                    let revision = self.advance();
                    let was = self.remove(key);
                    let change = Change {
                        revision,
                        was,
                        now: None,
                    };
                    (
                        Outcome::Done(change.object().clone().with_revision(revision)),
                        Some(change),
                    )
                }
                Some(_) | None => (Outcome::Conflict { found }, None),
            },
        }
    }
}

impl Expect {
    fn holds(self, found: Option<Revision>) -> bool {
        match self {
            Self::Absent => found.is_none(),
            Self::At(revision) => found == Some(revision),
        }
    }
}

#[cfg(test)]
mod tests;
