//! The way between servers: mutual TLS on the one port, protocol name `skiff-raft/1`, HTTP/2 inside.
//!
//! To each other member there is one connection for raft's messages, whose one request never ends,
//! and a second one, dialled when it is needed, for snapshots and forwarded requests: so nothing
//! large ever stands before a heartbeat. Nothing here decides about raft; what cannot be sent is
//! dropped, and raft sends again.
//!
//! | file | what |
//! |---|---|
//! | `book` | whom to dial, whom to turn away |
//! | `link`, `dial`, `queue`, `message` | messages to one member |
//! | `lane` | small requests that are forwarded, many on one stream |
//! | `frame` | what streams are made of |
//! | `snapshots`, `assemblies` | a whole state: sending, receiving |
//! | `accept` | the accepting side |
//! | `group` | what is needed of a store |

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::HeaderName;
use http::{Request, Uri};
use raft::eraftpb::{Message, MessageType};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::members::Members;
use crate::raft::Outbound;
use assemblies::Unfinished;
use dial::DialError;
use link::Link;

mod accept;
mod assemblies;
mod book;
mod dial;
mod frame;
mod group;
mod lane;
mod link;
mod message;
mod queue;
mod snapshots;
mod tls;

#[cfg(test)]
mod tests;

pub use group::Group;
pub use tls::tls_config;

/// The TLS protocol name of connections between servers.
pub const ALPN: &[u8] = b"skiff-raft/1";

/// Says which member dials.
const MEMBER: HeaderName = HeaderName::from_static("skiff-member");
const MESSAGES_PATH: &str = "/raft/messages";
const SNAPSHOT_PATH: &str = "/raft/snapshot";
/// Snapshots put together at the same time: each holds a state in memory.
const RECEIVED_AT_ONCE: usize = 2;
/// Members whose snapshots could not be sent for want of a link; a group has far fewer.
const UNDELIVERABLE_MAX: usize = 64;

/// The connections to the other servers. Cheap to clone.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

struct Inner {
    member: u64,
    tls: TlsConnector,
    members: watch::Receiver<Arc<Members>>,
    /// Let go of at the end, since the store holds on to us too.
    group: Mutex<Option<Arc<dyn Group>>>,
    links: Mutex<BTreeMap<u64, Arc<Link>>>,
    /// Members that raft wanted to send a snapshot to and that nobody knows.
    undeliverable: mpsc::Sender<u64>,
    unclaimed: Mutex<Option<mpsc::Receiver<u64>>>,
    sending: Arc<Semaphore>,
    receiving: Arc<Semaphore>,
    unfinished: Arc<Unfinished>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Why a forwarded request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// It was not sent: it had no effect.
    #[error("server {member} cannot be reached: {why}")]
    Unreachable {
        /// Which server.
        member: u64,
        /// Why not, in words.
        why: String,
    },
    /// It was sent, and no answer came: it may have been carried out.
    #[error("server {member} was lost before it answered: {why}")]
    Lost {
        /// Which server.
        member: u64,
        /// What happened, in words.
        why: String,
    },
}

