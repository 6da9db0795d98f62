//! The servers of one client: which there are, and which answered last. A fail-over lasts: the
//! server that answered is asked next, until it fails as well. Sends nothing.

use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsConnector;

use crate::config::Server;
use crate::retry;
use crate::transport::Transport;

/// The servers, shared by all clones of a client.
pub(crate) struct Fleet(RwLock<Known>);

struct Known {
    /// Never empty, and one of them is preferred.
    all: Arc<[Arc<Transport>]>,
    preferred: Arc<Transport>,
    tls: TlsConnector,
}

impl Fleet {
    /// The given servers; `None` if there is none.
    pub(crate) fn new(servers: Vec<Server>, tls: TlsConnector) -> Option<Self> {
        let transport = |server| Arc::new(Transport::new(server, tls.clone()));
        let all: Arc<[_]> = servers.into_iter().map(transport).collect();
        let preferred = Arc::clone(all.first()?);
        Some(Self(RwLock::new(Known {
            all,
            preferred,
            tls,
        })))
    }

    pub(crate) fn servers(&self) -> Vec<Server> {
        let all = self.read(|known| Arc::clone(&known.all));
        all.iter().map(|t| t.server().clone()).collect()
    }

    /// From now on these are the servers. Connections to those that stay are kept, and so is the
    /// preference; an empty list changes nothing.
    pub(crate) fn set_servers(&self, servers: Vec<Server>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let old = Arc::clone(&known.all);
        let transport = |server: Server| {
            let found = old.iter().find(|t| *t.server() == server);
            found
                .cloned()
                .unwrap_or_else(|| Arc::new(Transport::new(server, known.tls.clone())))
        };
        let all: Arc<[_]> = servers.into_iter().map(transport).collect();
        let Some(first) = all.first() else { return };
        if !all.iter().any(|t| Arc::ptr_eq(t, &known.preferred)) {
            known.preferred = Arc::clone(first);
        }
        known.all = all;
    }

    /// Uses another identity for connections made from now on.
    pub(crate) async fn set_tls(&self, tls: TlsConnector) {
        let all = {
            let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
            known.tls = tls.clone();
            Arc::clone(&known.all)
        };
        for transport in all.iter() {
            transport.set_tls(tls.clone()).await;
        }
    }

    /// The way of one request: it begins at the preferred server, unless that is in trouble and
    /// another is not.
    pub(crate) fn course(&self) -> Course {
        let (all, current) =
            self.read(|known| (Arc::clone(&known.all), Arc::clone(&known.preferred)));
        let mut course = Course { all, current };
        if course.current.in_trouble() {
            let stay = course.clone();
            course.turn();
            if course.current.in_trouble() {
                return stay;
            }
        }
        course
    }

    /// This server answered: it is asked next.
    pub(crate) fn prefer(&self, transport: &Arc<Transport>) {
        if self.read(|known| Arc::ptr_eq(&known.preferred, transport)) {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.all.iter().any(|t| Arc::ptr_eq(t, transport)) {
            known.preferred = Arc::clone(transport);
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Known) -> T) -> T {
        read(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where a request is, and where else it may go.
#[derive(Clone)]
pub(crate) struct Course {
    all: Arc<[Arc<Transport>]>,
    current: Arc<Transport>,
}

impl Course {
    pub(crate) fn current(&self) -> &Arc<Transport> {
        &self.current
    }

    pub(crate) fn servers(&self) -> usize {
        self.all.len()
    }

    /// Goes on to another server, if there is one that is not in trouble or all are.
    pub(crate) fn turn(&mut self) {
        let here = |t: &Arc<Transport>| Arc::ptr_eq(t, &self.current);
        let at = self.all.iter().position(here).unwrap_or(0);
        let in_trouble: Vec<bool> = self.all.iter().map(|t| t.in_trouble()).collect();
        if let Some(next) = self.all.get(retry::next(at, &in_trouble)) {
            self.current = Arc::clone(next);
        }
    }
}
