//! What everybody may look at while the threads work: the latest state, who leads, how far.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use skiff_engine::State;
use tokio::sync::watch;

use super::{Admission, RaftStatus};

#[derive(Debug, Default)]
struct Elected {
    /// The term in which this member was elected, while it leads.
    term: Option<u64>,
    /// Whether its state holds everything that was acknowledged before.
    ready: bool,
    /// The driver is gone.
    ended: bool,
}

#[derive(Debug)]
pub(crate) struct Shared {
    state: RwLock<State>,
    status: Mutex<RaftStatus>,
    elected: Mutex<Elected>,
    /// Something in `elected` changed.
    decided: Condvar,
    leading: watch::Sender<bool>,
    applied: watch::Sender<u64>,
    pub(crate) admission: Admission,
}

impl Shared {
    pub(crate) fn new(state: State, applied: u64) -> Self {
        Self {
            state: RwLock::new(state),
            status: Mutex::default(),
            elected: Mutex::default(),
            decided: Condvar::new(),
            leading: watch::Sender::new(false),
            applied: watch::Sender::new(applied),
            admission: Admission::default(),
        }
    }

    /// The latest applied state.
    pub(crate) fn state(&self) -> State {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn publish(&self, state: State) {
        let mut published = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *published, state);
        drop(published);
        // Freeing what only the old state held may take long; nobody waits for it here.
        drop(before);
    }

    pub(crate) fn status(&self) -> RaftStatus {
        let mut status = self.status_mut().clone();
        status.applied = self.applied();
        status
    }

    pub(super) fn status_mut(&self) -> MutexGuard<'_, RaftStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn leading(&self) -> watch::Receiver<bool> {
        self.leading.subscribe()
    }

    pub(crate) fn is_leading(&self) -> bool {
        *self.leading.borrow()
    }

    /// Whether this member leads and is the only voter.
    pub(crate) fn is_leading_alone(&self) -> bool {
        self.is_leading() && self.status_mut().voters.len() == 1
    }

    pub(crate) fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    pub(crate) fn watch_applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// The current term, to be stamped on commands.
    pub(crate) fn status_term(&self) -> u64 {
        self.status_mut().term
    }

    /// Notes the outcome of an election; nothing if this member does not lead.
    pub(super) fn set_elected(&self, term: Option<u64>) {
        let mut elected = self.elected();
        if elected.term != term {
            elected.term = term;
            self.lead(&mut elected, false);
        }
    }

    /// Notes that everything up to `index` is in the published state. The first entry of a
    /// leader's own term makes it lead: from then on its state holds all that was acknowledged.
    pub(super) fn set_applied(&self, index: u64, term: u64) {
        self.applied.send_replace(index);
        let mut elected = self.elected();
        if elected.term == Some(term) && !elected.ready {
            self.lead(&mut elected, true);
        }
    }

    /// Notes that the driver is gone.
    pub(super) fn end(&self) {
        let mut elected = self.elected();
        elected.ended = true;
        elected.term = None;
        self.lead(&mut elected, false);
    }

    /// Waits until this member leads; false if it doesn't within `limit`.
    pub(crate) fn wait_until_leading(&self, limit: Duration) -> bool {
        let undecided = |elected: &mut Elected| !elected.ready && !elected.ended;
        let waited = self
            .decided
            .wait_timeout_while(self.elected(), limit, undecided);
        waited.unwrap_or_else(PoisonError::into_inner).0.ready
    }

    fn elected(&self) -> MutexGuard<'_, Elected> {
        self.elected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lead(&self, elected: &mut Elected, leads: bool) {
        elected.ready = leads;
        self.leading
            .send_if_modified(|leading| std::mem::replace(leading, leads) != leads);
        self.decided.notify_all();
    }
}
