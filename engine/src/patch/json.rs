//! RFC 6902: a list of operations, done in order; if one fails, nothing is done.
//! Errors read as those of the library that kube-apiserver uses.

use serde_json::{Map, Value};

use super::{DEPTH_MAX, PatchError, too_deep, type_name};

/// Operations in one patch; kube-apiserver's own limit.
const OPERATIONS_MAX: usize = 10_000;

/// Values that all `copy` operations of one patch may add up to, counted in nodes and bytes of
/// text: a patch of a few bytes must not be able to double an object again and again.
const COPIED_MAX: usize = 3 << 20;

/// Items that all operations of one patch may push aside in lists, by inserting or removing before
/// them: some ten milliseconds of work.
const MOVED_MAX: usize = 10_000_000;

/// Applies the operations in order.
///
/// # Errors
/// The patch is no list of operations, one of them does not apply, or they ask for too much.
pub(super) fn apply(object: Value, patch: Value) -> Result<Value, PatchError> {
    let Value::Array(operations) = patch else {
        let found = type_name(&patch);
        return Err(PatchError::Malformed(format!(
            "error decoding patch: expected a slice, but received a {found}"
        )));
    };
    if operations.len() > OPERATIONS_MAX {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {}",
            operations.len()
        )));
    }
    let mut document = Document {
        root: object,
        copied: 0,
        moved: 0,
    };
    for operation in operations {
        document.perform(Operation::parse(operation)?)?;
    }
    Ok(document.root)
}

enum Operation {
    Add { path: Pointer, value: Value },
    Remove { path: Pointer },
    Replace { path: Pointer, value: Value },
    Move { from: Pointer, path: Pointer },
    Copy { from: Pointer, path: Pointer },
    Test { path: Pointer, value: Value },
}

impl Operation {
    fn parse(value: Value) -> Result<Self, PatchError> {
        let Value::Object(mut fields) = value else {
            return Err(malformed("an operation must be a map"));
        };
        let op = text(&mut fields, "op")?;
        let path = Pointer::parse(text(&mut fields, "path")?)?;
        let value = |fields: &mut Map<String, Value>| {
            fields
                .remove("value")
                .ok_or_else(|| malformed(&format!("{op} needs a value")))
        };
        Ok(match op.as_str() {
            "add" => Self::Add {
                path,
                value: value(&mut fields)?,
            },
            "replace" => Self::Replace {
                path,
                value: value(&mut fields)?,
            },
            "test" => Self::Test {
                path,
                value: value(&mut fields)?,
            },
            "remove" => Self::Remove { path },
            "move" => Self::Move {
                from: Pointer::parse(text(&mut fields, "from")?)?,
                path,
            },
            "copy" => Self::Copy {
                from: Pointer::parse(text(&mut fields, "from")?)?,
                path,
            },
            other => return Err(PatchError::Malformed(format!("Unexpected kind: {other}"))),
        })
    }
}

/// An RFC 6901 pointer: its text for messages, its tokens unescaped.
struct Pointer {
    text: String,
    tokens: Vec<String>,
}

impl Pointer {
    fn parse(text: String) -> Result<Self, PatchError> {
        if text.is_empty() {
            return Ok(Self {
                text,
                tokens: Vec::new(),
            });
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(malformed(&format!(
                "path \"{text}\" does not begin with '/'"
            )));
        };
        let tokens: Vec<String> = rest
            .split('/')
            .map(|token| token.replace("~1", "/").replace("~0", "~"))
            .collect();
        if tokens.len() > DEPTH_MAX {
            return Err(too_deep());
        }
        Ok(Self { text, tokens })
    }

    /// The way to the parent, and the last token; none for the whole document.
    fn split(&self) -> Option<(&[String], &str)> {
        self.tokens
            .split_last()
            .map(|(last, way)| (way, last.as_str()))
    }

    fn is_prefix_of(&self, other: &Self) -> bool {
        other.tokens.len() > self.tokens.len() && other.tokens.starts_with(&self.tokens)
    }
}

struct Document {
    root: Value,
    copied: usize,
    moved: usize,
}

impl Document {
    fn perform(&mut self, operation: Operation) -> Result<(), PatchError> {
        match operation {
            Operation::Add { path, value } => self.add("add", &path, value),
            Operation::Remove { path } => self.take("remove", &path).map(drop),
            Operation::Replace { path, value } => self.replace(&path, value),
            Operation::Move { from, path } => self.relocate(&from, &path),
            Operation::Copy { from, path } => {
                let value = self.find(&from).ok_or_else(|| {
                    missing(&format!(
                        "copy operation does not apply: doc is missing from path: {}",
                        from.text
                    ))
                })?;
                let value = value.clone();
                self.copied += weight(&value);
                if self.copied > COPIED_MAX {
                    return Err(PatchError::TooLarge(format!(
                        "Unable to complete the copy, the accumulated size increase of copy is \
                         {}, exceeding the limit {COPIED_MAX}",
                        self.copied
                    )));
                }
                self.add("copy", &path, value)
            }
            Operation::Test { path, value } => match self.find(&path) {
                Some(found) if same(found, &value) => Ok(()),
                None if value.is_null() => Ok(()),
                Some(_) | None => Err(does_not_apply(format!(
                    "testing value {} failed: test failed",
                    path.text
                ))),
            },
        }
    }

