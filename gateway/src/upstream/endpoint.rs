//! One endpoint: its load, its record, and the connections that are kept to it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::h2::{Shared, Stream};
use super::link::Link;
use crate::balance::Tick;
use crate::balance::eject::{self, Ending, History};
use crate::balance::pick::Load;

/// Connections that a worker keeps to one endpoint; more than so many requests at once are rare,
/// and each costs the pod a descriptor.
const KEPT_MAX: usize = 256;

/// An unused connection is closed after this, in milliseconds: before most servers close it.
const KEPT_MS: Tick = 30_000;

/// Shared connections that a worker keeps to one endpoint: many times a hundred streams. Those beyond
/// serve the request that they were made for.
const SHARED_MAX: usize = 64;

/// Connections, the one used last at the end, and since when each is unused.
type Kept = Vec<(Box<Link>, Tick)>;

/// One address that serves a backend.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    since: Tick,
    open: AtomicU32,
    failures: AtomicU32,
    ejected_until: AtomicU64,
    history: Mutex<History>,
    retired: AtomicBool,
    /// By worker: connections belong to the reactor that they were made on.
    kept: Box<[Mutex<Kept>]>,
    shared: Box<[Mutex<Vec<Shared>>]>,
}

impl Endpoint {
    pub(crate) fn new(address: SocketAddr, since: Tick, workers: usize) -> Self {
        Self {
            address,
            since,
            open: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            history: Mutex::default(),
            retired: AtomicBool::new(false),
            kept: (0..workers).map(|_| Mutex::default()).collect(),
            shared: (0..workers).map(|_| Mutex::default()).collect(),
        }
    }

    pub(crate) fn load(&self) -> Load {
        Load {
            open: self.open.load(Ordering::Relaxed),
            since: self.since,
            ejected_until: self.ejected_until.load(Ordering::Relaxed),
        }
    }

    pub(super) fn enter(&self) {
        self.open.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn leave(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether it is an endpoint no more.
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
        for kept in &self.kept {
            let dropped = std::mem::take(&mut *lock(kept));
            drop(dropped);
        }
        for shared in &self.shared {
            let dropped = std::mem::take(&mut *lock(shared));
            drop(dropped);
        }
    }

    pub(super) fn sweep(&self, now: Tick) {
        for kept in &self.kept {
            // Taken from its end, so the oldest are in front.
            let mut kept = lock(kept);
            let old = kept.partition_point(|(_, since)| since + KEPT_MS <= now);
            let dropped: Vec<_> = kept.drain(..old).collect();
            drop(kept);
            drop(dropped);
        }
        for shared in &self.shared {
            let mut shared = lock(shared);
            shared.retain(Shared::is_usable);
            // Filled from the front: one more than needed is kept for what comes next.
            let idle = shared.iter().rev().take_while(|one| one.is_idle()).count();
            let kept = shared.len() - idle.saturating_sub(1);
            let dropped = shared.split_off(kept);
            drop(shared);
            drop(dropped);
        }
    }

    pub(super) fn ended(&self, ending: Ending, now: Tick, others: impl FnOnce() -> (usize, usize)) {
        if ending == Ending::Good && self.failures.load(Ordering::Relaxed) == 0 {
            return;
        }
        let others = others();
        let mut history = lock(&self.history);
        let was_out = history.until > now;
        *history = eject::after(*history, ending, now, others);
        self.failures.store(history.in_a_row, Ordering::Relaxed);
        self.ejected_until.store(history.until, Ordering::Relaxed);
        if !was_out && history.until > now {
            let millis = history.until - now;
            tracing::info!(endpoint = %self.address, millis, "endpoint fails and is left out");
        }
    }

    /// A kept connection that is still good.
    pub(crate) fn take(&self, worker: usize) -> Option<Box<Link>> {
        let kept = self.kept.get(worker)?;
        loop {
            let (mut link, _) = lock(kept).pop()?;
            if link.is_usable() {
                return Some(link);
            }
        }
    }

    /// Keeps a connection for later.
    pub(crate) fn keep(&self, worker: usize, link: Box<Link>, now: Tick) {
        let Some(kept) = self.kept.get(worker) else {
            return;
        };
        let mut kept = lock(kept);
        // Asked under the lock: retiring takes it after it has been said.
        if !self.is_retired() && kept.len() < KEPT_MAX {
            kept.push((link, now));
        }
    }

    /// A place on a shared connection that is still good, if one has room.
    pub(crate) fn enter_shared(&self, worker: usize) -> Option<Stream> {
        let mut shared = lock(self.shared.get(worker)?);
        shared.retain(Shared::is_usable);
        shared.iter().find_map(Shared::enter)
    }

    /// Lets others use a connection too.
    pub(crate) fn share(&self, worker: usize, new: &Shared) {
        let Some(shared) = self.shared.get(worker) else {
            return;
        };
        let mut shared = lock(shared);
        if !self.is_retired() && shared.len() < SHARED_MAX {
            shared.push(new.clone());
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.address)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
