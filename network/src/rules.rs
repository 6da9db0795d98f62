//! The packet rules of a node: services translated to their endpoints, connections to nothing
//! refused at once, policies, and the masquerade of what leaves the cluster. One nftables table for
//! each node agent, and nothing outside of it is touched.
//!
//! | module | what |
//! |---|---|
//! | `table` | pure: what the table should hold, and the smallest change between two of them |
//! | `services` | pure: what one service puts into the table |
//! | `base` | pure: what is always in the table |
//! | `text` | pure: nftables' words for a table or a change |
//! | `policies` | what is known of network policies, and pure: what they put into the table |
//! | `keeper` | keeps the kernel's table like the one wanted |
//! | `nft` | runs the program `nft` |
//! | `ports` | lets pods reach themselves through the bridge |
//! | `events` | notices when somebody else changed the table |
//! | `conntrack` | has the kernel forget where it led UDP clients of endpoints that left |
//! | `netlink` | the kernel's own messages, for those three |
//!
//! Several agents may share a network namespace, each with a table of its own for the same
//! services. Whichever is asked first must be right: so nothing is dropped where packets are
//! translated, only afterwards, when no table has translated them; and what depends on the node
//! is decided for packets from this node's own bridge, or from outside, alone.

mod base;
mod conntrack;
mod events;
mod keeper;
mod netlink;
mod nft;
mod policies;
mod ports;
mod services;
mod table;
#[cfg(test)]
mod tests;
mod text;

use std::net::IpAddr;
use std::sync::Arc;

use crate::catalog::{Catalog, Cidr};

pub use self::keeper::{Keeper, remove};
pub use self::nft::Failed;
pub use self::policies::{OwnPod, OwnPods, Policies, follow_policies};
pub use self::table::{Change, Table, diff};
pub use self::text::{transaction, whole};

/// What the rules must know of the node that they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// The node's name.
    pub name: Arc<str>,
    /// What its table is called after `skiff-`: other clusters on this machine may have a node of
    /// the same name.
    pub table: Arc<str>,
    /// The network interface that its pods are behind.
    pub bridge: Arc<str>,
    /// Where its pods' addresses come from.
    pub pod_cidr: Cidr,
    /// Where all pods' addresses come from.
    pub cluster_cidr: Cidr,
    /// Where services' addresses come from.
    pub service_cidr: Cidr,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether packets between two pods of the bridge escape the rules (no `br_netfilter`): then a
    /// service's client on the same bridge is masqueraded, or it would not know the answers.
    pub same_bridge_masquerade: bool,
}

/// What a node's table should hold.
#[must_use]
pub fn table(catalog: &Catalog, node: &NodeView, policies: &Policies) -> Table {
    let mut table = Table::new(node.clone());
    for service in catalog.services() {
        table.put_service(catalog, &service.key);
    }
    table.put_policies(policies);
    table
}
