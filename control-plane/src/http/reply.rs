//! Answers: JSON bodies, `Status` bodies, warnings. The only place that builds responses.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use skiff_api::{Reason, Status};

/// A request that failed, as its answer. Boxed because it is large and rare.
pub(crate) type Refused = Box<Status>;

/// The media type of nearly every answer.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The media type of logs and health checks.
pub(crate) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// A failure of one of the general kinds.
pub(crate) fn refuse(reason: Reason, message: impl Into<String>) -> Refused {
    Box::new(Status::failure(reason, message))
}

/// An answer with a body that is at hand.
pub(crate) fn full(code: StatusCode, media: HeaderValue, body: impl Into<Bytes>) -> Response {
    with_body(code, media, Body::from(body.into()))
}

/// An answer with any body.
pub(crate) fn with_body(code: StatusCode, media: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, media);
    response
}

/// An answer of JSON bytes.
pub(crate) fn json(code: StatusCode, body: impl Into<Bytes>) -> Response {
    full(code, JSON, body)
}

/// An answer of something that can be written as JSON.
pub(crate) fn value(code: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => json(code, body),
        Err(err) => status(&Status::failure(Reason::InternalError, err.to_string())),
    }
}

/// A `Status`, with the code that it names.
pub(crate) fn status(status: &Status) -> Response {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(code, serde_json::to_vec(status).unwrap_or_default());
    let retry = status
        .details
        .as_ref()
        .and_then(|details| details.retry_after_seconds);
    if let Some(seconds) = retry {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

/// Adds one `Warning` header for each text: kubectl prints them.
pub(crate) fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    for text in warnings {
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        let escaped = escaped.replace(|c: char| c.is_ascii_control(), " ");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{escaped}\"").as_bytes()) {
            headers.append(HeaderName::from_static("warning"), value);
        }
    }
}

/// Says when trying again makes sense.
pub(crate) fn retry_after(mut status: Status, seconds: u32) -> Refused {
    status.details.get_or_insert_default().retry_after_seconds = Some(seconds);
    Box::new(status)
}
