//! What a node knows of services: a parsed, immutable view of the objects that the servers keep.
//! Pure. Cheap to clone, and cheap to compare with the one before.

mod read;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use skiff_api::{Kind, Revision};
use skiff_client::Event;

/// Which service: its namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ServiceKey {
    /// A service by namespace and name.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// As people write it: `shop/cart`.
impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP, which is meant where nothing is said.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// In lower case, as nftables and DNS write it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// How a service is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// At addresses of its own inside the cluster, the main one first.
    ClusterIp(Vec<IpAddr>),
    /// Headless: its name leads to the endpoints themselves.
    Endpoints,
    /// Its name is another name (`ExternalName`).
    Name(Arc<str>),
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Which.
    pub key: ServiceKey,
    /// How it is reached inside the cluster.
    pub reach: Reach,
    /// Addresses outside that lead to it as well: `externalIPs`, and the ingress addresses of a
    /// LoadBalancer's status.
    pub external_ips: Vec<IpAddr>,
    /// Its ports.
    pub ports: Vec<Port>,
    /// `sessionAffinity: ClientIP`: how long a client stays with its endpoint.
    pub affinity: Option<Duration>,
    /// `internalTrafficPolicy: Local`: from a node only to endpoints of that node.
    pub internal_local: bool,
    /// `externalTrafficPolicy: Local`: from outside only to endpoints of the node that was reached,
    /// and the client's address is kept.
    pub external_local: bool,
    /// `publishNotReadyAddresses`: names lead to endpoints that are not ready too.
    pub publish_not_ready: bool,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name; empty where the service has only one.
    pub name: Arc<str>,
    /// Its transport.
    pub protocol: Protocol,
    /// Its number at the service's addresses.
    pub port: u16,
    /// Its number at every node's addresses, if it has one there.
    pub node_port: Option<u16>,
    /// `appProtocol`: what is spoken there, `kubernetes.io/h2c` for instance.
    pub app_protocol: Option<Arc<str>>,
}

/// Some endpoints of a service: an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The slice's own namespace and name.
    pub key: ServiceKey,
    /// Whose endpoints.
    pub service: ServiceKey,
    /// Their ports: of each endpoint all of them.
    pub ports: Vec<SlicePort>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
    /// The write that made it so.
    pub revision: Revision,
}

/// A port of a slice's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// The name of the service's port that leads here.
    pub name: Arc<str>,
    /// Its transport.
    pub protocol: Protocol,
    /// Its number at the endpoint.
    pub port: u16,
}

/// One endpoint: a pod, mostly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address. Slices of names instead of addresses are left out.
    pub address: IpAddr,
    /// Ready, as the slice says it: with `publishNotReadyAddresses` so is a pod on its way out.
    pub ready: bool,
    /// Can serve, though it may be on its way out.
    pub serving: bool,
    /// On its way out.
    pub terminating: bool,
    /// The node that it is on.
    pub node: Option<Arc<str>>,
    /// Its own name below the service's, if it has one.
    pub hostname: Option<Arc<str>>,
    /// The uid of the pod behind it, if it is one.
    pub pod_uid: Option<Arc<str>>,
    /// The name of the pod behind it, if it is one.
    pub pod_name: Option<Arc<str>>,
}

impl Endpoint {
    /// Whether it may get new connections. A pod on its way out may not, even if its service
    /// publishes it whatever it is: its containers are about to be told to stop.
    #[must_use]
    pub const fn takes_new(&self) -> bool {
        self.ready && !self.terminating
    }
}

/// One address and port that serves a service's port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// The node that it is on.
    pub node: Option<Arc<str>>,
    /// The name of the pod behind it, if it is one.
    pub pod_name: Option<Arc<str>>,
}

/// A node, as far as its pods are to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// Its own address (`InternalIP`).
    pub address: Option<IpAddr>,
    /// The range that its pods' addresses are taken from, `10.42.3.0/24`.
    pub pod_cidr: Option<Cidr>,
    /// How it takes packets for its pods: the annotations with this prefix, without it.
    pub annotations: Vec<(Arc<str>, Arc<str>)>,
}

/// What annotations of nodes that are about the network begin with.
pub const ANNOTATION_PREFIX: &str = "network.skiff.io/";

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    /// Its first address.
    pub address: IpAddr,
    /// How many leading bits all its addresses share.
    pub prefix: u8,
}

/// Everything that is known, as of one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    services: OrdMap<ServiceKey, Arc<Service>>,
    /// By service, then by the slice's name.
    slices: OrdMap<(ServiceKey, Arc<str>), Arc<Slice>>,
    nodes: OrdMap<Arc<str>, Arc<Node>>,
    /// Whether everything there was has been listed once.
    pub synced: bool,
    /// All changes of endpoints up to this revision are in it.
    pub revision: Revision,
}

impl Catalog {
    /// Takes in what a watch tells of services, slices or nodes. What can't be understood is left
    /// out and told in the log: one odd object must not stop the others.
    pub fn apply(&mut self, kind: Kind, event: Event) {
        read::apply(self, kind, event);
    }

