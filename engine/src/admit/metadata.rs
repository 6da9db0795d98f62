//! Rules for `metadata`, the same for every kind, and what the server writes into it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use skiff_api::{Kind, Millis, Object, Scope};

use super::field::{At, Errors};
use super::names;
use super::{Stamp, entry};

/// All annotations of an object together, keys and values, in bytes.
const ANNOTATIONS_BYTES_MAX: usize = 256 << 10;
/// What of `generateName` is kept before the suffix, so that the name is a label still.
const GENERATED_BASE_BYTES_MAX: usize = 58;

const IMMUTABLE: &str = "field is immutable";

/// Fields of `metadata` that only the server writes.
const SERVER_OWNED: [&str; 5] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
];

/// Whether the server counts the changes of this kind's `spec`.
pub(super) const fn counts_generations(kind: Kind) -> bool {
    match kind {
        Kind::Pod
        | Kind::Deployment
        | Kind::ReplicaSet
        | Kind::Ingress
        | Kind::IngressClass
        | Kind::NetworkPolicy => true,
        Kind::Namespace
        | Kind::Node
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::Event
        | Kind::ServiceAccount
        | Kind::Lease
        | Kind::Service
        | Kind::Endpoints
        | Kind::EndpointSlice => false,
    }
}

/// Stamps a new object's metadata.
pub(super) fn stamp_new(kind: Kind, namespace: &str, meta: &mut Map<String, Value>, stamp: &Stamp) {
    for field in SERVER_OWNED
        .into_iter()
        .chain(["resourceVersion", "selfLink"])
    {
        meta.remove(field);
    }
    let named = meta
        .get("name")
        .and_then(Value::as_str)
        .is_some_and(|name| !name.is_empty());
    if let Some(base) = meta.get("generateName").and_then(Value::as_str)
        && !named
        && !base.is_empty()
    {
        let base = base
            .get(..base.len().min(GENERATED_BASE_BYTES_MAX))
            .unwrap_or(base);
        let name = format!("{base}{}", stamp.suffix);
        meta.insert("name".into(), name.into());
    }
    match kind.info().scope {
        Scope::Namespaced => drop(meta.insert("namespace".into(), namespace.into())),
        Scope::Cluster => drop(meta.remove("namespace")),
    }
    meta.insert("uid".into(), stamp.uid.as_str().into());
    meta.insert("creationTimestamp".into(), stamp.at.rfc3339().into());
    if counts_generations(kind) {
        meta.insert("generation".into(), 1.into());
    }
}

/// Gives an updated object back what only the server writes.
pub(super) fn restore_owned(old: &Map<String, Value>, meta: &mut Map<String, Value>) {
    meta.remove("resourceVersion");
    meta.remove("selfLink");
    for field in SERVER_OWNED
        .into_iter()
        .chain(["namespace", "generateName"])
    {
        match old.get(field) {
            Some(value) => drop(meta.insert(field.into(), value.clone())),
            None => drop(meta.remove(field)),
        }
    }
    if let (Some(managed), false) = (old.get("managedFields"), meta.contains_key("managedFields")) {
        meta.insert("managedFields".into(), managed.clone());
    }
}

/// Counts a change of `spec`.
pub(super) fn count_generation(old: &Object, before: &Value, value: &mut Value) {
    if old.meta().generation > 0 && before.get("spec") != value.get("spec") {
        let generation = old.meta().generation.saturating_add(1);
        entry(value, "metadata").insert("generation".into(), generation.into());
    }
}

/// Marks an object as being deleted since `now`, due after `grace_seconds`.
pub(super) fn mark_deleted(value: &mut Value, now: Millis, grace_seconds: i64) {
    let due = Millis(now.0.saturating_add(grace_seconds.saturating_mul(1000)));
    let meta = entry(value, "metadata");
    meta.insert("deletionTimestamp".into(), due.rfc3339().into());
    meta.insert("deletionGracePeriodSeconds".into(), grace_seconds.into());
    if let Some(generation) = meta.get("generation").and_then(Value::as_i64) {
        meta.insert("generation".into(), (generation + 1).into());
    }
}

