//! Deletion: at once, or in steps. A running pod gets its grace first, and an object with
//! finalizers stays until they are gone; both are marked with `deletionTimestamp` meanwhile.

use serde_json::Value;
use skiff_api::{Kind, Millis, Object, Reason, Status};

use super::identity::check_life;
use super::{Request, entry, finish, metadata};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// The grace of a pod whose spec says nothing.
const GRACE_SECONDS: i64 = 30;

/// Namespaces that the cluster itself needs.
const PROTECTED: [&str; 3] = ["default", "kube-public", "kube-system"];

/// What becomes of the objects that an object owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They go after it.
    Background,
    /// They go before it.
    Foreground,
    /// They stay.
    Orphan,
}

/// What a deletion asks for besides the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds until the object must be gone; the object's own grace if not given.
    pub grace_seconds: Option<i64>,
    /// What becomes of dependents; as the object's finalizers say if not given.
    pub propagation: Option<Propagation>,
    /// Only this life of the object.
    pub uid: Option<String>,
    /// Only this version of the object.
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    /// Reads a `metav1.DeleteOptions`; null for none.
    ///
    /// # Errors
    /// 400 for a wrong type, 422 for a policy that does not exist.
    pub fn parse(value: &Value) -> Result<Self, Status> {
        let bad =
            |what: &str| Status::failure(Reason::BadRequest, format!("DeleteOptions: {what}"));
        let get = |name: &str| value.get(name).filter(|found| !found.is_null());
        let text = |value: &Value| {
            value
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| bad("preconditions must be text"))
        };
        let grace_seconds = get("gracePeriodSeconds")
            .map(|found| {
                found
                    .as_i64()
                    .ok_or_else(|| bad("gracePeriodSeconds must be a number"))
            })
            .transpose()?;
        let preconditions = get("preconditions");
        let condition = |name: &str| {
            preconditions
                .and_then(|found| found.get(name))
                .filter(|found| !found.is_null())
        };
        let orphan = get("orphanDependents").and_then(Value::as_bool);
        let policy = get("propagationPolicy").map(|found| found.as_str().unwrap_or(""));
        Ok(Self {
            grace_seconds,
            propagation: Propagation::parse(policy, orphan)?,
            uid: condition("uid").map(text).transpose()?,
            resource_version: condition("resourceVersion").map(text).transpose()?,
        })
    }
}

impl Propagation {
    fn parse(policy: Option<&str>, orphan: Option<bool>) -> Result<Option<Self>, Status> {
        let invalid = |message: String| Err(Status::failure(Reason::Invalid, message));
        match (policy, orphan) {
            (Some(_), Some(_)) => invalid(
                "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \
                 orphanDependents and deletionPropagation cannot be both set"
                    .into(),
            ),
            (Some("Background"), None) | (None, Some(false)) => Ok(Some(Self::Background)),
            (Some("Foreground"), None) => Ok(Some(Self::Foreground)),
            (Some("Orphan"), None) | (None, Some(true)) => Ok(Some(Self::Orphan)),
            (None, None) => Ok(None),
            (Some(other), None) => invalid(format!(
                "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \
                 {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
            )),
        }
    }
}

/// What a deletion comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Remove the object.
    Now,
    /// Store this instead: it is marked, and goes when its grace and its finalizers are over.
    Mark(Object),
    /// It is being deleted already, and this request changes nothing.
    Unchanged(Object),
}

