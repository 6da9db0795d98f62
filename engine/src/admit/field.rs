//! Places in an object and what is wrong with them: the vocabulary of validation, worded as
//! Kubernetes' `field` package. A place costs nothing until something is wrong there.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use skiff_api::{Cause, Kind, Status};

/// A place in an object: its path, and the value there if there is one.
#[derive(Clone, Copy)]
pub(super) struct At<'p, 'v> {
    parent: Option<&'p At<'p, 'v>>,
    part: Part<'p>,
    value: Option<&'v Value>,
}

#[derive(Clone, Copy)]
enum Part<'p> {
    Root,
    Field(&'p str),
    Index(usize),
    Key(&'p str),
}

impl<'p, 'v> At<'p, 'v> {
    /// The whole object.
    pub(super) fn root(value: &'v Value) -> Self {
        Self {
            parent: None,
            part: Part::Root,
            value: Some(value),
        }
    }

    /// A field of the map here. Null counts as missing, as everywhere in Kubernetes.
    pub(super) fn field<'b>(&'b self, name: &'b str) -> At<'b, 'v> {
        let value = self
            .value
            .and_then(|value| value.get(name))
            .filter(|value| !value.is_null());
        At {
            parent: Some(self),
            part: Part::Field(name),
            value,
        }
    }

    /// An entry of the map here whose keys are the user's own: `data[key]`.
    pub(super) fn key<'b>(&'b self, key: &'b str) -> At<'b, 'v> {
        At {
            part: Part::Key(key),
            ..self.field(key)
        }
    }

    /// The items of the list here.
    pub(super) fn each<'b>(&'b self) -> impl Iterator<Item = At<'b, 'v>> {
        let items = self.value.and_then(Value::as_array).into_iter().flatten();
        items.enumerate().map(|(index, value)| At {
            parent: Some(self),
            part: Part::Index(index),
            value: Some(value),
        })
    }

    /// The entries of the map here.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'v str, &'v Value)> + use<'v> {
        let fields = self.value.and_then(Value::as_object).into_iter().flatten();
        fields.map(|(key, value)| (key.as_str(), value))
    }

    /// What is here.
    pub(super) fn value(&self) -> Option<&'v Value> {
        self.value
    }

    /// Whether anything is here.
    pub(super) fn exists(&self) -> bool {
        self.value.is_some()
    }

    /// The text here; empty if there is none.
    pub(super) fn text(&self) -> &'v str {
        self.value.and_then(Value::as_str).unwrap_or("")
    }

    /// The integer here.
    pub(super) fn int(&self) -> Option<i64> {
        self.value.and_then(Value::as_i64)
    }

    /// Whether `true` is here.
    pub(super) fn is_true(&self) -> bool {
        self.value.and_then(Value::as_bool).unwrap_or(false)
    }

    /// How many items or entries are here.
    pub(super) fn len(&self) -> usize {
        match self.value {
            Some(Value::Array(list)) => list.len(),
            Some(Value::Object(map)) => map.len(),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | None => 0,
        }
    }
}

