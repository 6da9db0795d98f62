//! Connections: one HTTP/2 connection per server, shared by all requests, or a few HTTP/1.1 ones.
//! Tells failures where nothing was sent from those where the request may have arrived; never
//! decides about sending again.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::Server;
use crate::error::{ClientError, TlsError};
use crate::trouble::Trouble;

/// How long a TCP connection, and then its TLS handshake, may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// A dead or stopped peer is noticed after these two together, be the connection quiet or
/// requests under way, so that watches and writes move to another server within five seconds.
const PING_INTERVAL: Duration = Duration::from_secs(2);
const PING_TIMEOUT: Duration = Duration::from_millis(2500);

/// HTTP/1.1 connections kept for the next request; more are closed after use.
const KEPT_MAX: usize = 16;

/// Flow control: one slow reader of a stream holds back itself, not the connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// The protocols offered in the TLS handshake.
pub(crate) const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

pub(crate) type Body = Full<Bytes>;

/// Why no answer came, told apart by what the server may have seen.
#[derive(Debug)]
pub(crate) enum SendError {
    /// Nobody could be reached, so nothing was sent.
    Dial(ClientError),
    /// A kept connection turned out to be closed before anything was sent.
    Stale(ClientError),
    /// The request was under way.
    Lost(ClientError),
}

/// The connections to one server.
pub(crate) struct Transport {
    server: Server,
    tls: RwLock<TlsConnector>,
    kept: Mutex<Kept>,
    trouble: Arc<Trouble>,
}

#[derive(Default)]
struct Kept {
    http2: Option<http2::SendRequest<Body>>,
    http1: Vec<http1::SendRequest<Body>>,
}

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Transport {
    pub(crate) fn new(server: Server, tls: TlsConnector) -> Self {
        Self {
            server,
            tls: RwLock::new(tls),
            kept: Mutex::default(),
            trouble: Arc::default(),
        }
    }

    /// Whether the server had better be asked after others.
    pub(crate) fn in_trouble(&self) -> bool {
        self.trouble.is_recent()
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Uses another identity or other roots for connections made from now on; requests under way
    /// end on the old ones.
    pub(crate) async fn set_tls(&self, tls: TlsConnector) {
        *self.tls.write().unwrap_or_else(PoisonError::into_inner) = tls;
        *self.kept.lock().await = Kept::default();
    }

    /// Sends a request: up to `dial_limit` for a connection, up to `reply_limit` for the head of
    /// the answer.
    pub(crate) async fn send(
        &self,
        request: Request<Body>,
        dial_limit: Duration,
        reply_limit: Duration,
    ) -> Result<Response<Incoming>, SendError> {
        // The limit holds for the wait behind somebody else who dials as well.
        let sender = match timeout(dial_limit, self.sender()).await {
            Ok(sender) => sender,
            Err(_) => Err(ClientError::Unreachable {
                server: self.server.to_string(),
                source: io::ErrorKind::TimedOut.into(),
            }),
        };
        let sender = sender.map_err(|error| {
            self.trouble.note();
            SendError::Dial(error)
        })?;
        match timeout(reply_limit, self.send_on(sender, request)).await {
            Ok(Ok(response)) => {
                self.trouble.clear();
                Ok(response)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                self.trouble.note();
                let server = self.server.to_string();
                Err(SendError::Lost(ClientError::Timeout {
                    server,
                    after: reply_limit,
                }))
            }
        }
    }

    async fn send_on(
        &self,
        sender: Sender,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, SendError> {
        let sent = match sender {
            Sender::Http2(mut sender) => sender.try_send_request(request).await,
            Sender::Http1(mut sender) => {
                let request = origin_form(request, &self.server);
                let sent = sender.try_send_request(request).await;
                self.keep(sender).await;
                sent
            }
        };
        sent.map_err(|mut error| {
            let unsent = error.take_message().is_some();
            let server = self.server.to_string();
            let lost = ClientError::Lost {
                server,
                source: error.into_error(),
            };
            if unsent {
                SendError::Stale(lost)
            } else {
                SendError::Lost(lost)
            }
        })
    }

    /// Keeps an HTTP/1.1 connection; it becomes ready again when the body of its answer is read.
    async fn keep(&self, sender: http1::SendRequest<Body>) {
        let mut kept = self.kept.lock().await;
        if !sender.is_closed() && kept.http1.len() < KEPT_MAX {
            kept.http1.push(sender);
        }
    }

    /// A connection to send on: a kept one, or a new one. Others wait meanwhile, so that a burst
    /// of requests makes one connection and not a burst of handshakes.
    async fn sender(&self) -> Result<Sender, ClientError> {
        let mut kept = self.kept.lock().await;
        if let Some(sender) = kept.http2.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(Sender::Http2(sender.clone()));
        }
        kept.http1.retain(|sender| !sender.is_closed());
        if let Some(at) = kept.http1.iter().position(http1::SendRequest::is_ready) {
            return Ok(Sender::Http1(kept.http1.swap_remove(at)));
        }
        let sender = self.connect().await?;
        if let Sender::Http2(sender) = &sender {
            kept.http2 = Some(sender.clone());
        }
        Ok(sender)
    }

    async fn connect(&self) -> Result<Sender, ClientError> {
        if !self.server.tls() {
            let stream = dial(&self.server).await?;
            return self.handshake_http1(stream).await.map(Sender::Http1);
        }
        let tls = self
            .tls
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let stream = dial_tls(&self.server, &tls).await?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.handshake_http2(stream).await.map(Sender::Http2)
        } else {
            self.handshake_http1(stream).await.map(Sender::Http1)
        }
    }

    async fn handshake_http1<S>(&self, stream: S) -> Result<http1::SendRequest<Body>, ClientError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| self.unusable(source))?;
        tokio::spawn(drive(connection, Arc::clone(&self.trouble)));
        Ok(sender)
    }

    async fn handshake_http2(
        &self,
        stream: TlsStream<TcpStream>,
    ) -> Result<http2::SendRequest<Body>, ClientError> {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|source| self.unusable(source))?;
        tokio::spawn(drive(connection, Arc::clone(&self.trouble)));
        Ok(sender)
    }

    fn unusable(&self, source: hyper::Error) -> ClientError {
        let server = self.server.to_string();
        ClientError::Unreachable {
            server,
            source: io::Error::other(source),
        }
    }
}

