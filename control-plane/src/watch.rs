//! Hands applied changes to whoever watches (step 8 of the walk): API clients, agents, the loops.
//!
//! `publish` runs on the apply thread and never waits: a reader that falls behind is dropped and
//! starts over from a list, as after `410 Gone`. Watches are indexed by what they ask for, so a
//! change costs only those who want it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skiff_api::{Key, Kind, Object, Revision};
use skiff_engine::{Change, Expired, History, State};
use tokio::sync::mpsc;

use crate::store::News;

/// Changes that a watcher may be behind before it is dropped. At 2 KB an object that is a few MB
/// for the slowest reader, and a burst of a thousand writes drops nobody who reads.
const BEHIND_MAX: usize = 4096;

/// What a watch wants to see; the finer selectors are the reader's business.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interest {
    /// Every object of a kind.
    Kind(Kind),
    /// The objects of a kind in one namespace.
    Namespace(Kind, Arc<str>),
    /// One object, by name.
    Object(Key),
    /// The pods bound to a node, now or before the change.
    Node(Arc<str>),
    /// Everything: the leader loops.
    All,
}

/// The place where changes come in and watches begin. Cheap to clone.
#[derive(Clone, Debug)]
pub struct WatchHub(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    history: History,
    latest: Revision,
    next_id: u64,
    watchers: BTreeMap<Interest, BTreeMap<u64, mpsc::Sender<Change>>>,
}