    /// A service.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.services.get(key)
    }

    /// All services, by namespace and name.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// The services of a namespace.
    pub fn services_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Service>> {
        let first = ServiceKey::new(namespace, "");
        self.services
            .range(first..)
            .take_while(move |(key, _)| &*key.namespace == namespace)
            .map(|(_, service)| service)
    }

    /// The slices of a service.
    pub fn slices_of<'a>(
        &'a self,
        service: &'a ServiceKey,
    ) -> impl Iterator<Item = &'a Arc<Slice>> {
        self.slices
            .range((service.clone(), Arc::from(""))..)
            .take_while(move |((of, _), _)| of == service)
            .map(|(_, slice)| slice)
    }

    /// All slices, by service.
    pub fn slices(&self) -> impl Iterator<Item = &Arc<Slice>> {
        self.slices.values()
    }

    /// All nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// A node.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(name)
    }

    /// The services whose own fields or endpoints differ from those in an earlier catalog.
    #[must_use]
    pub fn changed_since(&self, before: &Self) -> std::collections::BTreeSet<ServiceKey> {
        use imbl::ordmap::DiffItem;
        let services = before.services.diff(&self.services).map(|item| match item {
            DiffItem::Add(key, _) | DiffItem::Remove(key, _) => key.clone(),
            DiffItem::Update { new: (key, _), .. } => key.clone(),
        });
        let slices = before.slices.diff(&self.slices).map(|item| match item {
            DiffItem::Add((key, _), _) | DiffItem::Remove((key, _), _) => key.clone(),
            DiffItem::Update {
                new: ((key, _), _), ..
            } => key.clone(),
        });
        services.chain(slices).collect()
    }

    /// Who serves a port of a service now, sorted and without repetition: those that are ready and
    /// stay; if there are none, those on their way out that still serve.
    #[must_use]
    pub fn backends(&self, service: &ServiceKey, port: &Port) -> Vec<Backend> {
        let ready = self.pick(service, port, Endpoint::takes_new);
        if !ready.is_empty() {
            return ready;
        }
        self.pick(service, port, |endpoint| {
            endpoint.serving && endpoint.terminating
        })
    }

    /// Who serves a port of a service on one node, by the same preference among that node's own.
    #[must_use]
    pub fn backends_on(&self, node: &str, service: &ServiceKey, port: &Port) -> Vec<Backend> {
        let here = |endpoint: &Endpoint| endpoint.node.as_deref() == Some(node);
        let ready = self.pick(service, port, |endpoint| {
            endpoint.takes_new() && here(endpoint)
        });
        if !ready.is_empty() {
            return ready;
        }
        self.pick(service, port, |endpoint| {
            endpoint.serving && endpoint.terminating && here(endpoint)
        })
    }

    fn pick(
        &self,
        service: &ServiceKey,
        port: &Port,
        wanted: impl Fn(&Endpoint) -> bool,
    ) -> Vec<Backend> {
        let mut found = Vec::new();
        for slice in self.slices_of(service) {
            let at = |of: &&SlicePort| of.name == port.name && of.protocol == port.protocol;
            for number in slice.ports.iter().filter(at).map(|port| port.port) {
                let wanted = slice.endpoints.iter().filter(|endpoint| wanted(endpoint));
                found.extend(wanted.map(|endpoint| Backend {
                    address: endpoint.address,
                    port: number,
                    node: endpoint.node.clone(),
                    pod_name: endpoint.pod_name.clone(),
                }));
            }
        }
        found.sort();
        found.dedup_by(|a, b| (a.address, a.port) == (b.address, b.port));
        found
    }

    /// Whether a pod is an endpoint anywhere, and whether any of that may still bring it new
    /// connections; with the revision as of which everybody must have seen that none may.
    #[must_use]
    pub fn leaving(&self, namespace: &str, pod_uid: &str) -> Leaving {
        let mut last: Option<Revision> = None;
        let first = (ServiceKey::new(namespace, ""), Arc::from(""));
        let slices = self
            .slices
            .range(first..)
            .take_while(|((of, _), _)| &*of.namespace == namespace);
        for (_, slice) in slices {
            let mut here = slice
                .endpoints
                .iter()
                .filter(|endpoint| endpoint.pod_uid.as_deref() == Some(pod_uid))
                .peekable();
            if here.peek().is_none() {
                continue;
            }
            if here.any(Endpoint::takes_new) {
                return Leaving::StillWanted;
            }
            last = Some(last.map_or(slice.revision, |last| last.max(slice.revision)));
        }
        last.map_or(Leaving::NoEndpoint, Leaving::SeenAt)
    }
}

/// How far the end of an endpoint has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// The pod is nobody's endpoint.
    NoEndpoint,
    /// Some slice still sends it new connections.
    StillWanted,
    /// No slice sends it any since this revision.
    SeenAt(Revision),
}