/// Checks an object's metadata by itself.
pub(super) fn validate(kind: Kind, object: &At<'_, '_>, errors: &mut Errors) {
    let meta = object.field("metadata");
    let name = meta.field("name");
    let rule = match kind {
        Kind::Namespace => names::dns_label,
        Kind::Service => names::dns_1035_label,
        Kind::Node
        | Kind::Pod
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::Event
        | Kind::ServiceAccount
        | Kind::Deployment
        | Kind::ReplicaSet
        | Kind::Lease
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::Ingress
        | Kind::IngressClass
        | Kind::NetworkPolicy => names::dns_subdomain,
    };
    if name.text().is_empty() {
        errors.required(&name, "name or generateName is required");
    } else {
        errors.problems(&name, name.text(), &rule(name.text()));
    }
    if kind.info().scope == Scope::Namespaced {
        let namespace = meta.field("namespace");
        errors.problems(
            &namespace,
            namespace.text(),
            &names::dns_label(namespace.text()),
        );
    }
    labels(&meta.field("labels"), errors);
    annotations(&meta.field("annotations"), errors);
    owners(&meta.field("ownerReferences"), errors);
    finalizers(&meta.field("finalizers"), errors);
}

/// Checks the metadata of a pod template, which names nothing yet.
pub(super) fn validate_template(meta: &At<'_, '_>, errors: &mut Errors) {
    labels(&meta.field("labels"), errors);
    annotations(&meta.field("annotations"), errors);
    finalizers(&meta.field("finalizers"), errors);
}

/// Checks what of the metadata may not change.
pub(super) fn validate_update(old: &Object, object: &At<'_, '_>, errors: &mut Errors) {
    let meta = object.field("metadata");
    if old.meta().deletion.is_some() {
        let finalizers = meta.field("finalizers");
        let known: BTreeSet<&str> = old.meta().finalizers.iter().map(AsRef::as_ref).collect();
        let added: Vec<String> = finalizers
            .each()
            .map(|one| one.text())
            .filter(|name| !known.contains(name))
            .map(|name| format!("{name:?}"))
            .collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new \
                 finalizers []string{{{}}}",
                added.join(", ")
            );
            errors.forbidden(&finalizers, &detail);
        }
    }
    let name = meta.field("name");
    if name.text() != old.key().name.as_ref() {
        errors.invalid(&name, IMMUTABLE);
    }
}

/// A map of labels, wherever it stands.
pub(super) fn labels(at: &At<'_, '_>, errors: &mut Errors) {
    for (key, value) in at.entries() {
        errors.problems(at, key, &names::qualified(key));
        let value = value.as_str().unwrap_or("");
        errors.problems(at, value, &names::label_value(value));
    }
}

fn annotations(at: &At<'_, '_>, errors: &mut Errors) {
    let mut bytes = 0;
    for (key, value) in at.entries() {
        errors.problems(at, key, &names::qualified(&key.to_ascii_lowercase()));
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        errors.too_long(at, ANNOTATIONS_BYTES_MAX);
    }
}

fn owners(at: &At<'_, '_>, errors: &mut Errors) {
    let mut controller: Option<String> = None;
    for owner in at.each() {
        for (field, problem) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if owner.field(field).text().is_empty() {
                errors.invalid(&owner.field(field), problem);
            }
        }
        if owner.field("controller").is_true() {
            let name = owner.field("name").text();
            if let Some(first) = &controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in \
                     references for {first} and {name}"
                );
                errors.invalid(at, &detail);
            }
            controller.get_or_insert_with(|| name.to_owned());
        }
    }
}

fn finalizers(at: &At<'_, '_>, errors: &mut Errors) {
    const STANDARD: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];
    for one in at.each() {
        let name = one.text();
        errors.problems(&one, name, &names::qualified(name));
        if !name.contains('/') && !STANDARD.contains(&name) {
            errors.invalid(
                &one,
                "name is neither a standard finalizer name nor is it fully qualified",
            );
        }
    }
    let has = |wanted: &str| at.each().any(|one| one.text() == wanted);
    if has("orphan") && has("foregroundDeletion") {
        errors.invalid(
            at,
            "finalizer foregroundDeletion and orphan cannot be both set",
        );
    }
}
