//! The network policies of the cluster, the pods that they are about, and namespaces' labels: an
//! immutable view, cheap to clone.

mod follow;
mod own;
mod pieces;
mod read;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::sync::Arc;

use imbl::OrdMap;
use skiff_api::{LabelSelector, Labels};

use crate::catalog::{Cidr, Protocol, ServiceKey};

pub use self::follow::follow_policies;
pub use self::own::{OwnPod, OwnPods};
pub(super) use self::pieces::pieces;

/// Everything that the policies' rules follow from.
#[derive(Clone, Debug, PartialEq)]
pub struct Policies {
    /// By namespace and name.
    policies: OrdMap<ServiceKey, Arc<Policy>>,
    /// By namespace and name; none while there is no policy.
    pods: OrdMap<ServiceKey, Arc<Pod>>,
    /// Namespaces' labels; none while there is no policy.
    namespaces: OrdMap<Arc<str>, Arc<Labels>>,
    /// The node's own pods; none while there is no policy.
    own: OwnPods,
    /// Whether all that there is has been heard of.
    pub(super) known: bool,
}

/// Nobody is restricted, and that is certain.
impl Default for Policies {
    fn default() -> Self {
        Self {
            policies: OrdMap::new(),
            pods: OrdMap::new(),
            namespaces: OrdMap::new(),
            own: OwnPods::new(),
            known: true,
        }
    }
}

impl Policies {
    /// The policies that restrict pods of these labels.
    fn selecting<'a>(
        &'a self,
        namespace: &'a str,
        labels: &'a Labels,
    ) -> impl Iterator<Item = (&'a ServiceKey, &'a Policy)> {
        let first = ServiceKey::new(namespace, "");
        self.policies
            .range(first..)
            .take_while(move |(key, _)| &*key.namespace == namespace)
            .filter(|(_, policy)| policy.selects.matches(labels))
            .map(|(key, policy)| (key, &**policy))
    }
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Policy {
    /// Which pods of its namespace it restricts.
    selects: LabelSelector,
    /// What may come in, if it is about that.
    ingress: Option<Vec<Rule>>,
    /// What may go out, if it is about that.
    egress: Option<Vec<Rule>>,
}

/// What may pass: from or to these peers, by these ports.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// Nothing: anybody.
    peers: Option<Vec<Peer>>,
    /// None: any port and any protocol.
    ports: Vec<Ports>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Peer {
    /// Pods of the policy's own namespace, or of namespaces with these labels.
    Pods {
        namespaces: Option<LabelSelector>,
        pods: LabelSelector,
    },
    /// Addresses, but not those.
    Block { range: Cidr, except: Vec<Cidr> },
}

/// Some ports of one protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ports {
    All(Protocol),
    Range(Protocol, u16, u16),
    /// The port that the receiving pod's containers call so.
    Named(Protocol, Arc<str>),
}

/// A pod with an address of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pod {
    labels: Labels,
    address: Option<Ipv4Addr>,
    node: Option<Arc<str>>,
    /// The ports that its containers name.
    ports: Vec<(Arc<str>, Protocol, u16)>,
}
