//! The reverse connection: the agent dials every server and then answers requests on that very
//! connection. So it listens on no port, and works from behind NAT and firewalls.
//! Heartbeats ride here; their pace is the machine's monotonic clock, so no wall clock matters.

mod answer;
mod beats;
mod fleet;
mod logs;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use skiff_api::Revision;
use skiff_client::{Server, Trust, tls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::chain::Chain;
use crate::https::{self, HttpsError};
use crate::identity::Identity;
use crate::reconcile::View;
use crate::runtime::Runtime;

/// The TLS protocol name of a reverse connection.
pub const ALPN: &[u8] = b"skiff-agent/1";

/// The first wait after a connection broke or could not be made: half of it is chance, so that a
/// server that comes back isn't stormed.
const WAIT_FIRST: Duration = Duration::from_millis(100);

/// A server that comes back is dialled within this: it takes a node for lost after four seconds of
/// silence.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// A server that answers no ping is gone after these two together.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Requests at the same time on one connection: people who follow logs, mostly.
const STREAMS_MAX: u32 = 256;

/// What the requests are answered from.
pub struct Tunnel {
    /// The agent's own id.
    pub agent_id: String,
    /// Who the agent is; renewed while it runs.
    pub identity: watch::Receiver<Arc<Identity>>,
    /// The pace of heartbeats.
    pub heartbeat: Duration,
    /// Where containers run.
    pub runtime: Arc<dyn Runtime>,
    /// What exists.
    pub view: watch::Receiver<View>,
    /// Up to which revision the endpoints of services are in effect on this node; 0 while nobody
    /// here makes use of them.
    pub applied: watch::Receiver<Revision>,
    /// The servers that are connected at the moment.
    pub connected: watch::Sender<BTreeSet<Server>>,
}

/// Why a reverse connection could not be made or ended.
#[derive(Debug, thiserror::Error)]
enum TunnelError {
    #[error("use the node's certificate")]
    Tls(#[source] skiff_client::TlsError),
    #[error("dial {server}")]
    Dial {
        server: String,
        #[source]
        source: HttpsError,
    },
    #[error(
        "{server} does not speak {}: is it a Skiff server?",
        String::from_utf8_lossy(ALPN)
    )]
    NotSkiff { server: String },
    #[error("connection to {server}")]
    Broken {
        server: String,
        #[source]
        source: hyper::Error,
    },
}

/// How a server that fails is dialled again.
#[derive(Debug)]
struct Redial {
    wait: Duration,
    /// Whether people have been told.
    failing: bool,
}

impl Redial {
    fn new() -> Self {
        let wait = WAIT_FIRST;
        Self {
            wait,
            failing: false,
        }
    }

    fn connected(&mut self) {
        *self = Self::new();
    }

    /// The next wait; `chance` in `0.0..1.0` spreads it over its upper half.
    fn wait(&mut self, chance: f64) -> Duration {
        let wait = self.wait.mul_f64(0.5 + chance / 2.0);
        self.wait = (self.wait * 2).min(WAIT_MAX);
        wait
    }
}

/// A server that counts as connected for as long as this exists.
struct Link<'a> {
    connected: &'a watch::Sender<BTreeSet<Server>>,
    server: &'a Server,
}

impl<'a> Link<'a> {
    fn new(connected: &'a watch::Sender<BTreeSet<Server>>, server: &'a Server) -> Self {
        connected.send_modify(|all| {
            all.insert(server.clone());
        });
        Self { connected, server }
    }
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        self.connected.send_modify(|all| {
            all.remove(self.server);
        });
    }
}

impl Tunnel {
    /// Keeps a connection to one server for as long as it is polled.
    async fn keep(self: Arc<Self>, server: Server) {
        let mut redial = Redial::new();
        loop {
            match Arc::clone(&self).connection(&server, &mut redial).await {
                Ok(()) => tracing::info!(%server, "the server closed the connection"),
                Err(error) if redial.failing => {
                    tracing::debug!(error = %Chain(&error), "still no connection");
                }
                Err(error) => {
                    redial.failing = true;
                    tracing::warn!(error = %Chain(&error), "no connection; will retry");
                }
            }
            tokio::time::sleep(redial.wait(rand::random_range(0.0..1.0))).await;
        }
    }

    /// Dials, and serves the connection until it ends.
    async fn connection(
        self: Arc<Self>,
        server: &Server,
        redial: &mut Redial,
    ) -> Result<(), TunnelError> {
        let name = || server.to_string();
        let identity = Arc::clone(&self.identity.borrow());
        let config = config(&identity).map_err(TunnelError::Tls)?;
        let dialled = https::connect(Arc::new(config), server).await;
        let stream = dialled.map_err(|source| TunnelError::Dial {
            server: name(),
            source,
        })?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(TunnelError::NotSkiff { server: name() });
        }
        tracing::info!(%server, "connected");
        redial.connected();
        let _link = Link::new(&self.connected, server);
        Arc::clone(&self)
            .serve(stream)
            .await
            .map_err(|source| TunnelError::Broken {
                server: name(),
                source,
            })
    }

    /// Answers requests on an open connection until it ends.
    async fn serve<S>(self: Arc<Self>, stream: S) -> Result<(), hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(move |request| {
            let this = Arc::clone(&self);
            async move { Ok::<_, std::convert::Infallible>(this.answer(&request)) }
        });
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(STREAMS_MAX)
            .serve_connection(TokioIo::new(stream), service)
            .await
    }
}

fn config(identity: &Identity) -> Result<rustls::ClientConfig, skiff_client::TlsError> {
    let trust = Trust::from_pem(identity.ca.as_bytes())?;
    let pair = identity.pair.as_bytes();
    let own = skiff_client::Identity::from_pem(pair, pair)?;
    tls::client_config(&trust, Some(&own), &[ALPN])
}
