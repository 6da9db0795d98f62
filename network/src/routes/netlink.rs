//! The kernel's routes, links and neighbours by netlink: looks at what is there, and does one change
//! after the other. Decides nothing.

mod read;

use std::net::IpAddr;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{RouteMessage, RouteProtocol};
use rtnetlink::packet_route::{AddressFamily, link::LinkMessage};
use rtnetlink::{
    Handle, LinkVxlan, MulticastGroup, RouteMessageBuilder, new_connection,
    new_multicast_connection,
};

use super::diff::{Change, Observed};
use super::plan::{Device, Hop};
use super::{Link, Mac, PROTOCOL, VXLAN_PORT};
use crate::catalog::Cidr;

/// What was being tried with the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Opening the connection.
    Open,
    /// Listing something.
    List(&'static str),
    /// Making a change.
    Do(Change),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open => f.write_str("connect to the kernel's routes"),
            Self::List(what) => write!(f, "list {what}"),
            Self::Do(change) => change.fmt(f),
        }
    }
}

/// Why the kernel did not do it.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {message}")]
pub struct KernelError {
    /// What was being tried.
    pub step: Step,
    /// The kernel's words.
    pub message: String,
}

impl KernelError {
    fn new(step: Step, error: &rtnetlink::Error) -> Self {
        let message = if let rtnetlink::Error::NetlinkError(error) = error {
            error.to_io().to_string()
        } else {
            error.to_string()
        };
        Self { step, message }
    }
}

/// This machine's kernel, in the network namespace of this process.
#[derive(Clone, Debug)]
pub struct Kernel {
    handle: Handle,
}

impl Kernel {
    /// Connects. The connection lives in a task of its own, as long as a clone of this is there.
    ///
    /// # Errors
    /// [`KernelError`] if there is no netlink.
    pub fn open() -> Result<Self, KernelError> {
        let (connection, handle, _) = new_connection().map_err(|error| unopened(&error))?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// A word whenever links, addresses or routes have changed, whoever changed them.
    ///
    /// # Errors
    /// [`KernelError`] if there is no netlink.
    pub fn changes() -> Result<impl Stream<Item = ()> + Unpin + Send, KernelError> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Ifaddr,
            MulticastGroup::Ipv6Route,
        ];
        let (connection, handle, messages) =
            new_multicast_connection(&groups).map_err(|error| unopened(&error))?;
        tokio::spawn(connection);
        // The connection ends with its last handle.
        Ok(messages.map(move |_| {
            let _open = &handle;
        }))
    }

    /// All links with their addresses.
    ///
    /// # Errors
    /// [`KernelError`] if the kernel would not say.
    pub async fn links(&self) -> Result<Vec<Link>, KernelError> {
        let (links, addresses) = self.dump_links().await?;
        Ok(read::links(&links, &addresses))
    }

    /// What of ours is there: routes into the cluster's range, and the device of that name.
    ///
    /// # Errors
    /// [`KernelError`] if the kernel would not say.
    pub async fn observe(&self, cluster: Cidr, device: &str) -> Result<Observed, KernelError> {
        let (links, addresses) = self.dump_links().await?;
        let found = links.iter().find(|link| read::name(link) == Some(device));
        let index = found.map(|link| link.header.index);
        let mut observed = Observed {
            device: found.and_then(|link| read::device(link, &addresses)),
            has_device: found.is_some(),
            ..Observed::default()
        };
        let family = family(cluster.address);
        let mut wanted = RouteMessage::default();
        wanted.header.address_family = family;
        let routes = self.handle.route().get(wanted).execute();
        for route in collect("routes", routes).await? {
            observed.routes.extend(read::route(&route, cluster, index));
        }
        let Some(index) = index else {
            return Ok(observed);
        };
        for of in [family, AddressFamily::Bridge] {
            let neighbours = self.handle.neighbours().get().set_address_family(of);
            for entry in collect("neighbours", neighbours.execute()).await? {
                if entry.header.ifindex != index {
                    continue;
                }
                match read::neighbour(&entry) {
                    Some((address, mac)) if of == AddressFamily::Bridge => {
                        observed.forwarding.insert((mac, address));
                    }
                    Some((address, mac)) => {
                        observed.neighbours.insert((address, mac));
                    }
                    None => {}
                }
            }
        }
        Ok(observed)
    }

    async fn dump_links(
        &self,
    ) -> Result<(Vec<LinkMessage>, Vec<read::AddressMessage>), KernelError> {
        let links = collect("links", self.handle.link().get().execute()).await?;
        let addresses = collect("addresses", self.handle.address().get().execute()).await?;
        Ok((links, addresses))
    }

    /// Makes a change. What is gone already counts as taken away.
    ///
    /// # Errors
    /// [`KernelError`] with the kernel's reason.
    pub async fn change(&self, change: &Change, device: &str) -> Result<(), KernelError> {
        let done = match change {
            Change::MakeDevice(device) => self.make_device(device).await,
            Change::RemoveDevice => match self.index(device).await? {
                Some(index) => gone_is_fine(self.handle.link().del(index).execute().await),
                None => Ok(()),
            },
            Change::RemoveRoute(range, hop) => {
                let route = self.route(*range, hop, device).await?;
                gone_is_fine(self.handle.route().del(route).execute().await)
            }
            Change::AddRoute(range, hop) => {
                let route = self.route(*range, hop, device).await?;
                self.handle.route().add(route).execute().await
            }
            Change::RemoveNeighbour(address, mac) => {
                let entry = entry(family(*address), *address, *mac);
                self.forget(entry, device).await?
            }
            Change::RemoveForwarding(mac, address) => {
                let entry = entry(AddressFamily::Bridge, *address, *mac);
                self.forget(entry, device).await?
            }
            Change::SetNeighbour(address, Mac(mac)) => {
                let index = self.known(device).await?;
                let neighbours = self.handle.neighbours();
                let entry = neighbours.add(index, *address).link_layer_address(mac);
                entry.replace().execute().await
            }
            Change::AddForwarding(Mac(mac), address) => {
                let index = self.known(device).await?;
                let neighbours = self.handle.neighbours();
                let entry = neighbours.add_bridge(index, mac).destination(*address);
                let entry = entry.flags(NeighbourFlags::Own);
                entry.replace().execute().await
            }
        };
        done.map_err(|error| KernelError::new(Step::Do(change.clone()), &error))
    }

    async fn make_device(&self, device: &Device) -> Result<(), rtnetlink::Error> {
        let Mac(mac) = device.mac;
        let link = LinkVxlan::new(&device.name, device.vni)
            .port(VXLAN_PORT)
            .learning(false)
            .address(mac.to_vec())
            .mtu(device.mtu);
        let link = match device.local {
            IpAddr::V4(local) => link.local(local),
            IpAddr::V6(local) => link.local6(local),
        };
        self.handle.link().add(link.up().build()).execute().await?;
        // The next look says so if it is gone again.
        let Ok(Some(index)) = self.index(&device.name).await else {
            return Ok(());
        };
        let bits = if device.address.is_ipv4() { 32 } else { 128 };
        let addresses = self.handle.address();
        addresses.add(index, device.address, bits).execute().await
    }

    /// A route in the kernel's words.
    async fn route(
        &self,
        range: Cidr,
        hop: &Hop,
        device: &str,
    ) -> Result<RouteMessage, KernelError> {
        let (link, gateway) = match hop {
            Hop::Direct { link, gateway } => (*link, *gateway),
            Hop::Tunnel { gateway } => (self.known(device).await?, *gateway),
        };
        let words = RouteMessageBuilder::<IpAddr>::new()
            .output_interface(link)
            .protocol(RouteProtocol::Other(PROTOCOL));
        let words = words.destination_prefix(range.address, range.prefix);
        let words = words.and_then(|words| words.gateway(gateway));
        let words = words.map_err(|error| KernelError {
            step: Step::Do(Change::AddRoute(range, *hop)),
            message: error.to_string(),
        })?;
        Ok(match hop {
            Hop::Direct { .. } => words.build(),
            // The neighbour's address is in no range of the device.
            Hop::Tunnel { .. } => words.onlink().build(),
        })
    }

    async fn forget(
        &self,
        mut entry: NeighbourMessage,
        device: &str,
    ) -> Result<Result<(), rtnetlink::Error>, KernelError> {
        let Some(index) = self.index(device).await? else {
            return Ok(Ok(()));
        };
        entry.header.ifindex = index;
        let deleted = self.handle.neighbours().del(entry).execute().await;
        Ok(gone_is_fine(deleted))
    }

    /// The number of a device that must be there.
    async fn known(&self, device: &str) -> Result<u32, KernelError> {
        self.index(device).await?.ok_or_else(|| KernelError {
            step: Step::List("the VXLAN device"),
            message: format!("{device} is gone"),
        })
    }

    async fn index(&self, device: &str) -> Result<Option<u32>, KernelError> {
        let links = self.handle.link().get().match_name(device).execute();
        match links.try_collect::<Vec<_>>().await {
            Ok(links) => Ok(links.first().map(|link| link.header.index)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(KernelError::new(Step::List("the VXLAN device"), &error)),
        }
    }
}

