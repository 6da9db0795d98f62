//! The accepting side: what other servers ask of this one. Raft's messages, snapshots, and requests
//! of clients that they forward.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use raft::eraftpb::{Message, MessageType};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::assemblies::{Assembling, Which};
use super::book;
use super::group::Group;
use super::message::Decoder;
use super::{Inner, MEMBER, MESSAGES_PATH, SNAPSHOT_PATH, chain, lane};
use crate::forward::headers;
use crate::http::reply;
use crate::members::Members;

/// A quiet dialler is asked so often whether it is still there…
const PING_EVERY: Duration = Duration::from_secs(5);
/// …and hung up on if it does not answer within this.
const PING_MAX: Duration = Duration::from_secs(5);
/// What may be on its way on one request: at 4 MiB and 20 ms of round trip, 200 MB a second.
const WINDOW_BYTES: u32 = 4 << 20;
/// Heads of forwarded requests are as long as clients make them.
const HEADERS_BYTES_MAX: u32 = 512 << 10;
/// Requests of one server under way at once.
pub(super) const STREAMS_MAX: u32 = 4096;
/// How long requests under way may take to finish once the transport stops.
pub(super) const DRAIN_MAX: Duration = Duration::from_secs(1);

type Refusal = (StatusCode, String);

impl Inner {
    /// Serves a connection of another server until it ends or the transport stops.
    pub(super) async fn accept<S>(self: Arc<Self>, stream: S, router: Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stop = self.stop.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let (inner, router) = (self.clone(), router.clone());
            async move { Ok::<_, Infallible>(inner.answer(request, router).await) }
        });
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_MAX)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(4 * WINDOW_BYTES)
            .max_header_list_size(HEADERS_BYTES_MAX)
            .max_concurrent_streams(STREAMS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(DRAIN_MAX, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(err) = ended {
            tracing::debug!(error = %err, "a connection of a server ended");
        }
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>, router: Router) -> Response {
        let from = request.headers().get(MEMBER);
        let Some(from) = from.and_then(|value| value.to_str().ok()?.parse().ok()) else {
            return plain(bad("the server does not say who it is"));
        };
        let Some(group) = self.group() else {
            let why = "this server is starting or stopping".to_owned();
            return plain((StatusCode::SERVICE_UNAVAILABLE, why));
        };
        let forwarded = headers::is_forwarded(request.headers());
        if let Some(why) = self.refusal(from, group.as_ref()) {
            // A request that is forwarded belongs to a client, which has to wait for a leader.
            return if forwarded {
                crate::forward::not_leader(&why)
            } else {
                plain((StatusCode::FORBIDDEN, why))
            };
        }
        if forwarded {
            return forward(request.map(Body::new), router).await;
        }
        if (request.method(), request.uri().path()) == (&Method::POST, lane::PATH) {
            return lane::serve::serve(self, from, request.into_body(), router);
        }
        let answered = match (request.method(), request.uri().path()) {
            (&Method::POST, MESSAGES_PATH) => {
                self.take_messages(from, request, group.as_ref()).await
            }
            (&Method::GET, SNAPSHOT_PATH) => self.standing(from, &request, group.as_ref()),
            (&Method::POST, SNAPSHOT_PATH) => self.take_snapshot(from, request, group).await,
            _ => Err((StatusCode::NOT_FOUND, "servers do not ask that".into())),
        };
        plain(answered.unwrap_or_else(|refusal| refusal))
    }

    /// Why a server is turned away, if it is.
    pub(super) fn refusal(&self, from: u64, group: &dyn Group) -> Option<String> {
        let listed: Arc<Members> = self.members.borrow().clone();
        let stranger = book::is_stranger(from, self.member, &listed, &group.status());
        stranger.then(|| {
            if from == self.member {
                format!(
                    "two servers say that they are server {from}; was its data directory copied?"
                )
            } else {
                format!("server {from} is not a member of this cluster; was it removed?")
            }
        })
    }

    /// Takes messages for as long as they come and the sender belongs to us.
    async fn take_messages(
        &self,
        from: u64,
        request: Request<Incoming>,
        group: &dyn Group,
    ) -> Result<Refusal, Refusal> {
        let mut members = self.members.clone();
        let mut body = request.into_body();
        let mut decoder = Decoder::default();
        loop {
            tokio::select! {
                frame = body.frame() => {
                    let Some(Ok(frame)) = frame else {
                        return Ok((StatusCode::OK, String::new()));
                    };
                    decoder.push(frame.data_ref().map_or(&[][..], |data| data));
                    while let Some(message) = decoder.next().map_err(|err| bad(&chain(&err)))? {
                        group.receive(self.checked(from, message)?);
                    }
                }
                Ok(()) = members.changed() => {
                    if let Some(why) = self.refusal(from, group) {
                        return Err((StatusCode::FORBIDDEN, why));
                    }
                }
                () = self.stop.cancelled() => {
                    return Ok((StatusCode::OK, "this server stops".into()));
                }
            }
        }
    }

    fn checked(&self, from: u64, message: Message) -> Result<Message, Refusal> {
        if message.from != from || message.to != self.member {
            return Err(bad(&format!(
                "a message from server {} to server {} came from server {from} to server {}",
                message.from, message.to, self.member
            )));
        }
        if message.get_msg_type() == MessageType::MsgSnapshot {
            return Err(bad("a snapshot came among the messages"));
        }
        Ok(message)
    }

    /// Says how many frames of a snapshot are here.
    fn standing(
        &self,
        from: u64,
        request: &Request<Incoming>,
        group: &dyn Group,
    ) -> Result<Refusal, Refusal> {
        let number = |name| number(request, name).ok_or_else(|| bad("index and term are needed"));
        let (index, term) = (number("index")?, number("term")?);
        if group.status().applied >= index {
            return Ok((StatusCode::NO_CONTENT, String::new()));
        }
        let which = Which { from, index, term };
        let frames = self.unfinished.frames(which, Instant::now());
        Ok((StatusCode::OK, frames.to_string()))
    }

    async fn take_snapshot(
        &self,
        from: u64,
        request: Request<Incoming>,
        group: Arc<dyn Group>,
    ) -> Result<Refusal, Refusal> {
        let full = |_| {
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "another one is under way".to_owned(),
            )
        };
        let turn = self.receiving.clone().try_acquire_owned().map_err(full)?;
        let frames = number(&request, "frames").ok_or_else(|| bad("frames are needed"))?;
        let mut body = request.into_body();
        let (message, rest) = first_message(&mut body).await?;
        let metadata = message.get_snapshot().get_metadata();
        let which = Which {
            from,
            index: metadata.index,
            term: metadata.term,
        };
        if message.from != from
            || message.to != self.member
            || message.get_msg_type() != MessageType::MsgSnapshot
        {
            return Err(bad("the stream does not begin with the snapshot's message"));
        }
        let assembly = self.unfinished.take(which, Instant::now());
        if assembly.frames() != frames {
            let there = assembly.frames();
            self.unfinished.keep(which, assembly, Instant::now());
            return Err((StatusCode::CONFLICT, format!("{there} frames are here")));
        }
        let assembling = Assembling::start(which, assembly, self.unfinished.clone());
        if !feed(&mut body, rest, &assembling).await {
            return Err(bad("the stream broke off"));
        }
        let state = assembling.finish().await.map_err(|why| bad(&why))?;
        // It goes on although the sender may hang up now: it is here, and raft wants to know.
        let installing = tokio::spawn(async move {
            let installed = group.install(message, state).await;
            drop(turn);
            installed
        });
        let installed = installing.await.unwrap_or_else(|err| Err(err.to_string()));
        installed.map_err(|why| (StatusCode::INTERNAL_SERVER_ERROR, why))?;
        Ok((StatusCode::OK, String::new()))
    }
}

