//! Puts a gateway together: doors, workers, and the task that keeps what they serve.

use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use skiff_api::Revision;
use skiff_client::Client;
use skiff_network::Catalog;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::access_log::AccessLog;
use crate::config::Config;
use crate::keep::{self, NOTES_QUEUE, Objects, Sources};
use crate::serve::{Front, Shared, Workers, listen};
use crate::tls::{self, Resolver};
use crate::{admin, keep::keep, report};

/// Descriptors that are not connections of clients: files, watches, those of the agent.
const DESCRIPTORS_SPARE: u64 = 512;

/// Why a gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A door cannot be opened.
    #[error("listen for HTTP at {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The access log cannot be written.
    #[error("open the access log {}", path.display())]
    Log {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("set up TLS")]
    Tls(#[source] rustls::Error),
    /// A thread cannot be started.
    #[error("start a worker")]
    Worker(#[source] io::Error),
}

/// A gateway whose doors are open, though nobody is let in yet.
pub struct Gateway {
    config: Config,
    fronts: Vec<Front>,
    admin: Option<TcpListener>,
    shared: Arc<Shared>,
    resolver: Arc<Resolver>,
    acceptor: TlsAcceptor,
}

impl Gateway {
    /// Opens its doors: whatever can fail fails here.
    ///
    /// # Errors
    /// [`GatewayError`] for what is taken or not allowed.
    pub async fn open(config: Config) -> Result<Self, GatewayError> {
        let door = |address, tls| {
            listen(address, tls).map_err(|source| GatewayError::Listen { address, source })
        };
        let mut fronts = vec![door(config.listen.http, false)?];
        if let Some(https) = config.listen.https {
            fronts.push(door(https, true)?);
        }
        let admin = match config.admin {
            None => None,
            Some(address) => {
                let listener = TcpListener::bind(address).await;
                Some(listener.map_err(|source| GatewayError::Listen { address, source })?)
            }
        };
        let log = match &config.access_log {
            None => None,
            Some(path) => Some(AccessLog::open(path).map_err(|source| GatewayError::Log {
                path: path.clone(),
                source,
            })?),
        };
        let resolver = Arc::new(Resolver::default());
        let acceptor = tls::acceptor(Arc::clone(&resolver)).map_err(GatewayError::Tls)?;
        Ok(Self {
            config,
            fronts,
            admin,
            shared: Arc::new(Shared::new(log)),
            resolver,
            acceptor,
        })
    }

    /// Where it listens, the admin's address last.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let fronts = self.fronts.iter().filter_map(|front| front.address().ok());
        let admin = self
            .admin
            .iter()
            .filter_map(|admin| admin.local_addr().ok());
        fronts.chain(admin).collect()
    }

    /// Serves by what the servers say until `stop`, and then until requests under way are over.
    ///
    /// # Errors
    /// [`GatewayError::Worker`] if no thread can be started.
    pub async fn run(
        self,
        client: Client,
        catalog: watch::Receiver<Arc<Catalog>>,
        applied: watch::Sender<Revision>,
        stop: CancellationToken,
    ) -> Result<(), GatewayError> {
        let (shown, objects) = watch::channel(Arc::new(Objects::default()));
        let (notes, told) = mpsc::channel(NOTES_QUEUE);
        let (reports, reported) = watch::channel(Arc::new(self.config.report()));
        let mut tasks = JoinSet::new();
        tasks.spawn(keep::follow(client.clone(), shown));
        tasks.spawn(report::send(client.clone(), reported));
        tasks.spawn(keep::tell(client, self.config.name.clone(), told));
        let sources = Sources {
            objects,
            catalog,
            notes,
            applied,
            reports,
        };
        self.serve(sources, stop).await
    }

    /// Serves by what `sources` say until `stop`, and then until requests under way are over.
    ///
    /// # Errors
    /// [`GatewayError::Worker`] if no thread can be started.
    pub async fn serve(
        self,
        sources: Sources,
        stop: CancellationToken,
    ) -> Result<(), GatewayError> {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let count = self.config.workers.unwrap_or(processors).max(1);
        let most = connections_max(self.config.connections_max);
        let workers = Workers::start(count, most, &self.shared, &self.acceptor, &stop);
        let workers = workers.map_err(GatewayError::Worker)?;
        let (ready, mut is_ready) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(report::keep(
            Arc::clone(&self.shared),
            sources.reports.clone(),
        ));
        tasks.spawn(keep(
            Arc::clone(&self.shared),
            self.resolver,
            count,
            sources,
            ready,
        ));
        if let Some(listener) = self.admin {
            tasks.spawn(admin::serve(listener, Arc::clone(&self.shared)));
        }
        let let_in = async {
            // Until the routes are known, nobody is told that there are none.
            if is_ready.wait_for(|ready| *ready).await.is_err() {
                return;
            }
            let fronts = self.fronts.into_iter();
            let doors = fronts.map(|front| workers.take_in(front, &stop));
            futures_util::future::join_all(doors).await;
        };
        tokio::select! {
            () = let_in => {}
            () = stop.cancelled() => {}
        }
        workers.finish(self.config.drain).await;
        Ok(())
    }
}

/// As many connections as wanted, or as many as there can be: each may need one to an endpoint.
fn connections_max(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let possible = descriptors.map_or(u64::MAX, |count| {
        (count.saturating_sub(DESCRIPTORS_SPARE) / 2).max(16)
    });
    let possible = usize::try_from(possible).unwrap_or(usize::MAX);
    if possible < wanted {
        tracing::warn!(
            possible,
            wanted,
            "fewer connections than wanted: the limit of descriptors"
        );
    }
    wanted.min(possible)
}
