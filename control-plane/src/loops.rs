//! The leader's loops: a wake-up → a snapshot → a pure plan of the engine → guarded writes
//! (steps 9 and 10 of the walk).
//!
//! A wake-up carries no data; a key that changes while its plan runs is planned again; every key
//! is planned again on a slow resync. A stale leader is harmless, since each write is guarded by
//! the revision that its plan saw. No loop remembers anything across passes but which keys to
//! look at.

use std::sync::Arc;
use std::time::Duration;

use skiff_api::{Key, Millis};
use skiff_engine::plan::{Controller, controllers};
use skiff_engine::{Outcome, Stamper, Write};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::network::canary::Canaries;
use crate::network::gateways::Gateways;
use crate::nodes::Nodes;
use crate::store::{ProposeError, Store};
use crate::watch::{Interest, WatchHub};

mod canary;
mod health;
mod ingresses;
mod keys;
mod pass;
mod queue;
mod scheduling;

pub use health::{PACE as HEALTH_PACE, RECONNECT, heard_since};
pub use keys::Keys;
pub use pass::Pass;
pub use scheduling::place;

use queue::Queue;

/// Every key is looked at again after this time: the bound on the harm of a lost wake-up.
pub const RESYNC: Duration = Duration::from_secs(60);
/// Keys planned on one snapshot, whose writes go into one command.
pub const BATCH: usize = 256;
/// After a refused or failed write: long enough for whoever won the race to be seen.
pub const RETRY: Duration = Duration::from_millis(50);

/// What the loops look at that is not in the state: it is heard again and again, and kept in memory.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The agents' heartbeats.
    pub nodes: Nodes,
    /// What gateways tell of themselves.
    pub gateways: Gateways,
    /// What they count of canaries.
    pub canaries: Canaries,
}

/// Runs the loops whenever this server leads, until `stop`.
pub async fn run(store: Store, hub: WatchHub, heard: Heard, stop: CancellationToken) {
    let attentive = tokio::spawn({
        let nodes = heard.nodes.clone();
        async move { nodes.attend().await }
    });
    let _ended_with_this_call = tokio_util::task::AbortOnDropHandle::new(attentive);
    let mut leadership = store.leadership();
    loop {
        let leads = async { leadership.wait_for(|leads| *leads).await.is_ok() };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            leads = leads => if !leads { return },
        }
        tracing::info!("leading: the loops start");
        let term = stop.child_token();
        let mut loops = start(&store, &hub, &heard, &term);
        let deposed = async { leadership.wait_for(|leads| !*leads).await.is_ok() };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _ = deposed => tracing::info!("no longer leading: the loops stop"),
            Some(ended) = loops.join_next() => {
                tracing::error!(?ended, "a loop ended by itself; starting all of them again");
            }
        }
        term.cancel();
        while loops.join_next().await.is_some() {}
    }
}

fn start(store: &Store, hub: &WatchHub, heard: &Heard, stop: &CancellationToken) -> JoinSet<()> {
    let mut loops = JoinSet::new();
    let mut queues = Vec::new();
    for controller in controllers() {
        let queue = Arc::new(Queue::default());
        queues.push((controller, queue.clone()));
        let runner = Runner {
            store: store.clone(),
            controller,
            queue,
        };
        let stop = stop.clone();
        loops.spawn(async move { stop.run_until_cancelled(runner.run()).await.unwrap_or(()) });
    }
    let parts: [std::pin::Pin<Box<dyn Future<Output = ()> + Send>>; 5] = [
        Box::pin(wake(store.clone(), hub.clone(), queues)),
        Box::pin(scheduling::run(store.clone(), hub.clone())),
        Box::pin(health::run(store.clone(), heard.nodes.clone())),
        Box::pin(canary::run(store.clone(), heard.canaries.clone())),
        Box::pin(ingresses::run(store.clone(), heard.gateways.clone())),
    ];
    for part in parts {
        let stop = stop.clone();
        loops.spawn(async move { stop.run_until_cancelled(part).await.unwrap_or(()) });
    }
    loops
}

/// Turns changes into wake-ups: one reader of the watch for all loops.
async fn wake(store: Store, hub: WatchHub, queues: Vec<(Controller, Arc<Queue>)>) {
    loop {
        let state = store.state();
        for (controller, queue) in &queues {
            queue.add((controller.resync)(&state));
        }
        let Ok(mut watch) = hub.watch(Interest::All, state.revision()) else {
            continue;
        };
        let resync = tokio::time::sleep(RESYNC);
        tokio::pin!(resync);
        loop {
            let change = tokio::select! {
                change = watch.next() => change,
                () = &mut resync => None,
            };
            let Some(change) = change else { break };
            let state = store.state();
            for (controller, queue) in &queues {
                queue.add((controller.wakes)(&state, &change));
            }
        }
    }
}

/// Runs one controller over its queue of keys.
struct Runner {
    store: Store,
    controller: Controller,
    queue: Arc<Queue>,
}

impl Runner {
    async fn run(self) {
        loop {
            let keys = self.queue.take(BATCH).await;
            self.pass(keys).await;
        }
    }

    #[tracing::instrument(level = "debug", skip_all, fields(controller = self.controller.name))]
    async fn pass(&self, keys: Vec<Key>) {
        // What a plan gives must not have been given by another leader since it looked.
        let Some(term) = self.store.leads_in() else {
            return keys
                .into_iter()
                .for_each(|key| self.queue.add_in(key, RETRY));
        };
        let state = self.store.state();
        let now = Millis::from(jiff::Timestamp::now());
        let mut stamper = Stamper::new(now, rand::random());
        let mut pass = Pass::plan(&self.controller, &state, keys, &mut stamper);
        for (key, delay) in pass.again.drain(..) {
            self.queue.add_in(key, delay);
        }
        let writes = std::mem::take(&mut pass.writes);
        if writes.is_empty() {
            return;
        }
        let outcomes = told(self.store.propose_in(term, writes).await);
        let outcomes = outcomes.unwrap_or_default();
        for key in pass.refused(&outcomes) {
            self.queue.add_in(key, RETRY);
        }
    }
}

/// Proposes a loop's writes; a failure is logged here, and the next pass is the retry.
async fn propose(store: &Store, writes: Vec<Write>) -> Result<Vec<Outcome>, ProposeError> {
    told(store.propose(writes).await)
}

fn told(outcomes: Result<Vec<Outcome>, ProposeError>) -> Result<Vec<Outcome>, ProposeError> {
    if let Err(err) = &outcomes {
        tracing::warn!(error = %err, "a loop's writes were not taken; will plan again");
    }
    outcomes
}
