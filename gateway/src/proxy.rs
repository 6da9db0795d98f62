//! One request on its way: find its route, choose an endpoint, send it there, pass the answer back.
//! What is decided is decided elsewhere (`route`, `balance`); here it is done.

mod account;
mod answer;
mod attempt;
mod headers;
mod spare;
mod upgrade;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};

use crate::balance::Tick;
use crate::body::{Payload, Reply};
use crate::live::LiveRoute;
use crate::metrics;
use crate::route::{Canary, client_of};
use crate::serve::{Activity, Worker};
use crate::upstream::{Protocol, Trouble, Upstream};

pub(crate) use account::Account;
pub(crate) use answer::Refusal;
use headers::Via;
pub(crate) use upgrade::{Tunnel, carry};

/// What is the same for all requests of a connection.
pub(crate) struct Connection {
    pub(crate) worker: Arc<Worker>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) client: IpAddr,
    via: Via,
}

impl Connection {
    pub(crate) fn new(worker: Arc<Worker>, client: IpAddr, tls: bool) -> Self {
        let client = client.to_canonical();
        Self {
            worker,
            activity: Arc::default(),
            client,
            via: Via::new(client, tls),
        }
    }
}

/// Answers a request, whatever happens.
pub(crate) async fn serve(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Infallible> {
    let (mut head, body) = request.into_parts();
    let mut account = Account::begin(&connection, &head);
    let is_head = head.method == Method::HEAD;
    let answer = match route(&connection, &mut head, &mut account) {
        Ok(routed) => forward(&connection, &routed, head, body, &mut account).await,
        Err(refusal) => Err(refusal),
    };
    Ok(match answer {
        Ok(passed) => {
            account.answered(passed.response.status());
            passed.finish(account)
        }
        Err(refusal) => {
            account.refused(&refusal);
            let answer = refusal.answer(is_head);
            if let Reply::Own(words) = answer.body() {
                account.sent(words.len());
            }
            answer
        }
    })
}

/// Where a request goes.
struct Routed {
    live: Arc<LiveRoute>,
    upstream: Arc<Upstream>,
    host: HeaderValue,
    /// Whether it is a call of gRPC to a service that speaks it.
    is_stream: bool,
}

/// Finds a request's route, and refuses what may not go on.
fn route(
    connection: &Connection,
    head: &mut Parts,
    account: &mut Account,
) -> Result<Routed, Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::Method);
    }
    let host = headers::host(head).ok_or(Refusal::Host)?;
    let name = host.to_str().map_err(|_| Refusal::Host)?;
    let seen = connection.worker.seen();
    let live = seen.live().find(name, head.uri.path());
    let live = live.ok_or(Refusal::NoRoute)?;
    account.routed(live);
    let settings = &live.route.settings;
    if settings.redirect_https && !connection.via.tls {
        return Err(Refusal::Redirect(https(name, &head.uri)));
    }
    if let Some(limiter) = &live.limiter {
        let now = connection.worker.shared.clock.nanos();
        limiter
            .pass(client_of(connection.client), now)
            .map_err(Refusal::Limited)?;
    }
    let version = match &live.route.canary {
        Some(canary) => version(canary, &head.headers, rand::random()),
        None => metrics::Version::Stable,
    };
    let upstream = match version {
        metrics::Version::Stable => live.stable.as_ref(),
        metrics::Version::Canary => live.canary.as_ref(),
    };
    // Streams of gRPC may be as long as they like, and may listen for long before they answer.
    let is_stream = headers::is_grpc(&head.headers)
        && upstream.is_some_and(|upstream| upstream.protocol() == Protocol::Http2);
    let bytes_max = settings.body_max.filter(|_| !is_stream);
    if let (Some(most), Some(length)) = (bytes_max, content_length(&head.headers))
        && length > most
    {
        return Err(Refusal::TooLarge);
    }
    account.version(version);
    let Some(upstream) = upstream else {
        let why = live.route.backend.as_ref().err().cloned();
        return Err(Refusal::Nobody(
            None,
            Trouble::Refused(why.unwrap_or_default()),
        ));
    };
    Ok(Routed {
        live: Arc::clone(live),
        upstream: Arc::clone(upstream),
        host,
        is_stream,
    })
}

/// Which version of the service a request is for; `chance` is any number.
fn version(canary: &Canary, headers: &HeaderMap, chance: u32) -> metrics::Version {
    if let Some((name, wanted)) = &canary.header
        && let Some(value) = headers.get(name)
    {
        if value.as_bytes() == wanted.as_bytes() {
            return metrics::Version::Canary;
        }
        if value.as_bytes() == b"never" {
            return metrics::Version::Stable;
        }
    }
    let drawn = (u64::from(chance) * 100) >> 32;
    if drawn < u64::from(canary.weight_percent) {
        metrics::Version::Canary
    } else {
        metrics::Version::Stable
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The same address with TLS. The port is the usual one: what this one is mapped to from outside,
/// nobody here knows.
fn https(host: &str, uri: &Uri) -> String {
    let name = if host.starts_with('[') {
        host.split_inclusive(']').next().unwrap_or(host)
    } else {
        host.split_once(':').map_or(host, |(name, _)| name)
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    format!("https://{name}{path}")
}

/// Sends a request to an endpoint and takes its answer.
async fn forward(
    connection: &Connection,
    routed: &Routed,
    mut head: Parts,
    body: Incoming,
    account: &mut Account,
) -> Result<attempt::Passing, Refusal> {
    let settings = &routed.live.route.settings;
    let wants = upgrade::wanted(&head);
    // It would be part of the tunnel for one side, and the next request for the other.
    if wants.is_some() && !body.is_end_stream() {
        return Err(Refusal::UpgradeBody);
    }
    let bytes_max = settings.body_max.filter(|_| !routed.is_stream);
    headers::forward(
        &mut head,
        &connection.via,
        &routed.host,
        account.request_id(),
    );
    let body = Payload::of(body, bytes_max, settings.idle_timeout);
    headers::frame(&mut head.headers, body.size_hint().exact());
    head.version = Version::HTTP_11;
    let attempts = attempt::Attempts {
        worker: &connection.worker,
        live: &routed.live,
        upstream: &routed.upstream,
        host: &routed.host,
        head_max: if routed.is_stream {
            settings.idle_timeout
        } else {
            settings.response_timeout
        },
    };
    let request = Request::from_parts(head, body);
    if let Some(protocol) = wants {
        return upgrade::switch(connection, &attempts, request, protocol, account).await;
    }
    attempts.send(request, account).await
}

/// The time that choosing an endpoint needs: now, and how long new ones are spared.
fn times(worker: &Worker, live: &LiveRoute) -> (Tick, Tick) {
    let slow_start = live.route.settings.slow_start.as_millis();
    let slow_start = Tick::try_from(slow_start).unwrap_or(Tick::MAX);
    (worker.shared.clock.tick(), slow_start)
}

/// Whether an answer says that the service cannot, rather than that the request may not.
fn is_failure(code: StatusCode) -> bool {
    matches!(
        code,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}
