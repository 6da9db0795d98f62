//! The node's network on the Engine: a bridge with the range that the servers gave to the node.
//!
//! The Engine hands out the addresses and makes the links. It does not translate what leaves the
//! bridge: pods see each other's own addresses, and what leaves the cluster is the packet rules'
//! matter.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest, NetworkDisconnectRequest};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptionsBuilder};

use super::error::{Subject, within};
use super::names::Owner;
use crate::chain::Chain;
use crate::runtime::{NetworkSpec, NodeNetwork, RuntimeError, Step};

/// Creating a bridge takes about half a second on a loaded machine; loading the pause image less.
pub(super) const PREPARE_TIMEOUT: Duration = Duration::from_secs(60);

const STEP: Step = Step::CreateNetwork;

const MTU: &str = "com.docker.network.driver.mtu";
const BRIDGE: &str = "com.docker.network.bridge.name";
const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";

/// Proof that the network was there.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    /// The Engine's id of the network: names may be ambiguous, ids are not.
    pub(super) network_id: String,
    /// The network in our words.
    pub(super) network: NodeNetwork,
}

/// How far a network that is there is what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// It is.
    Same,
    /// Its addresses are right, something else is not: pods can live with it.
    Usable,
    /// Its addresses are others.
    Wrong,
}

/// Finds the network, or makes it, and removes what else the node has.
pub(super) async fn ensure(
    docker: &Docker,
    owner: &Owner,
    wanted: &NetworkSpec,
) -> Result<Ready, RuntimeError> {
    if let Some(ready) = settle(docker, owner, wanted).await? {
        return Ok(ready);
    }
    let create = docker.create_network(request(owner, wanted));
    within(STEP, Subject::Engine, PREPARE_TIMEOUT, create).await?;
    let found = list(docker, owner).await?;
    let made = found
        .into_iter()
        .find(|network| fit(owner, wanted, network) == Fit::Same);
    made.and_then(|network| ready(owner, wanted, network))
        .ok_or_else(|| RuntimeError::Refused {
            step: STEP,
            message: format!(
                "the network {} is not there after its creation",
                owner.network()
            ),
        })
}

/// Keeps the oldest network that fits, for all passes must agree on one, and removes the others.
async fn settle(
    docker: &Docker,
    owner: &Owner,
    wanted: &NetworkSpec,
) -> Result<Option<Ready>, RuntimeError> {
    let mut kept: Option<Network> = None;
    for network in list(docker, owner).await? {
        let id = network.id.clone().unwrap_or_default();
        match fit(owner, wanted, &network) {
            Fit::Same if kept.is_none() => kept = Some(network),
            Fit::Same | Fit::Usable => match remove(docker, &id).await {
                Ok(()) => {}
                Err(error) if kept.is_none() => {
                    tracing::warn!(
                        error = %Chain(&error), network = owner.network(),
                        "the network was made with other options and is in use; it stays"
                    );
                    kept = Some(network);
                }
                Err(error) => tracing::debug!(error = %Chain(&error), "another network stays"),
            },
            Fit::Wrong => {
                cut_off(docker, &id).await?;
                remove(docker, &id).await?;
            }
        }
    }
    Ok(kept.and_then(|network| ready(owner, wanted, network)))
}

async fn list(docker: &Docker, owner: &Owner) -> Result<Vec<Network>, RuntimeError> {
    let options = ListNetworksOptionsBuilder::default()
        .filters(&owner.filter())
        .build();
    let call = docker.list_networks(Some(options));
    let mut networks = within(STEP, Subject::Engine, PREPARE_TIMEOUT, call).await?;
    networks.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
    Ok(networks)
}

async fn remove(docker: &Docker, id: &str) -> Result<(), RuntimeError> {
    let call = docker.remove_network(id);
    within(STEP, Subject::Existing(id), PREPARE_TIMEOUT, call).await
}

