//! One request from this server to another, over TLS on the one port: joining, announcing, and what
//! only the leader knows. Bounded in time and size; a failure says who did not answer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use skiff_api::{Reason, Status};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a connection and its handshake may take.
const DIAL_MAX: Duration = Duration::from_secs(5);
/// How long an answer may take: a change of members waits for a quorum of disks.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// A longer answer is not one: a list of servers and some keys are a few KB.
const BODY_MAX: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answers there.
    #[error("cannot reach the server at {address}")]
    Unreachable {
        /// Who was asked.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server's certificate is good, but not for the name that was dialled.
    #[error(
        "the certificate of the server at {address} is not for that name; use another of its \
         addresses, or start it with --advertise {address}"
    )]
    Misnamed {
        /// Who was asked.
        address: String,
    },
    /// The server is not one of this cluster.
    #[error("the server at {address} does not belong to this cluster")]
    Stranger {
        /// Who was asked.
        address: String,
        /// What TLS says.
        #[source]
        source: io::Error,
    },
    /// The exchange broke off.
    #[error("talk to the server at {address}")]
    Broken {
        /// Who was asked.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server says no.
    #[error("{0}")]
    Refused(Box<Status>),
}

impl AskError {
    /// Whether the same request may succeed later: the server is away, or has no leader yet.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            Self::Stranger { .. } | Self::Misnamed { .. } => false,
            Self::Refused(status) => status.code >= 500 || status.code == 429,
        }
    }
}

/// One request.
pub(crate) struct Ask<'a> {
    /// `HOST:PORT` of the server.
    pub address: &'a str,
    /// Whom to trust and what to show.
    pub tls: Arc<rustls::ClientConfig>,
    /// The path.
    pub path: &'a str,
    /// A join token.
    pub token: Option<&'a str>,
}

impl Ask<'_> {
    /// Sends a `GET`.
    pub(crate) async fn get<A: DeserializeOwned>(&self) -> Result<A, AskError> {
        self.exchange(Method::GET, Bytes::new()).await
    }

    /// Sends a `POST` with a JSON body.
    pub(crate) async fn post<A: DeserializeOwned>(
        &self,
        body: &impl Serialize,
    ) -> Result<A, AskError> {
        let body = serde_json::to_vec(body).map_err(|err| self.broken(err))?;
        self.exchange(Method::POST, body.into()).await
    }

    async fn exchange<A: DeserializeOwned>(
        &self,
        method: Method,
        body: Bytes,
    ) -> Result<A, AskError> {
        let dialled = tokio::time::timeout(DIAL_MAX, self.dial());
        let late = || self.unreachable(io::ErrorKind::TimedOut.into());
        let stream = dialled.await.map_err(|_| late())??;
        let talk = self.talk(stream, method, body);
        let answered = tokio::time::timeout(ANSWER_MAX, talk).await;
        let (code, body) =
            answered.map_err(|_| self.broken(io::Error::from(io::ErrorKind::TimedOut)))??;
        if code.is_success() {
            return serde_json::from_slice(&body).map_err(|err| self.broken(err));
        }
        Err(AskError::Refused(Box::new(self.refusal(code, &body))))
    }

    async fn dial(&self) -> Result<tokio_rustls::client::TlsStream<TcpStream>, AskError> {
        let host = host_of(self.address);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|err| self.unreachable(io::Error::new(io::ErrorKind::InvalidInput, err)))?;
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.map_err(|err| self.unreachable(err))?;
        let mut tls = rustls::ClientConfig::clone(&self.tls);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let connector = TlsConnector::from(Arc::new(tls));
        let connected = connector.connect(name, stream).await;
        connected.map_err(|source| self.no_handshake(source))
    }

    async fn talk(
        &self,
        stream: tokio_rustls::client::TlsStream<TcpStream>,
        method: Method,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), AskError> {
        let mut request = Request::builder()
            .method(method)
            .uri(self.path)
            .header(HOST, self.address)
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = self.token {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|err| self.broken(err))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(Full::new(body));
        let request = request.map_err(|err| self.broken(err))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|err| self.broken(err))?;
        let exchange = async {
            let response = sender.send_request(request).await;
            let response = response.map_err(|err| self.broken(err))?;
            let code = response.status();
            let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
            Ok((code, body.map_err(|err| self.broken(err))?.to_bytes()))
        };
        tokio::pin!(exchange, connection);
        tokio::select! {
            answer = exchange.as_mut() => answer,
            // It ends with the answer, or without one.
            ended = connection => match ended {
                Ok(()) => exchange.await,
                Err(err) => Err(self.broken(err)),
            },
        }
    }

    fn refusal(&self, code: StatusCode, body: &[u8]) -> Status {
        let status = serde_json::from_slice::<Status>(body).ok();
        status.unwrap_or_else(|| {
            let message = format!("the server at {} answered {code}", self.address);
            let mut status = Status::failure(Reason::InternalError, message);
            status.code = code.as_u16();
            status
        })
    }

    /// Whether a handshake failed because of who the other side is.
    fn no_handshake(&self, source: io::Error) -> AskError {
        use rustls::{CertificateError, Error};
        let address = self.address.to_owned();
        let inner = source.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => AskError::Misnamed { address },
            Some(Error::InvalidCertificate(_)) => AskError::Stranger { address, source },
            Some(_) | None => self.unreachable(source),
        }
    }

    fn unreachable(&self, source: io::Error) -> AskError {
        let address = self.address.to_owned();
        AskError::Unreachable { address, source }
    }

    fn broken(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> AskError {
        AskError::Broken {
            address: self.address.to_owned(),
            source: source.into(),
        }
    }
}

/// The host of `HOST:PORT`, without the brackets of an IPv6 address.
pub(crate) fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_matches(['[', ']'])
}
