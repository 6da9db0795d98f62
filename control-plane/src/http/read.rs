//! Reads of one object.

use axum::response::Response;
use http::StatusCode;
use skiff_api::{Object, Status};
use skiff_engine::admit;

use super::options::freshness_of_get;
use super::reply::{self, Refused};
use super::request::Call;

/// Answers a GET of an object, which is also the GET of its status.
///
/// # Errors
/// 404 if there is no such object.
pub(super) async fn object(call: &Call) -> Result<Response, Refused> {
    let encoder = call.encoder()?;
    let object = find(call).await?;
    let mut out = Vec::new();
    encoder.object(&object, &mut out);
    Ok(reply::json(StatusCode::OK, out))
}

/// Answers a GET of the replica count.
///
/// # Errors
/// 404 if there is no such object.
pub(super) async fn scale(call: &Call) -> Result<Response, Refused> {
    let object = find(call).await?;
    Ok(reply::value(StatusCode::OK, &admit::read_scale(&object)))
}

/// The object that the path names, as fresh as asked.
///
/// # Errors
/// 404 if there is no such object.
pub(super) async fn find(call: &Call) -> Result<Object, Refused> {
    let key = call.key()?;
    let state = call.api.state(freshness_of_get(&call.query)?).await?;
    let state = call.api.with_heartbeats(key.kind, &state);
    let found = state.get(&key).cloned();
    Ok(found.ok_or_else(|| Status::not_found(key.kind, &key.name))?)
}

/// The answer to a write: the object in the form that the client wants.
///
/// # Errors
/// 406 if it accepts no form that is served.
pub(super) fn written(call: &Call, code: StatusCode, object: &Object) -> Result<Response, Refused> {
    let mut out = Vec::new();
    call.encoder()?.object(object, &mut out);
    Ok(reply::json(code, out))
}
