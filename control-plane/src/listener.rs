//! The one port: TLS, then by protocol name the API, an agent's reverse connection, or another
//! server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Identity;
use crate::nodes::{self, Nodes};
use crate::peers::{self, Peers};
use crate::pki::Pki;

/// A client that has not finished its handshake by then is cut off.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// A request's head has to arrive within this time.
const HEAD_MAX: Duration = Duration::from_secs(30);
/// Open connections; more wait in the kernel's queue instead of eating memory.
const CONNECTIONS_MAX: usize = 10_000;
/// Streams that one HTTP/2 connection may have open: kubectl and agents use a handful, load
/// generators some hundreds.
const STREAMS_MAX: u32 = 1024;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The keys and certificates do not fit together.
    #[error("use the server's certificate")]
    Certificate(#[source] rustls::Error),
    /// A PEM text cannot be read.
    #[error("read the server's key or certificate")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// The verifier of client certificates cannot be built.
    #[error("trust the CA for clients")]
    Verifier(#[source] rustls::client::VerifierBuilderError),
}

/// The TLS side of the port: our certificate, and client certificates of our CA if a client has
/// one. Requests without any are refused later, by what they ask for.
///
/// # Errors
/// [`TlsError`] if the PKI's files do not fit together.
pub fn tls_config(pki: &Pki) -> Result<rustls::ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let ca = CertificateDer::from_pem_slice(pki.ca_pem().as_bytes()).map_err(TlsError::Pem)?;
    let mut roots = RootCertStore::empty();
    roots.add(ca).map_err(TlsError::Certificate)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(TlsError::Verifier)?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Certificate)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(pki.current());
    config.alpn_protocols = [peers::ALPN, nodes::ALPN, b"h2", b"http/1.1"]
        .map(<[u8]>::to_vec)
        .to_vec();
    Ok(config)
}

/// How long requests under way may take to finish once the server stops; watches never do.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// Accepts connections until `stop` is cancelled, then lets the requests under way finish.
pub async fn serve(
    listener: TcpListener,
    tls: rustls::ServerConfig,
    router: Router,
    agents: Nodes,
    peers: Peers,
    stop: CancellationToken,
) {
    let shared = Arc::new(Shared {
        acceptor: TlsAcceptor::from(Arc::new(tls)),
        router,
        agents,
        peers,
    });
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(err) => {
                // Out of file descriptors, mostly: wait for some to be closed.
                tracing::warn!(error = %err, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().acquire_owned().await else {
            break;
        };
        let (shared, stop) = (shared.clone(), stop.clone());
        connections.spawn(async move {
            if let Err(err) = shared.connection(stream, stop).await {
                tracing::debug!(error = %err, "a connection ended");
            }
            drop(place);
        });
    }
    connections.close();
    // Each connection has a bound of its own; this one is for what is stuck before that.
    drop(tokio::time::timeout(DRAIN_MAX * 2, connections.wait()).await);
}

struct Shared {
    acceptor: TlsAcceptor,
    router: Router,
    agents: Nodes,
    peers: Peers,
}

impl Shared {
    async fn connection(&self, stream: TcpStream, stop: CancellationToken) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let handshake = async {
            if is_plain_http(&stream).await? {
                return refuse_plain_http(stream).await.map(|()| None);
            }
            self.acceptor.accept(stream).await.map(Some)
        };
        let timed = tokio::time::timeout(HANDSHAKE_MAX, handshake);
        let Some(stream) = timed.await.map_err(|_| io::ErrorKind::TimedOut)?? else {
            return Ok(());
        };
        let (_, session) = stream.get_ref();
        let identity = session
            .peer_certificates()
            .and_then(|chain| chain.first())
            .and_then(|cert| Identity::of_certificate(cert));
        if session.alpn_protocol() == Some(nodes::ALPN) {
            self.agent(stream, identity.as_ref(), stop).await;
            return Ok(());
        }
        if session.alpn_protocol() == Some(peers::ALPN) {
            self.server(stream, identity.as_ref());
            return Ok(());
        }
        self.client(stream, identity, stop).await
    }

    async fn agent(
        &self,
        stream: TlsStream<TcpStream>,
        identity: Option<&Identity>,
        stop: CancellationToken,
    ) {
        let Some(node) = identity.and_then(Identity::node) else {
            tracing::warn!("a reverse connection without a node's certificate was refused");
            return;
        };
        tokio::select! {
            served = self.agents.serve(node, stream) => match served {
                Ok(()) => tracing::info!(node, "the agent's connection ended"),
                Err(err) => tracing::warn!(node, error = %err, "the agent's connection ended"),
            },
            () = stop.cancelled() => {}
        }
    }

    /// Another server: its connection lasts until the transport stops, which is after the store
    /// did: the clients' last writes need the others.
    fn server(&self, stream: TlsStream<TcpStream>, identity: Option<&Identity>) {
        if identity.is_some_and(Identity::is_server) {
            self.peers.serve(stream, self.router.clone());
        } else {
            tracing::warn!("a connection as a server without a server's certificate was refused");
        }
    }

    async fn client(
        &self,
        stream: TlsStream<TcpStream>,
        identity: Option<Identity>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let router = match identity {
            Some(identity) => self.router.clone().layer(axum::Extension(identity)),
            None => self.router.clone(),
        };
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX);
        let service = TowerToHyperService::new(router);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                // Watches never end by themselves; the rest has a moment to finish.
                let moment = tokio::time::timeout(DRAIN_MAX, connection);
                moment.await.unwrap_or(Ok(()))
            }
        };
        ended.map_err(io::Error::other)
    }
}

/// A TLS handshake begins with the byte 22, a request line with a letter.
async fn is_plain_http(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; 1];
    stream.peek(&mut first).await?;
    Ok(first.iter().all(u8::is_ascii_uppercase) && first != [22])
}

/// Says in words what Go's servers say, instead of a handshake error that nobody understands.
async fn refuse_plain_http(mut stream: TcpStream) -> io::Result<()> {
    let answer = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\
                  \r\nClient sent an HTTP request to an HTTPS server.\n";
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing with unread input would reset the connection before the answer is read.
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await? != 0 {}
    Ok(())
}
