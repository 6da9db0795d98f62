//! Kubernetes' strategic merge patch: as a merge patch, but lists are merged by the key of their
//! items, and directives say what a plain patch cannot: `$patch`, `$retainKeys`,
//! `$setElementOrder/…`, `$deleteFromPrimitiveList/…`.
//!
//! Order of lists and all errors follow kube-apiserver, because kubectl computes its patches
//! against exactly these rules. `list.rs` merges and orders lists; here maps and directives.

mod list;

use serde_json::{Map, Value};

use super::shape::{Field, PLAIN, Shape};
use super::{DEPTH_MAX, PatchError, too_deep, type_name};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

type Fields = Map<String, Value>;

/// Applies a strategic merge patch to an object of that shape.
///
/// # Errors
/// The patch is not a map, a directive is malformed, or a list item lacks its merge key.
pub(super) fn apply(object: Value, patch: Value, shape: &Shape) -> Result<Value, PatchError> {
    let Value::Object(patch) = patch else {
        let found = type_name(&patch);
        return Err(PatchError::Malformed(format!(
            "error decoding patch: expected a map, but received a {found}"
        )));
    };
    let Value::Object(object) = object else {
        return Err(expected("map", &object));
    };
    merge_map(object, patch, shape, 0).map(Value::Object)
}

/// What `$patch` asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

impl Directive {
    /// Takes the directive out of a map.
    fn take(fields: &mut Fields) -> Result<Option<Self>, PatchError> {
        let Some(word) = fields.remove(PATCH) else {
            return Ok(None);
        };
        match word.as_str() {
            Some("merge") => Ok(Some(Self::Merge)),
            Some("replace") => Ok(Some(Self::Replace)),
            Some("delete") => Ok(Some(Self::Delete)),
            Some(_) | None => Err(PatchError::Malformed(format!(
                "unknown patch type: {word} in map: {}",
                Value::Object(fields.clone())
            ))),
        }
    }
}

fn merge_map(
    mut original: Fields,
    mut patch: Fields,
    shape: &Shape,
    depth: usize,
) -> Result<Fields, PatchError> {
    if depth >= DEPTH_MAX {
        return Err(too_deep());
    }
    match Directive::take(&mut patch)? {
        Some(Directive::Replace) => return cleaned(patch),
        Some(Directive::Delete) => return Ok(Map::new()),
        Some(Directive::Merge) | None => {}
    }
    retain_keys(&mut original, &mut patch)?;
    delete_from_sets(&mut original, &mut patch)?;
    merge_ordered_lists(&mut original, &mut patch, shape, depth)?;
    for (key, change) in patch {
        merge_field(&mut original, key, change, shape, depth)?;
    }
    Ok(original)
}

fn merge_field(
    original: &mut Fields,
    key: String,
    change: Value,
    shape: &Shape,
    depth: usize,
) -> Result<(), PatchError> {
    let merged = match (original.remove(&key), change) {
        (_, Value::Null) => return Ok(()),
        (Some(Value::Object(current)), Value::Object(change)) => {
            let inner = match shape.field(&key) {
                Field::Map(inner) => inner,
                Field::ListBy(..) | Field::Set | Field::Plain => &PLAIN,
            };
            Value::Object(merge_map(current, change, inner, depth + 1)?)
        }
        (Some(Value::Array(current)), Value::Array(change)) => {
            Value::Array(list::merge(current, change, shape.field(&key), depth + 1)?)
        }
        (_, change) => match clean(change)? {
            Some(change) => change,
            None => return Ok(()),
        },
    };
    original.insert(key, merged);
    Ok(())
}

/// `$retainKeys: [a, b]` drops every other field of the original.
fn retain_keys(original: &mut Fields, patch: &mut Fields) -> Result<(), PatchError> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let malformed = || PatchError::Malformed("invalid patch format of retainKeys".into());
    let keys = keys.as_array().ok_or_else(malformed)?;
    let retained = |key: &str| keys.iter().any(|kept| kept.as_str() == Some(key));
    let stray = patch.iter().any(|(key, value)| {
        let directive = key.starts_with(SET_ORDER) || key.starts_with(DELETE_FROM);
        !value.is_null() && !directive && !retained(key)
    });
    if stray {
        return Err(malformed());
    }
    original.retain(|key, _| retained(key));
    Ok(())
}

