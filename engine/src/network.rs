//! The cluster's network: which addresses and ports there are to give, and who gets which.
//!
//! Pure, and the same for the same state: nothing here draws a number. What is free follows from
//! the objects that are there, so that nothing has to be given back.

#![expect(
    clippy::indexing_slicing,
    reason = "of JSON: a field that is missing reads as null, and is made when it is written"
)]

mod allocate;
mod ports;
mod range;

#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use serde_json::{Value, json};
use skiff_api::{Key, Kind};

pub use allocate::allocate;
pub use range::{NotRange, Range};

use crate::draft::Draft;
use crate::stamp::Stamper;
use crate::state::State;

/// Where the settings of the cluster's network are kept.
pub const CONFIG_NAMESPACE: &str = "kube-system";
/// The ConfigMap's name.
pub const CONFIG_NAME: &str = "skiff-network";

/// The service that stands for the API servers: its namespace and name.
pub const API_SERVICE: (&str, &str) = ("default", "kubernetes");

/// Fewer addresses than this are no range for services: the first is the API's, and some hundred
/// services are nothing.
const SERVICE_PREFIX_MAX: u8 = 24;
/// A larger range of services would be a mistake in writing; Kubernetes' own bound.
const SERVICE_PREFIX_MIN: u8 = 12;
/// Pods' addresses are cut into ranges of this size, one for each node.
const NODE_PREFIX: u8 = 24;
/// Two nodes at least must fit in.
const POD_PREFIX_MAX: u8 = NODE_PREFIX - 1;
/// A range larger than 10.0.0.0/8 is nobody's.
const POD_PREFIX_MIN: u8 = 8;

/// What the cluster's network is made of; decided once, when the cluster is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The addresses of all pods.
    pub pods: Range,
    /// The prefix of the range that each node gets of them.
    pub node_prefix: u8,
    /// The addresses of services.
    pub services: Range,
    /// The ports of services at the nodes' addresses.
    pub node_ports: RangeInclusive<u16>,
    /// What names of services end with.
    pub domain: String,
}

/// Why settings cannot be those of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A range is too small or too large for its purpose.
    #[error("{range}: the range of {what} must be between /{min} and /{max}")]
    Size {
        /// The range.
        range: Range,
        /// Whose addresses.
        what: &'static str,
        /// The shortest prefix.
        min: u8,
        /// The longest prefix.
        max: u8,
    },
    /// An address would be both.
    #[error("the range of pods {pods} and that of services {services} overlap")]
    Overlap {
        /// The pods' range.
        pods: Range,
        /// The services' range.
        services: Range,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pods: Range::new(Ipv4Addr::new(10, 42, 0, 0), 16),
            node_prefix: NODE_PREFIX,
            services: Range::new(Ipv4Addr::new(10, 43, 0, 0), 16),
            node_ports: 30_000..=32_767,
            domain: "cluster.local".to_owned(),
        }
    }
}

impl Settings {
    /// Settings with these ranges, and defaults for the rest.
    ///
    /// # Errors
    /// [`SettingsError`] if the ranges cannot be used, or not together.
    pub fn new(pods: Range, services: Range) -> Result<Self, SettingsError> {
        let sizes = [
            (pods, "pods", POD_PREFIX_MIN, POD_PREFIX_MAX),
            (services, "services", SERVICE_PREFIX_MIN, SERVICE_PREFIX_MAX),
        ];
        for (range, what, min, max) in sizes {
            if !(min..=max).contains(&range.prefix()) {
                return Err(SettingsError::Size {
                    range,
                    what,
                    min,
                    max,
                });
            }
        }
        if pods.overlaps(services) {
            return Err(SettingsError::Overlap { pods, services });
        }
        Ok(Self {
            pods,
            services,
            ..Self::default()
        })
    }

    /// The cluster's settings. What its ConfigMap lacks, or says in a way that cannot be read, is
    /// as it is by default.
    #[must_use]
    pub fn read(state: &State) -> Self {
        let key = Key::new(Kind::ConfigMap, CONFIG_NAMESPACE, CONFIG_NAME);
        state
            .get(&key)
            .map(|config| Self::of(&config.to_value()["data"]))
            .unwrap_or_default()
    }

    fn of(data: &Value) -> Self {
        let text = |name: &str| data[name].as_str();
        let given = Self::default();
        let ports = text("nodePortRange").and_then(|ports| {
            let (first, last) = ports.split_once('-')?;
            let ports: RangeInclusive<u16> = first.parse().ok()?..=last.parse().ok()?;
            (!ports.is_empty() && *ports.start() > 0).then_some(ports)
        });
        let range = |name: &str| text(name).and_then(|range| range.parse().ok());
        let pods: Range = range("podCIDR").unwrap_or(given.pods);
        let prefix = text("nodeCIDRMaskSize").and_then(|size| size.parse().ok());
        let prefix = prefix.filter(|prefix| (pods.prefix()..=30).contains(prefix));
        Self {
            pods,
            node_prefix: prefix.unwrap_or_else(|| given.node_prefix.max(pods.prefix())),
            services: range("serviceCIDR").unwrap_or(given.services),
            node_ports: ports.unwrap_or(given.node_ports),
            domain: text("clusterDomain").map_or(given.domain, str::to_owned),
        }
    }

    /// The ConfigMap that holds them. It says of itself that it never changes: addresses of these
    /// ranges are in use everywhere.
    #[must_use]
    pub fn config_map(&self, stamper: &mut Stamper) -> Draft {
        let (first, last) = (self.node_ports.start(), self.node_ports.end());
        let data = json!({
            "podCIDR": self.pods.to_string(),
            "nodeCIDRMaskSize": self.node_prefix.to_string(),
            "serviceCIDR": self.services.to_string(),
            "nodePortRange": format!("{first}-{last}"),
            "clusterDomain": self.domain,
        });
        Draft::new(Kind::ConfigMap, CONFIG_NAMESPACE, CONFIG_NAME, stamper)
            .with("data", data)
            .with("immutable", true.into())
    }

    /// The address of the service that stands for the API servers: the first one.
    #[must_use]
    pub fn api_address(&self) -> Ipv4Addr {
        self.services.nth(1)
    }
}
