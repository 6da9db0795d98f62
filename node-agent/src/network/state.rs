//! How the node's network is: what pods wait for, and what the node's condition says.

use std::collections::BTreeMap;
use std::sync::Arc;

use skiff_network::catalog::Cidr;
use tokio::sync::watch;

use crate::runtime::NodeNetwork;
use crate::sight::Sights;

/// A part of the network that can be in trouble by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The network that pods are on.
    Bridge,
    /// Routes to other nodes' pods.
    Routes,
    /// The packet rules of services.
    Rules,
    /// The machine's readiness to forward packets.
    Forwarding,
}

/// How the network is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkState {
    /// The range that the servers gave this node. Pods with other addresses are moved.
    pub range: Option<Cidr>,
    /// The network, once pods can be on it.
    pub network: Option<NodeNetwork>,
    /// What is not as it should be.
    pub troubles: BTreeMap<Part, Arc<str>>,
}

impl NetworkState {
    /// Why no pod can start on the pod network yet; none if they can.
    #[must_use]
    pub fn blocked(&self) -> Option<String> {
        if self.network.is_some() {
            return None;
        }
        let trouble = self.troubles.get(&Part::Bridge).map(ToString::to_string);
        Some(trouble.unwrap_or_else(|| match self.range {
            None => "the servers have not yet given this node a range of addresses".to_owned(),
            Some(range) => format!("the pod network {range} is being made"),
        }))
    }

    /// The condition `NetworkUnavailable`: whether it holds, its reason and its message.
    #[must_use]
    pub fn unavailable(&self) -> (bool, &'static str, String) {
        if let Some(why) = self.blocked() {
            return (true, "PodNetworkMissing", why);
        }
        let all: Vec<&str> = self.troubles.values().map(|why| &**why).collect();
        let reason = match self.troubles.keys().next() {
            None => {
                let range = self.range.map(|range| range.to_string());
                let message = format!("pods get addresses of {}", range.unwrap_or_default());
                return (false, "PodNetworkReady", message);
            }
            Some(Part::Bridge) => "PodNetworkMissing",
            Some(Part::Routes) => "RoutesMissing",
            Some(Part::Rules) => "RulesMissing",
            Some(Part::Forwarding) => "ForwardingOff",
        };
        (true, reason, all.join("; "))
    }

    /// Takes sandboxes that are not in the node's range for dead: nobody can reach them, so their
    /// pods get new ones.
    pub fn condemn(&self, sights: &mut Sights) {
        let Some(range) = self.range else {
            return;
        };
        let made = self.network.is_some();
        let all = sights.values_mut().flat_map(|sight| &mut sight.sandboxes);
        for sandbox in all.filter(|sandbox| !sandbox.host_network) {
            let astray = match sandbox.ip {
                Some(ip) => !range.contains(ip),
                // Cut off when the network was replaced.
                None => made,
            };
            if sandbox.running && astray {
                sandbox.running = false;
            }
        }
    }
}

/// Notes what is wrong with a part, or that nothing is.
pub(super) fn trouble(state: &watch::Sender<NetworkState>, part: Part, why: Option<String>) {
    state.send_if_modified(|state| {
        let before = state.troubles.get(&part).cloned();
        if before.as_deref() == why.as_deref() {
            return false;
        }
        match why {
            Some(why) => _ = state.troubles.insert(part, why.into()),
            None => _ = state.troubles.remove(&part),
        }
        true
    });
}
