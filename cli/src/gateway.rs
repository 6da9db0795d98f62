//! The gateway of a server, and `skiff gateway`: what is served where.

mod routes;
mod status;

use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;

use skiff_client::{Client, Kubeconfig};
use skiff_control_plane::server::Server;
use skiff_gateway::{Config, Gateway};
use skiff_network::Catalog;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::args::{Connection, GatewayCommand};
use crate::error::CliError;
use crate::{connect, print, process};

/// Runs one of the verbs.
pub(crate) async fn run(connection: &Connection, verb: GatewayCommand) -> Result<(), CliError> {
    let cluster = connect::connect(connection)?;
    match verb {
        GatewayCommand::Status(args) => status::run(&cluster, &args).await,
        GatewayCommand::Routes(args) => routes::run(&cluster, &args).await,
    }
}

/// A gateway that runs beside a server.
pub(crate) struct Running {
    serving: JoinHandle<()>,
    following: JoinHandle<()>,
    stop: CancellationToken,
}

/// Starts a gateway beside a server; it sees the cluster as its administrator does.
pub(crate) async fn start(mut config: Config, server: &Server) -> Result<Running, CliError> {
    // By this name the servers know where it is reached.
    config.name.clone_from(&server.name);
    let listen = config.listen;
    let opened = Gateway::open(config).await;
    let gateway = opened.map_err(|source| process::process("cannot start the gateway", source))?;
    let files: [PathBuf; 1] = [server.kubeconfig.clone()];
    let client = Client::new(Kubeconfig::read(&files)?.client_config(None)?)?;
    let (shown, catalog) = watch::channel(Arc::new(Catalog::default()));
    let following = skiff_network::follow::follow(client.clone(), shown);
    let following = tokio::spawn(following);
    let applied = server.gateway_applied();
    let stop = CancellationToken::new();
    let (until, seen) = (stop.clone(), catalog.clone());
    let serving = tokio::spawn(async move {
        // Dropped with this task: where there are no nodes, it would wait for one for ever.
        let mut beside = JoinSet::new();
        beside.spawn(warn_if_no_node(seen));
        if let Err(error) = gateway.run(client, catalog, applied, until).await {
            tracing::error!(%error, "the gateway ended");
        }
    });
    print::line(&format!("The gateway is at {listen}"))?;
    Ok(Running {
        serving,
        following,
        stop,
    })
}

impl Running {
    /// Ends it; requests under way get their time.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the gateway failed");
        }
        self.following.abort();
    }
}

/// Requests go straight to pods, which only nodes are sure to reach.
async fn warn_if_no_node(mut catalog: watch::Receiver<Arc<Catalog>>) {
    let addresses = match catalog.wait_for(|catalog| has_nodes(catalog)).await {
        Ok(catalog) => catalog
            .nodes()
            .filter_map(|node| node.address)
            .collect::<Vec<_>>(),
        Err(_) => return,
    };
    if !addresses.into_iter().any(is_own) {
        tracing::warn!(
            "this host is not a node: the gateway reaches pods only if this host has routes to \
             the nodes' pod addresses; run an agent here, or the gateway on an agent"
        );
    }
}

fn has_nodes(catalog: &Catalog) -> bool {
    catalog.nodes().any(|node| node.address.is_some())
}

/// Whether an address is one of this host's. Nothing is sent for it.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}