    fn relocate(&mut self, from: &Pointer, path: &Pointer) -> Result<(), PatchError> {
        if from.is_prefix_of(path) {
            return Err(does_not_apply(format!(
                "move operation does not apply: {} is inside of {}",
                path.text, from.text
            )));
        }
        let value = self.take("move", from)?;
        self.add("move", path, value)
    }

    fn find(&self, path: &Pointer) -> Option<&Value> {
        path.tokens
            .iter()
            .try_fold(&self.root, |at, token| step(at, token))
    }

    /// The map or list that holds what the path names; none for the whole document.
    fn parent(&mut self, op: &str, path: &Pointer) -> Result<Option<&mut Value>, PatchError> {
        let Some((way, last)) = path.split() else {
            return Ok(None);
        };
        let Self { root, moved, .. } = self;
        let parent = way.iter().try_fold(root, |at, token| match at {
            Value::Object(map) => map.get_mut(token),
            Value::Array(list) => list.get_mut(position(token)?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        });
        if let Some(Value::Array(list)) = &parent
            && last != "-"
            && op != "replace"
        {
            *moved += list.len();
            if *moved > MOVED_MAX {
                let message = "the operations of the patch move too many items of long lists";
                return Err(PatchError::TooLarge(message.into()));
            }
        }
        match parent {
            Some(parent @ (Value::Object(_) | Value::Array(_))) => Ok(Some(parent)),
            Some(_) | None => Err(missing(&format!(
                "{op} operation does not apply: doc is missing path: \"{}\"",
                path.text
            ))),
        }
    }

    fn add(&mut self, op: &str, path: &Pointer, value: Value) -> Result<(), PatchError> {
        if path.tokens.len() + height(&value) > DEPTH_MAX {
            return Err(too_deep());
        }
        let Some(parent) = self.parent(op, path)? else {
            self.root = value;
            return Ok(());
        };
        let last = path.tokens.last().map_or("", String::as_str);
        match parent {
            Value::Object(map) => {
                map.insert(last.to_owned(), value);
            }
            Value::Array(list) if last == "-" => list.push(value),
            Value::Array(list) => match position(last) {
                Some(at) if at <= list.len() => list.insert(at, value),
                Some(at) => return Err(bad_index(op, &path.text, &at.to_string())),
                None => return Err(bad_index(op, &path.text, last)),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        Ok(())
    }

    fn take(&mut self, op: &str, path: &Pointer) -> Result<Value, PatchError> {
        let Some(parent) = self.parent(op, path)? else {
            return Ok(self.root.take());
        };
        let last = path.tokens.last().map_or("", String::as_str);
        match parent {
            Value::Object(map) => map.remove(last).ok_or_else(|| {
                missing(&format!(
                    "error in {op} for path: '{}': Unable to remove nonexistent key: {last}",
                    path.text
                ))
            }),
            Value::Array(list) => match position(last) {
                Some(at) if at < list.len() => Ok(list.remove(at)),
                Some(_) | None => Err(bad_index(op, &path.text, last)),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(Value::Null),
        }
    }

    fn replace(&mut self, path: &Pointer, value: Value) -> Result<(), PatchError> {
        if path.tokens.len() + height(&value) > DEPTH_MAX {
            return Err(too_deep());
        }
        let Some(parent) = self.parent("replace", path)? else {
            self.root = value;
            return Ok(());
        };
        let last = path.tokens.last().map_or("", String::as_str);
        let place = match parent {
            Value::Object(map) => map.get_mut(last),
            Value::Array(list) => position(last).and_then(|at| list.get_mut(at)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        let place = place.ok_or_else(|| {
            missing(&format!(
                "replace operation does not apply: doc is missing key: {}",
                path.text
            ))
        })?;
        *place = value;
        Ok(())
    }
}

fn step<'a>(at: &'a Value, token: &str) -> Option<&'a Value> {
    match at {
        Value::Object(map) => map.get(token),
        Value::Array(list) => list.get(position(token)?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// An array index as RFC 6901 writes it: digits, no leading zero.
fn position(token: &str) -> Option<usize> {
    let plain = token == "0" || !token.starts_with('0');
    (plain && token.bytes().all(|b| b.is_ascii_digit()))
        .then(|| token.parse().ok())
        .flatten()
}

/// Equal as JSON: numbers by their value, 1 and 1.0 alike.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64()))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (a, b) => a == b,
    }
}

/// How many levels a value has: 1 for a plain one.
fn height(value: &Value) -> usize {
    let inner = match value {
        Value::Array(list) => list.iter().map(height).max(),
        Value::Object(map) => map.values().map(height).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    };
    1 + inner.unwrap_or(0)
}

/// About what a value costs: a unit for each node, and its text.
fn weight(value: &Value) -> usize {
    1 + match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(weight).sum(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| key.len() + weight(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Result<String, PatchError> {
    match fields.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(malformed(&format!(
            "{name} must be a string, not a {}",
            type_name(&other)
        ))),
        None => Err(malformed(&format!("an operation has no {name}"))),
    }
}

fn malformed(what: &str) -> PatchError {
    PatchError::Malformed(format!("error decoding patch: {what}"))
}

fn does_not_apply(what: String) -> PatchError {
    PatchError::DoesNotApply(what)
}

fn missing(what: &str) -> PatchError {
    does_not_apply(format!("{what}: missing value"))
}

fn bad_index(op: &str, path: &str, index: &str) -> PatchError {
    does_not_apply(format!(
        "error in {op} for path: '{path}': Unable to access invalid index: {index}: invalid index \
         referenced"
    ))
}
