//! Three servers of Skiff under the fail-over benchmark.

use std::collections::BTreeSet;

use skiff_tests::cluster::{Cluster, items, text};

use super::group::{CONFIG_MAPS, Endpoint, Group};
use crate::servers;

/// Objects in one page of a list.
const PAGE: usize = 5000;

/// A cluster of three servers and no node.
pub(super) struct Servers(Cluster);

impl Servers {
    pub(super) fn start() -> Self {
        Self(Cluster::servers(3))
    }
}

impl Group for Servers {
    fn endpoints(&self) -> Vec<Endpoint> {
        (0..self.0.count())
            .map(|number| Endpoint::Skiff(self.0.identity_of(number)))
            .collect()
    }

    fn leader(&self) -> usize {
        self.0.leader()
    }

    fn kill(&mut self, server: usize) {
        self.0.process(server).kill();
    }

    fn bring_back(&mut self, server: usize) {
        servers::bring_back(&mut self.0, server);
    }

    fn stored(&self, server: usize) -> BTreeSet<String> {
        let api = self.0.api_of(server);
        let mut names = BTreeSet::new();
        let mut token = String::new();
        loop {
            let page = api.get(&format!("{CONFIG_MAPS}?limit={PAGE}&continue={token}"));
            names.extend(items(&page).map(|map| text(&map["metadata"]["name"])));
            token = text(&page["metadata"]["continue"]);
            if token.is_empty() {
                return names;
            }
        }
    }
}
