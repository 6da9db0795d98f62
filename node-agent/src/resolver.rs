//! Keeps the node's resolver going: a process of its own at the first address of the node's pods,
//! fed with what the catalog says. The process outlives the agent; an agent that starts adopts it,
//! or replaces it where it runs another program, without a question being lost.

mod child;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use skiff_client::Client;
use skiff_network::Catalog;
use skiff_network::dns::feed::{self, Hello, Line};
use skiff_network::dns::process::ProcessConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use self::child::Child;
use crate::chain::Chain;
use crate::network::{Settings, settings};

/// Where names are asked for.
const PORT: u16 = 53;

/// Between two tries to have a resolver.
const RETRY: Duration = Duration::from_millis(500);

/// How long the process may take to take in what it is told.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// What pods must know to ask the node's resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterDns {
    /// Where it answers.
    pub address: IpAddr,
    /// The cluster's domain.
    pub domain: String,
}

/// Why the resolver is not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolverError {
    /// Its folder.
    #[error("prepare {path}")]
    Folder {
        /// Which.
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The process does not start.
    #[error("start {program}")]
    Start {
        /// What was to be run.
        program: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The process ended at once.
    #[error("the resolver's process ended: {last}")]
    Ended {
        /// The last line of its log.
        last: String,
    },
    /// The process is not there in time.
    #[error("the resolver's process does not answer")]
    Silent,
    /// It cannot be told anything.
    #[error("tell the resolver what there is")]
    Tell(#[source] io::Error),
}

/// Keeps the resolver of a node.
pub(crate) struct Keeper {
    /// The servers.
    pub(crate) client: Client,
    /// The node's name.
    pub(crate) node: String,
    /// The program that has the verb `dns`.
    pub(crate) program: PathBuf,
    /// The process's folder, an absolute path.
    pub(crate) dir: PathBuf,
    /// The file that names its upstream servers.
    pub(crate) resolv_conf: PathBuf,
    /// Nodes, services, endpoints.
    pub(crate) catalog: watch::Receiver<Arc<Catalog>>,
    /// Where it is told what pods must know.
    pub(crate) shown: watch::Sender<Option<ClusterDns>>,
}

impl Keeper {
    /// Runs for as long as it is polled. The process goes on.
    pub(crate) async fn run(self) {
        let settings = settings::read(&self.client).await;
        let mut catalog = self.catalog.clone();
        let mut failing = false;
        let mut child = Child::new(&self.program, &self.dir);
        loop {
            let Ok(address) = self.address(&mut catalog).await else {
                return;
            };
            self.shown.send_replace(Some(ClusterDns {
                address,
                domain: settings.domain.clone(),
            }));
            let config = self.config(address, &settings);
            let moved = async {
                // Ends when the node has got another range, and with it another address.
                let other = |catalog: &Arc<Catalog>| {
                    range_address(catalog, &self.node).is_some_and(|now| now != address)
                };
                let mut catalog = self.catalog.clone();
                catalog.wait_for(other).await.map(|_| ())
            };
            tokio::select! {
                ended = moved => if ended.is_err() { return },
                Err(error) = self.attend(&config, &mut child) => {
                    if failing {
                        tracing::debug!(error = %Chain(&error), "still no resolver");
                    } else {
                        tracing::warn!(error = %Chain(&error), "names cannot be kept up to date; will retry");
                    }
                    failing = true;
                    sleep(RETRY).await;
                    continue;
                }
            }
            failing = false;
        }
    }

    fn config(&self, address: IpAddr, settings: &Settings) -> ProcessConfig {
        ProcessConfig {
            listen: SocketAddr::new(address, PORT),
            dir: self.dir.clone(),
            domain: settings.domain.clone(),
            ranges: vec![settings.pod_cidr, settings.service_cidr],
            resolv_conf: self.resolv_conf.clone(),
        }
    }

    /// The first address of the node's range, once the servers have given it one.
    async fn address(
        &self,
        catalog: &mut watch::Receiver<Arc<Catalog>>,
    ) -> Result<IpAddr, watch::error::RecvError> {
        loop {
            let found = range_address(&catalog.borrow_and_update(), &self.node);
            if let Some(address) = found {
                return Ok(address);
            }
            catalog.changed().await?;
        }
    }

    /// Has a process, and tells it what there is, for as long as that goes well.
    async fn attend(
        &self,
        config: &ProcessConfig,
        child: &mut Child,
    ) -> Result<Infallible, ResolverError> {
        child.wait_for_address(config.listen.ip()).await;
        let wanted = config.hello();
        let found = child::connect(&self.dir).await;
        let stream = match found {
            Ok((stream, hello)) if hello == wanted => stream,
            other => {
                if let Ok((stream, hello)) = other {
                    drop(stream);
                    self.may_replace(&hello, &wanted).await;
                }
                child.start(config)?;
                child.answer(&wanted).await?
            }
        };
        let told = self.tell(stream).await;
        child.reap();
        told.map_err(ResolverError::Tell)
    }

    /// One that answers at the right place and knows more than we do goes on until we know it too.
    async fn may_replace(&self, found: &Hello, wanted: &Hello) {
        if found.listen != wanted.listen {
            return;
        }
        let mut catalog = self.catalog.clone();
        if catalog.wait_for(|catalog| catalog.synced).await.is_err() {
            tracing::debug!("the agent ends before the resolver is replaced");
        }
    }

    /// Tells everything once and then each change, until the other end hangs up.
    async fn tell(&self, mut stream: BufReader<UnixStream>) -> io::Result<Infallible> {
        let mut catalog = self.catalog.clone();
        let mut before: Option<Arc<Catalog>> = None;
        loop {
            let now = Arc::clone(&catalog.borrow_and_update());
            // What was known last is better than nothing: only a whole catalog takes its place.
            if now.synced {
                let lines = match &before {
                    None => feed::everything(&now),
                    Some(before) => feed::changes(before, &now),
                };
                write(&mut stream, &lines).await?;
                before = Some(now);
            }
            let mut byte = [0];
            tokio::select! {
                changed = catalog.changed() => {
                    if changed.is_err() {
                        return Err(io::Error::other("the catalog is no longer kept"));
                    }
                }
                heard = stream.read(&mut byte) => {
                    heard?;
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            }
        }
    }
}

fn range_address(catalog: &Catalog, node: &str) -> Option<IpAddr> {
    Some(catalog.node(node)?.pod_cidr?.gateway())
}

async fn write(stream: &mut BufReader<UnixStream>, lines: &[Line]) -> io::Result<()> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    timeout(WRITE_MAX, stream.write_all(&text)).await?
}
