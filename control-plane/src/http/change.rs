//! UPDATE and PATCH, of objects, their status and their scale.
//!
//! Each is a function of the object as it is now. Where the write's guard fails, the function runs
//! again on the newer object: a request that named a resourceVersion is then refused by admission,
//! one that did not has lost nothing.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;
use skiff_api::{Object, Status, Subresource};
use skiff_engine::patch::{self, Dialect};
use skiff_engine::{Write, admit};

use super::allocation;
use super::body::{self, FieldValidation};
use super::create;
use super::negotiate::{self, BodyType};
use super::read::written;
use super::reply::{self, Refused};
use super::request::Call;
use super::store::stamp;

/// How often a change is tried again when somebody else wrote in between. Each try that fails
/// means that another write succeeded; so many in a row mean a fight.
const TRIES: usize = 16;

/// Answers a PUT.
///
/// # Errors
/// 400 and 415 for a body that can't be read, 404 if there is no such object, 409 if it changed
/// since the revision that the body names, and what admission says.
pub(super) async fn update(call: &Call, body: Body) -> Result<Response, Refused> {
    let mut value = create::value(call, body).await?;
    let warnings = check(call, &mut value)?;
    change(call, warnings, |_, _| Ok(value.clone())).await
}

/// Answers a PATCH.
///
/// # Errors
/// As for a PUT, and 422 if the patch does not apply.
pub(super) async fn patch(call: &Call, body: Body) -> Result<Response, Refused> {
    let of = negotiate::body_type(&call.headers)?;
    let dialect = match of {
        BodyType::JsonPatch => Dialect::Json,
        BodyType::MergePatch => Dialect::Merge,
        BodyType::StrategicPatch => Dialect::Strategic,
        BodyType::Json | BodyType::Yaml => {
            return Err(negotiate::unsupported(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json, \
                 application/strategic-merge-patch+json",
            ));
        }
    };
    let patch = body::parse(&body::read(body).await?, of)?;
    if patch.is_null() {
        return Err(create::empty());
    }
    change(call, Vec::new(), |old, warnings| {
        let mut value =
            patch::apply(dialect, call.target.kind, old, patch.clone()).map_err(Status::from)?;
        *warnings = check(call, &mut value)?;
        Ok(value)
    })
    .await
}

/// Checks types and unknown fields; a Scale is checked by its admission.
fn check(call: &Call, value: &mut Value) -> Result<Vec<String>, Refused> {
    let validation = FieldValidation::parse(&call.query)?;
    if call.target.subresource == Some(Subresource::Scale) {
        return Ok(Vec::new());
    }
    let kind = call.target.kind;
    let mut warnings = body::check(kind, value, validation)?;
    if call.target.subresource.is_none() {
        warnings.extend(admit::warnings(kind, value));
    }
    Ok(warnings)
}

/// Changes the object by a function from its value to the one that the client wants.
async fn change(
    call: &Call,
    mut warnings: Vec<String>,
    mut wanted: impl FnMut(Value, &mut Vec<String>) -> Result<Value, Refused>,
) -> Result<Response, Refused> {
    call.encoder()?;
    let dry_run = call.dry_run()?;
    let key = call.key()?;
    let turn = call.api.turn(key.kind, call.target.subresource).await?;
    for _ in 0..TRIES {
        let state = call.api.store.state();
        let old = state
            .get(&key)
            .ok_or_else(|| Status::not_found(key.kind, &key.name))?;
        let part = call.target.subresource;
        let shown = match part {
            Some(Subresource::Scale) => admit::read_scale(old),
            Some(_) | None => old.to_value(),
        };
        let value = wanted(shown, &mut warnings)?;
        let request = admit::Request {
            state: &state,
            stamp: stamp(),
            user: &call.who.user,
        };
        let new = match part {
            Some(Subresource::Scale) => admit::scale(old, value, &request)?,
            Some(_) => admit::update_status(old, value, &request)?,
            None => admit::update(old, value, &request)?,
        };
        let new = allocation::complete(turn.as_ref(), &state, new)?;
        let done = if new.same_content(old) {
            Some(old.clone())
        } else if dry_run {
            Some(new.with_revision(old.revision()))
        } else if admit::is_gone(&new) {
            call.api.write(Write::remove(old)).await?.map(|_| new)
        } else {
            let write = Write::replace(old, new);
            call.api.write_in(turn.as_ref(), write).await?
        };
        if let Some(object) = done {
            return answer(call, &object, &warnings);
        }
    }
    Err(Status::stale(key.kind, &key.name).into())
}

fn answer(call: &Call, object: &Object, warnings: &[String]) -> Result<Response, Refused> {
    let mut response = match call.target.subresource {
        Some(Subresource::Scale) => reply::value(StatusCode::OK, &admit::read_scale(object)),
        Some(_) | None => written(call, StatusCode::OK, object)?,
    };
    reply::warn(response.headers_mut(), warnings);
    Ok(response)
}
