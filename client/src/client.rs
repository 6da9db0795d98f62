//! The client: a handle to whatever servers there are, and the sending of requests to them.

mod verbs;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use skiff_api::{Reason, Status};
use tokio::time::Instant;

pub use verbs::List;

use crate::body::{self, BODY_MAX, ByteStream, ERROR_BODY_MAX};
use crate::config::{ClientConfig, Server, Token, Writes};
use crate::error::{ClientError, ConfigError};
use crate::fleet::{Course, Fleet};
use crate::request::Request;
use crate::retry::{self, Attempts, Effect, Failure, Verdict};
use crate::tls::{self, Identity, Trust};
use crate::transport::{self, Body, SendError};

/// A handle to the API. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    fleet: Fleet,
    trust: Trust,
    writes: Writes,
    reply_timeout: Duration,
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
        let fleet = Fleet::new(config.servers, connector).ok_or(ConfigError::NoServer)?;
        Ok(Self(Arc::new(Inner {
            fleet,
            trust: config.trust,
            writes: config.writes,
            reply_timeout: config.reply_timeout,
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
    #[must_use]
    pub fn servers(&self) -> Vec<Server> {
        self.0.fleet.servers()
    }

    /// From now on these are the cluster's servers; an empty list changes nothing. Requests under
    /// way end where they are.
    pub fn set_servers(&self, servers: Vec<Server>) {
        self.0.fleet.set_servers(servers);
    }

    /// The server that answered last is of no use for what its caller wants: the next request
    /// begins at another one, if there is one.
    pub(crate) fn look_elsewhere(&self) {
        let mut course = self.0.fleet.course();
        course.turn();
        self.0.fleet.prefer(course.current());
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
        self.0.fleet.set_tls(connector).await;
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
        let mut trip = self.begin(&request);
        loop {
            let response = self.send(&request, &mut trip).await?;
            match body::collect(response.into_body(), BODY_MAX).await {
                Err(error @ (ClientError::Body(_) | ClientError::BodyStalled(_))) => {
                    trip.recover(Failure::Lost, error).await?;
                }
                collected => return collected,
            }
        }
    }

    /// Sends a request and hands out its answer as it comes.
    ///
    /// # Errors
    /// As [`Client::json`], until the head of the answer is there.
    pub async fn stream(&self, request: Request) -> Result<ByteStream, ClientError> {
        let mut trip = self.begin(&request);
        let response = self.send(&request, &mut trip).await?;
        Ok(ByteStream::new(response.into_body()))
    }

    fn begin(&self, request: &Request) -> Trip {
        let effect = match self.0.writes {
            _ if request.is_read() => Effect::Read,
            Writes::Once => Effect::Write,
            Writes::Repeatable => Effect::RepeatableWrite,
        };
        let course = self.0.fleet.course();
        Trip {
            attempts: Attempts::new(effect, course.servers()),
            course,
            began: Instant::now(),
        }
    }

    /// Sends a request, to another server or again where that does no harm, and returns the first
    /// answer that is a success.
    async fn send(
        &self,
        request: &Request,
        trip: &mut Trip,
    ) -> Result<Response<Incoming>, ClientError> {
        loop {
            match self.attempt(request, trip).await {
                Ok(response) => {
                    self.0.fleet.prefer(trip.course.current());
                    return Ok(response);
                }
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Maybe(failure, error)) => trip.recover(failure, error).await?,
            }
        }
    }

    async fn attempt(&self, request: &Request, trip: &Trip) -> Result<Response<Incoming>, Failed> {
        let transport = trip.course.current();
        let message = self
            .message(transport.server(), request)
            .map_err(Failed::Final)?;
        let dial_limit = trip.attempts.dial_limit();
        let reply_limit = request.timeout.min(self.0.reply_timeout);
        match transport.send(message, dial_limit, reply_limit).await {
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

/// A request on its way from server to server.
struct Trip {
    course: Course,
    attempts: Attempts,
    began: Instant,
}

impl Trip {
    /// Makes ready for another attempt, or returns the error if there is to be none.
    async fn recover(&mut self, failure: Failure, error: ClientError) -> Result<(), ClientError> {
        let elapsed = self.began.elapsed();
        match self.attempts.judge(failure, elapsed, retry::chance()) {
            Verdict::GiveUp => return Err(error),
            Verdict::Again => {}
            Verdict::Elsewhere => self.course.turn(),
            Verdict::After(wait) => {
                tracing::debug!(%error, ?wait, "refused; waiting");
                tokio::time::sleep(wait).await;
                self.course.turn();
            }
        }
        Ok(())
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
        Err(error) => return Failed::Maybe(Failure::Lost, error),
    };
    let status = serde_json::from_slice::<Status>(&body)
        .ok()
        .filter(|s| s.kind == "Status");
    let failure = match code {
        StatusCode::TOO_MANY_REQUESTS => Some(Failure::Busy { retry_after }),
        // Only a Status says that the server itself, and not something in between, did nothing.
        StatusCode::SERVICE_UNAVAILABLE if status.is_some() => {
            Some(Failure::Unready { retry_after })
        }
        _ if status.as_ref().is_some_and(is_behind) => Some(Failure::Unready { retry_after }),
        // The leader was lost with the request: it may have been acted on.
        StatusCode::GATEWAY_TIMEOUT if status.is_some() => Some(Failure::Lost),
        _ => None,
    };
    let status = status.unwrap_or_else(|| foreign(code, &body));
    let error = ClientError::Status(Box::new(status));
    match failure {
        Some(failure) => Failed::Maybe(failure, error),
        None => Failed::Final(error),
    }
}

/// Whether a server says that it has not heard yet of what was asked for: others may have.
pub(crate) fn is_behind(status: &Status) -> bool {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.code == Reason::Timeout.code()
        && causes
            .into_iter()
            .any(|cause| cause.reason == "ResourceVersionTooLarge")
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
