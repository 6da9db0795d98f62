//! The loop that looks at the agents' heartbeats: which nodes are lost, and what becomes of their
//! pods (design: a node silent for four seconds is lost).

use std::time::Duration;

use skiff_api::Millis;
use skiff_engine::Stamper;
use skiff_engine::plan::node_health;
use tokio::time::MissedTickBehavior;

use super::propose;
use crate::nodes::Nodes;
use crate::store::Store;

/// Silence is measured in seconds; looking this often adds little to the time until it is noticed.
const PACE: Duration = Duration::from_millis(250);

/// Agents that lost their server dial again with a back-off of some seconds: a node that a new
/// leader has not heard yet gets this much more time.
const RECONNECT: Duration = Duration::from_secs(10);

/// Runs until it is dropped.
pub(super) async fn run(store: Store, nodes: Nodes) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // A leader that was just elected has heard nobody yet, whatever it heard as a follower.
    let since = nodes.heartbeats().listening + RECONNECT;
    loop {
        pace.tick().await;
        let mut heartbeats = nodes.heartbeats();
        heartbeats.listening = heartbeats.listening.saturating_sub(since);
        let mut stamper = Stamper::new(Millis::from(jiff::Timestamp::now()), rand::random());
        let plan = node_health(&store.state(), &heartbeats, &mut stamper);
        if !plan.writes.is_empty() {
            // A refused or failed write is planned again at the next look.
            propose(&store, plan.writes).await.ok();
        }
    }
}