impl Peers {
    /// The connections of a member, as its list of servers says; none before [`Peers::attach`].
    /// `tls` trusts the cluster's CA and shows this server's certificate; see [`tls_config`].
    #[must_use]
    pub fn new(
        member: u64,
        tls: Arc<rustls::ClientConfig>,
        members: watch::Receiver<Arc<Members>>,
    ) -> Self {
        let mut tls = rustls::ClientConfig::clone(&tls);
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let (undeliverable, unclaimed) = mpsc::channel(UNDELIVERABLE_MAX);
        Self(Arc::new(Inner {
            member,
            tls: TlsConnector::from(Arc::new(tls)),
            members,
            group: Mutex::default(),
            links: Mutex::default(),
            undeliverable,
            unclaimed: Mutex::new(Some(unclaimed)),
            sending: Arc::new(Semaphore::new(snapshots::AT_ONCE)),
            receiving: Arc::new(Semaphore::new(RECEIVED_AT_ONCE)),
            unfinished: Arc::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Begins to dial and to take messages, for a store that is open. To be called once, within a
    /// tokio runtime.
    pub fn attach(&self, group: impl Group + 'static) {
        let Some(undeliverable) = lock(&self.0.unclaimed).take() else {
            tracing::error!("a second store was attached to the same connections");
            return;
        };
        let group: Arc<dyn Group> = Arc::new(group);
        *lock(&self.0.group) = Some(group.clone());
        let inner = self.0.clone();
        self.0.tasks.spawn(inner.follow(group, undeliverable));
    }

    /// Serves a connection of another server, whose certificate the caller has checked, until it
    /// ends or [`Peers::stop`] is called. Forwarded requests go to `router`.
    pub fn serve<S>(&self, stream: S, router: Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.0.tasks.spawn(self.0.clone().accept(stream, router));
    }

    /// Sends a client's request to another member and returns its answer.
    ///
    /// # Errors
    /// [`ForwardError`] says whether the request may have been carried out.
    pub async fn forward(
        &self,
        member: u64,
        request: Request<Bytes>,
    ) -> Result<Response, ForwardError> {
        let unreachable = |why: String| ForwardError::Unreachable { member, why };
        let link = lock(&self.0.links).get(&member).cloned();
        let link = link.ok_or_else(|| unreachable("its address is not known".into()))?;
        if let Some(answered) = link.lane.ask(&link, &request).await {
            return answered.map(|answer| answer.map(Body::from));
        }
        let request =
            address(request.map(Body::from), &link).map_err(|err| unreachable(chain(&err)))?;
        let sender = link.bulk().await;
        let mut sender = sender.map_err(|err| unreachable(chain(&err)))?;
        match sender.try_send_request(request).await {
            Ok(response) => Ok(response.map(Body::new)),
            Err(mut err) => {
                let unsent = err.take_message().is_some();
                let why = chain(err.error());
                if unsent {
                    Err(unreachable(why))
                } else {
                    Err(ForwardError::Lost { member, why })
                }
            }
        }
    }

    /// Closes every connection and lets go of the store. To be called after the store was shut
    /// down: what it finishes at the end needs the others.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        lock(&self.0.links).clear();
        lock(&self.0.group).take();
    }
}

impl Outbound for Peers {
    fn send(&self, messages: Vec<Message>) {
        let links = lock(&self.0.links);
        for message in messages {
            if let Some(link) = links.get(&message.to) {
                link.queue.push(message);
            } else if message.get_msg_type() == MessageType::MsgSnapshot {
                // Raft waits for word of it.
                if self.0.undeliverable.try_send(message.to).is_err() {
                    tracing::error!(
                        member = message.to,
                        "a snapshot for an unknown server is lost"
                    );
                }
            }
        }
    }
}

impl Inner {
    /// Keeps the connections as the list of servers says, until the end.
    async fn follow(
        self: Arc<Self>,
        group: Arc<dyn Group>,
        mut undeliverable: mpsc::Receiver<u64>,
    ) {
        let mut members = self.members.clone();
        let mut sweep = tokio::time::interval(assemblies::KEPT_FOR);
        self.relink(&members.borrow_and_update().clone(), &group);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                Ok(()) = members.changed() => {
                    let listed = members.borrow_and_update().clone();
                    self.relink(&listed, &group);
                }
                Some(member) = undeliverable.recv() => group.report_snapshot(member, false),
                now = sweep.tick() => self.unfinished.forget_old(now),
            }
        }
        for link in lock(&self.links).values() {
            link.stop.cancel();
        }
    }

    fn relink(&self, listed: &Members, group: &Arc<dyn Group>) {
        let mut links = lock(&self.links);
        let dialled = links.iter();
        let dialled = dialled.map(|(member, link)| (*member, link.address.clone()));
        let changes = book::changes(&dialled.collect(), listed, self.member);
        for member in changes.hang_up {
            if let Some(link) = links.remove(&member) {
                link.stop.cancel();
            }
        }
        for (member, address) in changes.dial {
            let link = Arc::new(Link {
                own: self.member,
                member,
                address,
                tls: self.tls.clone(),
                queue: Arc::default(),
                bulk: dial::Bulk::default(),
                lane: lane::Lane::default(),
                stop: self.stop.child_token(),
            });
            links.insert(member, link.clone());
            let (both, group, sending) = (link.clone(), group.clone(), self.sending.clone());
            self.tasks.spawn(async move {
                let (messages, snapshots) =
                    (both.run(&*group), both.run_snapshots(&*group, &sending));
                tokio::join!(messages, snapshots);
            });
        }
    }

    fn group(&self) -> Option<Arc<dyn Group>> {
        lock(&self.group).clone()
    }
}

/// A request as the member's own server is asked.
fn address(mut request: Request<Body>, link: &Link) -> Result<Request<Body>, http::Error> {
    let path = request.uri().path_and_query();
    let uri = Uri::builder()
        .scheme("https")
        .authority(link.address.as_str());
    let uri = uri.path_and_query(path.map_or("/", |path| path.as_str()));
    *request.uri_mut() = uri.build()?;
    request.headers_mut().insert(MEMBER, link.own.into());
    Ok(request)
}

/// An error with all its causes, in one line.
fn chain(err: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(err.source(), |err| err.source());
    causes.fold(err.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// What these locks guard is plain memory, whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
