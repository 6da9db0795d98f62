//! The kernel remembers where it sent a client's packets, and goes on sending them there after the
//! endpoint is gone. A UDP client that keeps talking would never be led elsewhere, and a TCP client
//! that asks for a connection with a host that fell silent would ask it again and again, as would
//! whoever gets its port next. So what is remembered is forgotten when the endpoint goes; of TCP only
//! what had no answer. (A TCP client that had one notices by itself.)

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use rustix::net::netlink::NETFILTER;

use super::NodeView;
use super::netlink::{
    ACKNOWLEDGE, ALL, ANSWER, DONE, FILTERING, REQUEST, Socket, acknowledged, attribute, message,
    messages, put,
};
use crate::catalog::{Catalog, Port, Protocol, Reach, Service, ServiceKey};

/// The subsystem that remembers connections, and its messages.
const CONNECTIONS: u16 = 1 << 8;
const ENTRY: u16 = CONNECTIONS;
const GET: u16 = CONNECTIONS | 1;
const DELETE: u16 = CONNECTIONS | 2;
/// Attributes of an entry: both directions, how far it is, and what tells it from later ones alike.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const ID: u16 = 12;
const ZONE: u16 = 18;
/// Attributes of a direction.
const ADDRESSES: u16 = 1;
const PORTS: u16 = 2;
const SOURCE: u16 = 1;
const DESTINATION: u16 = 2;
const PROTOCOL: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
/// The protocols' numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
/// The bit of the status that says that there was an answer.
const ANSWERED: u32 = 1 << 1;

/// A port of a service whose clients may have to be led elsewhere: how it is reached, and who serves
/// it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeftPort {
    protocol: u8,
    addresses: Vec<Ipv4Addr>,
    port: u16,
    node_port: Option<u16>,
    backends: BTreeSet<(Ipv4Addr, u16)>,
}

/// The ports of some services that an endpoint may have left, those that the services had before
/// included; with those who serve them now. Of TCP only where one is lost: looking through all that
/// is remembered takes its time, and one that says goodbye answers to the end.
pub(super) fn left_ports<'a>(
    before: Option<&Catalog>,
    now: &Catalog,
    services: impl Iterator<Item = &'a ServiceKey>,
) -> Vec<LeftPort> {
    let mut found = Vec::new();
    for key in services {
        let then = before.and_then(|before| before.service(key));
        for service in then.into_iter().chain(now.service(key)) {
            let left = |port: &&Port| match port.protocol {
                Protocol::Udp => true,
                Protocol::Tcp => before.is_some_and(|before| loses(before, now, key, port)),
                Protocol::Sctp => false,
            };
            let ports = service.ports.iter().filter(left);
            found.extend(ports.filter_map(|port| left_port(now, service, port)));
        }
    }
    found.dedup();
    found
}

/// Whether somebody who served a port does so no more, and has not said that it would leave.
fn loses(before: &Catalog, now: &Catalog, key: &ServiceKey, port: &Port) -> bool {
    let served = before.backends(key, port);
    let serves = now.backends(key, port);
    let leaves = |address: IpAddr| {
        let mut endpoints = now.slices_of(key).flat_map(|slice| &slice.endpoints);
        endpoints.any(|endpoint| endpoint.address == address && endpoint.terminating)
    };
    served
        .iter()
        .any(|backend| !serves.contains(backend) && !leaves(backend.address))
}

fn left_port(now: &Catalog, service: &Service, port: &Port) -> Option<LeftPort> {
    let Reach::ClusterIp(inside) = &service.reach else {
        return None;
    };
    let v4 = |address: &IpAddr| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    };
    // A service that is gone still has slices for a moment.
    let backends = match now.service(&service.key) {
        Some(_) => now.backends(&service.key, port),
        None => Vec::new(),
    };
    let backends = backends.iter();
    Some(LeftPort {
        protocol: match port.protocol {
            Protocol::Tcp => TCP,
            Protocol::Udp => UDP,
            Protocol::Sctp => return None,
        },
        addresses: inside
            .iter()
            .chain(&service.external_ips)
            .filter_map(v4)
            .collect(),
        port: port.port,
        node_port: port.node_port,
        backends: backends
            .filter_map(|backend| Some((v4(&backend.address)?, backend.port)))
            .collect(),
    })
}

/// Ports whose clients have yet to be led elsewhere: what the kernel would not do is tried again.
#[derive(Debug, Default)]
pub(super) struct Pending {
    ports: Vec<LeftPort>,
    failing: bool,
}

impl Pending {
    /// Adds ports. What is known of one now replaces what was known of it before: clients must not
    /// be led away from those who have come to serve it meanwhile.
    pub(super) fn add(&mut self, ports: Vec<LeftPort>) {
        let identity = |one: &LeftPort| {
            let ways = (one.addresses.clone(), one.port, one.node_port);
            (one.protocol, ways)
        };
        let new: BTreeSet<_> = ports.iter().map(identity).collect();
        self.ports.retain(|one| !new.contains(&identity(one)));
        self.ports.extend(ports);
    }

    /// Whether nothing is left to do.
    pub(super) fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    /// Has the kernel forget what is stale of them; they stay if it does not.
    pub(super) async fn forget(&mut self, node: &NodeView) {
        if !self.ports.is_empty() {
            let forgotten = forget(node, &self.ports).await;
            self.note(forgotten);
        }
    }

