//! The scheduler's loop: it keeps the columnar view of the cluster up to date by the watch, and
//! places whole batches of waiting pods in one command.

use skiff_api::{Kind, Millis};
use skiff_engine::schedule::Cluster;
use skiff_engine::{Stamper, State, Write};

use super::{RETRY, propose};
use crate::store::Store;
use crate::watch::{Interest, Watch, WatchHub};

/// Pods placed by one command: some MB of log at most, and other writes get their turn between.
const BATCH: usize = 1024;

/// Runs until it is dropped.
pub(super) async fn run(store: Store, hub: WatchHub) {
    loop {
        let state = store.state();
        let watches =
            [Kind::Node, Kind::Pod].map(|kind| hub.watch(Interest::Kind(kind), state.revision()));
        let [Ok(nodes), Ok(pods)] = watches else {
            continue;
        };
        let cluster = Cluster::read(&state);
        Scheduling {
            store: store.clone(),
            cluster,
            nodes,
            pods,
        }
        .run()
        .await;
    }
}

/// Places a batch of the pods that wait; the writes may be none. `None` if no pod waits that is
/// worth trying. If the fate of the writes is unknown, the cluster must be read anew.
pub fn place(cluster: &mut Cluster, state: &State, stamper: &mut Stamper) -> Option<Vec<Write>> {
    let due = cluster.due(state, BATCH);
    (!due.is_empty()).then(|| cluster.schedule(state, &due, stamper))
}

struct Scheduling {
    store: Store,
    cluster: Cluster,
    nodes: Watch,
    pods: Watch,
}

impl Scheduling {
    /// Returns when the view can no longer be trusted and has to be read anew.
    async fn run(mut self) {
        loop {
            while let Some(change) = self.nodes.try_next() {
                self.cluster.observe(&change);
            }
            while let Some(change) = self.pods.try_next() {
                self.cluster.observe(&change);
            }
            let trusted = if self.place().await {
                Ok(())
            } else {
                self.wait().await
            };
            if trusted.is_err() {
                return;
            }
        }
    }

    /// Places a batch; `false` if there was nothing to do.
    async fn place(&mut self) -> bool {
        let state = self.store.state();
        let mut stamper = Stamper::new(Millis::from(jiff::Timestamp::now()), rand::random());
        let Some(writes) = place(&mut self.cluster, &state, &mut stamper) else {
            return false;
        };
        if writes.is_empty() {
            return true;
        }
        tracing::debug!(writes = writes.len(), "scheduled");
        if propose(&self.store, writes).await.is_err() {
            // Whether the pods were placed is unknown: what the view assumed may be wrong.
            tokio::time::sleep(RETRY).await;
            self.cluster = Cluster::read(&self.store.state());
        }
        true
    }

    async fn wait(&mut self) -> Result<(), FellBehind> {
        let change = tokio::select! {
            change = self.nodes.next() => change,
            change = self.pods.next() => change,
        };
        self.cluster.observe(&change.ok_or(FellBehind)?);
        Ok(())
    }
}

struct FellBehind;
