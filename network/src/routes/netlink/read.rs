//! The kernel's messages in our words. Pure. What is not as we make it reads as nothing.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel knows many more attributes than we look at, and learns new ones"
)]

use std::net::IpAddr;

use rtnetlink::packet_route::address::AddressAttribute;
pub(super) use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::{
    InfoData, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol,
};

use crate::catalog::Cidr;
use crate::routes::plan::{Device, Hop};
use crate::routes::{Link, Mac, PROTOCOL, VXLAN_PORT};

pub(super) fn name(link: &LinkMessage) -> Option<&str> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.as_str()),
            _ => None,
        })
}

fn mtu(link: &LinkMessage) -> Option<u32> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        })
}

pub(super) fn links(links: &[LinkMessage], addresses: &[AddressMessage]) -> Vec<Link> {
    let links = links.iter().map(|link| {
        let index = link.header.index;
        let here = addresses.iter().filter(|one| one.header.index == index);
        Link {
            index,
            mtu: mtu(link).unwrap_or(crate::routes::MTU_DEFAULT),
            is_loopback: link.header.flags.contains(LinkFlags::Loopback),
            addresses: here.filter_map(address).collect(),
        }
    });
    links.collect()
}

/// An address of a link, and the range that is reached there.
fn address(message: &AddressMessage) -> Option<(IpAddr, Cidr)> {
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| {
        message.attributes.iter().find_map(wanted)
    };
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    // On a link between two, this is the other end.
    let peer = find(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    let range = Cidr::new(peer.or(local)?, message.header.prefix_len);
    Some((local.or(peer)?, range))
}

/// A link as the VXLAN device that we make; none if it differs in anything that matters.
pub(super) fn device(link: &LinkMessage, addresses: &[AddressMessage]) -> Option<Device> {
    let infos = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => Some(infos),
            _ => None,
        })?;
    let vxlan = infos.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(vxlan)) => Some(vxlan),
        _ => None,
    })?;
    let (mut vni, mut local, mut port, mut learns) = (None, None, None, true);
    for info in vxlan {
        match info {
            InfoVxlan::Id(id) => vni = Some(*id),
            InfoVxlan::Local(v4) => local = Some(IpAddr::V4(*v4)),
            InfoVxlan::Local6(v6) => local = Some(IpAddr::V6(*v6)),
            InfoVxlan::Port(number) => port = Some(*number),
            InfoVxlan::Learning(learning) => learns = *learning,
            _ => {}
        }
    }
    let as_made = port == Some(VXLAN_PORT) && !learns && link.header.flags.contains(LinkFlags::Up);
    let mac = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::Address(octets) => octets.as_slice().try_into().ok().map(Mac),
            _ => None,
        });
    let local = local?;
    let mut own = addresses
        .iter()
        .filter(|one| one.header.index == link.header.index);
    let address =
        own.find_map(|one| address(one).filter(|(at, _)| at.is_ipv4() == local.is_ipv4()));
    Some(Device {
        name: name(link)?.to_owned(),
        vni: vni?,
        local,
        mac: mac?,
        mtu: mtu(link)?,
        address: address?.0,
    })
    .filter(|_| as_made)
}

/// A route of ours into the cluster's range.
pub(super) fn route(
    message: &RouteMessage,
    cluster: Cidr,
    device: Option<u32>,
) -> Option<(Cidr, Hop)> {
    let header = &message.header;
    if header.protocol != RouteProtocol::Other(PROTOCOL)
        || header.table != RouteHeader::RT_TABLE_MAIN
    {
        return None;
    }
    let (mut to, mut gateway, mut link) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::Oif(index) => link = Some(*index),
            _ => {}
        }
    }
    let range = Cidr::new(to?, header.destination_prefix_length);
    let (gateway, link) = (gateway?, link?);
    let hop = match device == Some(link) {
        true => Hop::Tunnel { gateway },
        false => Hop::Direct { link, gateway },
    };
    cluster.contains(range.address).then_some((range, hop))
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

/// A permanent entry of the neighbour table or the forwarding; what the kernel learned or made by
/// itself is not ours.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<(IpAddr, Mac)> {
    if message.header.state != NeighbourState::Permanent {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(IpAddr::V4(*v4));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(IpAddr::V6(*v6));
            }
            NeighbourAttribute::LinkLayerAddress(octets) => {
                mac = octets.as_slice().try_into().ok().map(Mac);
            }
            _ => {}
        }
    }
    Some((address?, mac?))
}
