//! Which nodes send to the endpoints that there were at a revision, as their heartbeats say.

use skiff_api::Revision;
use tokio::sync::watch;

use super::{ALIVE, Nodes};

impl Nodes {
    /// The live nodes whose packet rules do not follow the endpoints up to a revision yet. Nodes
    /// that never had any are not among them.
    #[must_use]
    pub fn lagging(&self, revision: Revision) -> Vec<String> {
        let agents = self.lock();
        let lagging = agents.iter().filter(|(_, agent)| {
            let behind = agent.applied.is_some_and(|applied| applied < revision);
            behind && agent.heard.elapsed() < ALIVE
        });
        lagging.map(|(node, _)| node.clone()).collect()
    }

    /// Changes whenever a node follows newer endpoints.
    #[must_use]
    pub fn applied_news(&self) -> watch::Receiver<()> {
        self.0.applied.subscribe()
    }
}
