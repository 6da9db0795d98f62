//! The routing table: which path of which Ingress a request belongs to, and who serves it.
//! Pure: objects in, table and complaints out. Knows no endpoint and no connection.

mod annotations;
mod build;
mod class;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use skiff_api::canary::Auto;
use skiff_network::ServiceKey;

pub use build::{build, tls_secrets};
pub use class::is_ours;

/// A route's place in its table.
pub type RouteId = usize;

/// Which path a rule means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathKind {
    /// This path alone.
    Exact,
    /// This path and all below it, element by element.
    Prefix,
    /// What no rule of the Ingress names.
    Default,
}

/// A port of a service as an Ingress names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortRef {
    /// By its number.
    Number(u16),
    /// By its name.
    Name(Arc<str>),
}

/// Who serves a route: a port of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Backend {
    /// The service.
    pub service: ServiceKey,
    /// Its port.
    pub port: PortRef,
}

/// As people write it: `shop/cart:80`.
impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.port {
            PortRef::Number(port) => write!(f, "{}:{port}", self.service),
            PortRef::Name(name) => write!(f, "{}:{name}", self.service),
        }
    }
}

/// The Ingress that something is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IngressRef {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its uid.
    pub uid: Arc<str>,
}

/// As people write it: `shop/front`.
impl fmt::Display for IngressRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Something about an Ingress that its owner should know; becomes an Event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Which one.
    pub ingress: IngressRef,
    /// In one word, as Events have it.
    pub reason: &'static str,
    /// In a sentence.
    pub message: String,
}

/// A second version of a service that gets some of its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// Who serves it.
    pub backend: Backend,
    /// How many of a hundred requests it gets.
    pub weight_percent: u8,
    /// The header that decides instead, and the value that means the canary.
    pub header: Option<(http::HeaderName, Arc<str>)>,
    /// How far it is, if it judges itself.
    pub auto: Option<Arc<Auto>>,
}

/// Requests that one client may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// The time that one request costs.
    pub interval: Duration,
    /// How many may come at once.
    pub burst: u32,
}

/// How the requests of an Ingress are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a connection to an endpoint may take.
    pub connect_timeout: Duration,
    /// How long the head of an answer may take.
    pub response_timeout: Duration,
    /// How long a body may pause, and a tunnel stay silent.
    pub idle_timeout: Duration,
    /// The largest request body in bytes; `None` for any.
    pub body_max: Option<u64>,
    /// How often a failed request is tried again.
    pub retries: u8,
    /// What one client may ask for.
    pub rate: Option<Rate>,
    /// Requests without TLS are sent to the same address with it.
    pub redirect_https: bool,
    /// How long a new endpoint takes to get its full share.
    pub slow_start: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // Endpoints are on the same network: one that has not answered by then is gone.
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            body_max: Some(16 << 20),
            retries: 2,
            rate: None,
            redirect_https: false,
            slow_start: Duration::from_secs(10),
        }
    }
}

/// One path of one Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Whose.
    pub ingress: IngressRef,
    /// The host, `*.` in front where any name below it is meant; `None` for every host.
    pub host: Option<Arc<str>>,
    /// The path as the Ingress writes it; `/` for what no rule names.
    pub path: Arc<str>,
    /// How the path is compared.
    pub kind: PathKind,
    /// Who serves it; a sentence where nobody can.
    pub backend: Result<Backend, Arc<str>>,
    /// Who serves some of it instead.
    pub canary: Option<Canary>,
    /// How.
    pub settings: Arc<Settings>,
}

/// The paths of one host.
#[derive(Clone, Debug, Default)]
struct Paths {
    exact: HashMap<Box<str>, RouteId>,
    /// Without the slash at their end.
    prefix: HashMap<Box<str>, RouteId>,
    /// The length of the longest prefix: longer beginnings of a path need no look.
    longest: usize,
}

/// All routes, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The routes, the oldest Ingress first.
    pub routes: Vec<Route>,
    hosts: HashMap<Box<str>, Paths>,
    /// By what follows the first label.
    wildcards: HashMap<Box<str>, Paths>,
    any: Paths,
}

impl Table {
    /// The route of a request. A host's own rules go before those of a wildcard, and these before
    /// rules without a host; whatever has no path here is looked for at the next of them.
    #[must_use]
    pub fn find(&self, host: &str, path: &str) -> Option<RouteId> {
        let host = without_port(host);
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.find_lower(&host.to_ascii_lowercase(), path);
        }
        self.find_lower(host, path)
    }

    fn find_lower(&self, host: &str, path: &str) -> Option<RouteId> {
        let own = self.hosts.get(host);
        let wild = || {
            let (label, rest) = host.split_once('.')?;
            (!label.is_empty()).then(|| self.wildcards.get(rest))?
        };
        own.and_then(|paths| paths.find(path))
            .or_else(|| wild().and_then(|paths| paths.find(path)))
            .or_else(|| self.any.find(path))
    }

    /// Adds a route, unless there is one for the same host and path: that one is returned.
    fn add(&mut self, route: Route) -> Result<(), RouteId> {
        let id = self.routes.len();
        let paths = match route.host.as_deref() {
            None => &mut self.any,
            Some(host) => match host.strip_prefix("*.") {
                Some(rest) => self.wildcards.entry(rest.into()).or_default(),
                None => self.hosts.entry(host.into()).or_default(),
            },
        };
        paths.add(route.kind, &route.path, id)?;
        self.routes.push(route);
        Ok(())
    }
}

impl Paths {
    fn add(&mut self, kind: PathKind, path: &str, id: RouteId) -> Result<(), RouteId> {
        let (paths, path) = match kind {
            PathKind::Exact => (&mut self.exact, path),
            PathKind::Prefix | PathKind::Default => (&mut self.prefix, path.trim_end_matches('/')),
        };
        if let Some(known) = paths.get(path) {
            return Err(*known);
        }
        paths.insert(path.into(), id);
        if kind != PathKind::Exact {
            self.longest = self.longest.max(path.len());
        }
        Ok(())
    }

    /// The exact path, else the longest prefix of whole elements.
    fn find(&self, path: &str) -> Option<RouteId> {
        if let Some(exact) = self.exact.get(path) {
            return Some(*exact);
        }
        let mut begin = path.trim_end_matches('/');
        if begin.len() > self.longest {
            // The element that crosses the longest prefix's end can belong to no prefix.
            let ends_there = path.as_bytes().get(self.longest) == Some(&b'/');
            // Where that is within a character, the element crosses the end all the same.
            let mut ends = (0..=self.longest).rev();
            begin = ends.find_map(|end| begin.get(..end))?;
            if !ends_there {
                begin = begin.rsplit_once('/').map_or("", |(begin, _)| begin);
            }
        }
        loop {
            if let Some(found) = self.prefix.get(begin) {
                return Some(*found);
            }
            if begin.is_empty() {
                return None;
            }
            begin = begin.rsplit_once('/').map_or("", |(begin, _)| begin);
        }
    }
}

/// A `Host` header without its port and the dot that ends a full name.
fn without_port(host: &str) -> &str {
    let name = if host.starts_with('[') {
        host.split_inclusive(']').next().unwrap_or(host)
    } else {
        host.split_once(':').map_or(host, |(name, _)| name)
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Whom a rate limit counts as one: an address, or the /64 that an IPv6 client can choose from.
#[must_use]
pub fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}
