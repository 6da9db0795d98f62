//! How lists, writes and deletions are made: the options of the API as data. Sends nothing.

use serde_json::{Map, Value, json};

use crate::request::Request;

/// What of a collection is wanted.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Only objects with these labels.
    pub label_selector: Option<String>,
    /// Only objects with these field values.
    pub field_selector: Option<String>,
    /// Objects per request; more are fetched page by page.
    pub limit: Option<u32>,
}

impl ListOptions {
    /// Only objects whose field has this value, `spec.nodeName=n1`.
    #[must_use]
    pub fn field(selector: impl Into<String>) -> Self {
        Self {
            field_selector: Some(selector.into()),
            ..Self::default()
        }
    }

    /// Only objects with these labels.
    #[must_use]
    pub fn labels(selector: impl Into<String>) -> Self {
        Self {
            label_selector: Some(selector.into()),
            ..Self::default()
        }
    }

    /// Adds the selectors to a request.
    #[must_use]
    pub fn select(&self, request: Request) -> Request {
        request
            .query_opt("labelSelector", self.label_selector.as_deref())
            .query_opt("fieldSelector", self.field_selector.as_deref())
    }
}

/// How a write is made.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Who writes, for `managedFields`.
    pub field_manager: Option<&'static str>,
    /// Go through all checks and store nothing.
    pub dry_run: bool,
    /// `Strict`, `Warn` or `Ignore`: what becomes of unknown fields.
    pub field_validation: Option<&'static str>,
}

impl WriteOptions {
    /// A write in someone's name.
    #[must_use]
    pub fn by(field_manager: &'static str) -> Self {
        Self {
            field_manager: Some(field_manager),
            ..Self::default()
        }
    }

    pub(crate) fn options(&self, request: Request) -> Request {
        request
            .query_opt("fieldManager", self.field_manager)
            .query_opt("dryRun", self.dry_run.then_some("All"))
            .query_opt("fieldValidation", self.field_validation)
    }
}

/// A change to an object, in one of the dialects of the API.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 7386: maps are merged, lists replaced, nulls remove.
    Merge(Value),
    /// Kubernetes' own: lists with a key are merged by it.
    Strategic(Value),
    /// RFC 6902: a list of operations.
    Json(Value),
}

impl Patch {
    pub(crate) fn content_type(&self) -> &'static str {
        match self {
            Self::Merge(_) => "application/merge-patch+json",
            Self::Strategic(_) => "application/strategic-merge-patch+json",
            Self::Json(_) => "application/json-patch+json",
        }
    }

    pub(crate) fn body(&self) -> &Value {
        match self {
            Self::Merge(body) | Self::Strategic(body) | Self::Json(body) => body,
        }
    }
}

/// What happens to the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
    /// They stay.
    Orphan,
}

/// How an object is deleted.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// What happens to the objects it owns; the kind's default if absent.
    pub propagation: Option<Propagation>,
    /// Seconds that it has to end; the object's own if absent.
    pub grace_seconds: Option<u32>,
    /// Delete only this life of the object.
    pub uid: Option<String>,
    /// Go through all checks and delete nothing.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// The `DeleteOptions` object on the wire.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut body = Map::new();
        let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
        set("kind", json!("DeleteOptions"));
        set("apiVersion", json!("v1"));
        if let Some(propagation) = self.propagation {
            set("propagationPolicy", json!(format!("{propagation:?}")));
        }
        if let Some(seconds) = self.grace_seconds {
            set("gracePeriodSeconds", json!(seconds));
        }
        if let Some(uid) = &self.uid {
            set("preconditions", json!({ "uid": uid }));
        }
        if self.dry_run {
            set("dryRun", json!(["All"]));
        }
        Value::Object(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delete_options_hold_what_was_asked_and_no_more() {
        let options = DeleteOptions {
            propagation: Some(Propagation::Foreground),
            grace_seconds: Some(0),
            ..DeleteOptions::default()
        };
        let expected = json!({"kind": "DeleteOptions", "apiVersion": "v1",
            "propagationPolicy": "Foreground", "gracePeriodSeconds": 0});
        assert_eq!(options.to_json(), expected);
    }
}
