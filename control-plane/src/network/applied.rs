//! How far the consumers of endpoints have come: the packet rules of nodes, which say so in their
//! heartbeats, and the gateways in servers. Whoever ends a pod asks before whether anybody may still
//! send to it.
//!
//! `GET /skiff/v1/network/applied?revision=R&timeoutMillis=T` answers
//! `{"revision":R,"waitingFor":["n1","server s2"]}` as soon as nobody is left to wait for, or after
//! `T` (2000 unless said otherwise, at most 10000) with those who are. A consumer that is not heard
//! of is not waited for: a node for four seconds, a server that cannot be reached.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde::{Deserialize, Serialize};
use skiff_api::{Reason, Revision};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::auth::Identity;
use crate::forward::headers;
use crate::http::query::Query;
use crate::http::reply::{self, Refused, refuse};
use crate::members;
use crate::nodes::Nodes;
use crate::peers::Peers;
use crate::store::Store;

/// Where a server tells of its own gateway.
pub(super) const GATEWAY: &str = "/skiff/v1/network/gateway";

/// How long an answer is waited for if the question does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(2);
/// Nobody who ends a pod has more time than this.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// A node that falls silent is no longer waited for; this is how soon that is noticed.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// A longer answer of another server is not one.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Who has put what into effect, as this server knows it. Cheap to clone.
#[derive(Clone)]
pub struct Applied(Arc<Inner>);

struct Inner {
    store: Store,
    nodes: Nodes,
    peers: Peers,
    /// How far the gateway in this process is; 0 while there is none.
    gateway: watch::Sender<Revision>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    revision: Revision,
    timeout: Duration,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    revision: u64,
    waiting_for: Vec<String>,
}

impl Wanted {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Refused> {
        let query = Query::parse(query)?;
        let number = |name: &str| match query.get(name) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| {
                let message = format!("{name}={text} is not a whole number");
                refuse(Reason::BadRequest, message)
            }),
        };
        let Some(revision) = number("revision")? else {
            return Err(refuse(Reason::BadRequest, "a revision is required"));
        };
        let timeout = number("timeoutMillis")?.map_or(WAIT_DEFAULT, Duration::from_millis);
        if timeout > WAIT_MAX {
            let message = format!("timeoutMillis may be {} at most", WAIT_MAX.as_millis());
            return Err(refuse(Reason::BadRequest, message));
        }
        Ok(Self {
            revision: Revision(revision),
            timeout,
        })
    }
}

impl Applied {
    pub(crate) fn new(store: Store, nodes: Nodes, peers: Peers) -> Self {
        Self(Arc::new(Inner {
            store,
            nodes,
            peers,
            gateway: watch::Sender::new(Revision(0)),
        }))
    }

    /// Where the gateway in this process says up to which revision it follows the endpoints.
    #[must_use]
    pub fn gateway(&self) -> watch::Sender<Revision> {
        self.0.gateway.clone()
    }

    pub(super) async fn by_all(&self, wanted: Wanted) -> Response {
        let until = Instant::now() + wanted.timeout;
        let (nodes, own, others) = tokio::join!(
            self.nodes(wanted.revision, until),
            self.own_gateway(wanted.revision, until),
            self.other_gateways(wanted.revision, until),
        );
        let waiting_for = nodes.into_iter().chain(own).chain(others).collect();
        answer(wanted.revision, waiting_for)
    }

    pub(super) async fn by_gateway(&self, wanted: Wanted) -> Response {
        let until = Instant::now() + wanted.timeout;
        let own = self.own_gateway(wanted.revision, until).await;
        answer(wanted.revision, own.into_iter().collect())
    }

    /// The nodes that are still behind when the time is up.
    async fn nodes(&self, revision: Revision, until: Instant) -> Vec<String> {
        let mut news = self.0.nodes.applied_news();
        loop {
            news.mark_unchanged();
            let lagging = self.0.nodes.lagging(revision);
            let now = Instant::now();
            if lagging.is_empty() || now >= until {
                return lagging;
            }
            let look = until.min(now + LOOK_AGAIN);
            // Whether there was news or not, they are looked at again.
            drop(timeout_at(look, news.changed()).await);
        }
    }

    async fn own_gateway(&self, revision: Revision, until: Instant) -> Option<String> {
        let mut applied = self.0.gateway.subscribe();
        let reached = applied.wait_for(|at| *at >= revision || *at == Revision(0));
        let reached = matches!(timeout_at(until, reached).await, Ok(Ok(_)));
        (!reached).then(|| self.name(self.0.store.status().member))
    }

    async fn other_gateways(&self, revision: Revision, until: Instant) -> Vec<String> {
        let me = self.0.store.status().member;
        let members = members::of(&self.0.store.state());
        let others = members.keys().copied().filter(|member| *member != me);
        let asked = others.map(|member| self.ask(member, revision, until));
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Asks another server for its gateway. A server that cannot be reached has no gateway that
    /// could be waited for; of one that does not answer nothing is known.
    async fn ask(&self, member: u64, revision: Revision, until: Instant) -> Option<String> {
        let request = question(revision, until)?;
        let exchange = async {
            let response = self.0.peers.forward(member, request).await.ok()?;
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let body = body.collect().await.ok()?.to_bytes();
            serde_json::from_slice::<Answer>(&body).ok()
        };
        match timeout_at(until, exchange).await {
            Ok(Some(answer)) => answer.waiting_for.into_iter().next(),
            Ok(None) => None,
            Err(_) => Some(self.name(member)),
        }
    }

    fn name(&self, member: u64) -> String {
        let members = members::of(&self.0.store.state());
        let name = members.get(&member).map(|member| member.name.clone());
        format!("server {}", name.unwrap_or_else(|| member.to_string()))
    }
}

fn question(revision: Revision, until: Instant) -> Option<Request<Bytes>> {
    let left = until.saturating_duration_since(Instant::now()).as_millis();
    let uri = format!("{GATEWAY}?revision={revision}&timeoutMillis={left}");
    let me = Identity::server();
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = uri.parse().ok()?;
    *request.headers_mut() = headers::outgoing(&HeaderMap::new(), Some(&me))?;
    Some(request)
}

fn answer(revision: Revision, waiting_for: Vec<String>) -> Response {
    let answer = Answer {
        revision: revision.0,
        waiting_for,
    };
    reply::value(StatusCode::OK, &answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_bounded() {
        let cases = [
            (Some("revision=7"), Ok((7, 2000))),
            (Some("revision=7&timeoutMillis=10000"), Ok((7, 10_000))),
            (Some("revision=7&timeoutMillis=10001"), Err("at most")),
            (Some("revision=-1"), Err("not a whole number")),
            (None, Err("a revision is required")),
        ];
        for (query, expected) in cases {
            match (Wanted::parse(query), expected) {
                (Ok(wanted), Ok((revision, millis))) => {
                    let found = (wanted.revision, wanted.timeout.as_millis());
                    assert_eq!(found, (Revision(revision), millis), "{query:?}");
                }
                (Err(refused), Err(words)) => {
                    assert!(refused.message.contains(words), "{query:?}: {refused}");
                }
                (found, _) => panic!("{query:?}: {found:?}"),
            }
        }
    }
}