/// Reads up to the end of the message that a stream begins with.
async fn first_message(body: &mut Incoming) -> Result<(Message, bytes::Bytes), Refusal> {
    let mut decoder = Decoder::default();
    loop {
        let Some(Ok(frame)) = body.frame().await else {
            return Err(bad("the stream broke off before the snapshot's message"));
        };
        decoder.push(frame.data_ref().map_or(&[][..], |data| data));
        if let Some(message) = decoder.next().map_err(|err| bad(&chain(&err)))? {
            return Ok((message, decoder.into_rest().freeze()));
        }
    }
}

/// Passes a stream on; whether it came to its end.
async fn feed(body: &mut Incoming, first: bytes::Bytes, assembling: &Assembling) -> bool {
    let mut wanted = assembling.push(first).await;
    while wanted {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    wanted = assembling.push(bytes).await;
                }
            }
            Some(Err(_)) => return false,
            None => return true,
        }
    }
    // The assembly gave up: it says why at the end.
    true
}

/// Answers a client's request as if the client were connected here.
pub(super) async fn forward(mut request: Request<Body>, router: Router) -> Response {
    if !headers::take_in(&mut request) {
        return plain(bad("the identity of a forwarded request cannot be read"));
    }
    let answered = TowerToHyperService::new(router).call(request).await;
    answered.unwrap_or_else(|never| match never {})
}

fn number(request: &Request<Incoming>, name: &str) -> Option<u64> {
    let pairs = request.uri().query()?.split('&');
    let mut values = pairs.filter_map(|pair| pair.split_once('='));
    values.find(|(key, _)| *key == name)?.1.parse().ok()
}

fn bad(why: &str) -> Refusal {
    (StatusCode::BAD_REQUEST, why.to_owned())
}

fn plain((code, text): Refusal) -> Response {
    const TEXT: HeaderValue = reply::TEXT;
    reply::full(code, TEXT, text)
}
