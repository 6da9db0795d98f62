//! The client: a handle to whatever servers there are, and the sending of requests to them.

mod verbs;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use skiff_api::{Reason, Status};

pub use verbs::List;

use crate::body::{self, BODY_MAX, ByteStream, ERROR_BODY_MAX};
use crate::config::{ClientConfig, Server, Token};
use crate::error::{ClientError, ConfigError};
use crate::request::Request;
use crate::retry::{self, Attempts, Effect, Failure, Verdict};
use crate::tls::{self, Identity, Trust};
use crate::transport::{self, Body, SendError, Transport};

/// A handle to the API. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    first: Transport,
    others: Vec<Transport>,
    /// The server that answered last, 0 for `first`: the one to be asked next.
    preferred: AtomicUsize,
    trust: Trust,
    authorization: RwLock<Option<HeaderValue>>,
    user_agent: HeaderValue,
    namespace: String,
}

impl Client {
    /// A client for the servers of a configuration. Connects only when asked something.
    ///
    /// # Errors
    /// [`ConfigError`] if there is no server, or certificates, keys or the token are of no use.
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        let connector = connector(&config.trust, config.identity.as_ref())?;
        let authorization = config.token.as_ref().map(Token::header).transpose()?;
        let mut transports = config
            .servers
            .into_iter()
            .map(|server| Transport::new(server, connector.clone()));
        let first = transports.next().ok_or(ConfigError::NoServer)?;
        let others = transports.collect();
        Ok(Self(Arc::new(Inner {
            first,
            others,
            preferred: AtomicUsize::new(0),
            trust: config.trust,
            authorization: RwLock::new(authorization),
            user_agent: HeaderValue::from_str(&config.user_agent)
                .unwrap_or(HeaderValue::from_static("skiff")),
            namespace: config.namespace,
        })))
    }

    /// The namespace of those who name none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// The servers, in the order they were given.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.transports().map(Transport::server)
    }

    fn transports(&self) -> impl Iterator<Item = &Transport> {
        std::iter::once(&self.0.first).chain(&self.0.others)
    }

    /// From now on is another: a renewed certificate, or one in place of a token.
    ///
    /// # Errors
    /// [`ConfigError::Tls`] if certificate and key are of no use; then nothing has changed.
    pub async fn set_identity(&self, identity: &Identity) -> Result<(), ConfigError> {
        let connector = connector(&self.0.trust, Some(identity))?;
        *self
            .0
            .authorization
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
        for transport in self.transports() {
            transport.set_tls(connector.clone()).await;
        }
        Ok(())
    }

    /// Sends a request and reads its answer as JSON.
    ///
    /// # Errors
    /// [`ClientError`]; a failed status is [`ClientError::Status`].
    pub async fn json<T: DeserializeOwned>(&self, request: Request) -> Result<T, ClientError> {
        let body = self.bytes(request).await?;
        serde_json::from_slice(&body).map_err(ClientError::Decode)
    }

    /// Sends a request and collects its answer.
    ///
    /// # Errors
    /// As [`Client::json`].
    pub async fn bytes(&self, request: Request) -> Result<Bytes, ClientError> {
        body::collect(self.send(request).await?.into_body(), BODY_MAX).await
    }

    /// Sends a request and hands out its answer as it comes.
    ///
    /// # Errors
    /// As [`Client::json`], until the head of the answer is there.
    pub async fn stream(&self, request: Request) -> Result<ByteStream, ClientError> {
        Ok(ByteStream::new(self.send(request).await?.into_body()))
    }

    /// Sends a request, to another server or again where that does no harm, and returns the first
    /// answer that is a success.
    async fn send(&self, request: Request) -> Result<Response<Incoming>, ClientError> {
        let effect = if request.is_read() {
            Effect::Read
        } else {
            Effect::Write
        };
        let mut attempts = Attempts::new(effect, 1 + self.0.others.len());
        let mut at = self.0.preferred.load(Ordering::Relaxed);
        loop {
            let (failure, error) = match self.send_to(at, &request).await {
                Ok(response) => {
                    self.0.preferred.store(at, Ordering::Relaxed);
                    return Ok(response);
                }
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Maybe(failure, error)) => (failure, error),
            };
            match attempts.judge(failure, retry::chance()) {
                Verdict::GiveUp => return Err(error),
                Verdict::Again => {}
                Verdict::Elsewhere => at = self.after(at),
                Verdict::After(wait) => {
                    tracing::debug!(%error, ?wait, "refused; waiting");
                    tokio::time::sleep(wait).await;
                    at = self.after(at);
                }
            }
        }
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) % (1 + self.0.others.len())
    }

    async fn send_to(&self, at: usize, request: &Request) -> Result<Response<Incoming>, Failed> {
        let transport = at
            .checked_sub(1)
            .and_then(|at| self.0.others.get(at))
            .unwrap_or(&self.0.first);
        let message = self
            .message(transport.server(), request)
            .map_err(Failed::Final)?;
        match transport.send(message, request.timeout).await {
            Ok(response) if response.status().is_success() => Ok(response),
            Ok(response) => Err(refusal(response).await),
            Err(SendError::Dial(error)) => Err(Failed::Maybe(Failure::Dial, error)),
            Err(SendError::Stale(error)) => Err(Failed::Maybe(Failure::Stale, error)),
            Err(SendError::Lost(error)) => Err(Failed::Maybe(Failure::Lost, error)),
        }
    }

    fn message(
        &self,
        server: &Server,
        request: &Request,
    ) -> Result<http::Request<Body>, ClientError> {
        let mut message = http::Request::builder()
            .method(&request.method)
            .uri(server.uri(&request.target()))
            .header(ACCEPT, request.accept)
            .header(USER_AGENT, &self.0.user_agent);
        if let Some(content_type) = request.content_type {
            message = message.header(CONTENT_TYPE, content_type);
        }
        let token = self
            .0
            .authorization
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(token) = token {
            message = message.header(AUTHORIZATION, token);
        }
        message
            .body(Body::new(request.body.clone()))
            .map_err(ClientError::Request)
    }
}

