//! The loop that writes into the status of Ingresses where clients reach the gateways.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use skiff_engine::plan::ingress_statuses;
use tokio::time::MissedTickBehavior;

use super::{BATCH, propose};
use crate::network::gateways::Gateways;
use crate::store::Store;

/// Gateways report as often: looking more often would show nothing new.
const PACE: Duration = Duration::from_secs(2);

/// How long a new leader listens before it writes: each gateway has told by then, so that none is
/// taken for gone.
const LISTEN: Duration = Duration::from_secs(6);

/// Runs until it is dropped.
pub(super) async fn run(store: Store, gateways: Gateways) {
    tokio::time::sleep(LISTEN).await;
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let state = store.state();
        let known = gateways.known(&state, Instant::now());
        let addresses: BTreeSet<String> = known.into_iter().filter_map(|one| one.address).collect();
        let mut writes = ingress_statuses(&state, &addresses);
        // The rest is still to be done at the next pass.
        writes.truncate(BATCH);
        if !writes.is_empty() && propose(&store, writes).await.is_err() {
            tracing::debug!("the addresses of gateways are written later");
        }
    }
}
