//! The network that the node's pods are on: made once the servers have given a range, made anew
//! when they give another.

use std::time::Duration;

use skiff_network::catalog::Cidr;
use skiff_network::routes::{self, Kernel};

use super::Network;
use super::state::{self, Part};
use crate::chain::Chain;
use crate::runtime::NetworkSpec;

/// The wait after the engine could not make it.
const RETRY: Duration = Duration::from_secs(1);

pub(super) async fn keep(network: &Network) {
    let mut catalog = network.catalog.clone();
    let mut range: Option<Cidr> = None;
    loop {
        // A node that has lost its range keeps it until there is another.
        let given = |catalog: &skiff_network::Catalog| {
            let node = catalog.node(&network.node)?;
            node.pod_cidr.filter(|given| Some(*given) != range)
        };
        let Ok(given) = catalog
            .wait_for(|catalog| given(catalog).is_some())
            .await
            .map(|catalog| given(&catalog))
        else {
            return;
        };
        range = given;
        network.state.send_modify(|state| {
            state.range = range;
            state.network = None;
        });
        // Pods with addresses of before are to be moved.
        network.wake.notify_one();
        let Some(range) = range else { continue };
        let changed = async {
            let other = |catalog: &skiff_network::Catalog| {
                let node = catalog.node(&network.node);
                node.and_then(|node| node.pod_cidr)
                    .is_some_and(|given| given != range)
            };
            // Nobody shows a catalog any more: the agent is ending.
            if catalog
                .clone()
                .wait_for(|catalog| other(catalog))
                .await
                .is_err()
            {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = make(network, range) => {}
            () = changed => {}
        }
    }
}

/// Makes the network of a range, however long it takes.
async fn make(network: &Network, range: Cidr) {
    let mtu = mtu(network).await;
    let spec = NetworkSpec { subnet: range, mtu };
    loop {
        match network.runtime.prepare(&spec).await {
            Ok(made) => {
                tracing::info!(%range, mtu = made.mtu, bridge = made.bridge, "pod network is ready");
                network
                    .state
                    .send_modify(|state| state.network = Some(made));
                state::trouble(&network.state, Part::Bridge, None);
                network.wake.notify_one();
                return;
            }
            Err(error) => {
                let why = format!("cannot make the pod network {range}: {}", Chain(&error));
                tracing::debug!(why, "will retry");
                state::trouble(&network.state, Part::Bridge, Some(why));
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// What pods' links may carry, by the link that other nodes are reached on.
async fn mtu(network: &Network) -> u32 {
    let links = async { Kernel::open()?.links().await };
    let links = links.await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the size of packets is not known; Ethernet's is taken");
        Vec::new()
    });
    routes::pods_mtu(&links, network.address, network.mode)
}
