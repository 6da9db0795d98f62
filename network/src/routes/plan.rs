//! Which routes there should be. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Link, Mac, Mode, Overlay, link_of, overhead};
use crate::catalog::{Catalog, Cidr, Node};

/// The annotation that says how a node takes packets for its pods, without the common prefix.
pub const MODE: &str = "mode";

/// The annotation with the Ethernet address of a node's VXLAN device, without the common prefix.
pub const VTEP: &str = "vtep";

/// This node, as routes are seen from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// Its name.
    pub name: Arc<str>,
    /// Its address.
    pub address: IpAddr,
    /// How it was told to reach others.
    pub mode: Mode,
    /// The cluster's VXLAN network.
    pub overlay: Overlay,
}

/// What the kernel should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The way to each range of another node.
    pub routes: BTreeMap<Cidr, Hop>,
    /// The VXLAN device, if any route needs it.
    pub device: Option<Device>,
    /// At the device: who is at which address on it.
    pub neighbours: BTreeSet<(IpAddr, Mac)>,
    /// At the device: behind which machine somebody is.
    pub forwarding: BTreeSet<(Mac, IpAddr)>,
    /// Nodes that can't be reached, and why.
    pub unreachable: BTreeMap<Arc<str>, String>,
}

/// The next step towards a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hop {
    /// A router on a link.
    Direct {
        /// The link.
        link: u32,
        /// The router's address: the other node's own.
        gateway: IpAddr,
    },
    /// A neighbour on the VXLAN device.
    Tunnel {
        /// Its address there.
        gateway: IpAddr,
    },
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct { link, gateway } => write!(f, "via {gateway} on link {link}"),
            Self::Tunnel { gateway } => write!(f, "via {gateway} by VXLAN"),
        }
    }
}

/// A VXLAN device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// The network's number.
    pub vni: u32,
    /// The machine's address, from which packets are sent.
    pub local: IpAddr,
    /// Its Ethernet address.
    pub mac: Mac,
    /// What it carries, in bytes.
    pub mtu: u32,
    /// The address from which the machine itself speaks through it. It lies in a range of this
    /// machine's, so answers come back the same way.
    pub address: IpAddr,
}

/// Decides the way to every other node's pods.
///
/// Both ends must choose the same way: a packet that comes by another way than the answer would
/// go is dropped by a careful kernel. So what the other node says of itself counts as much as what
/// this one was told.
#[must_use]
pub fn plan(catalog: &Catalog, me: &Me, links: &[Link]) -> Plan {
    let mut plan = Plan::default();
    for node in catalog.nodes() {
        let (Some(address), Some(range)) = (node.address, node.pod_cidr) else {
            continue;
        };
        // Nodes on this very machine are reached by their bridges.
        if node.name == me.name || link_of(links, address).is_some() || address == me.address {
            continue;
        }
        match way(node, address, me, links) {
            Ok(Way::Direct { link }) => {
                let gateway = address;
                plan.routes.insert(range, Hop::Direct { link, gateway });
            }
            Ok(Way::Tunnel { mac }) => {
                // The first address of the range: no pod ever has it.
                let gateway = range.address;
                plan.routes.insert(range, Hop::Tunnel { gateway });
                plan.neighbours.insert((gateway, mac));
                plan.forwarding.insert((mac, address));
            }
            Err(why) => {
                plan.unreachable.insert(Arc::clone(&node.name), why);
            }
        }
    }
    if !plan.neighbours.is_empty() {
        plan.device = device(catalog, me, links);
    }
    plan
}

enum Way {
    Direct { link: u32 },
    Tunnel { mac: Mac },
}

fn way(node: &Node, address: IpAddr, me: &Me, links: &[Link]) -> Result<Way, String> {
    let shared = shared_link(address, me, links);
    let theirs = mode_of(node);
    let wants_tunnel = me.mode == Mode::Vxlan || theirs == Mode::Vxlan;
    if let (Some(link), false) = (shared, wants_tunnel) {
        return Ok(Way::Direct { link });
    }
    let refusing = match (me.mode, theirs) {
        (Mode::Direct, _) => Some(&*me.name),
        (_, Mode::Direct) => Some(&*node.name),
        (Mode::Auto | Mode::Vxlan, Mode::Auto | Mode::Vxlan) => None,
    };
    if let Some(refusing) = refusing {
        return Err(match shared {
            Some(_) => format!("{refusing} takes direct routes only, the other end VXLAN only"),
            None => format!("{address} is on no link of this node, and {refusing} does no VXLAN"),
        });
    }
    let mac = annotation(node, VTEP).and_then(|text| text.parse().ok());
    mac.map(|mac| Way::Tunnel { mac })
        .ok_or_else(|| "it has not yet said how it is reached by VXLAN".to_owned())
}

/// The link that both nodes are on.
fn shared_link(address: IpAddr, me: &Me, links: &[Link]) -> Option<u32> {
    let link = link_of(links, me.address).filter(|link| !link.is_loopback)?;
    let reaches = link
        .addresses
        .iter()
        .any(|(own, range)| *own == me.address && range.contains(address));
    reaches.then_some(link.index)
}

fn device(catalog: &Catalog, me: &Me, links: &[Link]) -> Option<Device> {
    // Agents that share this machine must agree: the first of their ranges it is.
    let mut here = catalog.nodes().filter(|node| {
        node.pod_cidr.is_some() && (node.address == Some(me.address) || node.name == me.name)
    });
    let range = here.next().and_then(|node| node.pod_cidr)?;
    let mtu = link_of(links, me.address).map_or(super::MTU_DEFAULT, |link| link.mtu);
    Some(Device {
        name: me.overlay.device(),
        vni: me.overlay.vni,
        local: me.address,
        mac: Mac::of(me.address),
        mtu: mtu.saturating_sub(overhead(Some(me.address))),
        address: range.address,
    })
}

fn mode_of(node: &Node) -> Mode {
    annotation(node, MODE)
        .and_then(|word| word.parse().ok())
        .unwrap_or_default()
}

fn annotation<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    let mut all = node.annotations.iter();
    all.find(|(key, _)| &**key == name)
        .map(|(_, value)| &**value)
}
