//! What names need of a catalog, service by service. Everybody in the cluster may know it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, Protocol, Reach, ServiceKey};

/// A service's names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The service's namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Where the name leads.
    pub leads: Leads,
    /// Its endpoints that may be named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
}

/// Where a service's name leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Leads {
    /// To addresses of its own, where it has these ports.
    Addresses {
        /// The addresses.
        ips: Vec<IpAddr>,
        /// The ports.
        ports: Vec<Port>,
    },
    /// To its endpoints.
    Endpoints,
    /// To another name.
    Name(Arc<str>),
}

/// A port that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: Arc<str>,
    /// Its transport, in lower case.
    pub protocol: String,
    /// Its number.
    pub port: u16,
}

/// Endpoints that have the same ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Their ports.
    pub ports: Vec<Port>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its address.
    pub ip: IpAddr,
    /// The name that it asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Arc<str>>,
}

impl Endpoint {
    /// Its name below the service's: the one that it asked for, else its address with dashes.
    #[must_use]
    pub fn label(&self) -> String {
        match &self.hostname {
            Some(name) => name.to_lowercase(),
            None => dashed(self.ip),
        }
    }
}

/// An address as a label: `10-42-0-5`.
#[must_use]
pub fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

impl Entry {
    /// A service of a catalog; none if the catalog does not have it.
    #[must_use]
    pub fn read(catalog: &Catalog, key: &ServiceKey) -> Option<Self> {
        let service = catalog.service(key)?;
        let leads = match &service.reach {
            Reach::ClusterIp(ips) => Leads::Addresses {
                ips: ips.clone(),
                ports: named(service.ports.iter().map(|p| (&p.name, p.protocol, p.port))),
            },
            Reach::Endpoints => Leads::Endpoints,
            Reach::Name(name) => Leads::Name(Arc::clone(name)),
        };
        let group = |slice: &Arc<crate::catalog::Slice>| {
            let wanted = slice
                .endpoints
                .iter()
                .filter(|endpoint| endpoint.ready || service.publish_not_ready);
            let endpoints: BTreeSet<Endpoint> = wanted
                .map(|endpoint| Endpoint {
                    ip: endpoint.address,
                    hostname: endpoint.hostname.clone(),
                })
                .collect();
            Group {
                ports: named(slice.ports.iter().map(|p| (&p.name, p.protocol, p.port))),
                endpoints: endpoints.into_iter().collect(),
            }
        };
        let groups = catalog.slices_of(key).map(group);
        Some(Self {
            namespace: Arc::clone(&key.namespace),
            name: Arc::clone(&key.name),
            leads,
            groups: groups.filter(|group| !group.endpoints.is_empty()).collect(),
        })
    }

    /// Its endpoints, without repetition.
    #[must_use]
    pub fn endpoints(&self) -> BTreeSet<&Endpoint> {
        self.groups
            .iter()
            .flat_map(|group| &group.endpoints)
            .collect()
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let own = match &self.leads {
            Leads::Addresses { ips, .. } => ips.as_slice(),
            Leads::Endpoints | Leads::Name(_) => &[],
        };
        let endpoints = self.groups.iter().flat_map(|group| &group.endpoints);
        own.iter()
            .copied()
            .chain(endpoints.map(|endpoint| endpoint.ip))
    }
}

fn named<'a>(ports: impl Iterator<Item = (&'a Arc<str>, Protocol, u16)>) -> Vec<Port> {
    ports
        .filter(|(name, _, _)| !name.is_empty())
        .map(|(name, protocol, port)| Port {
            name: Arc::clone(name),
            protocol: protocol.word().to_owned(),
            port,
        })
        .collect()
}

/// A service's namespace and name.
pub(super) type Key = (Arc<str>, Arc<str>);

/// Everything that the resolver knows.
#[derive(Clone, Debug, Default)]
pub struct Records {
    namespaces: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<Entry>>>,
    by_address: HashMap<IpAddr, BTreeSet<Key>>,
    /// Whether everything that there was has been told once: only then "no such name" is true.
    pub complete: bool,
}

impl Records {
    /// The names of everything in a catalog.
    #[must_use]
    pub fn of(catalog: &Catalog) -> Self {
        let mut records = Self::default();
        for service in catalog.services() {
            if let Some(entry) = Entry::read(catalog, &service.key) {
                records.put(entry);
            }
        }
        records.complete = catalog.synced;
        records
    }

    /// Takes a service in, in the place of what was known of it.
    pub fn put(&mut self, entry: Entry) {
        self.remove(&entry.namespace, &entry.name);
        let key = (Arc::clone(&entry.namespace), Arc::clone(&entry.name));
        for address in entry.addresses() {
            let known = self.by_address.entry(address).or_default();
            known.insert(key.clone());
        }
        let services = self.namespaces.entry(key.0).or_default();
        services.insert(key.1, Arc::new(entry));
    }

    /// Forgets a service.
    pub fn remove(&mut self, namespace: &str, name: &str) {
        let Some(services) = self.namespaces.get_mut(namespace) else {
            return;
        };
        let removed = services.remove(name);
        if services.is_empty() {
            self.namespaces.remove(namespace);
        }
        let Some(entry) = removed else {
            return;
        };
        for address in entry.addresses() {
            if let Some(keys) = self.by_address.get_mut(&address) {
                keys.retain(|(a, b)| (&**a, &**b) != (namespace, name));
                if keys.is_empty() {
                    self.by_address.remove(&address);
                }
            }
        }
    }

    /// A service.
    #[must_use]
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Arc<Entry>> {
        self.namespaces.get(namespace)?.get(name)
    }

    /// Whether a namespace has any services.
    #[must_use]
    pub fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains_key(namespace)
    }

    /// The services that an address belongs to.
    pub fn at(&self, address: IpAddr) -> impl Iterator<Item = &Arc<Entry>> {
        let keys = self.by_address.get(&address).into_iter().flatten();
        keys.filter_map(|(namespace, name)| self.service(namespace, name))
    }

    /// How many services there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.namespaces.values().map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }
}
