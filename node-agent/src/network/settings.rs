//! The cluster's settings of the network: written once by its first server, never changed.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde_json::Value;
use skiff_api::{Key, Kind};
use skiff_client::Client;
use skiff_network::catalog::Cidr;

use crate::chain::Chain;

/// Where they are kept.
const NAMESPACE: &str = "kube-system";
const NAME: &str = "skiff-network";

/// The wait after the servers could not be asked.
const RETRY: Duration = Duration::from_secs(1);

/// What every node of the cluster must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The range of all pods of the cluster.
    pub pod_cidr: Cidr,
    /// The range of the addresses of services.
    pub service_cidr: Cidr,
    /// What all names of the cluster end with.
    pub domain: String,
}

impl Default for Settings {
    fn default() -> Self {
        let range = |second| Cidr::new(IpAddr::V4(Ipv4Addr::new(10, second, 0, 0)), 16);
        Self {
            pod_cidr: range(42),
            service_cidr: range(43),
            domain: "cluster.local".to_owned(),
        }
    }
}

/// Asks the servers until they answer. A cluster of an older release has no settings.
pub(crate) async fn read(client: &Client) -> Settings {
    let key = Key::new(Kind::ConfigMap, NAMESPACE, NAME);
    let mut failing = false;
    loop {
        match client.get_opt::<Value>(&key).await {
            Ok(found) => return found.as_ref().map(parse).unwrap_or_default(),
            Err(error) if failing => {
                tracing::debug!(error = %Chain(&error), "still cannot read the network's settings");
            }
            Err(error) => {
                failing = true;
                tracing::warn!(
                    error = %Chain(&error),
                    "cannot read the network's settings; will retry"
                );
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn parse(object: &Value) -> Settings {
    let default = Settings::default();
    let range = |field: &str| object.get("data")?.get(field)?.as_str()?.parse().ok();
    let domain = object
        .pointer("/data/clusterDomain")
        .and_then(Value::as_str);
    let domain = domain.filter(|domain| !domain.is_empty());
    Settings {
        pod_cidr: range("podCIDR").unwrap_or(default.pod_cidr),
        service_cidr: range("serviceCIDR").unwrap_or(default.service_cidr),
        domain: domain.map_or(default.domain, str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_said_is_the_default() {
        let cases = [
            ("nothing", json!({}), "10.42.0.0/16"),
            (
                "another range",
                json!({"data": {"podCIDR": "10.77.0.0/16"}}),
                "10.77.0.0/16",
            ),
            (
                "nonsense",
                json!({"data": {"podCIDR": "pods"}}),
                "10.42.0.0/16",
            ),
        ];
        for (case, object, expected) in cases {
            assert_eq!(parse(&object).pod_cidr.to_string(), expected, "{case}");
        }
    }
}