/// HTTP/1.1 wants the path alone, and the host as a header.
fn origin_form(mut request: Request<Body>, server: &Server) -> Request<Body> {
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = Uri::from(path);
    }
    if let Ok(host) = HeaderValue::from_str(&server.authority()) {
        request.headers_mut().insert(HOST, host);
    }
    request
}

/// Runs a connection to its end. How it ends is told to the requests on it.
async fn drive(connection: impl Future<Output = hyper::Result<()>>, trouble: Arc<Trouble>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection ended");
        trouble.note();
    }
}

/// A TCP connection to a server.
async fn dial(server: &Server) -> Result<TcpStream, ClientError> {
    let unreachable = |source| ClientError::Unreachable {
        server: server.to_string(),
        source,
    };
    let connecting = TcpStream::connect((server.host(), server.port()));
    let stream = timeout(DIAL_TIMEOUT, connecting)
        .await
        .map_err(|_| unreachable(io::Error::from(io::ErrorKind::TimedOut)))?
        .map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    Ok(stream)
}

/// A TLS connection to a server.
///
/// # Errors
/// [`ClientError::Unreachable`] or [`ClientError::Handshake`]; nothing of a request was sent.
pub(crate) async fn dial_tls(
    server: &Server,
    tls: &TlsConnector,
) -> Result<TlsStream<TcpStream>, ClientError> {
    let name = ServerName::try_from(server.tls_name().to_owned())
        .map_err(|_| TlsError::ServerName(server.tls_name().to_owned()))?;
    let stream = dial(server).await?;
    let failed = |source| ClientError::Handshake {
        server: server.to_string(),
        source,
    };
    timeout(DIAL_TIMEOUT, tls.connect(name, stream))
        .await
        .map_err(|_| failed(io::Error::from(io::ErrorKind::TimedOut)))?
        .map_err(failed)
}

/// Wraps a TLS configuration for dialling.
pub(crate) fn connector(config: rustls::ClientConfig) -> TlsConnector {
    TlsConnector::from(Arc::new(config))
}