async fn collect<T>(
    what: &'static str,
    stream: impl Stream<Item = Result<T, rtnetlink::Error>>,
) -> Result<Vec<T>, KernelError> {
    let all = stream.try_collect().await;
    all.map_err(|error| KernelError::new(Step::List(what), &error))
}

fn unopened(error: &std::io::Error) -> KernelError {
    KernelError {
        step: Step::Open,
        message: error.to_string(),
    }
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// An entry of the neighbour table or of the device's forwarding, as it is taken away.
fn entry(family: AddressFamily, address: IpAddr, Mac(mac): Mac) -> NeighbourMessage {
    let mut entry = NeighbourMessage::default();
    entry.header.family = family;
    entry.header.state = NeighbourState::Permanent;
    if family == AddressFamily::Bridge {
        entry.header.flags = NeighbourFlags::Own;
    }
    let address = match address {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    };
    entry.attributes = vec![
        NeighbourAttribute::Destination(address),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    entry
}

fn gone_is_fine(done: Result<(), rtnetlink::Error>) -> Result<(), rtnetlink::Error> {
    match done {
        Err(error) if is_gone(&error) => Ok(()),
        other => other,
    }
}

/// Whether the kernel says that there is no such thing: ENODEV, ENOENT, or ESRCH for a route.
fn is_gone(error: &rtnetlink::Error) -> bool {
    let rtnetlink::Error::NetlinkError(error) = error else {
        return false;
    };
    let gone = [
        rustix::io::Errno::NODEV,
        rustix::io::Errno::NOENT,
        rustix::io::Errno::SRCH,
    ];
    gone.iter()
        .any(|one| error.raw_code() == -one.raw_os_error())
}
