//! DELETE of an object and of a collection.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, Value};
use skiff_api::{Key, Object, Reason, Status};
use skiff_engine::admit::{DeleteOptions, Deletion};
use skiff_engine::{Outcome, State, Write, admit};

use super::body;
use super::filter::Filter;
use super::list::{Go, Objects};
use super::negotiate::{self, BodyType};
use super::read::written;
use super::reply::{self, Refused};
use super::request::{Call, dry_run};
use super::store::stamp;

/// How often a deletion is tried again when somebody else wrote in between.
const TRIES: usize = 16;
/// Deletions of a collection that are proposed at once.
const BATCH: usize = 500;

/// What a deletion came to.
pub(super) enum Deleted {
    /// The object is gone; this is what it was.
    Gone(Object),
    /// The object is marked and goes later.
    Marked(Object),
}

/// A deletion as asked for.
pub(super) struct Wish {
    pub(super) options: DeleteOptions,
    pub(super) dry_run: bool,
}

/// Answers a DELETE of an object: with a Status if it is gone, with the object if it goes later.
///
/// # Errors
/// 404 if there is no such object, 409 if it is not the one that the preconditions name.
pub(super) async fn object(call: &Call, body: Body) -> Result<Response, Refused> {
    call.encoder()?;
    let wish = Wish::read(call, body).await?;
    let key = call.key()?;
    match remove(call, &key, &wish).await? {
        Deleted::Marked(object) => written(call, StatusCode::OK, &object),
        Deleted::Gone(object) => {
            let status = Status::success(key.kind, &key.name, object.meta().uid.as_str());
            Ok(reply::value(StatusCode::OK, &status))
        }
    }
}

/// Answers a DELETE of a collection, with the list of what was deleted.
///
/// # Errors
/// 400 for selectors that can't be read, and what the deletion of an object says.
pub(super) async fn collection(call: &Call, body: Body) -> Result<Response, Refused> {
    let filter = Filter::parse(&call.target, &call.query)?;
    let encoder = call.encoder()?;
    let wish = Wish::read(call, body).await?;
    let state = call.api.read().await?;
    let mut keys = Vec::new();
    Objects::new(state, filter, None).read(|object| {
        keys.push(object.key().clone());
        Go::On
    });
    let mut out = Vec::new();
    encoder.begin(&mut out);
    let begun = out.len();
    for keys in keys.chunks(BATCH) {
        for object in remove_all(call, keys, &wish).await? {
            if out.len() != begun {
                out.push(b',');
            }
            encoder.item(&object, &mut out);
        }
    }
    encoder.end(call.api.store.state().revision(), None, &mut out);
    Ok(reply::json(StatusCode::OK, out))
}

/// Deletes objects with one proposal; those that somebody else wrote meanwhile, one by one.
async fn remove_all(call: &Call, keys: &[Key], wish: &Wish) -> Result<Vec<Object>, Refused> {
    let state = call.api.store.state();
    let (mut deleted, mut proposed, mut writes) = (Vec::new(), Vec::new(), Vec::new());
    // Who is gone already was deleted by somebody else.
    for old in keys.iter().filter_map(|key| state.get(key)) {
        match plan(call, &state, old, wish)? {
            Plan::Done(object) => deleted.push(object.into_object()),
            Plan::Write(write) => {
                proposed.push(old.key());
                writes.push(write);
            }
        }
    }
    let outcomes = if writes.is_empty() {
        Vec::new()
    } else {
        call.api.propose(writes).await?
    };
    for (key, outcome) in proposed.into_iter().zip(outcomes) {
        match outcome {
            Outcome::Done(object) => deleted.push(object),
            Outcome::Conflict { found: None } => {}
            Outcome::Conflict { found: Some(_) } => match remove(call, key, wish).await {
                Ok(object) => deleted.push(object.into_object()),
                Err(status) if status.is(Reason::NotFound) => {}
                Err(status) => return Err(status),
            },
        }
    }
    Ok(deleted)
}

/// Deletes one object.
///
/// # Errors
/// 404 if there is no such object, 409 if it is not the one that the preconditions name.
pub(super) async fn remove(call: &Call, key: &Key, wish: &Wish) -> Result<Deleted, Refused> {
    for _ in 0..TRIES {
        let state = call.api.store.state();
        let old = state
            .get(key)
            .ok_or_else(|| Status::not_found(key.kind, &key.name))?;
        let write = match plan(call, &state, old, wish)? {
            Plan::Done(deleted) => return Ok(deleted),
            Plan::Write(write) => write,
        };
        let removes = matches!(write, Write::Delete { .. });
        if let Some(object) = call.api.write(write).await? {
            return Ok(if removes {
                Deleted::Gone(object)
            } else {
                Deleted::Marked(object)
            });
        }
    }
    Err(Status::stale(key.kind, &key.name).into())
}

/// What is to be done for a deletion.
enum Plan {
    /// Nothing more.
    Done(Deleted),
    Write(Write),
}

fn plan(call: &Call, state: &State, old: &Object, wish: &Wish) -> Result<Plan, Refused> {
    let request = admit::Request {
        state,
        stamp: stamp(),
        user: &call.who.user,
    };
    Ok(match admit::delete(old, &wish.options, &request)? {
        Deletion::Unchanged(object) => Plan::Done(Deleted::Marked(object)),
        Deletion::Now if wish.dry_run => Plan::Done(Deleted::Gone(old.clone())),
        Deletion::Mark(new) if wish.dry_run => {
            Plan::Done(Deleted::Marked(new.with_revision(old.revision())))
        }
        Deletion::Now => Plan::Write(Write::remove(old)),
        Deletion::Mark(new) => Plan::Write(Write::replace(old, new)),
    })
}

impl Deleted {
    fn into_object(self) -> Object {
        match self {
            Self::Gone(object) | Self::Marked(object) => object,
        }
    }
}

impl Wish {
    /// Reads `metav1.DeleteOptions` from the body, or from the query if there is none.
    async fn read(call: &Call, body: Body) -> Result<Self, Refused> {
        let bytes = body::read(body).await?;
        if bytes.is_empty() {
            return Self::parse(call, &from_query(call)?);
        }
        let of = match negotiate::body_type(&call.headers)? {
            BodyType::Yaml => BodyType::Yaml,
            BodyType::Json
            | BodyType::JsonPatch
            | BodyType::MergePatch
            | BodyType::StrategicPatch => BodyType::Json,
        };
        Self::parse(call, &body::parse(&bytes, of)?)
    }

    /// Reads `metav1.DeleteOptions`; `dryRun` may stand in the query as well.
    ///
    /// # Errors
    /// 400 and 422 for options that make no sense.
    pub(super) fn parse(call: &Call, options: &Value) -> Result<Self, Refused> {
        let listed = options["dryRun"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let dry_run = dry_run(call.query.all("dryRun").chain(listed))?;
        Ok(Self {
            options: DeleteOptions::parse(options)?,
            dry_run,
        })
    }
}

fn from_query(call: &Call) -> Result<Value, Refused> {
    let mut options = Map::new();
    if let Some(seconds) = call.query.number("gracePeriodSeconds")? {
        options.insert("gracePeriodSeconds".into(), seconds.into());
    }
    if let Some(policy) = call.query.get("propagationPolicy") {
        options.insert("propagationPolicy".into(), policy.into());
    }
    if let Some(orphan) = call.query.maybe_flag("orphanDependents") {
        options.insert("orphanDependents".into(), orphan.into());
    }
    Ok(Value::Object(options))
}