    fn note(&mut self, forgotten: io::Result<usize>) {
        let failed_before = std::mem::replace(&mut self.failing, forgotten.is_err());
        match forgotten {
            Ok(count) => {
                self.ports.clear();
                if count > 0 {
                    tracing::debug!(count, "led clients away from endpoints that left");
                }
            }
            Err(error) if failed_before => {
                tracing::debug!(%error, "still cannot lead clients away");
            }
            Err(error) => tracing::warn!(
                %error,
                "cannot lead clients away from endpoints that left; will retry"
            ),
        }
    }
}

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direction {
    pub(super) protocol: u8,
    pub(super) source: (Ipv4Addr, u16),
    pub(super) destination: (Ipv4Addr, u16),
}

/// Whether what is remembered leads to somebody who doesn't serve the port any more, or past all of
/// them because there was none.
pub(super) fn is_stale(
    node: &NodeView,
    ports: &[LeftPort],
    original: Direction,
    reply: Direction,
) -> bool {
    let (address, number) = original.destination;
    let pod = node.cluster_cidr.contains(IpAddr::V4(reply.source.0));
    let translated_to_pod = pod && reply.source.0 != address;
    let own = node.addresses.contains(&IpAddr::V4(address));
    let mut alike = ports
        .iter()
        .filter(|port| port.protocol == original.protocol);
    alike.any(|port| {
        let inside = port.port == number && port.addresses.contains(&address);
        let outside = port.node_port == Some(number) && (own || translated_to_pod);
        (inside || outside) && !port.backends.contains(&reply.source)
    })
}

/// Has the kernel forget what is stale, and says how much that was.
async fn forget(node: &NodeView, ports: &[LeftPort]) -> io::Result<usize> {
    let mut socket = Socket::open(Some(NETFILTER), 0)?;
    socket.send(&message(GET, REQUEST | ALL, &FILTERING))?;
    let mut stale = Vec::new();
    'all: loop {
        for message in messages(socket.receive().await?) {
            match message.kind {
                DONE => break 'all,
                ANSWER => acknowledged(message.body)?,
                ENTRY => stale.extend(deletion(node, ports, message.body)),
                _ => {}
            }
        }
    }
    for request in &stale {
        socket.send(&message(DELETE, REQUEST | ACKNOWLEDGE, request))?;
        for answer in messages(socket.receive().await?) {
            match acknowledged(answer.body) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
    }
    Ok(stale.len())
}

/// The request to forget an entry, if that is stale.
fn deletion(node: &NodeView, ports: &[LeftPort], body: &[u8]) -> Option<Vec<u8>> {
    let all = body.get(FILTERING.len()..)?;
    let original = attribute(all, ORIGINAL)?;
    let there = direction(original)?;
    if !is_stale(node, ports, there, direction(attribute(all, REPLY)?)?)
        || there.protocol == TCP && is_answered(all)
    {
        return None;
    }
    let mut request = FILTERING.to_vec();
    put(&mut request, ORIGINAL, true, original);
    for kind in [ID, ZONE] {
        if let Some(value) = attribute(all, kind) {
            put(&mut request, kind, false, value);
        }
    }
    Some(request)
}

/// Whether there was an answer; if that is not known, as if there was.
fn is_answered(all: &[u8]) -> bool {
    let status = attribute(all, STATUS).and_then(|bytes| bytes.try_into().ok());
    status.is_none_or(|bytes| u32::from_be_bytes(bytes) & ANSWERED != 0)
}

/// A direction of a connection by TCP or UDP; nothing for other protocols.
fn direction(bytes: &[u8]) -> Option<Direction> {
    let addresses = attribute(bytes, ADDRESSES)?;
    let ports = attribute(bytes, PORTS)?;
    let [protocol @ (TCP | UDP)] = *attribute(ports, PROTOCOL)? else {
        return None;
    };
    let address = |kind| {
        let bytes: [u8; 4] = attribute(addresses, kind)?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes))
    };
    let port = |kind| {
        let bytes: [u8; 2] = attribute(ports, kind)?.try_into().ok()?;
        Some(u16::from_be_bytes(bytes))
    };
    Some(Direction {
        protocol,
        source: (address(SOURCE)?, port(SOURCE_PORT)?),
        destination: (address(DESTINATION)?, port(DESTINATION_PORT)?),
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{LeftPort, Pending};

    fn port(number: u16, backend: u8) -> LeftPort {
        LeftPort {
            protocol: super::UDP,
            addresses: vec![[10, 43, 0, 9].into()],
            port: number,
            node_port: None,
            backends: [([10, 42, 0, backend].into(), 53)].into(),
        }
    }

    #[test]
    fn what_the_kernel_would_not_forget_is_kept_until_it_does() {
        let mut pending = Pending::default();
        pending.add(vec![port(53, 2), port(54, 2)]);
        pending.note(Err(io::ErrorKind::OutOfMemory.into()));
        assert_eq!(pending.ports, [port(53, 2), port(54, 2)]);
        pending.add(vec![port(53, 3)]);
        assert_eq!(
            pending.ports,
            [port(54, 2), port(53, 3)],
            "who serves it now counts"
        );
        pending.note(Ok(1));
        assert!(pending.is_empty());
    }
}
