//! Routes to other nodes' pods: straight to the node where both are on one link, else through a
//! VXLAN device.
//!
//! [`plan`](plan::plan) decides from the nodes and the links of this machine, [`diff`](diff::diff)
//! compares with what the kernel has, [`Kernel`] does it by netlink. Only what is ours is touched:
//! routes that carry [`PROTOCOL`] and lead into the cluster's range, and one device, named after
//! the cluster. Agents that share a machine plan the same, so they do not disturb each other.

pub mod diff;
mod keep;
mod netlink;
pub mod plan;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

pub use keep::{Keeper, Seen};
pub use netlink::{Kernel, KernelError, Step as KernelStep};

use crate::catalog::Cidr;

/// Marks our routes, as `ip route` shows it: `proto 91`. Among the numbers that nobody has claimed
/// in iproute2's `rt_protos`.
pub const PROTOCOL: u8 = 0x5b;

/// The UDP port of VXLAN packets: the kernel's own default, and Flannel's. Not 4789, which Docker
/// Swarm takes for its overlay networks.
pub const VXLAN_PORT: u16 = 8472;

/// What VXLAN puts around a packet, in bytes: IPv4 20, UDP 8, VXLAN 8, Ethernet 14.
const OVERHEAD_V4: u32 = 50;

/// The same in IPv6, whose header has 40.
const OVERHEAD_V6: u32 = 70;

/// What pods' links carry where the node's own link is not known: Ethernet's.
pub const MTU_DEFAULT: u32 = 1500;

/// How packets get to other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Straight to nodes on the same link, through VXLAN to all others.
    #[default]
    Auto,
    /// Straight to the node; those on other links can't be reached.
    Direct,
    /// Through VXLAN to all nodes.
    Vxlan,
}

impl Mode {
    /// As flags and annotations write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Direct => "direct",
            Self::Vxlan => "vxlan",
        }
    }

    /// The largest packet that pods may send, where the node's own link carries `link` bytes.
    ///
    /// With `auto` that is the link's own: to nodes behind VXLAN the kernel tells senders of the
    /// smaller size, as any router does.
    #[must_use]
    pub fn mtu(self, link: u32, address: Option<IpAddr>) -> u32 {
        match self {
            Self::Auto | Self::Direct => link,
            Self::Vxlan => link.saturating_sub(overhead(address)),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a text is no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no way to reach other nodes; expected auto, direct or vxlan")]
pub struct NotMode(String);

impl FromStr for Mode {
    type Err = NotMode;

    fn from_str(text: &str) -> Result<Self, NotMode> {
        let all = [Self::Auto, Self::Direct, Self::Vxlan];
        let found = all.into_iter().find(|mode| mode.word() == text);
        found.ok_or_else(|| NotMode(text.to_owned()))
    }
}

fn overhead(address: Option<IpAddr>) -> u32 {
    match address {
        Some(IpAddr::V6(_)) => OVERHEAD_V6,
        Some(IpAddr::V4(_)) | None => OVERHEAD_V4,
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address of the VXLAN device of a node with that address: locally administered, so it is
    /// nobody's hardware, and the same after every start.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        let [a, b, c, d] = match address {
            IpAddr::V4(v4) => v4.octets(),
            // The half of the address that tells the machines of a network apart, folded.
            IpAddr::V6(v6) => {
                let [.., e, f, g, h, i, j, k, l] = v6.octets();
                [e ^ i, f ^ j, g ^ k, h ^ l]
            }
        };
        Self([0x0a, 0x5b, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([a, b, c, d, e, g]) = self;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Why a text is no Ethernet address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no Ethernet address")]
pub struct NotMac(String);

impl FromStr for Mac {
    type Err = NotMac;

    fn from_str(text: &str) -> Result<Self, NotMac> {
        let refuse = || NotMac(text.to_owned());
        let octets = text.split(':').map(|part| u8::from_str_radix(part, 16));
        let octets: Vec<u8> = octets.collect::<Result<_, _>>().map_err(|_| refuse())?;
        octets.try_into().map(Self).map_err(|_| refuse())
    }
}

/// A cluster's VXLAN network: two clusters may meet on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Its number, 24 bits, not 0.
    pub vni: u32,
}

impl Overlay {
    /// The network of the cluster with that name, `skiff-a1b2c3`: its digits are the number.
    #[must_use]
    pub fn of(instance: &str) -> Self {
        let digits = instance.rsplit('-').next().unwrap_or_default();
        let vni = u32::from_str_radix(digits, 16).unwrap_or(0) & 0x00ff_ffff;
        Self { vni: vni.max(1) }
    }

    /// The device's name: at most 15 letters.
    #[must_use]
    pub fn device(self) -> String {
        format!("skvx{:06x}", self.vni)
    }
}

/// One of this machine's links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number of it.
    pub index: u32,
    /// The largest packet that it carries, in bytes.
    pub mtu: u32,
    /// Whether it only leads to this very machine.
    pub is_loopback: bool,
    /// The addresses on it, each with the range that is reached there without a router.
    pub addresses: Vec<(IpAddr, Cidr)>,
}

/// The link that carries an address.
#[must_use]
pub fn link_of(links: &[Link], address: IpAddr) -> Option<&Link> {
    let carries = |link: &&Link| link.addresses.iter().any(|(own, _)| *own == address);
    links.iter().find(carries)
}

/// What pods' links may carry on a machine with that address.
#[must_use]
pub fn pods_mtu(links: &[Link], address: Option<IpAddr>, mode: Mode) -> u32 {
    let link = address.and_then(|address| link_of(links, address));
    // The loopback's 64 KiB are true only inside the machine.
    let own = link.filter(|link| !link.is_loopback).map(|link| link.mtu);
    mode.mtu(own.unwrap_or(MTU_DEFAULT), address)
}
