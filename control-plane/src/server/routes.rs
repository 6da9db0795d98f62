//! All that a server answers, as one router.

use std::sync::Arc;

use axum::Router;

use crate::backup;
use crate::cluster::Cluster;
use crate::forward;
use crate::http::{self, Api};
use crate::join::{self, Join};
use crate::loops::Heard;
use crate::network::{self, applied::Applied};
use crate::peers::Peers;
use crate::pki::Pki;
use crate::watch::WatchHub;

/// The Kubernetes API, and what it lacks under `/skiff/v1`. Writes go to whoever leads.
pub(super) fn all(
    cluster: &Cluster,
    pki: &Arc<Pki>,
    hub: &WatchHub,
    heard: &Heard,
    peers: &Peers,
    applied: &Applied,
) -> Router {
    let store = cluster.store().clone();
    let nodes = &heard.nodes;
    let api = Api::new(store.clone(), hub.clone(), nodes.clone());
    let backup = backup::router(store.clone(), pki.clone());
    let gateways = network::gateways::router(
        store.clone(),
        heard.gateways.clone(),
        heard.canaries.clone(),
    );
    let network = network::router(store.clone(), hub.clone(), applied.clone()).merge(gateways);
    let join = Join {
        store: store.clone(),
        nodes: nodes.clone(),
        pki: pki.clone(),
    };
    let router = join::router(join)
        .merge(cluster.router())
        .merge(backup)
        .merge(network)
        .merge(http::router(Arc::new(api)));
    forward::layer(router, store, peers.clone())
}
