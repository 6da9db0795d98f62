//! The servers as this one knows them, for whoever dials them: from its own file first, and then
//! from the state as it changes. An older list never takes the place of a newer one: a replay goes
//! through all that ever were.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use skiff_api::Revision;
use skiff_engine::State;
use tokio::sync::watch;

use super::record::Record;
use super::{List, Members, key};
use crate::store::News;

/// The list and its revision. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Roster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    revision: AtomicU64,
    members: watch::Sender<Arc<Members>>,
}

impl Roster {
    /// What the file says.
    #[must_use]
    pub fn new(record: &Record) -> Self {
        Self(Arc::new(Inner {
            revision: AtomicU64::new(record.revision),
            members: watch::Sender::new(Arc::new(record.members())),
        }))
    }

    /// Takes notice of what the store applied.
    pub fn take(&self, state: &State, news: News<'_>) {
        let list = key();
        let concerned = match news {
            News::Changes(changes) => changes.iter().any(|change| *change.key() == list),
            News::Restored => true,
        };
        if concerned {
            self.observe(state);
        }
    }

    /// Takes over the list of a state if it is newer.
    pub fn observe(&self, state: &State) {
        let found = state.get(&key()).map(skiff_api::Object::revision);
        let Some(Revision(found)) = found else { return };
        let known = self.0.revision.fetch_max(found, Ordering::AcqRel);
        if found <= known {
            return;
        }
        let members = List::read(state).members;
        self.0.members.send_if_modified(|current| {
            let changed = **current != members;
            *current = Arc::new(members);
            changed
        });
    }

    /// The revision of the list; 0 if it was never in a state.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.0.revision.load(Ordering::Acquire)
    }

    /// The servers.
    #[must_use]
    pub fn members(&self) -> Arc<Members> {
        self.0.members.borrow().clone()
    }

    /// Follows the servers.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Members>> {
        self.0.members.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{list, member, members};
    use super::*;

    #[test]
    fn a_replay_does_not_bring_old_lists_back() {
        let mut old = State::default();
        list(&mut old, &members([1]));
        let mut new = old.clone();
        list(&mut new, &members([1, 2]));
        let record = Record {
            revision: new.revision().0,
            members: vec![member(1), member(2)],
            ..Record::founder("a")
        };
        let roster = Roster::new(&record);
        let mut watch = roster.watch();
        roster.observe(&old);
        assert!(!watch.has_changed().unwrap());
        roster.observe(&State::default());
        assert_eq!(*roster.members(), members([1, 2]));
        list(&mut new, &members([1, 2, 3]));
        roster.take(&new, News::Restored);
        assert_eq!(**watch.borrow_and_update(), members([1, 2, 3]));
        assert_eq!(roster.revision(), new.revision().0);
    }
}
