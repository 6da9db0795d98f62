//! The loop that looks at the agents' heartbeats: which nodes are lost, and what becomes of their
//! pods (design: a node silent for four seconds is lost).

use std::time::Duration;

use skiff_api::Millis;
use skiff_engine::Stamper;
use skiff_engine::plan::{Heartbeats, node_health};
use tokio::time::MissedTickBehavior;

use super::propose;
use crate::nodes::Nodes;
use crate::store::Store;

/// Silence is measured in seconds; looking this often adds little to the time until it is noticed.
pub const PACE: Duration = Duration::from_millis(250);

/// A node that a new leader has never heard gets this much more time, for its agent to learn of
/// this server and to dial it. A node that it heard before it was elected gets none: agents beat
/// to every server, so it is judged by its own silence.
pub const RECONNECT: Duration = Duration::from_secs(10);

/// Runs until it is dropped.
pub(super) async fn run(store: Store, nodes: Nodes) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let since = nodes.heartbeats().listening + RECONNECT;
    loop {
        pace.tick().await;
        let heartbeats = heard_since(nodes.heartbeats(), since);
        let mut stamper = Stamper::new(Millis::from(jiff::Timestamp::now()), rand::random());
        let plan = node_health(&store.state(), &heartbeats, &mut stamper);
        if !plan.writes.is_empty() {
            // A refused or failed write is planned again at the next look.
            propose(&store, plan.writes).await.ok();
        }
    }
}

/// The heartbeats as a leader counts them that began to listen `since` after its server started,
/// [`RECONNECT`] included.
#[must_use]
pub fn heard_since(mut heartbeats: Heartbeats, since: Duration) -> Heartbeats {
    heartbeats.listening = heartbeats.listening.saturating_sub(since);
    heartbeats
}
