//! The leader's loop over its own group: gives learners their vote when they have caught up, and
//! cleans up after joins and removals that were interrupted.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Cluster;
use crate::members::agreement::{Sightings, Step, plan};
use crate::members::of;
use crate::store::MemberChange;

/// What is looked at is measured in seconds.
const PACE: Duration = Duration::from_millis(250);

/// Runs whenever this server leads, until `stop`.
pub async fn run(cluster: Cluster, stop: CancellationToken) {
    let looking = async {
        let mut leadership = cluster.store().leadership();
        while leadership.wait_for(|leads| *leads).await.is_ok() {
            let deposed = async { leadership.wait_for(|leads| !*leads).await.is_ok() };
            tokio::select! {
                () = look(&cluster) => {}
                ended = deposed => if !ended { return },
            }
        }
    };
    stop.run_until_cancelled(looking).await;
}

/// Looks for ever.
async fn look(cluster: &Cluster) {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sightings = Sightings::default();
    let begun = Instant::now();
    loop {
        pace.tick().await;
        // Whoever changes the members now is not interrupted.
        let Ok(_changing) = cluster.0.changing.try_lock() else {
            continue;
        };
        let store = cluster.store();
        let (members, status) = (of(&store.state()), store.status());
        if let Some(step) = plan(&members, &status, &mut sightings, begun.elapsed()) {
            // What fails is planned again at the next look.
            if let Err(why) = cluster.take(step).await {
                tracing::warn!(?step, why, "the servers could not be changed yet");
            }
        }
    }
}

impl Cluster {
    async fn take(&self, step: Step) -> Result<(), String> {
        let change = match step {
            Step::Promote(id) => MemberChange::Promote(id),
            Step::RemoveLearner(id) => MemberChange::Remove(id),
            Step::DropEntry(id) => {
                tracing::info!(member = id, "dropping the entry of a server that is none");
                return self.drop_entry(id).await.map_err(|status| status.message);
            }
        };
        let changed = self.store().change_members(change).await;
        changed.map_err(|err| err.to_string())?;
        tracing::info!(?change, "the servers were changed");
        Ok(())
    }
}
