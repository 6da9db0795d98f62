//! Whose question is asked upstream next. What can be under way at once is shared by those who ask:
//! a pod that asks for names which nobody answers waits for itself, not others for it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// Questions on their way upstream; each holds a socket and some kilobytes. One more waits.
const IN_FLIGHT_MAX: usize = 256;

/// How many of these may be one client's.
const SHARE_MAX: usize = IN_FLIGHT_MAX / 4;

/// Questions of one client that are under way or wait, each for two seconds at most. One more is
/// refused at once.
const OPEN_MAX: usize = 256;

/// Clients that are remembered, before those that ask nothing are forgotten: more than there are
/// pods on a node.
const CLIENTS_MAX: usize = 512;

/// The turns of all clients.
pub(super) struct Turns {
    all: Semaphore,
    clients: Mutex<HashMap<IpAddr, Arc<Client>>>,
}

struct Client {
    share: Semaphore,
    open: Arc<Semaphore>,
}

/// A question that may wait for its turn.
pub(super) struct Open {
    client: Arc<Client>,
    _open: OwnedSemaphorePermit,
}

/// A question's turn, until it is dropped.
pub(super) struct Turn<'a> {
    _share: SemaphorePermit<'a>,
    _all: SemaphorePermit<'a>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            all: Semaphore::new(IN_FLIGHT_MAX),
            clients: Mutex::default(),
        }
    }
}

impl Turns {
    /// Takes in a question of a client; none if too many of its questions are open.
    pub(super) fn open(&self, from: IpAddr) -> Option<Open> {
        let client = self.client(from);
        let open = Arc::clone(&client.open).try_acquire_owned().ok()?;
        Some(Open {
            client,
            _open: open,
        })
    }

    fn client(&self, from: IpAddr) -> Arc<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= CLIENTS_MAX {
            clients.retain(|_, client| Arc::strong_count(client) > 1);
        }
        let new = || {
            Arc::new(Client {
                share: Semaphore::new(SHARE_MAX),
                open: Arc::new(Semaphore::new(OPEN_MAX)),
            })
        };
        Arc::clone(clients.entry(from).or_insert_with(new))
    }

    /// Waits for a question's turn: first among its client's own, then among all. None if it does
    /// not come in time.
    pub(super) async fn wait<'a>(&'a self, open: &'a Open, until: Instant) -> Option<Turn<'a>> {
        let turn = async {
            let share = open.client.share.acquire().await.ok()?;
            let all = self.all.acquire().await.ok()?;
            Some(Turn {
                _share: share,
                _all: all,
            })
        };
        let left: Duration = until.saturating_duration_since(Instant::now());
        timeout(left, turn).await.ok().flatten()
    }
}
