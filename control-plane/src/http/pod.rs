//! What only pods have: logs, evictions and bindings.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::Value;
use skiff_api::{Kind, Object, Reason, Status};
use skiff_engine::{Write, admit};

use super::create;
use super::json::at;
use super::query::Query;
use super::read::find;
use super::remove::{Wish, remove};
use super::reply::{self, Refused, refuse};
use super::request::Call;
use super::store::stamp;

/// How often a binding is tried again when somebody else wrote in between.
const TRIES: usize = 16;
/// The annotation that says which of several containers is meant.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Answers a GET of a container's output: whatever the node's agent sends.
///
/// # Errors
/// 404 if there is no such pod, 400 if it is not clear which container is meant, 503 if the
/// agent can't be reached.
pub(super) async fn log(call: &Call) -> Result<Response, Refused> {
    let pod = find(call).await?;
    let container = container(&pod, call.query.get("container"))?;
    let Some(node) = pod.pod().and_then(|view| view.node.clone()) else {
        // It has not said anything yet.
        return Ok(reply::full(StatusCode::OK, reply::TEXT, ""));
    };
    let key = pod.key();
    let mut path = format!(
        "/pods/{}/{}/{}/log?container={container}",
        key.namespace,
        key.name,
        pod.meta().uid
    );
    options(&call.query, &mut path)?;
    let (parts, body) = call.api.nodes.get(&node, &path).await?.into_parts();
    let media = parts.headers.get(CONTENT_TYPE).cloned();
    let media: HeaderValue = media.unwrap_or(reply::TEXT);
    Ok(reply::with_body(parts.status, media, Body::new(body)))
}

/// The container that is meant.
fn container(pod: &Object, named: Option<&str>) -> Result<String, Refused> {
    let value = pod.to_value();
    let bad = |message: String| Err(refuse(Reason::BadRequest, message));
    let names = |list: &str| {
        let containers = at(&value, &format!("/spec/{list}"))
            .as_array()
            .into_iter()
            .flatten();
        let names = containers.filter_map(|container| container["name"].as_str());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let (init, main) = (names("initContainers"), names("containers"));
    let default = at(&value, "/metadata/annotations")
        .get(DEFAULT_CONTAINER)
        .and_then(Value::as_str);
    let name = match (named.or(default), main.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => only.as_str(),
        (None, _) => {
            let more = if init.is_empty() {
                String::new()
            } else {
                format!(" or one of the init containers: [{}]", init.join(" "))
            };
            let (pod, main) = (&pod.key().name, main.join(" "));
            return bad(format!(
                "a container name must be specified for pod {pod}, choose one of: [{main}]{more}"
            ));
        }
    };
    if main.iter().chain(&init).any(|one| one == name) {
        return Ok(name.to_owned());
    }
    bad(format!(
        "container {name} is not valid for pod {}",
        pod.key().name
    ))
}

/// Appends the options that agents understand, checked.
fn options(query: &Query, path: &mut String) -> Result<(), Refused> {
    for name in ["follow", "previous", "timestamps"] {
        if query.flag(name) {
            append(path, name, "true");
        }
    }
    for (name, least) in [("tailLines", 0), ("sinceSeconds", 1), ("limitBytes", 1)] {
        let Some(number) = query.number(name)? else {
            continue;
        };
        if number < least {
            let message = format!(
                "PodLogOptions \"\" is invalid: {name}: Invalid value: {number}: must be greater \
                 than or equal to {least}"
            );
            return Err(refuse(Reason::Invalid, message));
        }
        append(path, name, &number.to_string());
    }
    if let Some(time) = query.get("sinceTime") {
        let time = skiff_api::Millis::parse(time).ok_or_else(|| {
            let message = format!("parsing time {time:?} as \"2006-01-02T15:04:05Z07:00\"");
            refuse(Reason::BadRequest, message)
        })?;
        append(path, "sinceTime", &time.rfc3339());
    }
    Ok(())
}

fn append(path: &mut String, name: &str, value: &str) {
    // Writing to a String can't fail.
    write!(path, "&{name}={value}").unwrap_or_default();
}

/// Answers a POST of a `policy/v1 Eviction`: a deletion that may be refused. Nothing refuses it
/// as long as there are no disruption budgets.
///
/// # Errors
/// As the deletion of the pod.
pub(super) async fn evict(call: &Call, body: Body) -> Result<Response, Refused> {
    let eviction = create::value(call, body).await?;
    let key = call.key()?;
    expect_kind(&eviction, "Eviction", &key.name)?;
    let wish = Wish::parse(call, at(&eviction, "/deleteOptions"))?;
    remove(call, &key, &wish).await?;
    Ok(created())
}

/// Answers a POST of a `v1 Binding`.
///
/// # Errors
/// 404 if there is no such pod, 409 if it is bound already.
pub(super) async fn bind(call: &Call, body: Body) -> Result<Response, Refused> {
    let binding = create::value(call, body).await?;
    let key = call.key()?;
    expect_kind(&binding, "Binding", &key.name)?;
    let dry_run = call.dry_run()?;
    for _ in 0..TRIES {
        let state = call.api.store.state();
        let pod = state
            .get(&key)
            .ok_or_else(|| Status::not_found(key.kind, &key.name))?;
        let request = admit::Request {
            state: &state,
            stamp: stamp(),
            user: &call.who.user,
        };
        let bound = admit::bind(pod, &binding, &request)?;
        if dry_run || call.api.write(Write::replace(pod, bound)).await?.is_some() {
            return Ok(created());
        }
    }
    Err(Status::stale(key.kind, &key.name).into())
}

/// The body must be of the kind that the path takes, about the pod that the path names.
fn expect_kind(value: &Value, kind: &str, pod: &str) -> Result<(), Refused> {
    let found = value["kind"].as_str().unwrap_or(kind);
    if found != kind {
        let message = format!("{found} cannot be handled as a {kind}");
        return Err(refuse(Reason::BadRequest, message));
    }
    let name = at(value, "/metadata/name").as_str().unwrap_or("");
    if !name.is_empty() && name != pod {
        let message =
            format!("the name of the object ({name}) does not match the name on the URL ({pod})");
        return Err(refuse(Reason::BadRequest, message));
    }
    Ok(())
}

fn created() -> Response {
    let mut status = Status::success(Kind::Pod, "", "");
    status.details = None;
    status.code = StatusCode::CREATED.as_u16();
    reply::value(StatusCode::CREATED, &status)
}
