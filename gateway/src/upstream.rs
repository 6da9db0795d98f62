//! The endpoints of a backend as the gateway uses them: who gets the next request, which
//! connections are kept, who is left out. One per backend, kept over changes of the table.

mod endpoint;
mod h2;
mod link;
mod resolve;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use skiff_network::Catalog;

use crate::balance::Tick;
use crate::balance::eject::Ending;
use crate::balance::pick::{self, Load};
use crate::balance::retry::Budget;
use crate::route::Backend;

pub(crate) use endpoint::Endpoint;
pub(crate) use h2::{Shared, Stream, Streamed};
pub(crate) use link::{Driven, Link, Unsent};
pub use resolve::{Protocol, Resolved, Trouble, resolve};

/// How often an endpoint is chosen anew because the one chosen was retired meanwhile. Each time the
/// endpoints have changed since the time before, so that more than a few is a mistake, not a race.
const PICKS_MAX: u32 = 8;

/// A backend and its endpoints of this moment.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) backend: Backend,
    state: RwLock<Arc<State>>,
    retries: AtomicU32,
}

/// The endpoints, or why there are none.
#[derive(Debug)]
struct State {
    protocol: Protocol,
    endpoints: Vec<Arc<Endpoint>>,
    /// Since when the oldest of them is one.
    oldest: Tick,
    trouble: Option<Trouble>,
}

/// An endpoint that serves a request; counted for as long as this lives.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) protocol: Protocol,
}

impl Upstream {
    /// Without endpoints until it has seen a catalog.
    pub(crate) fn new(backend: Backend) -> Self {
        Self {
            backend,
            state: RwLock::new(Arc::new(State::empty())),
            retries: AtomicU32::new(Budget::default().saved()),
        }
    }

    /// Takes over what a catalog says. When this returns, no request goes to an endpoint that is
    /// none any more, and kept connections to it are closed.
    pub(crate) fn take_over(&self, catalog: &Catalog, workers: usize, now: Tick) {
        let before = self.state();
        let (resolved, trouble) = match resolve(catalog, &self.backend) {
            Ok(resolved) => (resolved, None),
            Err(trouble) => (Resolved::default(), Some(trouble)),
        };
        let is_same = before.protocol == resolved.protocol && before.trouble == trouble;
        let addresses = before.endpoints.iter().map(|endpoint| endpoint.address);
        if is_same && addresses.eq(resolved.addresses.iter().copied()) {
            return;
        }
        let keeps = before.protocol == resolved.protocol;
        let known = |address: &SocketAddr| {
            let found = before.endpoints.iter().find(|one| one.address == *address);
            found.filter(|_| keeps).cloned()
        };
        // Where nobody served before, everybody is equally new and nobody needs to be spared.
        let since = if before.endpoints.is_empty() { 0 } else { now };
        let make = |address: &SocketAddr| Arc::new(Endpoint::new(*address, since, workers));
        let endpoints: Vec<_> = resolved
            .addresses
            .iter()
            .map(|address| known(address).unwrap_or_else(|| make(address)))
            .collect();
        let gone = before
            .endpoints
            .iter()
            .filter(|one| !endpoints.iter().any(|kept| Arc::ptr_eq(kept, one)));
        let gone: Vec<_> = gone.cloned().collect();
        let next = State::new(resolved.protocol, endpoints, trouble);
        // Only then, so that whoever meets a retired one finds others.
        self.set_state(next);
        for endpoint in &gone {
            endpoint.retire();
        }
    }

    /// Closes kept connections: no route leads here any more. Requests that are on their way here
    /// still find nobody.
    pub(crate) fn retire(&self) {
        let before = self.state();
        self.set_state(State::empty());
        for endpoint in &before.endpoints {
            endpoint.retire();
        }
    }

    /// Closes connections that were not used lately.
    pub(crate) fn sweep(&self, now: Tick) {
        for endpoint in &self.state().endpoints {
            endpoint.sweep(now);
        }
    }

    /// What its endpoints speak.
    pub(crate) fn protocol(&self) -> Protocol {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.protocol
    }

    /// Chooses an endpoint for a request: of now, where new ones are spared for so long.
    pub(crate) fn pick(
        &self,
        (now, slow_start): (Tick, Tick),
        avoid: Option<SocketAddr>,
    ) -> Result<Lease, Trouble> {
        for _ in 0..PICKS_MAX {
            // Held rather than cloned: all workers would count the same clones.
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            let at = |index: usize| match state.endpoints.get(index) {
                Some(endpoint) => endpoint.load(),
                None => Load {
                    open: u32::MAX,
                    since: 0,
                    ejected_until: Tick::MAX,
                },
            };
            let avoid = avoid.and_then(|address| {
                let mut all = state.endpoints.iter();
                all.position(|endpoint| endpoint.address == address)
            });
            let times = (now, pick::slow_start(slow_start, now, state.oldest));
            let chosen = pick::choose(state.endpoints.len(), at, times, avoid, rand::random);
            let Some(endpoint) = chosen.and_then(|index| state.endpoints.get(index)) else {
                let trouble = state.trouble.clone();
                return Err(trouble.unwrap_or(Trouble::NoEndpoints));
            };
            endpoint.enter();
            let lease = Lease {
                endpoint: Arc::clone(endpoint),
                protocol: state.protocol,
            };
            // It may have been retired since it was read; then the state is another one by now.
            if !lease.endpoint.is_retired() {
                return Ok(lease);
            }
        }
        Err(Trouble::NoEndpoints)
    }

    /// Tells how a request ended.
    pub(crate) fn ended(&self, lease: &Lease, ending: Ending, now: Tick) {
        lease.endpoint.ended(ending, now, || {
            let state = self.state();
            let all = &state.endpoints;
            let others = all.iter().filter(|one| !Arc::ptr_eq(one, &lease.endpoint));
            let out = others.filter(|one| one.load().ejected_until > now).count();
            (out, all.len())
        });
    }

    /// A request came: a part of a retry is earned.
    pub(crate) fn earn_retry(&self) {
        let earn = |saved| {
            let more = Budget::from_saved(saved).earn().saved();
            // It is full most of the time; then nothing is written.
            (more != saved).then_some(more)
        };
        self.change_budget(earn);
    }

    /// Takes a retry out of the budget, if one is in it.
    pub(crate) fn spend_retry(&self) -> bool {
        self.change_budget(|saved| Budget::from_saved(saved).spend().map(Budget::saved))
    }

    fn change_budget(&self, change: impl Fn(u32) -> Option<u32>) -> bool {
        let order = Ordering::Relaxed;
        self.retries.fetch_update(order, order, change).is_ok()
    }

    /// Addresses, and whether each is left out.
    pub(crate) fn endpoints(&self, now: Tick) -> Vec<(SocketAddr, u32, bool)> {
        let state = self.state();
        let all = state.endpoints.iter().map(|endpoint| {
            let load = endpoint.load();
            (endpoint.address, load.open, load.ejected_until > now)
        });
        all.collect()
    }

    fn state(&self) -> Arc<State> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&state)
    }

    fn set_state(&self, next: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }
}

impl State {
    fn new(protocol: Protocol, endpoints: Vec<Arc<Endpoint>>, trouble: Option<Trouble>) -> Self {
        let since = endpoints.iter().map(|endpoint| endpoint.load().since);
        Self {
            protocol,
            oldest: since.min().unwrap_or(0),
            endpoints,
            trouble,
        }
    }

    fn empty() -> Self {
        let trouble = Some(Trouble::NoEndpoints);
        Self::new(Protocol::default(), Vec::new(), trouble)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.leave();
    }
}
