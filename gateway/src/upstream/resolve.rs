//! From a service's port to the addresses of its pods, or why there are none. Pure.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use skiff_network::Catalog;
use skiff_network::catalog::{Port, Protocol as Transport, Reach};

use crate::route::{Backend, PortRef};

/// What is spoken with an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, known beforehand.
    Http2,
}

/// Why nobody serves a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no such service.
    NoService,
    /// The service has no such port.
    NoPort,
    /// The service is another name, and no pods are behind it.
    ExternalName,
    /// The service's port speaks something that the gateway does not.
    Protocol(Arc<str>),
    /// No endpoint is ready.
    NoEndpoints,
    /// What the table says.
    Refused(Arc<str>),
}

impl Trouble {
    /// In a word, for a header.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoService => "service-not-found",
            Self::NoPort => "port-not-found",
            Self::ExternalName => "external-name",
            Self::Protocol(_) => "protocol-not-supported",
            Self::NoEndpoints => "no-endpoints",
            Self::Refused(_) => "backend-refused",
        }
    }
}

/// As the end of a sentence about the backend.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoService => f.write_str("there is no such service"),
            Self::NoPort => f.write_str("the service has no such port"),
            Self::ExternalName => {
                f.write_str("the service is an ExternalName, which the gateway does not follow")
            }
            Self::Protocol(protocol) => write!(
                f,
                "the service's port speaks {protocol}, which the gateway does not"
            ),
            Self::NoEndpoints => f.write_str("no pod of the service is ready"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

/// Where a backend is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// What is spoken there.
    pub protocol: Protocol,
    /// The pods' addresses; at least one.
    pub addresses: Vec<SocketAddr>,
}

/// Looks a backend up.
///
/// # Errors
/// Why nobody serves it.
pub fn resolve(catalog: &Catalog, backend: &Backend) -> Result<Resolved, Trouble> {
    let service = catalog
        .service(&backend.service)
        .ok_or(Trouble::NoService)?;
    if matches!(service.reach, Reach::Name(_)) {
        return Err(Trouble::ExternalName);
    }
    let wanted = |port: &&Port| {
        port.protocol == Transport::Tcp
            && match &backend.port {
                PortRef::Number(number) => port.port == *number,
                PortRef::Name(name) => port.name == *name,
            }
    };
    let port = service.ports.iter().find(wanted).ok_or(Trouble::NoPort)?;
    let protocol = protocol(port.app_protocol.as_deref())?;
    let backends = catalog.backends(&backend.service, port);
    let addresses: Vec<_> = backends
        .iter()
        .map(|backend| SocketAddr::new(backend.address, backend.port))
        .collect();
    if addresses.is_empty() {
        return Err(Trouble::NoEndpoints);
    }
    Ok(Resolved {
        protocol,
        addresses,
    })
}

fn protocol(named: Option<&str>) -> Result<Protocol, Trouble> {
    match named.map(str::to_ascii_lowercase).as_deref() {
        Some("kubernetes.io/h2c" | "h2c" | "grpc") => Ok(Protocol::Http2),
        Some("https" | "kubernetes.io/wss" | "wss" | "tls" | "h2") => {
            Err(Trouble::Protocol(named.unwrap_or_default().into()))
        }
        // Other names are no hindrance: HTTP/1.1 is what an Ingress means.
        Some(_) | None => Ok(Protocol::Http1),
    }
}
