//! The two ways of making a connection by hand: to a server for the tunnel, and one request on one
//! connection for probes. Everything else goes through the client crate.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use skiff_client::Server;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A server that is there accepts a connection within this; one lost packet is allowed for.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// A server that was just restarted shakes hands with all its agents at once.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// Why a connection or an exchange failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpsError {
    /// The server's name can stand in no certificate.
    #[error("server name {name:?} is not a host name or address")]
    Name {
        /// What was given.
        name: String,
    },
    /// No TCP connection.
    #[error("connect to {address}")]
    Connect {
        /// Where to.
        address: String,
        /// The system's word.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed: the wrong CA, a refused certificate, or no TLS at all.
    #[error("TLS handshake with {address}")]
    Tls {
        /// Who with.
        address: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The exchange broke off.
    #[error("HTTP exchange")]
    Http(#[source] hyper::Error),
}

/// Opens a TLS connection to a server.
///
/// # Errors
/// The step that failed.
pub(crate) async fn connect(
    tls: Arc<ClientConfig>,
    server: &Server,
) -> Result<TlsStream<TcpStream>, HttpsError> {
    let address = server.authority();
    let name =
        ServerName::try_from(server.tls_name().to_owned()).map_err(|_| HttpsError::Name {
            name: server.tls_name().to_owned(),
        })?;
    let failed = |source| HttpsError::Connect {
        address: address.clone(),
        source,
    };
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    let connecting = TcpStream::connect((server.host(), server.port()));
    let connected = timeout(CONNECT_MAX, connecting).await.map_err(late);
    let tcp = connected.and_then(|tcp| tcp).map_err(failed)?;
    // Heartbeats and small answers must not wait for Nagle.
    tcp.set_nodelay(true).map_err(failed)?;
    let shaking = TlsConnector::from(tls).connect(name, tcp);
    let shaken = timeout(HANDSHAKE_MAX, shaking).await.map_err(late);
    shaken
        .and_then(|stream| stream)
        .map_err(|source| HttpsError::Tls {
            address: address.clone(),
            source,
        })
}

/// Sends one HTTP/1.1 request over an open stream and reads at most `limit` bytes of the answer;
/// the rest is left.
///
/// # Errors
/// The exchange broke off.
pub(crate) async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    limit: usize,
) -> Result<Response<Bytes>, HttpsError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(HttpsError::Http)?;
    // The connection is driven beside the exchange and dropped with it.
    let answer = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(HttpsError::Http)?;
        let (parts, mut body) = response.into_parts();
        let mut bytes = BytesMut::new();
        while bytes.len() < limit {
            let Some(frame) = body.frame().await else {
                break;
            };
            if let Ok(data) = frame.map_err(HttpsError::Http)?.into_data() {
                bytes.extend_from_slice(&data);
            }
        }
        bytes.truncate(limit);
        Ok(Response::from_parts(parts, bytes.freeze()))
    };
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(source) => Err(HttpsError::Http(source)),
        },
    }
}
