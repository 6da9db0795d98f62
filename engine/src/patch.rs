//! The three patch dialects of the Kubernetes API, as functions from value to value (step 4 of
//! the walk). A patch knows nothing of admission: what comes out is defaulted and validated as
//! any other object. Never recurses deeper than [`DEPTH_MAX`], never grows without bound.

mod json;
mod merge;
mod shape;
mod strategic;

#[cfg(test)]
mod tests;

use serde_json::Value;
use skiff_api::{Kind, Reason, Status};

/// How deep a value may nest, before and after a patch: what the JSON parser accepts as well.
pub const DEPTH_MAX: usize = 128;

/// The language a patch is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// RFC 6902, `application/json-patch+json`: a list of operations.
    Json,
    /// RFC 7386, `application/merge-patch+json`: lists are replaced, null deletes.
    Merge,
    /// `application/strategic-merge-patch+json`: lists are merged by the key of their items.
    Strategic,
}

/// Why a patch could not be applied; worded as kube-apiserver does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is malformed, whatever it is applied to: 400.
    #[error("{0}")]
    Malformed(String),
    /// The patch does not fit the object: 422.
    #[error("{0}")]
    DoesNotApply(String),
    /// More work, or a larger result, than one patch may ask for: 413.
    #[error("{0}")]
    TooLarge(String),
}

/// Applies a patch to an object of a kind.
///
/// # Errors
/// The patch is malformed, does not apply, or asks for too much; the object is then unchanged
/// for the caller, who still holds it.
pub fn apply(
    dialect: Dialect,
    kind: Kind,
    object: Value,
    patch: Value,
) -> Result<Value, PatchError> {
    match dialect {
        Dialect::Json => json::apply(object, patch),
        Dialect::Merge => merge::apply(object, patch),
        Dialect::Strategic => strategic::apply(object, patch, shape::of(kind)),
    }
}

/// How a message names the type of a value, as Go does.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

fn too_deep() -> PatchError {
    PatchError::TooLarge(format!(
        "the patched object would nest deeper than {DEPTH_MAX} levels"
    ))
}

impl From<PatchError> for Status {
    fn from(err: PatchError) -> Self {
        let reason = match err {
            PatchError::Malformed(_) => Reason::BadRequest,
            PatchError::DoesNotApply(_) => Reason::Invalid,
            PatchError::TooLarge(_) => Reason::RequestEntityTooLarge,
        };
        Self::failure(reason, err.to_string())
    }
}
