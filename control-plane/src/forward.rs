//! Writes on a server that does not lead: the whole request goes to the leader, one hop, and its
//! answer comes back (step 2 of the walk). Never sends a request a second time unless it is certain
//! that the first had no effect.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use hyper::body::Body as _;
use skiff_api::{Reason, Status};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::auth::Identity;
use crate::http::body::{self, BODY_MAX};
use crate::http::reply::{self, Refused, refuse, retry_after};
use crate::peers::{ForwardError, Peers};
use crate::store::Store;
use headers::Forwarded;

pub(crate) mod headers;

/// How long a request waits for a leader: an election is over by then.
const LEADER_WAIT: Duration = Duration::from_secs(5);
/// How often a waiting request looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long the leader may take to begin its answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// KiB of bodies on their way to the leader; more requests get 429.
const BODIES_KIB_MAX: usize = 64 << 10;
/// Seconds after which a client may try again.
const RETRY_SECONDS: u32 = 1;
/// What needs no identity but a token in its body or head.
const TOKEN_PATHS: &str = "/skiff/v1/";
/// What the leader alone has heard of, so that even reads go to it.
const LEADERS_PATH: &str = skiff_api::gateway::PATH;

#[derive(Clone)]
struct Forwarder {
    store: Store,
    peers: Peers,
    room: Arc<Semaphore>,
}

/// Puts forwarding in front of a router.
pub fn layer(router: Router, store: Store, peers: Peers) -> Router {
    let forwarder = Forwarder {
        store,
        peers,
        room: Arc::new(Semaphore::new(BODIES_KIB_MAX)),
    };
    router.layer(from_fn_with_state(forwarder, forward))
}

/// What this server is at the moment.
#[derive(Clone, Copy, Debug)]
struct Role {
    member: u64,
    /// It leads, and its state holds all that was acknowledged.
    leads: bool,
    /// Who was elected, as far as it knows.
    leader: Option<u64>,
}

impl Role {
    /// Of the leader no more is asked.
    const LEADS: Self = Self {
        member: 0,
        leads: true,
        leader: None,
    };
}

/// What to do with a request that only a leader may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Here,
    To(u64),
    /// Nobody leads yet.
    Wait,
    /// It was forwarded once already.
    SendBack,
}

const fn step(role: Role, forwarded: bool) -> Step {
    match role.leader {
        _ if role.leads => Step::Here,
        // Elected, but what the last leader acknowledged is not all applied yet.
        Some(leader) if leader == role.member => Step::Wait,
        Some(_) | None if forwarded => Step::SendBack,
        Some(leader) => Step::To(leader),
        None => Step::Wait,
    }
}

/// What an attempt at the leader means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is the client's answer.
    Answer,
    /// Nothing happened there: find the leader.
    Again,
    /// Something may have happened there.
    Lost,
}

fn verdict(attempt: &Result<Response, ForwardError>) -> Verdict {
    match attempt {
        Ok(response)
            if response.status() == StatusCode::SERVICE_UNAVAILABLE
                && headers::is_not_leader(response) =>
        {
            Verdict::Again
        }
        Ok(_) => Verdict::Answer,
        Err(ForwardError::Unreachable { .. }) => Verdict::Again,
        Err(ForwardError::Lost { .. }) => Verdict::Lost,
    }
}

/// Whether any server may answer: reads of what is replicated, and what will be refused for want of
/// an identity.
fn is_for_anybody(method: &Method, path: &str, has_identity: bool) -> bool {
    let read = matches!(*method, Method::GET | Method::HEAD) && path != LEADERS_PATH;
    read || (!has_identity && !path.starts_with(TOKEN_PATHS))
}

/// The answer of a server that does not lead to a request that was forwarded to it.
pub(crate) fn not_leader(why: &str) -> Response {
    let mut response = reply::status(&Status::failure(Reason::ServiceUnavailable, why));
    headers::mark_not_leader(response.headers_mut());
    response
}

async fn forward(Shared(forwarder): Shared<Forwarder>, request: Request, next: Next) -> Response {
    let extensions = request.extensions();
    let has_identity = extensions.get::<Identity>().is_some();
    let forwarded = extensions.get::<Forwarded>().is_some();
    let anybody = is_for_anybody(request.method(), request.uri().path(), has_identity);
    if anybody || step(forwarder.role(), forwarded) == Step::Here {
        return next.run(request).await;
    }
    match forwarder.place(request, forwarded).await {
        Ok(Placed::Here(request)) => next.run(request).await,
        Ok(Placed::Answered(response)) => response,
        Err(refused) => reply::status(&refused),
    }
}

/// What became of a request.
enum Placed {
    /// This server leads by now.
    Here(Request),
    /// The leader answered.
    Answered(Response),
}

impl Forwarder {
    fn role(&self) -> Role {
        if self.store.is_leader() {
            return Role::LEADS;
        }
        let status = self.store.status();
        Role {
            member: status.member,
            leads: false,
            leader: status.leader,
        }
    }

