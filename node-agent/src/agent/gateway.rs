//! The node's gateway, if it runs one: on threads of its own, with the agent's identity.

use std::sync::Arc;

use skiff_api::Revision;
use skiff_gateway::Gateway;
use skiff_network::Catalog;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::AgentError;
use super::tasks::Agent;
use crate::chain::Chain;
use crate::config::AgentConfig;

/// A gateway that runs.
pub(super) struct Running {
    /// The revision whose endpoints it uses.
    pub(super) applied: watch::Receiver<Revision>,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

/// Opens the doors of the gateway that is wanted.
pub(super) async fn open(config: &AgentConfig) -> Result<Option<Gateway>, AgentError> {
    let Some(wanted) = &config.gateway else {
        return Ok(None);
    };
    let opened = Gateway::open(wanted.clone()).await;
    Ok(Some(opened.map_err(AgentError::Gateway)?))
}

impl Agent {
    /// Lets requests in once the routes are known.
    pub(super) fn start_gateway(
        &self,
        gateway: Gateway,
        catalog: watch::Receiver<Arc<Catalog>>,
    ) -> Running {
        let (applying, applied) = watch::channel(Revision(0));
        let stop = CancellationToken::new();
        let (client, until) = (self.client.clone(), stop.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = gateway.run(client, catalog, applying, until).await {
                tracing::error!(error = %Chain(&error), "the gateway ended");
            }
        });
        Running {
            applied,
            task,
            stop,
        }
    }

    /// What both the packet rules and the gateway have in effect.
    pub(super) fn both(
        &mut self,
        mut rules: watch::Receiver<Revision>,
        mut gateway: watch::Receiver<Revision>,
    ) -> watch::Receiver<Revision> {
        let (tell, both) = watch::channel(Revision(0));
        self.tasks.spawn(async move {
            loop {
                let least = (*rules.borrow_and_update()).min(*gateway.borrow_and_update());
                tell.send_if_modified(|told| std::mem::replace(told, least) != least);
                let changed = tokio::select! {
                    changed = rules.changed() => changed,
                    changed = gateway.changed() => changed,
                };
                if changed.is_err() {
                    // The agent is ending.
                    std::future::pending::<()>().await;
                }
            }
        });
        both
    }
}

impl Running {
    /// Ends it; requests under way get their time.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the gateway failed");
        }
    }
}
