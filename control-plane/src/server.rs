//! Builds all parts of a server, connects them, and takes them down in order.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use skiff_api::Revision;
use skiff_engine::State;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backup;
use crate::bootstrap::{self, BootstrapError};
use crate::http::{self, Api};
use crate::join::{self, Join};
use crate::listener::{self, TlsError};
use crate::loops;
use crate::nodes::Nodes;
use crate::pki::{Pki, PkiError, ServerNames};
use crate::recovery::{self, RecoveryError};
use crate::store::{News, OpenError, Store, StoreConfig};
use crate::watch::WatchHub;

/// Recent changes kept for watches, in bytes of objects.
const HISTORY_BYTES: usize = 64 << 20;
/// How long a stopping server waits for its parts.
const STOP_MAX: Duration = Duration::from_secs(5);

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
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data directory cannot be used.
    #[error("use the data directory {path}")]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another server runs on this data directory.
    #[error("another skiff server is running on {path}; stop it, or use another --data-dir")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The address is taken or not ours.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Keys and certificates.
    #[error("prepare keys and certificates")]
    Pki(#[from] PkiError),
    /// TLS.
    #[error("set up TLS")]
    Tls(#[from] TlsError),
    /// The log or its checkpoints.
    #[error("open the store")]
    Store(#[from] OpenError),
    /// The store could not be opened because its thread died.
    #[error("open the store: its thread ended")]
    StoreThread,
    /// What is there was never finished.
    #[error("use what was restored")]
    Restored(#[from] RecoveryError),
    /// The first objects.
    #[error("set up the cluster")]
    Bootstrap(#[from] BootstrapError),
}

/// A running server.
pub struct Server {
    /// The address it listens on.
    pub address: SocketAddr,
    /// The URL for clients on this machine.
    pub url: String,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The file with the agents' join token.
    pub agent_token: PathBuf,
    store: Store,
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
        let dir = config.data_dir.as_path();
        let lock = lock_data_dir(dir)?;
        recovery::refuse_unfinished(dir)?;
        let listen = |source| ServerError::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let url = format!("https://{}", local_name(address));
        let pki = Arc::new(Pki::open(dir, &names(&config, address))?);
        let tls = listener::tls_config(&pki)?;
        let kubeconfig = pki.write_admin_kubeconfig(dir, &url)?;
        let (store, hub) = open_store(dir.join("db"), recovery::member_of(dir)?).await?;
        bootstrap::ensure(&store, dir, &pki.ca_hash()).await?;

        let nodes = Nodes::default();
        let stop = CancellationToken::new();
        let api = Api::new(store.clone(), hub.clone(), nodes.clone());
        let join = Join {
            store: store.clone(),
            nodes: nodes.clone(),
            pki: pki.clone(),
        };
        let router = join::router(join)
            .merge(backup::router(store.clone(), pki))
            .merge(http::router(Arc::new(api)));
        let serving = listener::serve(listener, tls, router, nodes.clone(), stop.clone());
        let looping = loops::run(store.clone(), hub, nodes, stop.clone());
        let tasks = vec![tokio::spawn(serving), tokio::spawn(looping)];
        tracing::info!(%address, "the server is ready");
        let agent_token = dir.join("agent.token");
        Ok(Self {
            address,
            url,
            kubeconfig,
            agent_token,
            store,
            stop,
            tasks,
            _lock: lock,
        })
    }

    /// Stops serving, then closes the store.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            if tokio::time::timeout(STOP_MAX, task).await.is_err() {
                tracing::warn!("a part of the server did not stop in time");
            }
        }
        self.store.shutdown().await;
    }
}

async fn open_store(dir: PathBuf, member: u64) -> Result<(Store, WatchHub), ServerError> {
    let opening = tokio::task::spawn_blocking(move || {
        let hub = WatchHub::new(Revision(0), HISTORY_BYTES);
        let publisher = hub.clone();
        let on_applied = Box::new(move |state: &State, news: News<'_>| publisher.take(state, news));
        let store = Store::open(StoreConfig::new(&dir, member), on_applied)?;
        hub.begin_at(store.state().revision());
        Ok::<_, OpenError>((store, hub))
    });
    let (store, hub) = opening.await.map_err(|_| ServerError::StoreThread)??;
    Ok((store, hub))
}

/// Two servers on one directory would destroy it; the lock goes with the process.
pub(crate) fn lock_data_dir(dir: &Path) -> Result<File, ServerError> {
    let data_dir = |source| ServerError::DataDir {
        path: dir.to_owned(),
        source,
    };
    std::fs::create_dir_all(dir).map_err(data_dir)?;
    let lock = File::create(dir.join("lock")).map_err(data_dir)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(ServerError::Locked {
            path: dir.to_owned(),
        }),
        Err(std::fs::TryLockError::Error(source)) => Err(data_dir(source)),
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

/// Everything that clients may call this server.
fn names(config: &ServerConfig, address: SocketAddr) -> ServerNames {
    let mut dns = vec!["localhost".to_owned(), "kubernetes".to_owned()];
    let mut ips: Vec<IpAddr> = vec![Ipv4Addr::LOCALHOST.into()];
    let hostname = rustix::system::uname();
    if let Ok(name) = hostname.nodename().to_str() {
        dns.push(name.to_lowercase());
    }
    if address.ip().is_unspecified() {
        ips.extend(own_address());
    } else {
        ips.push(address.ip());
    }
    let advertised = config.advertise.as_deref();
    if let Some(host) = advertised.map(|name| name.rsplit_once(':').map_or(name, |(host, _)| host))
    {
        match host.trim_matches(['[', ']']).parse() {
            Ok(ip) => ips.push(ip),
            Err(_) => dns.push(host.to_owned()),
        }
    }
    dns.sort();
    dns.dedup();
    ips.sort();
    ips.dedup();
    ServerNames { dns, ips }
}

/// The address that this machine would use to reach others; sends nothing.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