/// Decides a deletion.
///
/// # Errors
/// 409 if the object is not the one that the preconditions name, 403 for a namespace that the
/// cluster needs.
pub fn delete(
    old: &Object,
    options: &DeleteOptions,
    request: &Request<'_>,
) -> Result<Deletion, Status> {
    let key = old.key();
    check_life(
        old,
        options.uid.as_deref().unwrap_or(""),
        options.resource_version.as_deref().unwrap_or(""),
    )?;
    if key.kind == Kind::Namespace && PROTECTED.contains(&key.name.as_ref()) {
        let why = "this namespace may not be deleted";
        return Err(Status::forbidden(key.kind, &key.name, why));
    }
    let mut value = old.to_value();
    let finalizers = finalizers(old, options.propagation);
    let grace = grace_seconds(old, &value, options);
    if grace == 0 && finalizers.is_empty() && !holds_namespace(key.kind, &value) {
        return Ok(Deletion::Now);
    }
    let meta = entry(&mut value, "metadata");
    if finalizers.is_empty() {
        meta.remove("finalizers");
    } else {
        meta.insert("finalizers".into(), finalizers.into());
    }
    match old.meta().deletion {
        None => metadata::mark_deleted(&mut value, request.stamp.at, grace),
        Some(running) if running.grace.as_secs().cast_signed() > grace => {
            let begun = running.due.0.saturating_sub(millis(running.grace));
            shorten(&mut value, Millis(begun), grace);
        }
        Some(_) => {}
    }
    if key.kind == Kind::Namespace {
        entry(&mut value, "status").insert("phase".into(), "Terminating".into());
    }
    let new = finish(value)?;
    if new.same_content(old) {
        return Ok(Deletion::Unchanged(old.clone()));
    }
    Ok(Deletion::Mark(new))
}

/// Whether nothing keeps a marked object any more: after an update that took the last finalizer
/// away, the object is to be removed and not stored.
#[must_use]
pub fn is_gone(object: &Object) -> bool {
    let Some(deletion) = object.meta().deletion else {
        return false;
    };
    let free = deletion.grace.is_zero() && object.meta().finalizers.is_empty();
    free && (object.kind() != Kind::Namespace
        || !holds_namespace(object.kind(), &object.to_value()))
}

/// A namespace stays while its spec has finalizers.
fn holds_namespace(kind: Kind, value: &Value) -> bool {
    let finalizers = value.get("spec").and_then(|spec| spec.get("finalizers"));
    let held = finalizers
        .and_then(Value::as_array)
        .is_some_and(|list| !list.is_empty());
    kind == Kind::Namespace && held
}

/// How long the object may take. Only a pod that may be running on a node gets any time.
fn grace_seconds(old: &Object, value: &Value, options: &DeleteOptions) -> i64 {
    let Some(pod) = old.pod() else { return 0 };
    if pod.node.is_none() || pod.phase.is_terminal() {
        return 0;
    }
    let asked = options
        .grace_seconds
        .map(|seconds| if seconds < 0 { 1 } else { seconds });
    if let Some(running) = old.meta().deletion {
        let left = running.grace.as_secs().cast_signed();
        return asked.unwrap_or(left);
    }
    asked.unwrap_or_else(|| {
        let own = value
            .get("spec")
            .and_then(|spec| spec.get("terminationGracePeriodSeconds"));
        own.and_then(Value::as_i64).unwrap_or(GRACE_SECONDS).max(0)
    })
}

/// The object's finalizers, with the one that the propagation asks for and not the other.
fn finalizers(old: &Object, propagation: Option<Propagation>) -> Vec<Value> {
    let present = old.meta().finalizers.iter().map(AsRef::as_ref);
    let Some(propagation) = propagation else {
        return present.map(Value::from).collect();
    };
    let wanted = match propagation {
        Propagation::Background => None,
        Propagation::Foreground => Some(FOREGROUND),
        Propagation::Orphan => Some(ORPHAN),
    };
    let others = present.filter(|name| *name != ORPHAN && *name != FOREGROUND);
    others.chain(wanted).map(Value::from).collect()
}

fn shorten(value: &mut Value, begun: Millis, grace_seconds: i64) {
    let due = Millis(begun.0.saturating_add(grace_seconds.saturating_mul(1000)));
    let meta = entry(value, "metadata");
    meta.insert("deletionTimestamp".into(), due.rfc3339().into());
    meta.insert("deletionGracePeriodSeconds".into(), grace_seconds.into());
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
