//! Connections to other servers: TCP, TLS, HTTP/2, each within a short time.

use std::io;
use std::time::Duration;

use axum::body::Body;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

/// How long TCP, and then TLS and HTTP/2 may take: an election takes as long.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// A quiet connection is asked so often whether the other side is there…
const PING_EVERY: Duration = Duration::from_millis(500);
/// …and closed if it does not answer within this: a link so slow cannot hold a leader either.
const PING_MAX: Duration = Duration::from_millis(1500);
/// After a failure, whoever asks within this shares it: a thousand writes that wait for a leader
/// are no reason to dial a thousand times.
const REDIAL_AFTER: Duration = Duration::from_millis(50);
/// What the other side may send us on one request before we have read it.
const WINDOW_BYTES: u32 = 1 << 20;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// The address is not `HOST:PORT`.
    #[error("its address {address:?} is not HOST:PORT")]
    Address { address: String },
    /// The host is no name that a certificate could have.
    #[error("its host {host:?} is not a name")]
    Name {
        host: String,
        #[source]
        source: InvalidDnsNameError,
    },
    /// Nobody answers there.
    #[error("connect to {address}")]
    Connect {
        address: String,
        #[source]
        source: io::Error,
    },
    /// It is not a server of this cluster, or has no certificate for this name.
    #[error("set up TLS with {address}")]
    Tls {
        address: String,
        #[source]
        source: io::Error,
    },
    /// It does not speak HTTP/2.
    #[error("speak HTTP/2 with {address}")]
    Http {
        address: String,
        #[source]
        source: hyper::Error,
    },
    /// Somebody else tried just now.
    #[error("{0}")]
    JustFailed(String),
}

/// A connection; dropping it closes it.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Body>,
    _driver: AbortOnDropHandle<()>,
}

/// Dials a server.
///
/// # Errors
/// [`DialError`] by the step that failed; nothing was sent then.
pub(super) async fn connect(tls: &TlsConnector, address: &str) -> Result<Connection, DialError> {
    let host = host_of(address).ok_or_else(|| DialError::Address {
        address: address.to_owned(),
    })?;
    let name = ServerName::try_from(host.to_owned()).map_err(|source| DialError::Name {
        host: host.to_owned(),
        source,
    })?;
    let connected = in_time(TcpStream::connect(address)).await;
    let stream = connected
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|source| DialError::Connect {
            address: address.to_owned(),
            source,
        })?;
    let secured = in_time(tls.connect(name, stream)).await;
    let stream = secured.map_err(|source| DialError::Tls {
        address: address.to_owned(),
        source,
    })?;
    let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_MAX)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(4 * WINDOW_BYTES)
        .handshake(TokioIo::new(stream));
    let (sender, driver) = handshake.await.map_err(|source| DialError::Http {
        address: address.to_owned(),
        source,
    })?;
    let driver = tokio::spawn(async move {
        if let Err(err) = driver.await {
            tracing::debug!(error = %err, "a connection to a server broke");
        }
    });
    Ok(Connection {
        sender,
        _driver: AbortOnDropHandle::new(driver),
    })
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let timed = tokio::time::timeout(CONNECT_MAX, step).await;
    timed.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long")))
}

/// The host of `HOST:PORT`; an IPv6 address stands in brackets.
fn host_of(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let host = host
        .strip_prefix('[')
        .map_or(Some(host), |rest| rest.strip_suffix(']'))?;
    (!host.is_empty()).then_some(host)
}

/// The connection for everything large and everything forwarded, so that none of it stands in the
/// way of heartbeats. Dialled when it is needed.
#[derive(Default)]
pub(super) struct Bulk(Mutex<Held>);

#[derive(Default)]
struct Held {
    connection: Option<Connection>,
    failed: Option<(Instant, String)>,
}

impl Bulk {
    /// A sender on the connection that is there, or on a new one.
    ///
    /// # Errors
    /// [`DialError`]. Those that wait for the same attempt share its failure.
    pub(super) async fn sender(
        &self,
        tls: &TlsConnector,
        address: &str,
    ) -> Result<SendRequest<Body>, DialError> {
        let asked = Instant::now();
        let mut held = self.0.lock().await;
        let open = held
            .connection
            .as_ref()
            .filter(|open| !open.sender.is_closed());
        if let Some(open) = open {
            return Ok(open.sender.clone());
        }
        if let Some((at, why)) = &held.failed
            && *at + REDIAL_AFTER > asked
        {
            return Err(DialError::JustFailed(why.clone()));
        }
        match connect(tls, address).await {
            Ok(connection) => {
                let sender = connection.sender.clone();
                held.connection = Some(connection);
                Ok(sender)
            }
            Err(err) => {
                held.failed = Some((Instant::now(), super::chain(&err)));
                Err(err)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        let cases = [
            ("a.example:6443", Some("a.example")),
            ("10.0.0.1:6443", Some("10.0.0.1")),
            ("[fd00::1]:6443", Some("fd00::1")),
            ("[fd00::1:6443", None),
            ("a.example", None),
            ("a.example:", None),
            ("a.example:70000", None),
            (":6443", None),
        ];
        for (address, expected) in cases {
            assert_eq!(host_of(address), expected, "{address}");
        }
    }
}
