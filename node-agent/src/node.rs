//! The node's own object: registered at the start, again if somebody deletes it, and kept true.
//! Heartbeats are not here: they ride on the tunnel and never touch the log.

mod address;
mod conditions;
mod facts;
mod object;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use skiff_api::{Key, Kind, Reason, Subresource};
use skiff_client::{Client, ClientError, ListOptions, Patch, Server, Watcher, WriteOptions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use address::{address, other_address};
pub use conditions::Health;
pub use facts::{Facts, Pressure};
pub use object::{changes, object, status};

use crate::chain::Chain;
use crate::identity::wall_clock;
use crate::network::NetworkState;
use crate::reconcile::EngineState;
use crate::servers::MANAGER;

/// The object is compared with the truth at least this often, whatever the watch says.
const RESYNC: Duration = Duration::from_secs(60);

/// The wait after the object could not be written.
const RETRY: Duration = Duration::from_secs(2);

/// Keeps the node's object.
pub struct NodeKeeper {
    /// The servers.
    pub client: Client,
    /// What the object says.
    pub facts: Facts,
    /// How the engine is.
    pub engine: watch::Receiver<EngineState>,
    /// How the pod network is.
    pub network: watch::Receiver<NetworkState>,
}

impl NodeKeeper {
    /// Runs until it is told to stop. A server that is reached again makes it look at once: after
    /// a time of silence the servers may have written things that are no longer true.
    pub async fn run(
        mut self,
        mut connected: watch::Receiver<BTreeSet<Server>>,
        stop: CancellationToken,
    ) {
        let options = ListOptions::field(format!("metadata.name={}", self.facts.name));
        let mut watcher = Watcher::new(self.client.clone(), Kind::Node, None, options);
        let mut reached = connected.borrow_and_update().clone();
        let mut failing = false;
        loop {
            let passed = self.pass().await;
            let wait = if passed.is_ok() { RESYNC } else { RETRY };
            match passed {
                Ok(()) => failing = false,
                Err(error) if failing => {
                    tracing::debug!(error = %Chain(&error), "still cannot write the node's object");
                }
                Err(error) => {
                    failing = true;
                    tracing::warn!(error = %Chain(&error), "cannot write the node's object; will retry");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = another(&mut connected, &mut reached) => if changed.is_err() { return },
                event = watcher.next() => if let Err(error) = event {
                    tracing::debug!(error = %Chain(&error), "cannot follow the node's object");
                },
                changed = self.engine.changed() => if changed.is_err() { return },
                changed = self.network.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Brings the object to what it should be.
    ///
    /// # Errors
    /// The servers' word; a part may have been written.
    pub async fn pass(&mut self) -> Result<(), ClientError> {
        let key = Key::cluster(Kind::Node, &self.facts.name);
        let options = WriteOptions::by(MANAGER);
        let found: Value = match self.client.get_opt(&key).await? {
            Some(found) => found,
            None => match self
                .client
                .create(Kind::Node, None, &object(&self.facts), &options)
                .await
            {
                Ok(created) => {
                    tracing::info!(node = self.facts.name, "node registered");
                    created
                }
                Err(error) if error.is(Reason::AlreadyExists) => self.client.get(&key).await?,
                Err(error) => return Err(error),
            },
        };
        if let Some(patch) = changes(&self.facts, &found) {
            let patch = Patch::Merge(patch);
            self.client
                .patch::<Value>(&key, None, &patch, &options)
                .await?;
        }
        let health = Health {
            engine: self.engine.borrow_and_update().clone(),
            network: self.network.borrow_and_update().clone(),
            pressure: self.facts.pressure(),
        };
        if let Some(patch) = status(&self.facts, &health, &found, wall_clock()) {
            let (patch, status) = (Patch::Merge(patch), Some(Subresource::Status));
            self.client
                .patch::<Value>(&key, status, &patch, &options)
                .await?;
        }
        Ok(())
    }
}

/// Waits until a server is connected that was not. Cancel-safe.
async fn another(
    connected: &mut watch::Receiver<BTreeSet<Server>>,
    before: &mut BTreeSet<Server>,
) -> Result<(), watch::error::RecvError> {
    loop {
        connected.changed().await?;
        let now = connected.borrow_and_update().clone();
        let is_more = !now.is_subset(before);
        *before = now;
        if is_more {
            return Ok(());
        }
    }
}
