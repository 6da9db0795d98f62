//! Lists in a strategic merge patch: which items meet, and in what order the result stands.
//!
//! The order: items that the patch names stand as the patch orders them, the others as they
//! stood; a server-only item goes before the first patch item that it stood before.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::shape::{Field, Shape};
use super::{Directive, PATCH, clean, expected, merge_map};
use crate::patch::PatchError;

/// How two items are recognised as the same.
#[derive(Clone, Copy)]
enum Identity {
    /// By the value of a field.
    Key(&'static str),
    /// By themselves.
    Itself,
}

impl Identity {
    fn of(self, item: &Value) -> Option<Mark<'_>> {
        match self {
            Self::Key(key) => item.get(key),
            Self::Itself => Some(item),
        }
        .map(Mark::of)
    }
}

/// What an item is recognised by; ordered, so that long lists are searched fast.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Mark<'a> {
    Text(Cow<'a, str>),
    Other(String),
}

impl<'a> Mark<'a> {
    fn of(value: &'a Value) -> Self {
        match value {
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => Self::Other(value.to_string()),
        }
    }

    fn into_owned(self) -> Mark<'static> {
        match self {
            Self::Text(text) => Mark::Text(Cow::Owned(text.into_owned())),
            Self::Other(text) => Mark::Other(text),
        }
    }
}

/// Where each item of a list stands; of equal ones, the first.
struct Places<'a> {
    identity: Identity,
    at: BTreeMap<Mark<'a>, usize>,
}

impl<'a> Places<'a> {
    fn of(list: &'a [Value], identity: Identity) -> Self {
        let mut at = BTreeMap::new();
        for (place, item) in list.iter().enumerate() {
            if let Some(mark) = identity.of(item) {
                at.entry(mark).or_insert(place);
            }
        }
        Self { identity, at }
    }

    fn find(&self, item: &Value) -> Option<usize> {
        self.at.get(&self.identity.of(item)?).copied()
    }
}

/// Takes every item of `doomed` out of a list of plain values.
pub(super) fn subtract(list: &mut Vec<Value>, doomed: &[Value]) {
    let doomed = Places::of(doomed, Identity::Itself);
    list.retain(|item| doomed.find(item).is_none());
}

/// Merges a list of the patch into the list of the object.
pub(super) fn merge(
    original: Vec<Value>,
    patch: Vec<Value>,
    field: Field,
    depth: usize,
) -> Result<Vec<Value>, PatchError> {
    match field {
        Field::Map(_) | Field::Plain => clean_items(patch),
        Field::Set => {
            let merged = union(original.clone(), &patch)?;
            Ok(arrange(merged, &patch, &original, Identity::Itself))
        }
        Field::ListBy(key, shape) => {
            let (merged, original, patch) = merge_by(key, original, patch, shape, depth)?;
            Ok(arrange(merged, &patch, &original, Identity::Key(key)))
        }
    }
}

/// The same, with the order given by a `$setElementOrder` directive.
pub(super) fn merge_in_order(
    original: Option<Vec<Value>>,
    patch: Option<Vec<Value>>,
    order: &[Value],
    field: Field,
    depth: usize,
) -> Result<Vec<Value>, PatchError> {
    let identity = match field {
        Field::ListBy(key, _) => Identity::Key(key),
        Field::Map(_) | Field::Set | Field::Plain => Identity::Itself,
    };
    if let Some(patch) = &patch {
        check_order(patch, order, identity)?;
    }
    let stood = original.clone().unwrap_or_default();
    let merged = match (original, patch) {
        (Some(original), Some(patch)) => merge(original, patch, field, depth)?,
        (Some(list), None) => list,
        (None, patch) => clean_items(patch.unwrap_or_default())?,
    };
    Ok(arrange(merged, order, &stood, identity))
}

fn clean_items(patch: Vec<Value>) -> Result<Vec<Value>, PatchError> {
    match clean(Value::Array(patch))? {
        Some(Value::Array(items)) => Ok(items),
        Some(_) | None => Ok(Vec::new()),
    }
}

