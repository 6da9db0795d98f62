//! Builds all parts of a server, connects them, and takes them down in order.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use skiff_api::Revision;
use skiff_engine::network::{Range, Settings, SettingsError};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::bootstrap;
use crate::cluster::{self, Cluster};
use crate::joining::Invitation;
use crate::listener;
use crate::loops::{self, Heard};
use crate::members::roster::Roster;
use crate::members::urls;
use crate::network::applied::Applied;
use crate::peers::{self, Peers};
use crate::pki::Pki;
use crate::store::Store;
use crate::token::Usage;
use crate::upkeep::Upkeep;

mod error;
mod opening;
mod place;
mod routes;

pub use error::ServerError;
pub(crate) use opening::lock_data_dir;
pub(crate) use place::host_name;

/// How long a stopping server waits for its parts.
const STOP_MAX: Duration = Duration::from_secs(5);
/// How long another server may take to take the leadership over.
const HAND_OVER_MAX: Duration = Duration::from_secs(2);

/// What a server is told.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where everything is kept; made if missing.
    pub data_dir: PathBuf,
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `HOST:PORT` under which others reach this server; by default the address listened on, or
    /// this machine's own for 0.0.0.0.
    pub advertise: Option<String>,
    /// Its name among the servers; by default the one that it had before, or this machine's.
    pub name: Option<String>,
    /// The cluster to join; not looked at once this server is a member of one.
    pub invitation: Invitation,
    /// The addresses of pods, for a cluster that is made by this server; by default 10.42.0.0/16.
    pub pod_cidr: Option<Range>,
    /// The addresses of services, likewise; by default 10.43.0.0/16.
    pub service_cidr: Option<Range>,
}

impl ServerConfig {
    /// A server of its own, with defaults for everything else.
    #[must_use]
    pub fn new(data_dir: PathBuf, listen: SocketAddr) -> Self {
        Self {
            data_dir,
            listen,
            advertise: None,
            name: None,
            invitation: Invitation::default(),
            pod_cidr: None,
            service_cidr: None,
        }
    }

    /// The network's settings for a new cluster.
    fn network(&self) -> Result<Settings, SettingsError> {
        let default = Settings::default();
        Settings::new(
            self.pod_cidr.unwrap_or(default.pods),
            self.service_cidr.unwrap_or(default.services),
        )
    }

    /// Says so if a cluster that there is was made with other ranges than those given now.
    fn compare_network(&self, found: Option<Settings>) {
        let Some(found) = found else { return };
        let ranges = [
            ("pod-cidr", self.pod_cidr, found.pods),
            ("service-cidr", self.service_cidr, found.services),
        ];
        for (flag, given, found) in ranges {
            if let Some(given) = given.filter(|given| *given != found) {
                tracing::warn!(%given, %found, "--{flag} is decided when a cluster is made; ignored");
            }
        }
    }
}

/// A running server.
pub struct Server {
    /// Its name among the servers.
    pub name: String,
    /// The address it listens on.
    pub address: SocketAddr,
    /// The URL for clients on this machine.
    pub url: String,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The file with the agents' join token.
    pub agent_token: PathBuf,
    /// The file with the servers' join token.
    pub server_token: PathBuf,
    store: Store,
    cluster: Cluster,
    peers: Peers,
    applied: Applied,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    _lock: File,
}

impl Server {
    /// Starts a server; when this returns, it answers.
    ///
    /// # Errors
    /// [`ServerError`] by the step that failed; nothing is left running.
    pub async fn start(config: ServerConfig) -> Result<Self, ServerError> {
        let network = config.network().map_err(ServerError::Network)?;
        let dir = config.data_dir.as_path();
        let lock = opening::take_data_dir(dir)?;
        let (listener, address) = opening::listen(config.listen).await?;
        let url = format!("https://{}", local_name(address));
        let (record, me) = place::find_place(&config, address).await?;
        let roster = Roster::new(&record);
        let pki = Arc::new(Pki::open(dir, &place::names(&config, address))?);
        let tls = listener::tls_config(&pki)?;
        let dialling = Arc::new(peers::tls_config(&pki)?);
        let known = urls(&roster.members());
        let kubeconfig = pki.write_admin_kubeconfig(dir, &url, &known)?;
        let peers = Peers::new(record.id, dialling.clone(), roster.watch());
        let (store, hub) = opening::open_store(dir, &record, &roster, &peers).await?;
        if store.is_leader() {
            bootstrap::ensure(&store, dir, &pki.ca_hash(), &me, &network).await?;
        }
        config.compare_network(bootstrap::network::settings(&store.state()));
        peers.attach(store.clone());

        let heard = Heard::default();
        let stop = CancellationToken::new();
        let cluster = Cluster::new(&store, &pki, dialling, &record.founders);
        let applied = Applied::new(store.clone(), heard.nodes.clone(), peers.clone());
        let router = routes::all(&cluster, &pki, &hub, &heard, &peers, &applied);
        let upkeep = Upkeep {
            cluster: cluster.clone(),
            pki,
            roster,
            dir: dir.to_owned(),
            url: url.clone(),
            me,
            network,
            founders: record.founders,
        };
        let (agents, others) = (heard.nodes.clone(), peers.clone());
        let serving = listener::serve(listener, tls, router, agents, others, stop.clone());
        let tasks = vec![
            tokio::spawn(serving),
            tokio::spawn(loops::run(store.clone(), hub, heard, stop.clone())),
            tokio::spawn(cluster::run(cluster.clone(), stop.clone())),
            tokio::spawn(upkeep.run(stop.clone())),
        ];
        tracing::info!(%address, member = record.id, "the server is ready");
        Ok(Self {
            name: record.name,
            address,
            url,
            kubeconfig,
            agent_token: dir.join(Usage::Agent.file()),
            server_token: dir.join(Usage::Server.file()),
            store,
            cluster,
            peers,
            applied,
            stop,
            tasks,
            _lock: lock,
        })
    }

    #[cfg(test)]
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Where a gateway in this process says up to which revision it follows the endpoints; while it
    /// says nothing, nobody waits for it.
    #[must_use]
    pub fn gateway_applied(&self) -> watch::Sender<Revision> {
        self.applied.gateway()
    }

    /// Hands the leadership over if there is somebody to take it, stops serving, then closes the
    /// store.
    pub async fn stop(self) {
        self.hand_over().await;
        self.stop.cancel();
        for task in self.tasks {
            if tokio::time::timeout(STOP_MAX, task).await.is_err() {
                tracing::warn!("a part of the server did not stop in time");
            }
        }
        self.store.shutdown().await;
        self.peers.stop().await;
    }

    /// So that nobody has to wait for an election.
    async fn hand_over(&self) {
        if !self.store.is_leader() || self.store.status().voters.len() < 2 {
            return;
        }
        match tokio::time::timeout(HAND_OVER_MAX, self.cluster.hand_over()).await {
            Ok(Ok(leader)) => tracing::info!(leader, "handed the leadership over"),
            Ok(Err(err)) => tracing::warn!(error = %err, "could not hand the leadership over"),
            Err(_) => tracing::warn!("nobody took the leadership over in time"),
        }
    }
}

/// How clients on this machine reach the server.
fn local_name(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
    } else {
        address
    }
}
