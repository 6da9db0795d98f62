//! Ties the node into the cluster's network: the bridge that its pods are on, the routes to other
//! nodes' pods, the packet rules, and the right to be forwarded.
//!
//! The servers give the node a range of addresses; everything here follows from that and from the
//! catalog. Each part goes on by itself and tells in [`NetworkState`] how it is. Pods wait for
//! nothing but the bridge, and those that a network policy selects for their rules.

mod bridge;
mod forward;
mod isolation;
mod rules;
pub(crate) mod settings;
mod state;
mod sysctl;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use skiff_api::Revision;
use skiff_client::Client;
use skiff_network::Catalog;
use skiff_network::routes::{self, Mac, Mode, Overlay, plan};
use skiff_network::rules::follow_policies;
use tokio::sync::{Notify, watch};

pub use isolation::{Enforcement, Isolation};
pub use settings::Settings;
pub use state::{NetworkState, Part};

use crate::runtime::Runtime;

/// The node's part of the network.
pub(crate) struct Network {
    /// The servers.
    pub(crate) client: Client,
    /// Where the bridge is made.
    pub(crate) runtime: Arc<dyn Runtime>,
    /// The node's name.
    pub(crate) node: Arc<str>,
    /// The node's address; without one no other node reaches it.
    pub(crate) address: Option<IpAddr>,
    /// How other nodes are reached.
    pub(crate) mode: Mode,
    /// The cluster's VXLAN network.
    pub(crate) overlay: Overlay,
    /// Nodes, services, endpoints.
    pub(crate) catalog: watch::Receiver<Arc<Catalog>>,
    /// Where it is told how the network is.
    pub(crate) state: watch::Sender<NetworkState>,
    /// Where it is told up to which revision the catalog is in effect on this node.
    pub(crate) applied: watch::Sender<Revision>,
    /// What becomes of network policies.
    pub(crate) enforcement: Enforcement,
    /// Woken when pods can start, or must move.
    pub(crate) wake: Arc<Notify>,
}

impl Network {
    /// Runs for as long as it is polled. What it has made stays: the pods do as well.
    pub(crate) async fn run(self) {
        let settings = settings::read(&self.client);
        // The bridge needs no settings, and pods wait for it.
        let rest = async {
            let settings = settings.await;
            let forward = forward::keep(&settings, &self.state);
            let Enforcement { own, policies, .. } = &self.enforcement;
            let following = follow_policies(self.client.clone(), own.clone(), policies);
            let rules = rules::keep(&self, &settings);
            tokio::join!(self.routes(&settings), rules, forward, following);
        };
        tokio::join!(bridge::keep(&self), rest);
    }

    async fn routes(&self, settings: &Settings) {
        let Some(address) = self.address else {
            let why = "the node has no address: start the agent with --node-ip";
            state::trouble(&self.state, Part::Routes, Some(why.to_owned()));
            return;
        };
        let keeper = routes::Keeper {
            me: plan::Me {
                name: Arc::clone(&self.node),
                address,
                mode: self.mode,
                overlay: self.overlay,
            },
            cluster: settings.pod_cidr,
        };
        let (told, mut seen) = watch::channel(routes::Seen::default());
        let tell = async {
            while seen.changed().await.is_ok() {
                let seen = seen.borrow_and_update().clone();
                state::trouble(&self.state, Part::Routes, words(&seen));
            }
        };
        tokio::join!(keeper.run(self.catalog.clone(), told), tell);
    }
}

/// What is wrong with the routes, if anything is.
fn words(seen: &routes::Seen) -> Option<String> {
    if let Some(error) = &seen.error {
        return Some(error.clone());
    }
    let all: Vec<String> = seen
        .unreachable
        .iter()
        .map(|(node, why)| format!("{node}: {why}"))
        .collect();
    (!all.is_empty()).then(|| format!("no way to the pods of {}", all.join("; ")))
}

/// What a node says of itself to others that send it packets: a value, or that there must be none.
#[must_use]
pub fn annotations(mode: Mode, address: Option<IpAddr>) -> BTreeMap<String, Option<String>> {
    let key = |name: &str| format!("{}{name}", skiff_network::catalog::ANNOTATION_PREFIX);
    // Direct routes only: nobody may send it anything else.
    let mac = address.filter(|_| mode != Mode::Direct).map(Mac::of);
    BTreeMap::from([
        (key(plan::MODE), Some(mode.word().to_owned())),
        (key(plan::VTEP), mac.map(|mac| mac.to_string())),
    ])
}
