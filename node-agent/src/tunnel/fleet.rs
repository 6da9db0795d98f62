//! One reverse connection to every server: begun and ended as the list of servers changes. Each
//! has its own task, so that a server that answers nothing holds up no other.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use skiff_client::Server;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::Tunnel;
use crate::directory::Known;

impl Tunnel {
    /// Keeps the connections for as long as it is polled; returns if one of the tasks breaks.
    pub async fn keep_all(self: Arc<Self>, mut known: watch::Receiver<Arc<Known>>) {
        let mut connected = self.connected.subscribe();
        let mut tasks = JoinSet::new();
        let mut kept: BTreeMap<Server, AbortHandle> = BTreeMap::new();
        loop {
            let wanted = {
                let connected = connected.borrow_and_update();
                known.borrow_and_update().wanted(&connected)
            };
            kept.retain(|server, task| {
                let stays = wanted.contains(server);
                if !stays {
                    tracing::info!(%server, "no longer needed: closing the connection");
                    task.abort();
                }
                stays
            });
            for server in wanted {
                kept.entry(server.clone())
                    .or_insert_with(|| tasks.spawn(Arc::clone(&self).keep(server)));
            }
            tokio::select! {
                changed = known.changed() => if changed.is_err() { return },
                changed = connected.changed() => if changed.is_err() { return },
                Some(ended) = tasks.join_next() => match ended {
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => {
                        tracing::error!(%error, "a connection's task broke");
                        return;
                    }
                    Ok(()) => return,
                },
            }
        }
    }
}
