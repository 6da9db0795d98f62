//! What the cluster says of its names: written once by its first server, never changed.

use std::time::Duration;

use serde_json::Value;
use skiff_api::{Key, Kind};
use skiff_client::Client;
use skiff_network::catalog::Cidr;

use crate::chain::Chain;

/// Where it is kept.
const NAMESPACE: &str = "kube-system";
const NAME: &str = "skiff-network";

/// What a cluster that does not say anything else calls itself.
const DOMAIN: &str = "cluster.local";

/// The wait after the servers could not be asked.
const RETRY: Duration = Duration::from_secs(1);

/// What names depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// What all names of the cluster end with.
    pub(super) domain: String,
    /// The ranges of pods and services.
    pub(super) ranges: Vec<Cidr>,
}

/// Asks the servers until they answer.
pub(super) async fn read(client: &Client) -> Settings {
    let key = Key::new(Kind::ConfigMap, NAMESPACE, NAME);
    let mut failing = false;
    loop {
        match client.get_opt::<Value>(&key).await {
            Ok(found) => return parse(&found.unwrap_or_default()),
            Err(error) if failing => {
                tracing::debug!(error = %Chain(&error), "still cannot read the cluster's domain");
            }
            Err(error) => {
                failing = true;
                tracing::warn!(error = %Chain(&error), "cannot read the cluster's domain; will retry");
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

pub(super) fn parse(object: &Value) -> Settings {
    let text = |field: &str| object.get("data")?.get(field)?.as_str();
    let range = |field: &str| text(field).and_then(|range| range.parse().ok());
    let domain = text("clusterDomain").filter(|domain| !domain.is_empty());
    Settings {
        domain: domain.unwrap_or(DOMAIN).to_owned(),
        ranges: [range("podCIDR"), range("serviceCIDR")]
            .into_iter()
            .flatten()
            .collect(),
    }
}
