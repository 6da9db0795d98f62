//! Sending a request to an endpoint, and to another one if that failed and may be repeated.

mod failed;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri, Version};
use hyper::body::Body as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use self::failed::{Failed, failed, fault_of_client, not_connected, too_late};
use super::spare::Spare;
use super::{Account, Refusal, Tunnel, headers, is_failure, times};
use crate::balance::eject::Ending;
use crate::balance::retry::{self, Asked, Failure};
use crate::body::{Payload, Progress, Reply, Source};
use crate::live::LiveRoute;
use crate::serve::Worker;
use crate::upstream::{Driven, Endpoint, Lease, Link, Protocol, Shared, Stream, Upstream};

/// Who sends, for whom and where to.
pub(super) struct Attempts<'a> {
    pub(super) worker: &'a Arc<Worker>,
    pub(super) live: &'a LiveRoute,
    pub(super) upstream: &'a Upstream,
    pub(super) host: &'a HeaderValue,
    /// How long the head of an answer may take.
    pub(super) head_max: Duration,
}

/// An answer that is on its way back.
pub(super) struct Passing {
    pub(super) response: Response<Carried>,
    pub(super) lease: Lease,
    pub(super) pause_max: Duration,
}

/// What follows its head.
pub(super) enum Carried {
    /// A body.
    Body(Source),
    /// Whatever both sides like.
    Tunnel((TcpStream, Bytes)),
}

impl Passing {
    /// The answer as the client gets it.
    pub(super) fn finish(self, account: Account) -> Response<Reply> {
        let (head, carried) = self.response.into_parts();
        let body = match carried {
            Carried::Body(source) => Reply::passed(source, self.lease, self.pause_max, account),
            Carried::Tunnel(stream) => {
                let activity = account.activity();
                activity.switch(Tunnel::new(stream, self.lease, self.pause_max, account));
                Reply::Own(Bytes::new())
            }
        };
        Response::from_parts(head, body)
    }
}

