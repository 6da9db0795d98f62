//! The node's gateway, if it runs one: on threads of its own, with the agent's identity.

use std::sync::Arc;

use skiff_api::Revision;
use skiff_client::Client;
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

/// Lets requests in once the routes are known.
pub(super) fn start(
    gateway: Gateway,
    client: Client,
    catalog: watch::Receiver<Arc<Catalog>>,
) -> Running {
    let (applying, applied) = watch::channel(Revision(0));
    let stop = CancellationToken::new();
    let until = stop.clone();
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

impl Agent {
    /// What both the packet rules and the gateway have in effect.
    pub(super) fn both(
        &mut self,
        rules: watch::Receiver<Revision>,
        gateway: watch::Receiver<Revision>,
    ) -> watch::Receiver<Revision> {
        let (tell, both) = watch::channel(Revision(0));
        self.tasks.spawn(tell_least(rules, gateway, tell));
        both
    }
}

/// Tells what both have in effect for as long as it is polled. A gateway that has ended sends
/// nobody anywhere: the rules alone count from then on, or all pods of the cluster that stop would
/// wait for this node.
async fn tell_least(
    mut rules: watch::Receiver<Revision>,
    gateway: watch::Receiver<Revision>,
    tell: watch::Sender<Revision>,
) {
    let mut gateway = Some(gateway);
    loop {
        let of_rules = *rules.borrow_and_update();
        let of_gateway = gateway.as_mut().map(|gateway| *gateway.borrow_and_update());
        let least = of_gateway.map_or(of_rules, |revision| of_rules.min(revision));
        tell.send_if_modified(|told| std::mem::replace(told, least) != least);
        let gateway_changed = async {
            match &mut gateway {
                Some(gateway) => gateway.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let is_there = tokio::select! {
            changed = rules.changed() => {
                if changed.is_err() {
                    // The agent is ending.
                    std::future::pending::<()>().await;
                }
                true
            }
            is_there = gateway_changed => is_there,
        };
        if !is_there {
            gateway = None;
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn what_is_in_effect_is_the_lesser_of_both_until_the_gateway_is_gone() {
        let (rules, of_rules) = watch::channel(Revision(0));
        let (gateway, of_gateway) = watch::channel(Revision(0));
        let (tell, mut told) = watch::channel(Revision(0));
        let task = tokio::spawn(tell_least(of_rules, of_gateway, tell));
        let mut gateway = Some(gateway);
        let cases = [
            ("both have the same", 3, Some(3), 3),
            ("the gateway is behind", 9, Some(5), 5),
            ("the rules are behind", 9, Some(12), 9),
            ("the gateway is behind again", 20, Some(12), 12),
            ("the gateway has ended", 20, None, 20),
            ("the rules go on without it", 21, None, 21),
        ];
        for (name, of_rules, of_gateway, expected) in cases {
            rules.send_replace(Revision(of_rules));
            match (of_gateway, &gateway) {
                (Some(revision), Some(gateway)) => {
                    gateway.send_replace(Revision(revision));
                }
                (_, _) => gateway = None,
            }
            let waited = told.wait_for(|told| *told == Revision(expected));
            let waited = tokio::time::timeout(SOON, waited).await;
            assert!(waited.is_ok_and(|told| told.is_ok()), "{name}");
        }
        task.abort();
    }
}
