//! A request about objects, taken apart: who wants to do what with which objects, and how.

use std::sync::Arc;

use http::{HeaderMap, Method};
use skiff_api::{FieldSelector, Key, Kind, Millis, Subresource};

use super::encode::Encoder;
use super::negotiate;
use super::path::Target;
use super::query::Query;
use super::reply::Refused;
use super::{Api, not_allowed, not_found};
use crate::auth::{Attributes, Identity, authorize};

/// What a request wants to do, in the words of authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// The verb of a method on a target.
    ///
    /// # Errors
    /// 405 if the target has no such method.
    pub(super) fn of(method: &Method, target: &Target, query: &Query) -> Result<Self, Refused> {
        let named = target.name.is_some();
        let verb = match (method.as_str(), target.subresource) {
            ("GET" | "HEAD", None) if query.flag("watch") => Self::Watch,
            ("GET" | "HEAD", None) if !named => Self::List,
            (
                "GET" | "HEAD",
                None | Some(Subresource::Status | Subresource::Scale | Subresource::Log),
            ) => Self::Get,
            ("POST", None) if !named => Self::Create,
            ("POST", Some(Subresource::Binding | Subresource::Eviction)) => Self::Create,
            ("PUT", None | Some(Subresource::Status | Subresource::Scale)) if named => Self::Update,
            ("PATCH", None | Some(Subresource::Status | Subresource::Scale)) if named => {
                Self::Patch
            }
            ("DELETE", None) if named => Self::Delete,
            ("DELETE", None) if target.kind != Kind::Namespace => Self::DeleteCollection,
            _ => return Err(not_allowed()),
        };
        // Creating needs a namespace to create in.
        let nowhere = verb == Self::Create
            && target.namespace.is_none()
            && target.kind.info().scope == skiff_api::Scope::Namespaced;
        if nowhere {
            Err(not_allowed())
        } else {
            Ok(verb)
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// A request about objects, without its body.
pub(super) struct Call {
    pub(super) api: Arc<Api>,
    pub(super) verb: Verb,
    pub(super) target: Target,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) who: Identity,
}

impl Call {
    /// Refuses what the client may not do.
    ///
    /// # Errors
    /// 403; 503 if that depends on a leader and there is none.
    pub(super) async fn authorize(&self) -> Result<(), Refused> {
        if self.who.is_admin() {
            return Ok(());
        }
        // A selector that can't be read selects nothing that would widen what is allowed.
        let fields = self.query.get("fieldSelector").map(FieldSelector::parse);
        let fields = fields.and_then(Result::ok).unwrap_or_default();
        let what = Attributes {
            verb: self.verb.word(),
            kind: self.target.kind,
            subresource: self.target.subresource,
            namespace: self.target.namespace.as_deref(),
            name: self
                .target
                .name
                .as_deref()
                .or_else(|| fields.exact("metadata.name")),
            node_selector: fields.exact("spec.nodeName"),
        };
        let store = &self.api.store;
        let Err(refused) = authorize(&self.who, &what, &store.state()) else {
            return Ok(());
        };
        if store.is_leader() {
            return Err(refused.into());
        }
        // A node that learned of its pod from another server may be ahead of this one.
        Ok(authorize(&self.who, &what, &self.api.read().await?)?)
    }

    /// The object's key.
    ///
    /// # Errors
    /// 404 if the path names a collection.
    pub(super) fn key(&self) -> Result<Key, Refused> {
        self.target.key().ok_or_else(not_found)
    }

    /// How the client wants to read objects of the kind.
    ///
    /// # Errors
    /// 406 if it accepts no form that is served.
    pub(super) fn encoder(&self) -> Result<Encoder, Refused> {
        let form = negotiate::form(&self.headers, self.query.get("includeObject"))?;
        Ok(Encoder {
            kind: self.target.kind,
            form,
            now: now(),
        })
    }

    /// Whether the request only tries: `dryRun=All`.
    ///
    /// # Errors
    /// 422 for another word.
    pub(super) fn dry_run(&self) -> Result<bool, Refused> {
        dry_run(self.query.all("dryRun"))
    }
}

/// Reads the values of `dryRun`.
///
/// # Errors
/// 422 for any other than `All`.
pub(super) fn dry_run<'a>(values: impl Iterator<Item = &'a str>) -> Result<bool, Refused> {
    let mut found = false;
    for value in values {
        if value != "All" {
            let message =
                format!("dryRun: Unsupported value: {value:?}: supported values: \"All\"");
            return Err(super::refuse(skiff_api::Reason::Invalid, message));
        }
        found = true;
    }
    Ok(found)
}

/// The time.
pub(super) fn now() -> Millis {
    jiff::Timestamp::now().into()
}
