//! A node's own pods, as its agent knows them: it has their addresses before the servers do, and
//! their rules must be there before anything of them runs. Pure.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use imbl::OrdMap;
use skiff_api::Labels;

use super::Policies;
use crate::catalog::{Protocol, ServiceKey};

/// A node's own pods that have an address, by uid.
pub type OwnPods = OrdMap<Arc<str>, Arc<OwnPod>>;

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPod {
    /// Its namespace and name.
    pub key: ServiceKey,
    /// Its labels.
    pub labels: Labels,
    /// The address that its sandbox has now.
    pub address: Ipv4Addr,
    /// The ports that its containers name.
    pub ports: Vec<(Arc<str>, Protocol, u16)>,
}

/// A pod with an address, whoever told of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) key: &'a ServiceKey,
    pub(super) labels: &'a Labels,
    pub(super) address: Ipv4Addr,
    pub(super) ports: &'a [(Arc<str>, Protocol, u16)],
    /// It is on the node that the rules are for.
    pub(super) here: bool,
}

impl Policies {
    /// Takes in the node's own pods in place of those from before.
    pub fn take_own(&mut self, own: OwnPods) {
        // They matter only while there is a policy, as all pods do.
        self.own = match self.is_empty() {
            true => OwnPods::new(),
            false => own,
        };
    }

    /// Whether all that there is has been heard of.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.known
    }

    /// Whether a policy restricts pods of these labels.
    #[must_use]
    pub fn restrict(&self, namespace: &str, labels: &Labels) -> bool {
        self.selecting(namespace, labels).next().is_some()
    }

    /// Whether the own pod is among those taken in, with that address.
    #[must_use]
    pub fn has_own(&self, uid: &str, address: Ipv4Addr) -> bool {
        self.own.get(uid).is_some_and(|pod| pod.address == address)
    }

    /// All pods that have an address. Of the node's own it counts what the agent says: what the
    /// servers heard of them may be old, and an address that they had somebody else's by now.
    pub(super) fn everyone(&self, node: &str) -> Vec<Seen<'_>> {
        let names: HashSet<&ServiceKey> = self.own.values().map(|pod| &pod.key).collect();
        let taken: HashSet<Ipv4Addr> = self.own.values().map(|pod| pod.address).collect();
        let own = self.own.values().map(|pod| Seen {
            key: &pod.key,
            labels: &pod.labels,
            address: pod.address,
            ports: &pod.ports,
            here: true,
        });
        let told = self.pods.iter().filter_map(|(key, pod)| {
            let (address, here) = (pod.address?, pod.node.as_deref() == Some(node));
            let old = here && (names.contains(key) || taken.contains(&address));
            (!old).then_some(Seen {
                key,
                labels: &pod.labels,
                address,
                ports: &pod.ports,
                here,
            })
        });
        own.chain(told).collect()
    }
}
