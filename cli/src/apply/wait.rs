//! `apply --wait`: follows what was applied until it is ready, has failed, or the time is over.

use std::time::Duration;

use serde_json::Value;
use skiff_api::{Key, Kind};
use tokio::time::{Instant, sleep};

use crate::connect::Cluster;
use crate::error::{CliError, EXIT_TIMEOUT};
use crate::print::{self, Progress};
use crate::resource;
use crate::rollout::state::{self, State};
use crate::rollout::{LOOK_INTERVAL, blocking};

/// Waits until every object that can be unready is ready, all of them in one look: one that was
/// ready for a moment and fell back is not passed over.
pub(super) async fn until_ready(
    cluster: &Cluster,
    applied: &[Key],
    timeout: Duration,
) -> Result<(), CliError> {
    let deadline = Instant::now() + timeout;
    let keys: Vec<&Key> = applied
        .iter()
        .filter(|key| can_be_unready(key.kind))
        .collect();
    let mut progress = Progress::default();
    loop {
        let Some(unready) = look(cluster, &keys).await? else {
            break;
        };
        if Instant::now() >= deadline {
            progress.clear();
            let (name, cause) = (unready.name(), unready.with_cause(cluster).await);
            let message = format!("{name} is not ready after {}s: {cause}", timeout.as_secs());
            return Err(CliError::Timeout {
                message,
                code: EXIT_TIMEOUT,
            });
        }
        progress.show(&unready.progress());
        sleep(LOOK_INTERVAL).await;
    }
    progress.clear();
    keys.iter().try_for_each(|key| {
        print::line(&format!("{} ready", resource::display(key.kind, &key.name)))
    })
}

/// The first object that is not ready, and how many more there are.
struct Unready<'a> {
    key: &'a Key,
    object: Value,
    why: String,
    more: usize,
}

/// Looks at all objects; one that has failed is an error.
async fn look<'a>(cluster: &Cluster, keys: &[&'a Key]) -> Result<Option<Unready<'a>>, CliError> {
    let mut first: Option<Unready<'a>> = None;
    for key in keys {
        let object: Value = cluster.client.get(key).await?;
        match state::judge(key.kind, &object) {
            State::Done(_) => {}
            State::Failed(why) => {
                let failed = Unready {
                    key,
                    object,
                    why,
                    more: 0,
                };
                return Err(CliError::Failed(failed.with_cause(cluster).await));
            }
            State::Waiting(why) => match &mut first {
                Some(first) => first.more += 1,
                None => {
                    first = Some(Unready {
                        key,
                        object,
                        why,
                        more: 0,
                    })
                }
            },
        }
    }
    Ok(first)
}

impl Unready<'_> {
    fn name(&self) -> String {
        resource::display(self.key.kind, &self.key.name)
    }

    fn progress(&self) -> String {
        match self.more {
            0 => self.why.clone(),
            more => format!("{} (and {more} more)", self.why),
        }
    }

    /// The reason, and the first pod that stands in the way.
    async fn with_cause(&self, cluster: &Cluster) -> String {
        match blocking::first(cluster, self.key.kind, &self.object).await {
            Ok(Some(blocker)) => format!("{}; {blocker}", self.why),
            // The reason alone is still an answer.
            Ok(None) | Err(_) => self.why.clone(),
        }
    }
}

fn can_be_unready(kind: Kind) -> bool {
    matches!(kind, Kind::Deployment | Kind::ReplicaSet | Kind::Pod)
}
