//! Requests that turn their connection into something else, WebSocket mostly: when the service
//! agrees, both connections become one tunnel of bytes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, StatusCode, Version};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::attempt::{Attempts, Carried, Passing};
use super::{Account, Connection, Refusal, times};
use crate::balance::eject::Ending;
use crate::balance::retry::Failure;
use crate::body::{Payload, Source};
use crate::serve::Tracked;
use crate::upstream::{Driven, Lease, Link, Protocol};

/// Bytes read at once in each direction.
const BUFFER: usize = 8 * 1024;

/// How long an endpoint that has agreed may take to be ready.
const SWITCH_MAX: Duration = Duration::from_secs(5);

/// The endpoint's side of a tunnel.
pub(crate) struct Tunnel {
    stream: TcpStream,
    /// What the endpoint said already.
    read: Bytes,
    pause_max: Duration,
    _lease: Lease,
    account: Account,
}

/// What a request wants its connection to become, if it does and may.
pub(super) fn wanted(head: &Parts) -> Option<HeaderValue> {
    let says_so = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or_default();
        text.split(',')
            .any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
    };
    let all = head.headers.get_all(header::CONNECTION);
    if head.version != Version::HTTP_11 || head.method != Method::GET || !all.iter().any(says_so) {
        return None;
    }
    let protocol = head.headers.get(header::UPGRADE)?;
    // Another HTTP inside the tunnel would pass all rules by.
    let is_http = |name: &str| name.starts_with("h2c") || name.contains("http/");
    let text = protocol.to_str().ok()?.to_ascii_lowercase();
    (!is_http(&text) && !text.contains("tls/")).then(|| protocol.clone())
}

/// Asks an endpoint to switch.
pub(super) async fn switch(
    connection: &Connection,
    attempts: &Attempts<'_>,
    mut request: Request<Payload>,
    protocol: HeaderValue,
    account: &mut Account,
) -> Result<Passing, Refusal> {
    let settings = &attempts.live.route.settings;
    let head = request.headers_mut();
    head.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    head.insert(header::UPGRADE, protocol);
    let (lease, link) = connect(attempts, account).await?;
    let worker = &connection.worker;
    let now = worker.shared.clock.tick();
    let answered = timeout(settings.response_timeout, Box::pin(link.exchange(request))).await;
    let Ok(Ok((response, link))) = answered else {
        attempts.upstream.ended(&lease, Ending::Bad, now);
        let failure = if answered.is_err() {
            Failure::Late
        } else {
            Failure::Broken
        };
        return Err(attempts.refusal(failure));
    };
    attempts.upstream.ended(&lease, Ending::Good, now);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let response = response.map(|body| Source::Driven(Driven::last(body, link)));
        return Ok(attempts.passing(response, lease));
    }
    let stream = timeout(SWITCH_MAX, Box::pin(link.into_stream())).await;
    let stream = stream.map_err(|_| attempts.refusal(Failure::Late))?;
    Ok(Passing {
        response: response.map(|_| Carried::Tunnel(stream)),
        lease,
        pause_max: settings.idle_timeout,
    })
}

/// A connection to any endpoint: it becomes the tunnel, so that a kept one is of no use.
async fn connect(
    attempts: &Attempts<'_>,
    account: &mut Account,
) -> Result<(Lease, Box<Link>), Refusal> {
    let settings = &attempts.live.route.settings;
    attempts.upstream.earn_retry();
    let mut avoid: Option<SocketAddr> = None;
    for tries in 0..=settings.retries {
        if tries > 0 {
            if !attempts.upstream.spend_retry() {
                break;
            }
            account.retried();
        }
        let times = times(attempts.worker, attempts.live);
        let picked = attempts.upstream.pick(times, avoid);
        let lease = picked.map_err(|trouble| attempts.nobody(trouble))?;
        if lease.protocol == Protocol::Http2 {
            return Err(Refusal::Upgrade(attempts.upstream.backend.clone()));
        }
        account.tried(lease.endpoint.address);
        let opened = Link::open(lease.endpoint.address, settings.connect_timeout).await;
        match opened {
            Ok(link) if !lease.endpoint.is_retired() => return Ok((lease, link)),
            Ok(_) => {}
            Err(_) => {
                let now = attempts.worker.shared.clock.tick();
                attempts.upstream.ended(&lease, Ending::Bad, now);
            }
        }
        avoid = Some(lease.endpoint.address);
    }
    Err(attempts.refusal(Failure::Connect))
}

impl Tunnel {
    pub(super) fn new(
        (stream, read): (TcpStream, Bytes),
        lease: Lease,
        pause_max: Duration,
        account: Account,
    ) -> Self {
        Self {
            stream,
            read,
            pause_max,
            _lease: lease,
            account,
        }
    }
}

/// Carries bytes both ways until a side is done or both are silent for too long.
pub(crate) async fn carry(mut client: Tracked, early: Bytes, mut tunnel: Tunnel) {
    let activity = client.activity();
    let before = activity.written_bytes();
    exchange(&mut client, early, &mut tunnel).await;
    // However it ended: most clients leave without a word.
    let sent = activity.written_bytes().wrapping_sub(before);
    tunnel
        .account
        .sent(usize::try_from(sent).unwrap_or(usize::MAX));
}

async fn exchange(client: &mut Tracked, early: Bytes, tunnel: &mut Tunnel) {
    let begun = async {
        client.write_all(&tunnel.read).await?;
        client.flush().await?;
        tunnel.stream.write_all(&early).await
    };
    if begun.await.is_err() {
        return;
    }
    let activity = client.activity();
    let copying =
        tokio::io::copy_bidirectional_with_sizes(client, &mut tunnel.stream, BUFFER, BUFFER);
    let mut copying = Box::pin(copying);
    let mut before = activity.moved_bytes();
    while timeout(tunnel.pause_max, &mut copying).await.is_err() {
        let now = activity.moved_bytes();
        if now == before {
            return;
        }
        before = now;
    }
}
