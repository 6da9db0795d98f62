//! What to change in the kernel. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::Mac;
use super::plan::{Device, Hop, Plan};
use crate::catalog::Cidr;

/// What of ours the kernel has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Our routes.
    pub routes: BTreeMap<Cidr, Hop>,
    /// The device, as far as it is one that we would make; a field that differs makes it another.
    pub device: Option<Device>,
    /// A device of that name is there, whatever it is.
    pub has_device: bool,
    /// Who is at which address on the device.
    pub neighbours: BTreeSet<(IpAddr, Mac)>,
    /// Behind which machine somebody is.
    pub forwarding: BTreeSet<(Mac, IpAddr)>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Takes a route away.
    RemoveRoute(Cidr, Hop),
    /// Takes the device away, and with it all that hangs on it.
    RemoveDevice,
    /// Makes the device.
    MakeDevice(Device),
    /// Forgets a neighbour on the device.
    RemoveNeighbour(IpAddr, Mac),
    /// Forgets behind which machine somebody is.
    RemoveForwarding(Mac, IpAddr),
    /// Notes behind which machine somebody is.
    AddForwarding(Mac, IpAddr),
    /// Notes who is at an address on the device.
    SetNeighbour(IpAddr, Mac),
    /// Makes a route. Where somebody else has one, it stays theirs: the kernel refuses.
    AddRoute(Cidr, Hop),
}

/// For people who read the log, much as `ip` and `bridge` write it.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemoveRoute(range, hop) => write!(f, "remove the route {range} {hop}"),
            Self::RemoveDevice => f.write_str("remove the VXLAN device"),
            Self::MakeDevice(device) => write!(f, "make the VXLAN device {}", device.name),
            Self::RemoveNeighbour(at, mac) => write!(f, "remove the neighbour {at} {mac}"),
            Self::RemoveForwarding(mac, to) => write!(f, "remove the forwarding {mac} to {to}"),
            Self::AddForwarding(mac, to) => write!(f, "add the forwarding {mac} to {to}"),
            Self::SetNeighbour(at, mac) => write!(f, "set the neighbour {at} {mac}"),
            Self::AddRoute(range, hop) => write!(f, "add the route {range} {hop}"),
        }
    }
}

/// The changes that make what is there what is planned, in an order in which each is possible.
#[must_use]
pub fn diff(plan: &Plan, observed: &Observed) -> Vec<Change> {
    let mut changes = Vec::new();
    let keeps_device = observed.device.is_some() && observed.device == plan.device;
    let stale = observed
        .routes
        .iter()
        .filter(|(range, hop)| plan.routes.get(range) != Some(hop));
    changes.extend(stale.map(|(range, hop)| Change::RemoveRoute(*range, *hop)));
    if observed.has_device && !keeps_device {
        changes.push(Change::RemoveDevice);
    }
    if !keeps_device {
        changes.extend(plan.device.clone().map(Change::MakeDevice));
    }
    // With the device goes all that hangs on it.
    let nothing = Observed::default();
    let left = if keeps_device { observed } else { &nothing };
    let gone = left.neighbours.difference(&plan.neighbours);
    // An address that somebody else has now is set anew below.
    let gone = gone.filter(|(at, _)| !plan.neighbours.iter().any(|(new, _)| new == at));
    changes.extend(gone.map(|(at, mac)| Change::RemoveNeighbour(*at, *mac)));
    let gone = left.forwarding.difference(&plan.forwarding);
    changes.extend(gone.map(|(mac, to)| Change::RemoveForwarding(*mac, *to)));
    let new = plan.forwarding.difference(&left.forwarding);
    changes.extend(new.map(|(mac, to)| Change::AddForwarding(*mac, *to)));
    let new = plan.neighbours.difference(&left.neighbours);
    changes.extend(new.map(|(at, mac)| Change::SetNeighbour(*at, *mac)));
    let is_there = |range: &Cidr, hop: &Hop| {
        let survives = keeps_device || matches!(hop, Hop::Direct { .. });
        survives && observed.routes.get(range) == Some(hop)
    };
    let new = plan
        .routes
        .iter()
        .filter(|(range, hop)| !is_there(range, hop));
    changes.extend(new.map(|(range, hop)| Change::AddRoute(*range, *hop)));
    changes
}
