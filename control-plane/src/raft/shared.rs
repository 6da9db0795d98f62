//! What everybody may look at while the threads work: the latest state, who leads, how far.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use skiff_engine::State;
use tokio::sync::watch;

use super::{Admission, RaftStatus};
use crate::checkpoint::Mark;
use crate::log::Snapshots;
use crate::snapshot::StateAt;

/// States that were promised to members and may not have been sent yet; the oldest go first.
const PROMISED_MAX: usize = 4;

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
    latest: RwLock<StateAt>,
    /// By index: what snapshot messages stand for.
    promised: Mutex<BTreeMap<u64, StateAt>>,
    status: Mutex<RaftStatus>,
    elected: Mutex<Elected>,
    /// Something in `elected` changed.
    decided: Condvar,
    leading: watch::Sender<bool>,
    cut_off: watch::Sender<bool>,
    applied: watch::Sender<u64>,
    pub(crate) admission: Admission,
}

impl Shared {
    pub(crate) fn new(latest: StateAt) -> Self {
        let applied = latest.mark.index;
        Self {
            latest: RwLock::new(latest),
            promised: Mutex::default(),
            status: Mutex::default(),
            elected: Mutex::default(),
            decided: Condvar::new(),
            leading: watch::Sender::new(false),
            cut_off: watch::Sender::new(false),
            applied: watch::Sender::new(applied),
            admission: Admission::default(),
        }
    }

    /// The latest applied state.
    pub(crate) fn state(&self) -> State {
        self.latest
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .state
            .clone()
    }

    /// The latest applied state, and where in history it stands.
    pub(crate) fn state_at(&self) -> StateAt {
        self.latest
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The state that was promised as a snapshot at `index`.
    pub(crate) fn promised(&self, index: u64) -> Option<StateAt> {
        self.promises().get(&index).cloned()
    }

    /// Forgets what was promised: every snapshot under way has arrived or failed.
    pub(super) fn forget_promises(&self) {
        self.promises().clear();
    }

    fn promises(&self) -> MutexGuard<'_, BTreeMap<u64, StateAt>> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn publish(&self, latest: StateAt) {
        let mut published = self.latest.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *published, latest);
        drop(published);
        // Freeing what only the old state held may take long; nobody waits for it here.
        drop(before);
    }

    pub(crate) fn status(&self) -> RaftStatus {
        let mut status = self.status_mut().clone();
        status.applied = self.applied();
        status
    }

    pub(crate) fn status_mut(&self) -> MutexGuard<'_, RaftStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn leading(&self) -> watch::Receiver<bool> {
        self.leading.subscribe()
    }

    /// Whether no leader has been known for some seconds.
    pub(crate) fn cut_off(&self) -> watch::Receiver<bool> {
        self.cut_off.subscribe()
    }

    pub(super) fn set_cut_off(&self, cut_off: bool) {
        self.cut_off
            .send_if_modified(|known| std::mem::replace(known, cut_off) != cut_off);
    }

    pub(crate) fn is_leading(&self) -> bool {
        *self.leading.borrow()
    }

    /// The term in which this member leads, if its state holds everything from before.
    pub(crate) fn leads_in(&self) -> Option<u64> {
        let elected = self.elected();
        elected.term.filter(|_| elected.ready)
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

impl Snapshots for Shared {
    fn promise(&self, index: u64) -> Option<Mark> {
        let latest = self.state_at();
        if latest.mark.index < index.max(1) {
            return None;
        }
        let mark = latest.mark.clone();
        let mut promised = self.promises();
        promised.insert(mark.index, latest);
        while promised.len() > PROMISED_MAX {
            promised.pop_first();
        }
        Some(mark)
    }
}