fn union(mut merged: Vec<Value>, patch: &[Value]) -> Result<Vec<Value>, PatchError> {
    if patch.iter().any(|item| item.is_object() || item.is_array()) {
        return Err(PatchError::Malformed(
            "invalid patch format of primitive list".into(),
        ));
    }
    merged.extend(patch.iter().cloned());
    let mut seen = BTreeSet::new();
    merged.retain(|item| seen.insert(Mark::of(item).into_owned()));
    Ok(merged)
}

type Merged = (Vec<Value>, Vec<Value>, Vec<Value>);

/// Merges lists of maps; returns the result, the original and the patch without directives.
fn merge_by(
    key: &'static str,
    original: Vec<Value>,
    patch: Vec<Value>,
    shape: &Shape,
    depth: usize,
) -> Result<Merged, PatchError> {
    let (original, patch) = obey_directives(key, original, patch)?;
    let identity = Identity::Key(key);
    let mut merged = original.clone();
    let mut places: BTreeMap<Mark<'static>, usize> = BTreeMap::new();
    for (place, item) in original.iter().enumerate() {
        if let Some(mark) = identity.of(item) {
            places.entry(mark.into_owned()).or_insert(place);
        }
    }
    for item in &patch {
        let mark = identity.of(item).map(Mark::into_owned);
        let place = mark.as_ref().and_then(|mark| places.get(mark).copied());
        match place.and_then(|at| merged.get_mut(at)) {
            Some(place) => {
                let (Value::Object(current), Value::Object(change)) = (place.take(), item.clone())
                else {
                    return Err(expected("map", item));
                };
                *place = Value::Object(merge_map(current, change, shape, depth + 1)?);
            }
            None => {
                if let Some(mark) = mark {
                    places.insert(mark, merged.len());
                }
                merged.extend(clean(item.clone())?);
            }
        }
    }
    Ok((merged, original, patch))
}

/// Does what items with `$patch` ask for; what remains of the patch are plain items.
fn obey_directives(
    key: &'static str,
    mut original: Vec<Value>,
    patch: Vec<Value>,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let (mut plain, mut doomed) = (Vec::with_capacity(patch.len()), Vec::new());
    for mut item in patch {
        let Value::Object(fields) = &mut item else {
            return Err(expected("map", &item));
        };
        let directive = Directive::take(fields)?;
        if directive == Some(Directive::Replace) {
            original.clear();
        } else if !fields.contains_key(key) {
            return Err(no_merge_key(&item, key));
        } else if directive == Some(Directive::Delete) {
            doomed.push(item);
        } else {
            plain.push(item);
        }
    }
    let doomed = Places::of(&doomed, Identity::Key(key));
    original.retain(|item| doomed.find(item).is_none());
    Ok((original, plain))
}

fn no_merge_key(item: &Value, key: &str) -> PatchError {
    PatchError::Malformed(format!(
        "map: {item} does not contain declared merge key: {key}"
    ))
}

/// Orders a merged list: see the head of this file.
fn arrange(merged: Vec<Value>, order: &[Value], stood: &[Value], identity: Identity) -> Vec<Value> {
    let (order, stood) = (Places::of(order, identity), Places::of(stood, identity));
    let (mut ordered, mut others): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| order.find(item).is_some());
    ordered.sort_by_cached_key(|item| order.find(item));
    others.sort_by_cached_key(|item| stood.find(item));
    let mut out = Vec::with_capacity(ordered.len() + others.len());
    let mut others = others.into_iter().peekable();
    for item in ordered {
        let place = stood.find(&item);
        while let Some(other) = others.next_if(|other| {
            stood
                .find(other)
                .zip(place)
                .is_some_and(|(other, place)| other < place)
        }) {
            out.push(other);
        }
        out.push(item);
    }
    out.extend(others);
    out
}

/// The patch's items must stand in the order that the directive gives.
fn check_order(patch: &[Value], order: &[Value], identity: Identity) -> Result<(), PatchError> {
    if order.is_empty() {
        return Ok(());
    }
    let deleted = |item: &&Value| item.get(PATCH).and_then(Value::as_str) == Some("delete");
    let mut rest = order.iter();
    for item in patch.iter().filter(|item| !deleted(item)) {
        let wanted = identity.of(item);
        if wanted.is_none() || !rest.any(|other| identity.of(other) == wanted) {
            return Err(PatchError::Malformed(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                Value::Array(patch.to_vec()),
                Value::Array(order.to_vec())
            )));
        }
    }
    Ok(())
}
