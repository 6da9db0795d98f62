//! The reverse connection: the agent dials every server and then answers requests on that very
//! connection. So it listens on no port, and works from behind NAT and firewalls.
//! Heartbeats ride here; their pace is the machine's monotonic clock, so no wall clock matters.

mod answer;
mod logs;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use skiff_client::{Server, Trust, tls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};

use crate::chain::Chain;
use crate::https::{self, HttpsError};
use crate::identity::Identity;
use crate::reconcile::View;
use crate::runtime::Runtime;

/// The TLS protocol name of a reverse connection.
pub const ALPN: &[u8] = b"skiff-agent/1";

/// The first wait after a connection broke or could not be made: half of it is chance, so that a
/// server that comes back isn't stormed.
const WAIT_FIRST: Duration = Duration::from_millis(200);

/// A server that comes back is found within this.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// Dialling takes no longer, TLS included.
const DIAL_MAX: Duration = Duration::from_secs(5);

/// A server that does not answer a ping for so long is gone.
const PING: Duration = Duration::from_secs(5);

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
    /// Notified when a server is reached again.
    pub connected: Arc<Notify>,
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
    #[error("dial {server}: no connection within {} s", DIAL_MAX.as_secs())]
    Late { server: String },
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

impl Tunnel {
    /// Keeps a connection to one server for as long as it is polled.
    pub async fn keep(self: Arc<Self>, server: Server) {
        let mut wait = WAIT_FIRST;
        let mut failing = false;
        loop {
            match Arc::clone(&self).connection(&server, &mut failing).await {
                Ok(()) => {
                    tracing::info!(%server, "the server closed the connection");
                    wait = WAIT_FIRST;
                }
                Err(error) if failing => {
                    tracing::debug!(error = %Chain(&error), "still no connection");
                }
                Err(error) => {
                    failing = true;
                    tracing::warn!(error = %Chain(&error), "no connection; will retry");
                }
            }
            let chance = rand::random_range(0.5..1.0);
            tokio::time::sleep(wait.mul_f64(chance)).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    /// Dials, and serves the connection until it ends.
    async fn connection(
        self: Arc<Self>,
        server: &Server,
        failing: &mut bool,
    ) -> Result<(), TunnelError> {
        let name = || server.to_string();
        let identity = Arc::clone(&self.identity.borrow());
        let config = config(&identity).map_err(TunnelError::Tls)?;
        let dial = tokio::time::timeout(DIAL_MAX, https::connect(Arc::new(config), server));
        let stream = dial
            .await
            .map_err(|_| TunnelError::Late { server: name() })?
            .map_err(|source| TunnelError::Dial {
                server: name(),
                source,
            })?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(TunnelError::NotSkiff { server: name() });
        }
        tracing::info!(%server, "connected");
        *failing = false;
        self.connected.notify_one();
        self.serve(stream)
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
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
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
