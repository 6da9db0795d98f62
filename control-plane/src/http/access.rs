//! `SelfSubjectAccessReview`: may I do this? What `kubectl auth can-i` and some tools ask first.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use skiff_api::{Kind, Reason, Scope, Status, Subresource};

use super::Api;
use super::body;
use super::json::{at, set};
use super::negotiate::{self, BodyType};
use super::reply::{self, Refused, refuse};
use crate::auth::{Attributes, Identity, authorize};

/// Answers the review in the body.
///
/// # Errors
/// 400, 413 or 415 if the body can't be read.
pub(super) async fn review(
    api: &Api,
    who: &Identity,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let of = negotiate::body_type(headers)?;
    if !matches!(of, BodyType::Json | BodyType::Yaml) {
        return Err(negotiate::unsupported(
            "a review is JSON or YAML, not a patch",
        ));
    }
    let mut review = body::parse(&body::read(body).await?, of)?;
    if review.is_null() {
        return Err(refuse(
            Reason::BadRequest,
            "the body of the request is empty",
        ));
    }
    let verdict = decide(api, who, at(&review, "/spec"));
    set(&mut review, "kind", "SelfSubjectAccessReview");
    set(&mut review, "apiVersion", "authorization.k8s.io/v1");
    let status = match verdict {
        Ok(()) => json!({"allowed": true}),
        Err(why) => json!({"allowed": false, "reason": why.message}),
    };
    set(&mut review, "status", status);
    Ok(reply::value(StatusCode::CREATED, &review))
}

fn decide(api: &Api, who: &Identity, spec: &Value) -> Result<(), Box<Status>> {
    if who.is_admin() {
        return Ok(());
    }
    let asked = &spec["resourceAttributes"];
    let text = |field: &str| asked[field].as_str().filter(|text| !text.is_empty());
    let unknown = || {
        refuse(
            Reason::Forbidden,
            "this is not served, and nobody else decides it",
        )
    };
    let (group, resource) = (text("group").unwrap_or(""), text("resource").unwrap_or(""));
    let kind = Kind::all()
        .find(|kind| (kind.info().group, kind.info().plural) == (group, resource))
        .ok_or_else(unknown)?;
    let subresource = match text("subresource") {
        None => None,
        Some(path) => Some(part(kind, path).ok_or_else(unknown)?),
    };
    let what = Attributes {
        verb: text("verb").unwrap_or(""),
        kind,
        subresource,
        namespace: text("namespace").filter(|_| kind.info().scope == Scope::Namespaced),
        name: text("name"),
        node_selector: None,
    };
    authorize(who, &what, &api.store.state())?;
    Ok(())
}

fn part(kind: Kind, path: &str) -> Option<Subresource> {
    let parts = kind.info().subresources;
    parts.iter().copied().find(|part| part.path() == path)
}
