//! `metav1.Status`: the one body of every error that the API sends or reads.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::kind::Kind;

/// Why a request failed, as clients act on it, with the HTTP code that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each variant is the Kubernetes StatusReason of that name"
)]
pub enum Reason {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    NotAcceptable,
    AlreadyExists,
    Conflict,
    Gone,
    Expired,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    InternalError,
    NotImplemented,
    ServiceUnavailable,
    Timeout,
    /// Not Kubernetes' own: the server's disk is full, writes are refused, reads go on.
    InsufficientStorage,
}

const REASONS: [(Reason, &str, u16); 19] = [
    (Reason::BadRequest, "BadRequest", 400),
    (Reason::Unauthorized, "Unauthorized", 401),
    (Reason::Forbidden, "Forbidden", 403),
    (Reason::NotFound, "NotFound", 404),
    (Reason::MethodNotAllowed, "MethodNotAllowed", 405),
    (Reason::NotAcceptable, "NotAcceptable", 406),
    (Reason::AlreadyExists, "AlreadyExists", 409),
    (Reason::Conflict, "Conflict", 409),
    (Reason::Gone, "Gone", 410),
    (Reason::Expired, "Expired", 410),
    (Reason::RequestEntityTooLarge, "RequestEntityTooLarge", 413),
    (Reason::UnsupportedMediaType, "UnsupportedMediaType", 415),
    (Reason::Invalid, "Invalid", 422),
    (Reason::TooManyRequests, "TooManyRequests", 429),
    (Reason::InternalError, "InternalError", 500),
    (Reason::NotImplemented, "NotImplemented", 501),
    (Reason::ServiceUnavailable, "ServiceUnavailable", 503),
    (Reason::Timeout, "Timeout", 504),
    (Reason::InsufficientStorage, "InsufficientStorage", 507),
];

impl Reason {
    /// The word on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        REASONS
            .iter()
            .find(|(reason, ..)| *reason == self)
            .map_or("InternalError", |row| row.1)
    }

    /// The HTTP status code.
    #[must_use]
    pub fn code(self) -> u16 {
        REASONS
            .iter()
            .find(|(reason, ..)| *reason == self)
            .map_or(500, |row| row.2)
    }
}

/// A `Status` object: the outcome of a request that has no other object to return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Always `Status`.
    pub kind: String,
    /// Always `v1`.
    pub api_version: String,
    /// List metadata; empty.
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// `Success` or `Failure`.
    #[serde(default)]
    pub status: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For programs; see [`Reason::word`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// The HTTP status code.
    #[serde(default)]
    pub code: u16,
}

/// What a [`Status`] is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// The object's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The API group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource, or for invalid objects the kind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The object's uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// One for each wrong field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// When trying again makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
}

/// One wrong field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldValueRequired`, …
    #[serde(default)]
    pub reason: String,
    /// For people, without the field's path.
    #[serde(default)]
    pub message: String,
    /// The field's path, `spec.containers[0].name`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

impl Status {
    /// A failure that is about no object in particular.
    #[must_use]
    pub fn failure(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            kind: "Status".into(),
            api_version: "v1".into(),
            metadata: serde_json::Map::new(),
            status: "Failure".into(),
            message: message.into(),
            reason: reason.word().into(),
            details: None,
            code: reason.code(),
        }
    }

    /// A success, as `DELETE` returns it for an object that is gone.
    #[must_use]
    pub fn success(kind: Kind, name: &str, uid: &str) -> Self {
        let mut details = Details::of(kind, name);
        details.uid = uid.into();
        Self {
            status: "Success".into(),
            reason: String::new(),
            code: 200,
            details: Some(details),
            ..Self::failure(Reason::InternalError, "")
        }
    }

    /// `pods "front" not found`.
    #[must_use]
    pub fn not_found(kind: Kind, name: &str) -> Self {
        let message = format!("{} {name:?} not found", kind.info().qualified());
        Self::about(Reason::NotFound, kind, name, message)
    }

    /// `configmaps "settings" already exists`.
    #[must_use]
    pub fn already_exists(kind: Kind, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", kind.info().qualified());
        Self::about(Reason::AlreadyExists, kind, name, message)
    }

    /// `Operation cannot be fulfilled on pods "front": …`.
    #[must_use]
    pub fn conflict(kind: Kind, name: &str, why: &str) -> Self {
        let resource = kind.info().qualified();
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {why}");
        Self::about(Reason::Conflict, kind, name, message)
    }

    /// A conflict because the object is no longer at the revision that the request names.
    #[must_use]
    pub fn stale(kind: Kind, name: &str) -> Self {
        let why = "the object has been modified; \
                   please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// `pods "front" is forbidden: …`.
    #[must_use]
    pub fn forbidden(kind: Kind, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", kind.info().qualified());
        Self::about(Reason::Forbidden, kind, name, message)
    }

    /// `Pod "front" is invalid: …`, with every wrong field as a cause.
    #[must_use]
    pub fn invalid(kind: Kind, name: &str, causes: Vec<Cause>) -> Self {
        let fields: Vec<String> = causes
            .iter()
            .map(|cause| format!("{}: {}", cause.field, cause.message))
            .collect();
        let list = match fields.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let dot = if kind.info().group.is_empty() {
            ""
        } else {
            "."
        };
        let group = kind.info().group;
        let message = format!("{kind}{dot}{group} {name:?} is invalid: {list}");
        let mut status = Self::failure(Reason::Invalid, message);
        status.details = Some(Details {
            name: name.into(),
            group: kind.info().group.into(),
            kind: kind.info().name.into(),
            causes,
            ..Details::default()
        });
        status
    }

    /// A failure about one object.
    #[must_use]
    pub fn about(reason: Reason, kind: Kind, name: &str, message: String) -> Self {
        let mut status = Self::failure(reason, message);
        status.details = Some(Details::of(kind, name));
        status
    }

    /// Whether this is a failure for the given reason.
    #[must_use]
    pub fn is(&self, reason: Reason) -> bool {
        self.reason == reason.word()
    }
}

impl Details {
    fn of(kind: Kind, name: &str) -> Self {
        Self {
            name: name.into(),
            group: kind.info().group.into(),
            kind: kind.info().plural.into(),
            ..Self::default()
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}
