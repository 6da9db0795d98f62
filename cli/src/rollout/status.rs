//! `skiff rollout status`: follows a rollout; says which pod holds it up.

use serde_json::Value;
use skiff_api::{Key, Kind};
use tokio::time::{Instant, sleep};

use super::state::{self, State};
use super::{LOOK_INTERVAL, blocking, deployments};
use crate::args::StatusArgs;
use crate::connect::Cluster;
use crate::error::{CliError, EXIT_TIMEOUT};
use crate::print;

pub(super) async fn run(cluster: &Cluster, args: &StatusArgs) -> Result<(), CliError> {
    let deadline = (!args.timeout.is_zero()).then(|| Instant::now() + args.timeout);
    for key in deployments(cluster, &args.target.resources)? {
        follow(cluster, &key, args.watch, deadline).await?;
    }
    Ok(())
}

async fn follow(
    cluster: &Cluster,
    key: &Key,
    watch: bool,
    deadline: Option<Instant>,
) -> Result<(), CliError> {
    let mut told = String::new();
    loop {
        let deployment: Value = cluster.client.get(key).await?;
        let waiting = match state::deployment(&deployment) {
            State::Done(text) => return print::line(&text),
            State::Failed(why) => {
                let cause = cause(cluster, &deployment).await?;
                return Err(CliError::Failed(format!("{why}{cause}")));
            }
            State::Waiting(text) => text,
        };
        let text = format!("{waiting}{}", cause(cluster, &deployment).await?);
        if text != told {
            print::line(&text)?;
            told = text;
        }
        if !watch {
            return Ok(());
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let message = format!("timed out waiting for deployment {:?}: {told}", key.name);
            return Err(CliError::Timeout {
                message,
                code: EXIT_TIMEOUT,
            });
        }
        sleep(LOOK_INTERVAL).await;
    }
}

async fn cause(cluster: &Cluster, deployment: &Value) -> Result<String, CliError> {
    let first = blocking::first(cluster, Kind::Deployment, deployment).await?;
    Ok(first
        .map(|blocker| format!(" ({blocker})"))
        .unwrap_or_default())
}
