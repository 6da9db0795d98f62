//! The packet rules of this node: kept for as long as the pod network is the same, and begun anew
//! with another one.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use skiff_network::routes::Kernel;
use skiff_network::rules::{Keeper, NodeView};
use tokio::sync::watch;
use tokio::time::sleep;

use super::forward::RECHECK;
use super::settings::Settings;
use super::state::{self, Part};
use super::{Network, sysctl};
use crate::runtime::NodeNetwork;

/// Keeps the rules for as long as it is polled.
pub(super) async fn keep(network: &Network, settings: &Settings) {
    let mut shown = network.state.subscribe();
    loop {
        let ready = shown.wait_for(|state| state.network.is_some()).await;
        let Some(made) = ready.ok().and_then(|state| state.network.clone()) else {
            return;
        };
        let mut until = network.state.subscribe();
        let bridged = is_bridged();
        tokio::select! {
            () = on(network, settings, &made) => return,
            _ = until.wait_for(|state| state.network.as_ref() != Some(&made)) => {}
            () = other_than(bridged) => {
                tracing::info!(bridged = !bridged, "the kernel module br_netfilter came or went");
            }
        }
    }
}

/// Keeps the rules of pods on that network.
async fn on(network: &Network, settings: &Settings, made: &NodeNetwork) {
    let (told, mut seen) = watch::channel(Ok(()));
    let keeper = Keeper {
        node: view(network, settings, made, addresses().await),
        catalog: network.catalog.clone(),
        policies: network.enforcement.policies.subscribe(),
        applied: network.applied.clone(),
        enforced: network.enforcement.enforced.clone(),
        state: told,
    };
    let tell = async {
        while seen.changed().await.is_ok() {
            let why = seen.borrow_and_update().clone().err();
            state::trouble(&network.state, Part::Rules, why);
        }
    };
    tokio::join!(keeper.run(), tell);
}

fn view(
    network: &Network,
    settings: &Settings,
    made: &NodeNetwork,
    addresses: Vec<IpAddr>,
) -> NodeView {
    // The Engine's name of the network is this node's alone, of all clusters.
    let table = made.name.strip_prefix("skiff-").unwrap_or(&made.name);
    NodeView {
        name: Arc::clone(&network.node),
        table: table.into(),
        bridge: made.bridge.as_str().into(),
        pod_cidr: made.subnet,
        cluster_cidr: settings.pod_cidr,
        service_cidr: settings.service_cidr,
        addresses,
        same_bridge_masquerade: !is_bridged(),
    }
}

/// Whether packets between pods of one bridge can pass the rules.
fn is_bridged() -> bool {
    Path::new(sysctl::BRIDGED).exists()
}

/// Waits until that is different.
async fn other_than(bridged: bool) {
    while is_bridged() == bridged {
        sleep(RECHECK).await;
    }
}

/// This machine's own addresses.
async fn addresses() -> Vec<IpAddr> {
    let links = async { Kernel::open()?.links().await };
    let links = links.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "this machine's addresses are not known");
        Vec::new()
    });
    let all = links.into_iter().flat_map(|link| link.addresses);
    all.map(|(address, _)| address).collect()
}