/// A failed attempt.
enum Failed {
    /// Another attempt would not help.
    Final(ClientError),
    /// Another attempt may help, if it may be made.
    Maybe(Failure, ClientError),
}

/// Reads the answer of a server that said no.
async fn refusal(response: Response<Incoming>) -> Failed {
    let code = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let body = match body::collect(response.into_body(), ERROR_BODY_MAX).await {
        Ok(body) => body,
        Err(error) => return Failed::Final(error),
    };
    let status = serde_json::from_slice::<Status>(&body)
        .ok()
        .filter(|s| s.kind == "Status");
    let refused = match code {
        StatusCode::TOO_MANY_REQUESTS => true,
        // Only a Status says that the server itself, and not something in between, did nothing.
        StatusCode::SERVICE_UNAVAILABLE => status.is_some(),
        _ => false,
    };
    let status = status.unwrap_or_else(|| foreign(code, &body));
    let error = ClientError::Status(Box::new(status));
    if refused {
        Failed::Maybe(Failure::Refused { retry_after }, error)
    } else {
        Failed::Final(error)
    }
}

/// A status for an answer that is no `Status`.
fn foreign(code: StatusCode, body: &[u8]) -> Status {
    const SHOWN: usize = 200;
    let text = String::from_utf8_lossy(body.get(..SHOWN).unwrap_or(body));
    let message = format!("the server answered {code}: {}", text.trim());
    let mut status = Status::failure(Reason::InternalError, message);
    status.code = code.as_u16();
    status
}

fn connector(
    trust: &Trust,
    identity: Option<&Identity>,
) -> Result<tokio_rustls::TlsConnector, ConfigError> {
    let config = tls::client_config(trust, identity, &transport::ALPN)?;
    Ok(transport::connector(config))
}

#[cfg(test)]
mod tests;
