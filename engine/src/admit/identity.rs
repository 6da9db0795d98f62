//! Whether a request is about the object that it was sent to: its kind, its namespace, its name,
//! its life (uid) and its version.

use serde_json::Value;
use skiff_api::{Cause, Key, Kind, Object, Reason, Scope, Status};

use super::{field, text};
use crate::State;

/// A body of another kind, or for another namespace than its path, is refused.
pub(super) fn check_identity(kind: Kind, namespace: &str, value: &Value) -> Result<(), Status> {
    let info = kind.info();
    if !value.is_object() {
        return Err(Status::failure(
            Reason::BadRequest,
            "the body of the request must be a map",
        ));
    }
    let (version, expected) = (field(value, "apiVersion"), info.api_version());
    if !version.is_empty() && version != expected {
        let message = format!(
            "the API version in the data ({version}) does not match the expected API version \
             ({expected})"
        );
        return Err(Status::failure(Reason::BadRequest, message));
    }
    let named = field(value, "kind");
    if !named.is_empty() && named != info.name {
        let message = format!(
            "{named} in version {version:?} cannot be handled as a {}: no kind {named:?} is \
             registered for this path",
            info.name
        );
        return Err(Status::failure(Reason::BadRequest, message));
    }
    let inside = text(value, "metadata", "namespace");
    if !inside.is_empty() && info.scope == Scope::Namespaced && inside != namespace {
        let message = "the namespace of the provided object does not match the namespace sent on \
                       the request";
        return Err(Status::failure(Reason::BadRequest, message));
    }
    Ok(())
}

/// An update must be about the same object, of the same life, and not about an older one.
pub(super) fn check_same(old: &Object, value: &Value) -> Result<(), Status> {
    check_identity(old.kind(), &old.key().namespace, value)?;
    check_same_life(old, value)
}

/// The part of that which holds for what names the object, but is of another kind.
pub(super) fn check_same_life(old: &Object, value: &Value) -> Result<(), Status> {
    let key = old.key();
    let name = text(value, "metadata", "name");
    if !name.is_empty() && name != key.name.as_ref() {
        let message = format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        );
        return Err(Status::failure(Reason::BadRequest, message));
    }
    check_life(
        old,
        text(value, "metadata", "uid"),
        text(value, "metadata", "resourceVersion"),
    )
}

/// The uid and the resourceVersion that a request names, if it does, must be the stored ones.
pub(super) fn check_life(old: &Object, uid: &str, revision: &str) -> Result<(), Status> {
    let key = old.key();
    let stored = old.meta().uid.as_str();
    if !uid.is_empty() && uid != stored {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {stored}"
        );
        return Err(Status::conflict(key.kind, &key.name, &why));
    }
    if !revision.is_empty() && revision != old.revision().to_string() {
        return Err(Status::stale(key.kind, &key.name));
    }
    Ok(())
}

/// Nothing new may begin in a namespace that does not exist or is going away.
pub(super) fn check_namespace(
    kind: Kind,
    namespace: &str,
    name: &str,
    state: &State,
) -> Result<(), Status> {
    let key = Key::cluster(Kind::Namespace, namespace);
    let found = state
        .get(&key)
        .ok_or_else(|| Status::not_found(Kind::Namespace, namespace))?;
    if found.meta().deletion.is_none() {
        return Ok(());
    }
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    let mut status = Status::forbidden(kind, name, &why);
    if let Some(details) = &mut status.details {
        details.causes.push(Cause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".into(),
        });
    }
    Err(status)
}
