//! What every pod of the node needs: its network and the pause image.
//!
//! Both are looked up once and remembered; [`Ground::forget`] makes the next sandbox look again,
//! which is how the agent recovers from an Engine that has lost them.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use bollard::query_parameters::{ImportImageOptions, ListNetworksOptionsBuilder};
use futures_util::TryStreamExt;

use super::error::{Subject, within};
use super::names::Owner;
use super::pause;
use crate::runtime::{NodeNetwork, RuntimeError, Step};

/// Creating a bridge takes about half a second on a loaded machine; loading the pause image less.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(60);

/// The node's network, by the Engine's id, once it is known.
#[derive(Debug, Default)]
pub(super) struct Ground {
    // A std mutex: held for a copy of two strings, never across an await.
    ready: Mutex<Option<Ready>>,
    /// One preparation at a time, or two sandboxes would make two networks.
    preparing: tokio::sync::Mutex<()>,
}

/// Proof that network and pause image were there.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    /// The Engine's id of the network: names may be ambiguous, ids are not.
    pub(super) network_id: String,
    /// The network in our words.
    pub(super) network: NodeNetwork,
}

impl Ground {
    /// What is known to be there, made if necessary.
    pub(super) async fn ready(
        &self,
        docker: &Docker,
        owner: &Owner,
        subnet: Option<&str>,
    ) -> Result<Ready, RuntimeError> {
        let _one_at_a_time = self.preparing.lock().await;
        if let Some(ready) = self.known() {
            return Ok(ready);
        }
        load_pause_image(docker).await?;
        let ready = network(docker, owner, subnet).await?;
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(ready.clone());
        Ok(ready)
    }

    /// Makes the next [`Ground::ready`] look again.
    pub(super) fn forget(&self) {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn known(&self) -> Option<Ready> {
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn load_pause_image(docker: &Docker) -> Result<(), RuntimeError> {
    let step = Step::ImportPause;
    let call = async {
        if docker.inspect_image(pause::PAUSE_IMAGE).await.is_ok() {
            return Ok(None);
        }
        docker.version().await.map(Some)
    };
    let Some(version) = within(step, Subject::Engine, PREPARE_TIMEOUT, call).await? else {
        return Ok(());
    };
    let arch = version.arch.unwrap_or_default();
    let archive = pause::archive(&arch).ok_or_else(|| RuntimeError::Refused {
        step,
        message: format!("there is no pause program for the architecture {arch:?}"),
    })?;
    let archive = archive.map_err(|err| RuntimeError::Unreadable {
        step,
        source: Box::new(err),
    })?;
    let load = docker
        .import_image(
            ImportImageOptions::default(),
            bollard::body_full(archive.into()),
            None,
        )
        .try_for_each(|_progress| std::future::ready(Ok(())));
    within(step, Subject::Engine, PREPARE_TIMEOUT, load).await
}

async fn network(
    docker: &Docker,
    owner: &Owner,
    subnet: Option<&str>,
) -> Result<Ready, RuntimeError> {
    if let Some(found) = find_network(docker, owner).await? {
        return Ok(found);
    }
    let ipam = subnet.map(|subnet| Ipam {
        config: Some(vec![IpamConfig {
            subnet: Some(subnet.to_owned()),
            ..IpamConfig::default()
        }]),
        ..Ipam::default()
    });
    let request = NetworkCreateRequest {
        name: owner.network(),
        driver: Some("bridge".to_owned()),
        labels: Some(owner.labels()),
        ipam,
        ..NetworkCreateRequest::default()
    };
    let step = Step::CreateNetwork;
    within(
        step,
        Subject::Engine,
        PREPARE_TIMEOUT,
        docker.create_network(request),
    )
    .await?;
    find_network(docker, owner)
        .await?
        .ok_or_else(|| RuntimeError::Refused {
            step,
            message: format!(
                "the network {} is not there after its creation",
                owner.network()
            ),
        })
}

/// The oldest network with this node's labels: all passes must agree on one, should there be two.
async fn find_network(docker: &Docker, owner: &Owner) -> Result<Option<Ready>, RuntimeError> {
    let options = ListNetworksOptionsBuilder::default()
        .filters(&owner.filter())
        .build();
    let call = docker.list_networks(Some(options));
    let mut networks = within(Step::CreateNetwork, Subject::Engine, PREPARE_TIMEOUT, call).await?;
    networks.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
    let found = networks.into_iter().find_map(|network| {
        let ipam = network
            .ipam
            .and_then(|ipam| ipam.config)
            .unwrap_or_default();
        let range = ipam.into_iter().next().unwrap_or_default();
        Some(Ready {
            network_id: network.id?,
            network: NodeNetwork {
                name: network.name?,
                subnet: range.subnet,
                gateway: range.gateway.and_then(|gateway| gateway.parse().ok()),
            },
        })
    });
    Ok(found)
}