/// Takes everything off a network. Only this node's pods are on it, and with addresses that the
/// node no longer has nobody would reach them.
async fn cut_off(docker: &Docker, id: &str) -> Result<(), RuntimeError> {
    let call = docker.inspect_network(id, None::<InspectNetworkOptions>);
    let found = within(STEP, Subject::Existing(id), PREPARE_TIMEOUT, call).await?;
    for container in found.containers.unwrap_or_default().into_keys() {
        let request = NetworkDisconnectRequest {
            container,
            force: Some(true),
        };
        let call = docker.disconnect_network(id, request);
        within(STEP, Subject::Existing(id), PREPARE_TIMEOUT, call).await?;
    }
    Ok(())
}

fn request(owner: &Owner, wanted: &NetworkSpec) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: owner.network(),
        driver: Some("bridge".to_owned()),
        labels: Some(owner.labels()),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(wanted.subnet.to_string()),
                gateway: Some(wanted.subnet.gateway().to_string()),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        options: Some(options(owner, wanted)),
        ..NetworkCreateRequest::default()
    }
}

fn options(owner: &Owner, wanted: &NetworkSpec) -> HashMap<String, String> {
    HashMap::from([
        (MTU.to_owned(), wanted.mtu.to_string()),
        (BRIDGE.to_owned(), owner.bridge()),
        (MASQUERADE.to_owned(), "false".to_owned()),
    ])
}

fn fit(owner: &Owner, wanted: &NetworkSpec, found: &Network) -> Fit {
    let ranges = found.ipam.as_ref().and_then(|ipam| ipam.config.as_ref());
    let subnets = ranges.into_iter().flatten().map(|range| &range.subnet);
    if !subnets.eq([&Some(wanted.subnet.to_string())]) {
        return Fit::Wrong;
    }
    let found = found.options.clone().unwrap_or_default();
    let is_as_wanted = |(key, value): (&String, &String)| found.get(key) == Some(value);
    let wanted = options(owner, wanted);
    // Whatever the bridge is called and translates, the packet rules would not know it.
    let named = |key: &str| found.get(key) == wanted.get(key);
    match () {
        () if wanted.iter().all(is_as_wanted) => Fit::Same,
        () if named(BRIDGE) && named(MASQUERADE) => Fit::Usable,
        () => Fit::Wrong,
    }
}

fn ready(owner: &Owner, wanted: &NetworkSpec, found: Network) -> Option<Ready> {
    let options = found.options.unwrap_or_default();
    let mtu = options.get(MTU).and_then(|mtu| mtu.parse().ok());
    Some(Ready {
        network_id: found.id?,
        network: NodeNetwork {
            name: found.name?,
            bridge: owner.bridge(),
            subnet: wanted.subnet,
            mtu: mtu.unwrap_or(wanted.mtu),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            instance: "skiff-a1b2c3".into(),
            node: "n1".into(),
        }
    }

    fn spec(subnet: &str, mtu: u32) -> NetworkSpec {
        let subnet = subnet.parse().expect("a range");
        NetworkSpec { subnet, mtu }
    }

    #[test]
    fn a_network_is_kept_only_if_pods_can_live_with_it() {
        let made = |spec: &NetworkSpec| {
            let request = request(&owner(), spec);
            Network {
                ipam: request.ipam,
                options: request.options,
                ..Network::default()
            }
        };
        let wanted = spec("10.42.3.0/24", 1500);
        let mut foreign = made(&wanted);
        foreign.options = None;
        let cases = [
            ("the same", made(&wanted), Fit::Same),
            (
                "other packets",
                made(&spec("10.42.3.0/24", 1450)),
                Fit::Usable,
            ),
            (
                "another range",
                made(&spec("10.42.4.0/24", 1500)),
                Fit::Wrong,
            ),
            ("made by an older agent", foreign, Fit::Wrong),
            ("no range at all", Network::default(), Fit::Wrong),
        ];
        for (case, network, expected) in cases {
            assert_eq!(fit(&owner(), &wanted, &network), expected, "{case}");
        }
    }
}
