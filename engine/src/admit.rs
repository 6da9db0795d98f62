//! Admission (step 4 of the walk): default → validate → stamp. Functions from what a request
//! brings and what is stored to what shall be stored, or to the `Status` that says why not: every
//! wrong field at once, in Kubernetes' words.
//!
//! Nothing here writes, reads a clock or draws a name: time, uid and suffix come as a [`Stamp`].
//! Types and unknown fields are checked before, by `skiff_api::check`; a value of a wrong type
//! that gets here all the same is treated as missing.

mod bind;
mod config;
mod delete;
mod field;
mod identity;
mod metadata;
mod names;
mod namespace;
mod network;
mod node;
mod pod;
mod records;
mod rules;
mod scale;
mod warnings;
mod workload;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};
use skiff_api::{Kind, Millis, Object, Reason, Scope, Status, Uid};

use crate::{Stamper, State, ingress_class};

pub use bind::bind;
pub use delete::{DeleteOptions, Deletion, Propagation, delete, is_gone};
pub use pod::complete as complete_pod;
pub use scale::{read_scale, scale};
pub use warnings::warnings;

use field::{At, Errors};
use identity::{check_identity, check_namespace, check_same};

/// Time and chance for one new object.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// The proposer's clock.
    pub at: Millis,
    /// The uid that a new object gets.
    pub uid: Uid,
    /// The letters that follow `generateName`.
    pub suffix: String,
}

impl Stamp {
    /// Draws a stamp.
    pub fn draw(stamper: &mut Stamper) -> Self {
        Self {
            at: stamper.at(),
            uid: stamper.uid(),
            suffix: stamper.suffix(),
        }
    }
}

/// What a decision may depend on besides the object.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The state that the request was read against.
    pub state: &'a State,
    /// Time and chance.
    pub stamp: Stamp,
    /// Who asks, as authenticated.
    pub user: &'a str,
}

/// Admits a new object of a kind into a namespace (empty for cluster-scoped kinds).
///
/// # Errors
/// 400 if the value is of another kind or namespace, 404 or 403 if the namespace does not exist
/// or is being deleted, 422 with every wrong field.
pub fn create(
    kind: Kind,
    namespace: &str,
    mut value: Value,
    request: &Request<'_>,
) -> Result<Object, Status> {
    check_identity(kind, namespace, &value)?;
    normalise(kind, &mut value);
    let meta = entry(&mut value, "metadata");
    metadata::stamp_new(kind, namespace, meta, &request.stamp);
    let name = text(&value, "metadata", "name").to_owned();
    if kind.info().scope == Scope::Namespaced {
        check_namespace(kind, namespace, &name, request.state)?;
    }
    set_type(kind, &mut value);
    rules::default(kind, &mut value);
    rules::begin(kind, &mut value);
    if kind == Kind::Ingress {
        ingress_class::begin(request.state, &mut value);
    }
    let mut errors = Errors::default();
    rules::validate(kind, &At::root(&value), &mut errors);
    errors.into_result(kind, &name)?;
    finish(value)
}

/// Admits a changed object on its main path: `status` and what only the server writes stay as
/// they are. A value that changes nothing gives an object of the same content.
///
/// # Errors
/// 400 if the value is another object's, 409 if it names another uid or an older
/// resourceVersion, 422 with every wrong field and every field that may not change.
pub fn update(old: &Object, mut value: Value, _request: &Request<'_>) -> Result<Object, Status> {
    let kind = old.kind();
    check_same(old, &value)?;
    let before = old.to_value();
    normalise(kind, &mut value);
    if let Some(owned) = before.get("metadata").and_then(Value::as_object) {
        metadata::restore_owned(owned, entry(&mut value, "metadata"));
    }
    set_type(kind, &mut value);
    rules::keep(kind, &before, &mut value);
    rules::default(kind, &mut value);
    let mut errors = Errors::default();
    let at = At::root(&value);
    metadata::validate_update(old, &at, &mut errors);
    rules::validate(kind, &at, &mut errors);
    rules::validate_update(kind, &At::root(&before), &at, &mut errors);
    errors.into_result(kind, &old.key().name)?;
    metadata::count_generation(old, &before, &mut value);
    finish(value)
}

/// Admits a new status: everything but `status` stays as it is.
///
/// # Errors
/// 400 if the value is another object's, 409 if it names another uid or an older
/// resourceVersion, 422 for a wrong status.
pub fn update_status(
    old: &Object,
    mut value: Value,
    _request: &Request<'_>,
) -> Result<Object, Status> {
    check_same(old, &value)?;
    normalise(old.kind(), &mut value);
    let mut new = old.to_value();
    let status = value.get_mut("status").map(Value::take);
    rules::replace_status(old.kind(), &mut new, status);
    let mut errors = Errors::default();
    rules::validate_status(old.kind(), &At::root(&new), &mut errors);
    errors.into_result(old.kind(), &old.key().name)?;
    finish(new)
}

fn finish(value: Value) -> Result<Object, Status> {
    Object::from_value(value).map_err(|err| Status::failure(Reason::BadRequest, err.to_string()))
}

fn set_type(kind: Kind, value: &mut Value) {
    let fields = map(value);
    fields.insert("apiVersion".into(), kind.info().api_version().into());
    fields.insert("kind".into(), kind.info().name.into());
}

/// Brings a value into the form of the wire before its types are checked: nulls, which mean "not
/// given", are dropped, and quantities written as numbers become text.
pub fn normalise(kind: Kind, value: &mut Value) {
    prune(value);
    let spec = match kind {
        Kind::Pod => value.get_mut("spec"),
        Kind::Deployment | Kind::ReplicaSet => value.pointer_mut("/spec/template/spec"),
        Kind::Node => {
            if let Some(Value::Object(status)) = value.get_mut("status") {
                pod::amounts(status, "capacity");
                pod::amounts(status, "allocatable");
            }
            None
        }
        Kind::Namespace
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::Event
        | Kind::ServiceAccount
        | Kind::Lease
        | Kind::Service
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::Ingress
        | Kind::IngressClass
        | Kind::NetworkPolicy => None,
    };
    if let Some(Value::Object(spec)) = spec {
        pod::quantities_to_text(spec);
    }
}

/// Drops null fields.
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The map in a value, which becomes one if it is none.
fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    #[expect(clippy::expect_used, reason = "made a map one line above")]
    value.as_object_mut().expect("a map")
}

/// The map under a field, made if it is missing.
fn entry<'a>(value: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    map(map(value).entry(name).or_insert(Value::Null))
}

/// The text of a field; empty if there is none.
fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

/// The text of a field of a field; empty if there is none.
fn text<'a>(value: &'a Value, outer: &str, name: &str) -> &'a str {
    value.get(outer).map_or("", |inner| field(inner, name))
}

/// Sets a field that is not given.
fn fill(fields: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    if !fields.contains_key(name) {
        fields.insert(name.into(), value.into());
    }
}
