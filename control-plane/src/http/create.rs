//! CREATE: admission against the state, then one guarded write.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;
use skiff_api::{Object, Reason, Status};
use skiff_engine::{Write, admit};

use super::allocation;
use super::body::{self, FieldValidation};
use super::json::at;
use super::negotiate::{self, BodyType};
use super::read::written;
use super::reply::{self, Refused, refuse};
use super::request::Call;
use super::store::stamp;

/// Names drawn for one `generateName` before giving up: a second draw is rare, an eighth means
/// that something else is wrong.
const DRAWS: usize = 8;

/// Answers a POST to a collection.
///
/// # Errors
/// 400 and 415 for a body that can't be read, what admission says, 409 if the object exists.
pub(super) async fn answer(call: &Call, body: Body) -> Result<Response, Refused> {
    // A client that can't read the answer learns that before anything is written.
    call.encoder()?;
    let dry_run = call.dry_run()?;
    let mut value = value(call, body).await?;
    let validation = FieldValidation::parse(&call.query)?;
    let mut warnings = body::check(call.target.kind, &mut value, validation)?;
    warnings.extend(admit::warnings(call.target.kind, &value));
    let object = create(call, value, dry_run).await?;
    let mut response = written(call, StatusCode::CREATED, &object)?;
    reply::warn(response.headers_mut(), &warnings);
    Ok(response)
}

/// The object that a request brings.
///
/// # Errors
/// 400, 413 or 415 if it can't be read.
pub(super) async fn value(call: &Call, body: Body) -> Result<Value, Refused> {
    let of = negotiate::body_type(&call.headers)?;
    if !matches!(of, BodyType::Json | BodyType::Yaml) {
        return Err(negotiate::unsupported(
            "patches belong into a PATCH request",
        ));
    }
    let value = body::parse(&body::read(body).await?, of)?;
    if value.is_null() {
        return Err(empty());
    }
    Ok(value)
}

/// The answer to a request that lacks its body.
pub(super) fn empty() -> Refused {
    refuse(Reason::BadRequest, "the body of the request is empty")
}

async fn create(call: &Call, mut value: Value, dry_run: bool) -> Result<Object, Refused> {
    let kind = call.target.kind;
    let namespace = call.target.namespace.as_deref().unwrap_or("");
    let draws = if at(&value, "/metadata/name")
        .as_str()
        .unwrap_or("")
        .is_empty()
    {
        DRAWS
    } else {
        1
    };
    let mut name = String::new();
    let turn = call.api.turn(kind, None).await?;
    for draw in 1..=draws {
        let state = call.api.store.state();
        let request = admit::Request {
            state: &state,
            stamp: stamp(),
            user: &call.who.user,
        };
        let value = if draw == draws {
            value.take()
        } else {
            value.clone()
        };
        let object = admit::create(kind, namespace, value, &request)?;
        object.key().name.as_ref().clone_into(&mut name);
        if state.get(object.key()).is_some() {
            continue;
        }
        let object = allocation::complete(turn.as_ref(), &state, object)?;
        if dry_run {
            return Ok(object);
        }
        let written = call.api.write_in(turn.as_ref(), Write::create(object));
        if let Some(created) = written.await? {
            return Ok(created);
        }
    }
    Err(Status::already_exists(kind, &name).into())
}