/// `spec.containers[0].name`.
impl fmt::Display for At<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            fmt::Display::fmt(parent, f)?;
        }
        match self.part {
            Part::Root => Ok(()),
            Part::Field(name) => {
                let first = self
                    .parent
                    .is_none_or(|parent| matches!(parent.part, Part::Root));
                write!(f, "{}{name}", if first { "" } else { "." })
            }
            Part::Index(index) => write!(f, "[{index}]"),
            Part::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// Everything that is wrong with an object, each thing once.
#[derive(Default)]
pub(super) struct Errors {
    causes: Vec<Cause>,
    unlisted: usize,
}

/// Causes in one answer: nobody reads more, and a large body must not become a larger answer.
const CAUSES_MAX: usize = 128;

impl Errors {
    /// Something must be here.
    pub(super) fn required(&mut self, at: &At<'_, '_>, detail: &str) {
        self.add("FieldValueRequired", at, "Required value".into(), detail);
    }

    /// What is here is wrong; the detail says what it must be.
    pub(super) fn invalid(&mut self, at: &At<'_, '_>, detail: &str) {
        match at.value {
            Some(value) => self.invalid_as(at, value, detail),
            None => self.invalid_as(at, "", detail),
        }
    }

    /// As [`Errors::invalid`], showing something else than what is here.
    pub(super) fn invalid_as(&mut self, at: &At<'_, '_>, shown: impl Serialize, detail: &str) {
        self.add(
            "FieldValueInvalid",
            at,
            format!("Invalid value: {}", json(shown)),
            detail,
        );
    }

    /// Every one of these problems is one of what is shown.
    pub(super) fn problems(&mut self, at: &At<'_, '_>, shown: &str, problems: &[&str]) {
        for problem in problems {
            self.invalid_as(at, shown, problem);
        }
    }

    /// This was said before.
    pub(super) fn duplicate(&mut self, at: &At<'_, '_>, shown: impl Serialize) {
        self.add(
            "FieldValueDuplicate",
            at,
            format!("Duplicate value: {}", json(shown)),
            "",
        );
    }

    /// This names something that does not exist.
    pub(super) fn not_found(&mut self, at: &At<'_, '_>) {
        self.add(
            "FieldValueNotFound",
            at,
            format!("Not found: {}", json(at.text())),
            "",
        );
    }

    /// This is none of the words that may stand here.
    pub(super) fn not_supported(&mut self, at: &At<'_, '_>, words: &[&str]) {
        let quoted: Vec<String> = words.iter().map(json).collect();
        let detail = format!("supported values: {}", quoted.join(", "));
        let shown = format!("Unsupported value: {}", json(at.text()));
        self.add("FieldValueNotSupported", at, shown, &detail);
    }

    /// This may not be, though it would be right elsewhere.
    pub(super) fn forbidden(&mut self, at: &At<'_, '_>, detail: &str) {
        self.add("FieldValueForbidden", at, "Forbidden".into(), detail);
    }

    /// This is longer than so many bytes.
    pub(super) fn too_long(&mut self, at: &At<'_, '_>, bytes_max: usize) {
        let detail = format!("may not be more than {bytes_max} bytes");
        self.add("FieldValueTooLong", at, "Too long".into(), &detail);
    }

    /// There are more items here than so many.
    pub(super) fn too_many(&mut self, at: &At<'_, '_>, items_max: usize) {
        let shown = format!("Too many: {}", at.len());
        let detail = format!("must have at most {items_max} items");
        self.add("FieldValueTooMany", at, shown, &detail);
    }

    fn add(&mut self, reason: &str, at: &At<'_, '_>, mut message: String, detail: &str) {
        if !detail.is_empty() {
            message.push_str(": ");
            message.push_str(detail);
        }
        // Kubernetes writes the path of the whole object so.
        let field = if matches!(at.part, Part::Root) {
            "[]".into()
        } else {
            at.to_string()
        };
        let cause = Cause {
            reason: reason.into(),
            message,
            field,
        };
        if self.causes.len() >= CAUSES_MAX {
            self.unlisted += 1;
        } else if !self.causes.contains(&cause) {
            self.causes.push(cause);
        }
    }

    /// Nothing, or the 422 that names every wrong field.
    ///
    /// # Errors
    /// If anything is wrong.
    pub(super) fn into_result(self, kind: Kind, name: &str) -> Result<(), Status> {
        let Self {
            mut causes,
            unlisted,
        } = self;
        if causes.is_empty() {
            return Ok(());
        }
        if unlisted > 0 {
            causes.push(Cause {
                reason: "FieldValueTooMany".into(),
                message: format!("Too many: {unlisted} more problems are not listed"),
                field: "[]".into(),
            });
        }
        Err(Status::invalid(kind, name, causes))
    }
}

fn json(shown: impl Serialize) -> String {
    serde_json::to_string(&shown).unwrap_or_default()
}
