//! The agents' reverse connections: heartbeats, and requests to nodes that listen on no port.
//!
//! An agent dials the server; on that connection the server is the HTTP/2 *client* and the agent
//! answers. The first request, `GET /heartbeats`, never ends: a line of it is a heartbeat.
//! Heartbeats live in this memory and never in the log; silence is measured on this server's
//! monotonic clock, so no agent's clock matters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Deserialize;
use skiff_api::{Millis, Object, Reason, Revision, Status};
use skiff_engine::plan::Heartbeats;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

mod applied;
mod attention;
mod lease;

pub use attention::{Attention, PACE as ATTENTION_PACE};

/// The TLS protocol name of a reverse connection.
pub const ALPN: &[u8] = b"skiff-agent/1";

/// An agent that sends nothing for so long is taken for gone and its connection is closed; agents
/// beat every second.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Flow control: heartbeats share the connection with logs, and people who stop reading those must
/// not stop them. As many logs as an agent serves at once have room here, each with its window.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 32 << 20;
/// A heartbeat line longer than this is no heartbeat.
const LINE_MAX: usize = 4096;
/// How long an agent may take to begin its answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A node heard within this time is alive: nobody else may join under its name.
const ALIVE: Duration = Duration::from_secs(4);

/// All agents heard of since this server started. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Nodes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    agents: Mutex<BTreeMap<String, Agent>>,
    attention: Mutex<Attention>,
    /// Told whenever a node's packet rules follow newer endpoints.
    applied: watch::Sender<()>,
}

#[derive(Debug)]
struct Agent {
    /// Which agent speaks for the node: its own random id.
    id: String,
    heard: Instant,
    heard_at: Millis,
    /// Up to which revision its packet rules follow the endpoints, if it ever said so: what it put
    /// into effect stays there when its agent starts anew and has yet to find out.
    applied: Option<Revision>,
    /// Distinguishes this connection from a later one of the same agent.
    connection: u64,
    sender: Option<SendRequest<Empty<Bytes>>>,
}

