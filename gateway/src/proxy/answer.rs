//! What the gateway says itself, when there is no service's answer to pass on. Each has its reason
//! in one word in a header, and in a sentence in the body.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::body::Reply;
use crate::route::Backend;
use crate::upstream::Trouble;

/// The header with the reason.
const REASON: HeaderName = HeaderName::from_static("x-skiff-reason");

/// Why a request is not passed on, or its answer not passed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `CONNECT`, which is for proxies of another kind.
    Method,
    /// No host, or none that could be one.
    Host,
    /// No Ingress has such a path.
    NoRoute,
    /// It has to be asked for with TLS, at this address.
    Redirect(String),
    /// The client asks too often; it should wait so long.
    Limited(Duration),
    /// The body is larger than allowed.
    TooLarge,
    /// The client stopped sending, or took too long.
    Body,
    /// Nobody serves the backend.
    Nobody(Option<Backend>, Trouble),
    /// No endpoint could be reached, or it hung up.
    Unreachable(Backend),
    /// An endpoint did not answer in time.
    Late(Backend),
    /// The service wants another protocol than the client.
    Upgrade(Backend),
    /// The client wants another protocol, and sends a body in this one.
    UpgradeBody,
}

impl Refusal {
    /// The code.
    pub(crate) fn code(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Host | Self::UpgradeBody => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Redirect(_) => StatusCode::PERMANENT_REDIRECT,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body => StatusCode::REQUEST_TIMEOUT,
            Self::Nobody(..) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable(_) | Self::Upgrade(_) => StatusCode::BAD_GATEWAY,
            Self::Late(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The reason in a word.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Method => "method-not-allowed",
            Self::Host => "bad-host",
            Self::NoRoute => "no-route",
            Self::Redirect(_) => "tls-required",
            Self::Limited(_) => "rate-limited",
            Self::TooLarge => "body-too-large",
            Self::Body => "body-broke-off",
            Self::Nobody(_, trouble) => trouble.reason(),
            Self::Unreachable(_) => "endpoint-unreachable",
            Self::Late(_) => "endpoint-timeout",
            Self::Upgrade(_) => "no-upgrade",
            Self::UpgradeBody => "upgrade-with-body",
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Method => "This method is not for a gateway.".to_owned(),
            Self::Host => "The request names no valid host.".to_owned(),
            Self::NoRoute => "No Ingress has a rule for this host and path.".to_owned(),
            Self::Redirect(to) => format!("This is served with TLS only: {to}"),
            Self::Limited(_) => "You ask too often.".to_owned(),
            Self::TooLarge => "The body of the request is larger than allowed.".to_owned(),
            Self::Body => "The body of the request did not come to its end.".to_owned(),
            Self::Nobody(Some(backend), trouble) => format!("{backend}: {trouble}."),
            Self::Nobody(None, trouble) => format!("The route has no backend: {trouble}."),
            Self::Unreachable(backend) => {
                format!("{backend}: no pod could be reached, or it hung up.")
            }
            Self::Late(backend) => format!("{backend}: no answer came in time."),
            Self::Upgrade(backend) => {
                format!("{backend}: the service's port does not speak HTTP/1.1.")
            }
            Self::UpgradeBody => "A request for another protocol may have no body.".to_owned(),
        }
    }

    /// The answer; to a HEAD request without its body.
    pub(crate) fn answer(&self, is_head: bool) -> Response<Reply> {
        let text = self.sentence() + "\n";
        let length = text.len();
        let body = if is_head { Bytes::new() } else { text.into() };
        let mut response = Response::new(Reply::Own(body));
        *response.status_mut() = self.code();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(REASON, HeaderValue::from_static(self.reason()));
        match self {
            Self::Limited(wait) => {
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
            }
            Self::Redirect(to) => {
                if let Ok(to) = HeaderValue::from_str(to) {
                    headers.insert(LOCATION, to);
                }
            }
            Self::Method
            | Self::Host
            | Self::NoRoute
            | Self::TooLarge
            | Self::Body
            | Self::Nobody(..)
            | Self::Unreachable(_)
            | Self::Late(_)
            | Self::Upgrade(_)
            | Self::UpgradeBody => {}
        }
        response
    }
}
