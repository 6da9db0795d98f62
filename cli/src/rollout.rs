//! `skiff rollout …`: following and steering how a Deployment changes.

pub(crate) mod blocking;
mod history;
pub(crate) mod state;
mod status;

use std::time::Duration;

use serde_json::{Value, json};
use skiff_api::{Key, Kind};
use skiff_client::{Patch, WriteOptions};

use crate::args::Rollout;
use crate::connect::Cluster;
use crate::error::CliError;
use crate::{age, json, print, resource};

/// How often a rollout is looked at: often enough to read as live, seldom enough to cost nothing.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// kubectl's name for these changes.
const MANAGER: &str = "kubectl-rollout";

/// Runs the verb.
pub(crate) async fn run(cluster: &Cluster, args: &Rollout) -> Result<(), CliError> {
    match args {
        Rollout::Status(args) => status::run(cluster, args).await,
        Rollout::History(args) => history::show(cluster, args).await,
        Rollout::Undo(args) => history::undo(cluster, args).await,
        Rollout::Restart(target) => change(cluster, &target.resources, Turn::Restart).await,
        Rollout::Pause(target) => change(cluster, &target.resources, Turn::Pause).await,
        Rollout::Resume(target) => change(cluster, &target.resources, Turn::Resume).await,
    }
}

#[derive(Clone, Copy)]
enum Turn {
    Restart,
    Pause,
    Resume,
}

impl Turn {
    fn word(self) -> &'static str {
        match self {
            Self::Restart => "restarted",
            Self::Pause => "paused",
            Self::Resume => "resumed",
        }
    }

    /// The patch for a Deployment, or why there is nothing to do.
    fn patch(self, deployment: &Value) -> Result<Value, &'static str> {
        let paused = json::flag(deployment, "/spec/paused");
        match self {
            Self::Restart if paused => {
                Err("can't restart paused deployment (run rollout resume first)")
            }
            Self::Restart => {
                let now = age::now().rfc3339();
                let annotations = json!({"kubectl.kubernetes.io/restartedAt": now});
                Ok(json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}))
            }
            Self::Pause if paused => Err("is already paused"),
            Self::Pause => Ok(json!({"spec": {"paused": true}})),
            Self::Resume if !paused => Err("is not paused"),
            Self::Resume => Ok(json!({"spec": {"paused": null}})),
        }
    }
}

async fn change(cluster: &Cluster, words: &[String], turn: Turn) -> Result<(), CliError> {
    for key in deployments(cluster, words)? {
        let name = resource::display(key.kind, &key.name);
        let deployment: Value = cluster.client.get(&key).await?;
        let patch = turn
            .patch(&deployment)
            .map_err(|why| CliError::Usage(format!("deployments.apps {:?} {why}", key.name)))?;
        let options = WriteOptions::by(MANAGER);
        let _: Value = cluster
            .client
            .patch(&key, None, &Patch::Merge(patch), &options)
            .await?;
        print::line(&format!("{name} {}", turn.word()))?;
    }
    Ok(())
}

/// The Deployments that are named; other kinds have no rollouts here.
fn deployments(cluster: &Cluster, words: &[String]) -> Result<Vec<Key>, CliError> {
    let mut keys = Vec::new();
    for target in resource::parse_named(words)? {
        if target.kind != Kind::Deployment {
            let plural = target.kind.info().plural;
            return Err(CliError::Usage(format!(
                "{plural} have no rollouts; name a deployment: deployment/NAME"
            )));
        }
        keys.extend(
            target
                .names
                .iter()
                .map(|n| Key::new(target.kind, &cluster.namespace, n)),
        );
    }
    Ok(keys)
}