    /// Finds the leader and lets it answer.
    async fn place(&self, request: Request, forwarded: bool) -> Result<Placed, Refused> {
        if step(self.role(), forwarded) == Step::SendBack {
            return Ok(Placed::Answered(send_back()));
        }
        let (parts, body) = request.into_parts();
        // It may have to be sent more than once.
        let mut room = self.room_for(&body)?;
        let body = body::read(body).await?;
        // One that did not say how long it is took room for the longest.
        let taken = permits(body.len() as u64) as usize;
        drop(room.split(room.num_permits().saturating_sub(taken)));
        let begun = Instant::now();
        let mut why = "no server was elected".to_owned();
        while begun.elapsed() < LEADER_WAIT {
            match step(self.role(), forwarded) {
                Step::Here => {
                    let request = Request::from_parts(parts, Body::from(body));
                    return Ok(Placed::Here(request));
                }
                Step::SendBack => return Ok(Placed::Answered(send_back())),
                Step::Wait => {}
                Step::To(leader) => {
                    let request = to_leader(&parts, &body)?;
                    let sent = self.peers.forward(leader, request);
                    let sent = tokio::time::timeout_at(begun + ANSWER_MAX, sent).await;
                    match outcome(leader, sent.map_err(|_| lost())?)? {
                        Ok(response) => return Ok(Placed::Answered(response)),
                        Err(again) => why = again,
                    }
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let message = format!("there is no leader: {why}; nothing was changed, try again");
        let status = Status::failure(Reason::ServiceUnavailable, message);
        Err(retry_after(status, RETRY_SECONDS))
    }

    /// Room for a body of this length, or of any if it does not say.
    fn room_for(&self, body: &Body) -> Result<SemaphorePermit<'_>, Refused> {
        let most = BODY_MAX as u64;
        let bytes = body.size_hint().upper().unwrap_or(most).min(most);
        self.room.try_acquire_many(permits(bytes)).map_err(|_| {
            let message = "too many requests are on their way to the leader";
            let status = Status::failure(Reason::TooManyRequests, message);
            retry_after(status, RETRY_SECONDS)
        })
    }
}

/// What a body of this length takes of the room.
fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes >> 10).unwrap_or(u32::MAX - 1) + 1
}

/// The client's answer, or why the leader has to be looked for again.
fn outcome(
    leader: u64,
    attempt: Result<Response, ForwardError>,
) -> Result<Result<Response, String>, Refused> {
    match (verdict(&attempt), attempt) {
        (Verdict::Answer, Ok(mut response)) => {
            headers::strip(response.headers_mut());
            Ok(Ok(response))
        }
        (Verdict::Again, Ok(_)) => Ok(Err(format!("server {leader} does not lead any more"))),
        (Verdict::Again, Err(err)) => Ok(Err(err.to_string())),
        (Verdict::Lost | Verdict::Answer, _) => Err(lost()),
    }
}

fn to_leader(parts: &Parts, body: &Bytes) -> Result<http::Request<Bytes>, Refused> {
    let headers = headers::outgoing(&parts.headers, parts.extensions.get::<Identity>());
    let Some(headers) = headers else {
        let message = "the name in the client certificate has characters that cannot be forwarded";
        return Err(refuse(Reason::BadRequest, message));
    };
    let mut request = http::Request::new(body.clone());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    *request.headers_mut() = headers;
    Ok(request)
}

fn send_back() -> Response {
    not_leader("this server is not the leader")
}

fn lost() -> Refused {
    let message = "the leader was lost; the request may have been carried out";
    refuse(Reason::Timeout, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_goes_to_whoever_leads() {
        use Step::{Here, SendBack, To, Wait};
        let cases = [
            ("the leader", true, Some(1), false, Here),
            ("the leader, forwarded to", true, Some(1), true, Here),
            ("a follower", false, Some(2), false, To(2)),
            ("a follower, forwarded to", false, Some(2), true, SendBack),
            ("nobody leads", false, None, false, Wait),
            ("nobody leads, forwarded to", false, None, true, SendBack),
            ("elected just now", false, Some(1), false, Wait),
            ("elected just now, forwarded to", false, Some(1), true, Wait),
        ];
        for (name, leads, leader, forwarded, expected) in cases {
            let role = Role {
                member: 1,
                leads,
                leader,
            };
            assert_eq!(step(role, forwarded), expected, "{name}");
        }
    }

    #[test]
    fn only_what_surely_had_no_effect_is_sent_again() {
        let response = |code: StatusCode| {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = code;
            response
        };
        let why = String::new;
        let cases = [
            ("done", Ok(response(StatusCode::CREATED)), Verdict::Answer),
            (
                "refused",
                Ok(response(StatusCode::CONFLICT)),
                Verdict::Answer,
            ),
            (
                "unavailable, for another reason",
                Ok(response(StatusCode::SERVICE_UNAVAILABLE)),
                Verdict::Answer,
            ),
            ("not the leader", Ok(send_back()), Verdict::Again),
            (
                "not dialled",
                Err(ForwardError::Unreachable {
                    member: 1,
                    why: why(),
                }),
                Verdict::Again,
            ),
            (
                "broken off",
                Err(ForwardError::Lost {
                    member: 1,
                    why: why(),
                }),
                Verdict::Lost,
            ),
        ];
        for (name, attempt, expected) in cases {
            assert_eq!(verdict(&attempt), expected, "{name}");
        }
    }

    #[test]
    fn reads_and_strangers_are_answered_by_anybody() {
        let cases = [
            ("GET", "/api/v1/pods", true, true),
            ("HEAD", "/skiff/v1/ca", false, true),
            ("POST", "/api/v1/pods", true, false),
            ("POST", "/api/v1/pods", false, true),
            ("POST", "/skiff/v1/join", false, false),
            ("DELETE", "/api/v1/namespaces/a", true, false),
        ];
        for (method, path, has_identity, expected) in cases {
            let method = method.parse().unwrap();
            let found = is_for_anybody(&method, path, has_identity);
            assert_eq!(found, expected, "{method} {path}");
        }
    }
}