/// Why a reverse connection ended or was refused.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// HTTP/2 could not be set up, or broke.
    #[error("speak HTTP/2 to the agent of {node}")]
    Http {
        /// The node.
        node: String,
        /// Why.
        #[source]
        source: hyper::Error,
    },
    /// Another live agent has the name.
    #[error("another agent already speaks for node {node}")]
    Taken {
        /// The node.
        node: String,
    },
    /// The agent sent what is no heartbeat.
    #[error("the agent of {node} sent something that is no heartbeat")]
    Garbled {
        /// The node.
        node: String,
    },
    /// No heartbeat came for [`SILENCE_MAX`].
    #[error("the agent of {node} fell silent")]
    Silent {
        /// The node.
        node: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Heartbeat {
    agent_id: String,
    applied: Option<u64>,
}

impl Default for Nodes {
    fn default() -> Self {
        let agents = Mutex::new(BTreeMap::new());
        Self(Arc::new(Inner {
            started: Instant::now(),
            agents,
            attention: Mutex::default(),
            applied: watch::Sender::new(()),
        }))
    }
}

impl Nodes {
    /// Serves an agent's reverse connection until it ends.
    ///
    /// # Errors
    /// [`TunnelError`], for the log: the agent dials again by itself.
    pub async fn serve<S>(&self, node: &str, stream: S) -> Result<(), TunnelError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let http = |source| TunnelError::Http {
            node: node.to_owned(),
            source,
        };
        let (mut sender, connection) =
            hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(http)?;
        let driver = tokio::spawn(connection);
        let _ended_with_this_call = tokio_util::task::AbortOnDropHandle::new(driver);
        let request = Request::get("http://agent/heartbeats").body(Empty::new());
        let Ok(request) = request else { return Ok(()) };
        let body = sender
            .send_request(request)
            .await
            .map_err(http)?
            .into_body();
        let connection = self.next_connection();
        let served = self.listen(node, connection, &sender, body).await;
        self.detach(node, connection);
        served
    }

    async fn listen(
        &self,
        node: &str,
        connection: u64,
        sender: &SendRequest<Empty<Bytes>>,
        mut body: Incoming,
    ) -> Result<(), TunnelError> {
        let mut line = Vec::new();
        loop {
            let silent = || TunnelError::Silent {
                node: node.to_owned(),
            };
            let frame = tokio::time::timeout(SILENCE_MAX, body.frame()).await;
            let Some(frame) = frame.map_err(|_| silent())? else {
                return Ok(());
            };
            let http = |source| TunnelError::Http {
                node: node.to_owned(),
                source,
            };
            let Ok(data) = frame.map_err(http)?.into_data() else {
                continue;
            };
            line.extend_from_slice(&data);
            while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                let rest = line.split_off(end + 1);
                let beat: Option<Heartbeat> = serde_json::from_slice(&line).ok();
                line = rest;
                let beat = beat.ok_or_else(|| TunnelError::Garbled {
                    node: node.to_owned(),
                })?;
                self.heard(node, connection, beat, sender)?;
            }
            if line.len() > LINE_MAX {
                return Err(TunnelError::Garbled {
                    node: node.to_owned(),
                });
            }
        }
    }

    fn heard(
        &self,
        node: &str,
        connection: u64,
        beat: Heartbeat,
        sender: &SendRequest<Empty<Bytes>>,
    ) -> Result<(), TunnelError> {
        let mut agents = self.lock();
        if self.alive_as_another(&agents, node, &beat.agent_id) {
            return Err(TunnelError::Taken {
                node: node.to_owned(),
            });
        }
        let before = agents.get(node).and_then(|agent| agent.applied);
        let applied = beat.applied.map(Revision).or(before);
        let agent = Agent {
            applied,
            id: beat.agent_id,
            heard: Instant::now(),
            heard_at: jiff::Timestamp::now().into(),
            connection,
            sender: Some(sender.clone()),
        };
        agents.insert(node.to_owned(), agent);
        if applied != before {
            self.0.applied.send_replace(());
        }
        Ok(())
    }

    fn detach(&self, node: &str, connection: u64) {
        if let Some(agent) = self
            .lock()
            .get_mut(node)
            .filter(|a| a.connection == connection)
        {
            agent.sender = None;
        }
    }

    fn next_connection(&self) -> u64 {
        self.lock()
            .values()
            .map(|agent| agent.connection)
            .max()
            .unwrap_or(0)
            + 1
    }

    /// Whether the node was heard just now through an agent other than this one.
    #[must_use]
    pub fn taken_by_another(&self, node: &str, agent_id: &str) -> bool {
        self.alive_as_another(&self.lock(), node, agent_id)
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the nodes")]
    fn alive_as_another(
        &self,
        agents: &BTreeMap<String, Agent>,
        node: &str,
        agent_id: &str,
    ) -> bool {
        agents
            .get(node)
            .is_some_and(|agent| agent.id != agent_id && agent.heard.elapsed() < ALIVE)
    }

    /// How long each node has been silent, as this server heard it.
    #[must_use]
    pub fn heartbeats(&self) -> Heartbeats {
        let started = self.0.started;
        let agents = self.lock();
        let heard = agents
            .iter()
            .map(|(node, agent)| (node.clone(), agent.heard.duration_since(started)));
        let mut attention = self.attention();
        attention.heartbeats(started.elapsed(), heard)
    }

    /// Notices when this server was paused, for as long as it is polled: also while it leads
    /// nothing, since it may be elected right after a pause.
    pub async fn attend(&self) {
        let mut pace = tokio::time::interval(attention::PACE);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            self.attention().look(self.0.started.elapsed());
        }
    }

    fn attention(&self) -> MutexGuard<'_, Attention> {
        let attention = &self.0.attention;
        attention.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The heartbeats as Lease objects in `kube-node-lease`, as a kubelet would keep them.
    #[must_use]
    pub fn leases(&self) -> Vec<Object> {
        let agents = self.lock();
        agents
            .iter()
            .filter_map(|(node, agent)| lease::of(node, agent.heard_at))
            .collect()
    }

    /// Sends a GET to a node's agent.
    ///
    /// # Errors
    /// A 503 `Status` if the agent is not connected, a 504 if it does not answer.
    pub async fn get(
        &self,
        node: &str,
        path_and_query: &str,
    ) -> Result<Response<Incoming>, Status> {
        let sender = self.lock().get(node).and_then(|agent| agent.sender.clone());
        let unreachable = |why: String| {
            let message = format!("the agent of node {node:?} cannot be reached: {why}");
            Status::failure(Reason::ServiceUnavailable, message)
        };
        let Some(mut sender) = sender else {
            return Err(unreachable("it is not connected to this server".into()));
        };
        let request = Request::get(format!("http://agent{path_and_query}"))
            .body(Empty::new())
            .map_err(|err| Status::failure(Reason::BadRequest, err.to_string()))?;
        match tokio::time::timeout(ANSWER_MAX, sender.send_request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(err)) => Err(unreachable(err.to_string())),
            Err(_) => {
                let message = format!("the agent of node {node:?} did not answer in time");
                Err(Status::failure(Reason::Timeout, message))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Agent>> {
        self.0.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests;
