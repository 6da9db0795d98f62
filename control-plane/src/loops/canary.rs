//! The loop that looks at the canaries which gateways report on, and does what the engine decides.

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use skiff_api::Millis;
use skiff_engine::plan::{Steering, canary};
use skiff_engine::{Outcome, Stamper, Write};
use tokio::time::MissedTickBehavior;

use super::propose;
use crate::network::canary::{Canaries, Trial};
use crate::store::Store;

/// Gateways report every two seconds: looking more often would show nothing new.
const PACE: Duration = Duration::from_secs(1);

/// Runs until it is dropped.
pub(super) async fn run(store: Store, canaries: Canaries) {
    canaries.forget();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        pass(&store, &canaries, Instant::now()).await;
    }
}

/// Decides about every canary once, and does it.
async fn pass(store: &Store, canaries: &Canaries, now: Instant) {
    let state = store.state();
    let mut stamper = Stamper::new(Millis::from(jiff::Timestamp::now()), rand::random());
    for trial in canaries.trials(&state, now) {
        let Trial { ingress, memory } = trial;
        if let Some(steering) = canary(&state, &ingress, &memory, &mut stamper) {
            let waits = steering.write.is_none();
            if steer(store, steering).await && waits {
                canaries.told(&ingress.meta().uid);
            }
        }
    }
}

/// Changes the Ingress, and tells of it if that could be done: a change that came first wins, and the
/// next pass decides on what it left. Whether all was done.
async fn steer(store: &Store, steering: Steering) -> bool {
    if let Some(write) = steering.write
        && !is_done(store, write).await
    {
        return false;
    }
    is_done(store, steering.said).await
}

async fn is_done(store: &Store, write: Write) -> bool {
    let outcomes = propose(store, vec![write]).await.unwrap_or_default();
    matches!(outcomes[..], [Outcome::Done(_)])
}