impl WatchHub {
    /// A hub whose history begins behind `start` and holds about `bytes_max` bytes.
    #[must_use]
    pub fn new(start: Revision, bytes_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            history: History::new(start, bytes_max),
            latest: start,
            next_id: 0,
            watchers: BTreeMap::new(),
        })))
    }

    /// Tells a hub that has seen no change yet where the recovered state stands.
    pub fn begin_at(&self, revision: Revision) {
        let mut inner = self.lock();
        inner.history.begin_at(revision);
        inner.latest = inner.latest.max(revision);
    }

    /// Takes in what the store applied.
    pub fn take(&self, state: &State, news: News<'_>) {
        match news {
            News::Changes(changes) => self.publish(changes),
            News::Restored => self.restart_at(state.revision()),
        }
    }

    /// Ends all watches: what changed up to `revision` is not known. Later ones begin there.
    fn restart_at(&self, revision: Revision) {
        let mut inner = self.lock();
        inner.history.restart_at(revision);
        inner.latest = revision;
        inner.watchers.clear();
    }

    /// Takes in the next changes, in order, and passes them on.
    pub fn publish(&self, changes: &[Change]) {
        let mut inner = self.lock();
        for change in changes {
            inner.latest = change.revision;
            inner.history.push(change.clone());
            for interest in interests(change) {
                inner.send(&interest, change);
            }
        }
    }

    /// The latest revision published.
    #[must_use]
    pub fn latest(&self) -> Revision {
        self.lock().latest
    }

    /// Begins a watch with the first change after `from`.
    ///
    /// # Errors
    /// [`Expired`] if the history no longer reaches back that far.
    pub fn watch(&self, interest: Interest, from: Revision) -> Result<Watch, Expired> {
        let mut inner = self.lock();
        let wanted = |change: &&Change| interests(change).contains(&interest);
        let backlog: VecDeque<Change> =
            inner.history.since(from)?.filter(wanted).cloned().collect();
        let (sender, receiver) = mpsc::channel(BEHIND_MAX);
        let id = inner.next_id;
        inner.next_id += 1;
        inner
            .watchers
            .entry(interest.clone())
            .or_default()
            .insert(id, sender);
        Ok(Watch {
            hub: self.clone(),
            interest,
            id,
            from,
            backlog,
            receiver,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while publishing ends the process; what a poisoned lock guards is plain memory.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn send(&mut self, interest: &Interest, change: &Change) {
        let Some(watchers) = self.watchers.get_mut(interest) else {
            return;
        };
        // A full queue drops its watcher: the sender goes, the reader drains and then learns it.
        watchers.retain(|_, sender| sender.try_send(change.clone()).is_ok());
        if watchers.is_empty() {
            self.watchers.remove(interest);
        }
    }
}

/// Every interest that a change concerns.
fn interests(change: &Change) -> Vec<Interest> {
    let key = change.key();
    let mut found = vec![
        Interest::All,
        Interest::Kind(key.kind),
        Interest::Namespace(key.kind, key.namespace.clone()),
        Interest::Object(key.clone()),
    ];
    let node = |side: &Option<Object>| side.as_ref()?.pod()?.node.clone();
    let (before, after) = (node(&change.was), node(&change.now));
    if before != after {
        found.extend(before.map(Interest::Node));
    }
    found.extend(after.map(Interest::Node));
    found
}

/// A running watch; dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    hub: WatchHub,
    interest: Interest,
    id: u64,
    /// A state is published before its changes are: what the reader listed may come here again.
    from: Revision,
    backlog: VecDeque<Change>,
    receiver: mpsc::Receiver<Change>,
}

impl Watch {
    /// The next change; `None` once the reader fell too far behind and has to start over.
    pub async fn next(&mut self) -> Option<Change> {
        if let Some(change) = self.backlog.pop_front() {
            return Some(change);
        }
        loop {
            let change = self.receiver.recv().await?;
            if change.revision > self.from {
                return Some(change);
            }
        }
    }

    /// The next change if there is one already.
    pub fn try_next(&mut self) -> Option<Change> {
        self.backlog.pop_front().or_else(|| {
            std::iter::from_fn(|| self.receiver.try_recv().ok())
                .find(|change| change.revision > self.from)
        })
    }

    /// Whether there is or may come another change; false once the reader fell too far behind and
    /// has read what was left.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !(self.receiver.is_closed() && self.receiver.is_empty() && self.backlog.is_empty())
    }

    /// The revision up to which this watch has seen everything; `None` while changes wait.
    #[must_use]
    pub fn bookmark(&self) -> Option<Revision> {
        let inner = self.hub.lock();
        let live = !self.receiver.is_closed();
        (live && self.backlog.is_empty() && self.receiver.is_empty())
            .then(|| inner.latest.max(self.from))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut inner = self.hub.lock();
        if let Some(watchers) = inner.watchers.get_mut(&self.interest) {
            watchers.remove(&self.id);
            if watchers.is_empty() {
                inner.watchers.remove(&self.interest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use skiff_api::Millis;
    use skiff_engine::{Command, Write};

    fn pod(name: &str, node: &str) -> Object {
        Object::from_value(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "d"}, "spec": {"nodeName": node}}))
        .unwrap()
    }

    fn apply(hub: &WatchHub, state: &mut State, writes: Vec<Write>) {
        let applied = state.apply(&Command {
            term: 1,
            at: Millis(0),
            writes,
        });
        hub.publish(&applied.changes);
    }

    fn drain(watch: &mut Watch) -> Vec<u64> {
        std::iter::from_fn(|| watch.try_next())
            .map(|change| change.revision.0)
            .collect()
    }

    #[test]
    fn a_watch_sees_what_it_asked_for_from_where_it_asked() {
        let (hub, mut state) = (WatchHub::new(Revision(0), 1 << 20), State::default());
        apply(
            &hub,
            &mut state,
            vec![Write::create(pod("a", "")), Write::create(pod("b", "n1"))],
        );
        let cases = [
            ("all, from the start", Interest::All, 0, vec![1, 2, 3]),
            ("all, from later", Interest::All, 1, vec![2, 3]),
            (
                "a namespace",
                Interest::Namespace(Kind::Pod, "d".into()),
                0,
                vec![1, 2, 3],
            ),
            (
                "another namespace",
                Interest::Namespace(Kind::Pod, "e".into()),
                0,
                vec![],
            ),
            ("another kind", Interest::Kind(Kind::Secret), 0, vec![]),
            (
                "one object",
                Interest::Object(pod("a", "").key().clone()),
                0,
                vec![1, 3],
            ),
            (
                "a node, also as a pod comes to it",
                Interest::Node("n1".into()),
                0,
                vec![2, 3],
            ),
        ];
        let watches = cases.map(|(name, interest, from, expected)| {
            (name, hub.watch(interest, Revision(from)).unwrap(), expected)
        });
        let old = state.get(pod("a", "").key()).unwrap().clone();
        apply(&hub, &mut state, vec![Write::replace(&old, pod("a", "n1"))]);
        for (name, mut watch, expected) in watches {
            assert_eq!(drain(&mut watch), expected, "{name}");
            assert_eq!(watch.bookmark(), Some(Revision(3)), "{name}");
        }
        assert!(
            hub.lock().watchers.is_empty(),
            "a dropped watch leaves nothing"
        );
    }

    #[test]
    fn what_a_reader_listed_before_its_changes_were_published_does_not_come_again() {
        let (hub, mut state) = (WatchHub::new(Revision(0), 1 << 20), State::default());
        let mut watch = hub.watch(Interest::All, Revision(1)).unwrap();
        apply(
            &hub,
            &mut state,
            vec![Write::create(pod("a", "")), Write::create(pod("b", ""))],
        );
        assert_eq!(drain(&mut watch), [2]);
    }

    #[test]
    fn a_recovered_state_has_no_history() {
        let hub = WatchHub::new(Revision(0), 1 << 20);
        hub.begin_at(Revision(500));
        assert!(hub.watch(Interest::All, Revision(499)).is_err());
        assert!(hub.watch(Interest::All, Revision(500)).is_ok());
    }

    #[test]
    fn a_reader_that_falls_behind_is_dropped_and_told() {
        let (hub, mut state) = (WatchHub::new(Revision(0), 1 << 30), State::default());
        let mut watch = hub.watch(Interest::All, Revision(0)).unwrap();
        for index in 0..=BEHIND_MAX {
            apply(
                &hub,
                &mut state,
                vec![Write::create(pod(&format!("p{index}"), ""))],
            );
        }
        assert!(watch.is_live());
        assert_eq!(drain(&mut watch).len(), BEHIND_MAX);
        assert!(!watch.is_live());
        assert_eq!(
            watch.bookmark(),
            None,
            "it may not claim to have seen everything"
        );
        assert!(matches!(
            watch.receiver.try_recv(),
            Err(mpsc::error::TryRecvError::Disconnected)
        ));
    }
}