/// `$deleteFromPrimitiveList/finalizers: [x]` takes x out of the list.
fn delete_from_sets(original: &mut Fields, patch: &mut Fields) -> Result<(), PatchError> {
    for (name, doomed) in take_directives(patch, DELETE_FROM) {
        let Value::Array(doomed) = doomed else {
            return Err(PatchError::Malformed(
                "invalid patch format of primitive list".into(),
            ));
        };
        match original.get_mut(&name) {
            Some(Value::Array(current)) => list::subtract(current, &doomed),
            Some(other) => return Err(expected("slice", other)),
            None => {}
        }
    }
    Ok(())
}

/// `$setElementOrder/containers: [{name: a}, …]`: merges the list it is about and orders it.
fn merge_ordered_lists(
    original: &mut Fields,
    patch: &mut Fields,
    shape: &Shape,
    depth: usize,
) -> Result<(), PatchError> {
    for (name, order) in take_directives(patch, SET_ORDER) {
        let Value::Array(order) = order else {
            return Err(expected("slice", &order));
        };
        let take_list = |fields: &mut Fields| match fields.remove(&name) {
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(Value::Null) | None => Ok(None),
            Some(other) => Err(expected("slice", &other)),
        };
        // A null says that the list goes, whatever order is given for it.
        if patch.get(&name).is_some_and(Value::is_null) {
            continue;
        }
        let (current, change) = (take_list(original)?, take_list(patch)?);
        if current.is_none() && change.is_none() {
            continue;
        }
        let field = shape.field(&name);
        let merged = list::merge_in_order(current, change, &order, field, depth + 1)?;
        original.insert(name, Value::Array(merged));
    }
    Ok(())
}

/// The patch's directives with a prefix, by the name of the field that they are about.
fn take_directives(patch: &mut Fields, prefix: &str) -> Vec<(String, Value)> {
    let names: Vec<String> = patch
        .keys()
        .filter(|key| key.starts_with(prefix))
        .cloned()
        .collect();
    names
        .into_iter()
        .filter_map(|key| {
            let value = patch.remove(&key)?;
            Some((key.strip_prefix(prefix)?.to_owned(), value))
        })
        .collect()
}

/// What remains of a part of the patch that had nothing to merge with: no nulls, no directives;
/// nothing at all if it asked for its own deletion.
fn clean(value: Value) -> Result<Option<Value>, PatchError> {
    match value {
        Value::Object(mut fields) => match Directive::take(&mut fields)? {
            Some(Directive::Delete) => Ok(None),
            Some(Directive::Merge | Directive::Replace) | None => {
                cleaned(fields).map(|fields| Some(Value::Object(fields)))
            }
        },
        Value::Array(items) => {
            let items: Result<Vec<_>, _> = items
                .into_iter()
                .filter(|item| !is_bare_directive(item))
                .filter_map(|item| clean(item).transpose())
                .collect();
            items.map(|items| Some(Value::Array(items)))
        }
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            Ok(Some(plain))
        }
    }
}

fn cleaned(fields: Fields) -> Result<Fields, PatchError> {
    let mut out = Map::new();
    for (key, value) in fields {
        let directive =
            key == RETAIN_KEYS || key.starts_with(SET_ORDER) || key.starts_with(DELETE_FROM);
        if value.is_null() || directive {
            continue;
        }
        if let Some(value) = clean(value)? {
            out.insert(key, value);
        }
    }
    Ok(out)
}

/// `{"$patch": "replace"}` in a list is about the list, and is no item of it.
fn is_bare_directive(item: &Value) -> bool {
    item.as_object()
        .is_some_and(|fields| fields.len() == 1 && fields.contains_key(PATCH))
}

fn expected(what: &str, found: &Value) -> PatchError {
    PatchError::Malformed(format!(
        "expected a {what}, but received a {}",
        type_name(found)
    ))
}
