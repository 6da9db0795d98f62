//! The connection to one other member: dialled until the member vanishes from the list, and a
//! request on it that never ends, whose body is the messages for the member.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::dial::{self, Bulk, DialError};
use super::group::Group;
use super::lane::Lane;
use super::queue::Queue;
use super::{MEMBER, MESSAGES_PATH, chain};

/// The first wait before a member is dialled again; doubled each time…
const BACK_OFF_MIN: Duration = Duration::from_millis(50);
/// …up to this: a server that comes back is found within a second.
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// A connection that held so long was a good one: the waits begin anew.
const STEADY: Duration = Duration::from_secs(2);
/// A server that joined just now may be turned away until everybody knows it; after so many times
/// in a row it is no accident.
const REFUSALS: u32 = 5;
/// What is read of the text of a refusal.
const WHY_BYTES_MAX: usize = 1024;

/// The way to one member.
pub(super) struct Link {
    pub(super) own: u64,
    pub(super) member: u64,
    pub(super) address: String,
    pub(super) tls: TlsConnector,
    pub(super) queue: Arc<Queue>,
    pub(super) bulk: Bulk,
    pub(super) lane: Lane,
    pub(super) stop: CancellationToken,
}

/// Why messages no longer go out.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("dial it")]
    Dial(#[from] DialError),
    #[error("the request cannot be made")]
    Request(#[source] http::Error),
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    #[error("it turned us away: {0}")]
    Refused(String),
    #[error("it ended the stream of messages with {code}: {why}")]
    Answered { code: StatusCode, why: String },
}

impl Link {
    /// Keeps the connection up until the link is stopped.
    pub(super) async fn run(&self, group: &dyn Group) {
        let kept = self.keep_connected(group);
        self.stop.run_until_cancelled(kept).await;
    }

    async fn keep_connected(&self, group: &dyn Group) {
        let (mut wait, mut failures, mut refusals) = (BACK_OFF_MIN, 0_u32, 0_u32);
        loop {
            let begun = Instant::now();
            let ended = self.send_messages(group).await;
            self.queue.clear();
            group.report_unreachable(self.member);
            if begun.elapsed() >= STEADY {
                (wait, failures) = (BACK_OFF_MIN, 0);
            }
            let refused = matches!(ended, Ended::Refused(_));
            refusals = if refused { refusals + 1 } else { 0 };
            failures += 1;
            self.complain(&ended, failures, refusals);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACK_OFF_MAX);
        }
    }

    /// Says once that a member is not there, and once, loudly, that it does not want us.
    fn complain(&self, ended: &Ended, failures: u32, refusals: u32) {
        let (member, address, error) = (self.member, &self.address, chain(ended));
        if refusals == REFUSALS {
            tracing::error!(member, address, error, "another server turns this one away");
        } else if failures == 1 {
            tracing::warn!(
                member,
                address,
                error,
                "no connection to a server; dialling again"
            );
        } else {
            tracing::debug!(member, address, error, "no connection to a server");
        }
    }

    async fn send_messages(&self, group: &dyn Group) -> Ended {
        let mut connection = match dial::connect(&self.tls, &self.address).await {
            Ok(connection) => connection,
            Err(err) => return err.into(),
        };
        // Whatever still polls the body of a broken connection must not take messages from the
        // next one.
        let over = CancellationToken::new();
        let _ends_with_this_call = over.clone().drop_guard();
        let body = messages(self.queue.clone(), over);
        let request = self.request(http::Method::POST, MESSAGES_PATH, body);
        let request = match request {
            Ok(request) => request,
            Err(err) => return Ended::Request(err),
        };
        tracing::info!(
            member = self.member,
            address = self.address,
            "connected to a server"
        );
        let response = connection.sender.send_request(request);
        tokio::pin!(response);
        loop {
            tokio::select! {
                answered = &mut response => return ended_by(answered).await,
                () = self.queue.overflowed() => group.report_unreachable(self.member),
            }
        }
    }

    /// A request to the member that says who asks.
    pub(super) fn request(
        &self,
        method: http::Method,
        path_and_query: &str,
        body: Body,
    ) -> http::Result<Request<Body>> {
        Request::builder()
            .method(method)
            .uri(format!("https://{}{path_and_query}", self.address))
            .header(MEMBER, self.own)
            .body(body)
    }

    /// A sender on the connection for large things.
    pub(super) async fn bulk(&self) -> Result<SendRequest<Body>, DialError> {
        self.bulk.sender(&self.tls, &self.address).await
    }
}

fn messages(queue: Arc<Queue>, over: CancellationToken) -> Body {
    Body::from_stream(stream::unfold((queue, over), |(queue, over)| async move {
        let batch = tokio::select! {
            biased;
            () = over.cancelled() => return None,
            batch = queue.batch() => batch,
        };
        Some((Ok::<Bytes, Infallible>(batch), (queue, over)))
    }))
}

async fn ended_by(answered: hyper::Result<http::Response<Incoming>>) -> Ended {
    let response = match answered {
        Ok(response) => response,
        Err(err) => return Ended::Broken(err),
    };
    let code = response.status();
    let why = text_of(response.into_body()).await;
    if code == StatusCode::FORBIDDEN {
        Ended::Refused(why)
    } else {
        Ended::Answered { code, why }
    }
}

/// The text of a short answer; what can't be read is left out.
pub(super) async fn text_of(body: Incoming) -> String {
    let collected = Limited::new(body, WHY_BYTES_MAX).collect().await;
    let bytes = collected.map(|whole| whole.to_bytes()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