impl Attempts<'_> {
    /// Sends a request until it is answered or may not be sent again.
    pub(super) async fn send(
        &self,
        request: Request<Payload>,
        account: &mut Account,
    ) -> Result<Passing, Refusal> {
        let settings = &self.live.route.settings;
        self.upstream.earn_retry();
        let method = request.method().clone();
        let progress = request.body().progress();
        let mut next = request;
        let (mut tries, mut avoid, mut fresh) = (0_u8, None, false);
        loop {
            let times = times(self.worker, self.live);
            let lease = self
                .upstream
                .pick(times, avoid)
                .map_err(|trouble| self.nobody(trouble))?;
            account.tried(lease.endpoint.address);
            tries += 1;
            let may_repeat = progress.is_none() && retry::is_idempotent(&method);
            let spare = (may_repeat && tries <= settings.retries).then(|| Spare::of(&next));
            let failed = match self.once(&lease, next, progress.as_deref(), fresh).await {
                Ok(response) => {
                    let bad = is_failure(response.status());
                    let ending = if bad { Ending::Bad } else { Ending::Good };
                    self.upstream.ended(&lease, ending, times.0);
                    return Ok(self.passing(response, lease));
                }
                Err(failed) => failed,
            };
            if let Some(refusal) = progress.as_deref().and_then(fault_of_client) {
                return Err(refusal);
            }
            if failed.is_its_fault {
                let now = self.worker.shared.clock.tick();
                self.upstream.ended(&lease, Ending::Bad, now);
            }
            let asked = Asked {
                method: &method,
                body_used: progress.as_ref().is_some_and(|progress| progress.is_used()),
                tries,
                retries_max: settings.retries,
            };
            let again = failed.request.or_else(|| spare?.request());
            let may = retry::may(failed.failure, &asked);
            // A kept connection that was closed meanwhile cost the service nothing.
            let is_free = failed.failure == Failure::Stale && !fresh;
            match again {
                Some(again) if may && (is_free || self.upstream.spend_retry()) => next = again,
                _ => return Err(self.refusal(failed.failure)),
            }
            account.retried();
            fresh |= failed.failure == Failure::Stale;
            avoid = failed.is_its_fault.then_some(lease.endpoint.address);
        }
    }

    pub(super) fn passing(&self, response: Response<Source>, lease: Lease) -> Passing {
        let (mut head, source) = response.into_parts();
        headers::end_hop(&mut head.headers);
        head.version = Version::HTTP_11;
        Passing {
            response: Response::from_parts(head, Carried::Body(source)),
            lease,
            pause_max: self.live.route.settings.idle_timeout,
        }
    }

    pub(super) fn nobody(&self, trouble: crate::upstream::Trouble) -> Refusal {
        Refusal::Nobody(Some(self.upstream.backend.clone()), trouble)
    }

    pub(super) fn refusal(&self, failure: Failure) -> Refusal {
        let backend = self.upstream.backend.clone();
        match failure {
            Failure::Connect | Failure::Stale | Failure::Broken => Refusal::Unreachable(backend),
            Failure::Late => Refusal::Late(backend),
        }
    }

    /// One try at one endpoint.
    async fn once(
        &self,
        lease: &Lease,
        request: Request<Payload>,
        progress: Option<&Progress>,
        fresh: bool,
    ) -> Result<Response<Source>, Failed> {
        match lease.protocol {
            Protocol::Http1 => self.once_http1(lease, request, progress, fresh).await,
            Protocol::Http2 => self.once_http2(lease, request, progress, fresh).await,
        }
    }

    async fn once_http1(
        &self,
        lease: &Lease,
        mut request: Request<Payload>,
        progress: Option<&Progress>,
        fresh: bool,
    ) -> Result<Response<Source>, Failed> {
        let (endpoint, id) = (&lease.endpoint, self.worker.id);
        if request.body().size_hint().exact().is_none() {
            // Said explicitly, or hyper takes a GET to have no body.
            let chunked = HeaderValue::from_static("chunked");
            request.headers_mut().insert(TRANSFER_ENCODING, chunked);
        }
        let kept = if fresh { None } else { endpoint.take(id) };
        let is_kept = kept.is_some();
        let link = match kept {
            Some(link) => link,
            None => match Link::open(endpoint.address, self.connect_timeout()).await {
                Ok(link) => link,
                Err(error) => return Err(not_connected(endpoint.address, &error, request)),
            },
        };
        if endpoint.is_retired() {
            return Err(too_late(request));
        }
        let answered = self
            .in_time(Box::pin(link.exchange(request)), progress)
            .await?;
        let (response, link) = answered.map_err(|unsent| failed(unsent, is_kept, progress))?;
        let clock = self.worker.shared.clock;
        let home = (Arc::clone(endpoint), id);
        Ok(response.map(|body| Source::Driven(Driven::new((body, link), home, clock))))
    }

    async fn once_http2(
        &self,
        lease: &Lease,
        mut request: Request<Payload>,
        progress: Option<&Progress>,
        fresh: bool,
    ) -> Result<Response<Source>, Failed> {
        let (endpoint, id) = (&lease.endpoint, self.worker.id);
        let entered = if fresh {
            None
        } else {
            endpoint.enter_shared(id)
        };
        let is_kept = entered.is_some();
        let stream = match entered {
            Some(stream) => stream,
            None => match self.open_shared(endpoint).await {
                Ok(stream) => stream,
                Err(error) => return Err(not_connected(endpoint.address, &error, request)),
            },
        };
        if endpoint.is_retired() {
            return Err(too_late(request));
        }
        self.absolute(&mut request);
        let answered = self
            .in_time(Box::pin(stream.exchange(request)), progress)
            .await?;
        let response = answered.map_err(|unsent| failed(unsent, is_kept, progress))?;
        Ok(response.map(Source::Shared))
    }

    /// A place on a new connection, which others may use as well.
    async fn open_shared(&self, endpoint: &Endpoint) -> std::io::Result<Stream> {
        let shared = Shared::open(endpoint.address, self.connect_timeout()).await?;
        // Before others can fill it.
        let stream = shared.enter().ok_or(std::io::ErrorKind::ResourceBusy)?;
        endpoint.share(self.worker.id, &shared);
        Ok(stream)
    }

    fn connect_timeout(&self) -> Duration {
        self.live.route.settings.connect_timeout
    }

    /// HTTP/2 has the host in the address.
    fn absolute(&self, request: &mut Request<Payload>) {
        *request.version_mut() = Version::HTTP_2;
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        if let Ok(authority) = Authority::try_from(self.host.as_bytes()) {
            parts.scheme = Some(Scheme::HTTP);
            parts.authority = Some(authority);
        }
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        request.headers_mut().remove(HOST);
        request.headers_mut().remove(TRANSFER_ENCODING);
    }

    /// Waits for an answer's head; the time begins again as long as the request's body moves.
    async fn in_time<T>(
        &self,
        mut answer: impl Future<Output = T> + Unpin,
        progress: Option<&Progress>,
    ) -> Result<T, Failed> {
        let longest = self.head_max;
        let mut timer = std::pin::pin!(sleep(longest));
        let mut before = 0;
        loop {
            tokio::select! {
                biased;
                answered = &mut answer => return Ok(answered),
                () = &mut timer => {}
            }
            let bytes = progress.map_or(0, Progress::bytes);
            if bytes <= before {
                let by_client = progress.is_some_and(Progress::give_up);
                return Err(Failed {
                    failure: Failure::Late,
                    request: None,
                    is_its_fault: !by_client,
                });
            }
            before = bytes;
            timer.as_mut().reset(Instant::now() + longest);
        }
    }
}
