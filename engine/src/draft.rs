//! An object being changed by a plan: its value, and the write that comes of it.

#![expect(
    clippy::indexing_slicing,
    reason = "of JSON: a field that is missing reads as null, and is made when it is written"
)]

use serde_json::{Map, Value, json};
use skiff_api::{Kind, Object, Uid};

use crate::command::Write;
use crate::stamp::Stamper;

/// A changed copy of an object, or a new one.
#[derive(Clone, Debug)]
pub struct Draft {
    old: Option<Object>,
    /// `spec` as it was: a change of it is a new generation.
    spec: Option<Value>,
    /// The object's JSON, to be changed at will.
    pub value: Value,
}

impl Draft {
    /// A copy of an object to change.
    #[must_use]
    pub fn of(object: &Object) -> Self {
        let value = object.to_value();
        Self {
            old: Some(object.clone()),
            spec: Some(value["spec"].clone()),
            value,
        }
    }

    /// A new object with the metadata that every object has.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str, stamper: &mut Stamper) -> Self {
        let info = kind.info();
        let mut value = json!({
            "apiVersion": info.api_version(),
            "kind": info.name,
            "metadata": {
                "name": name,
                "uid": stamper.uid().as_str(),
                "creationTimestamp": stamper.at().rfc3339(),
            },
        });
        if !namespace.is_empty() {
            value["metadata"]["namespace"] = namespace.into();
        }
        Self {
            old: None,
            spec: None,
            value,
        }
    }

    /// Sets a top-level field.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.value[field] = value;
        self
    }

    /// Sets a field of the metadata.
    #[must_use]
    pub fn with_meta(mut self, field: &str, value: Value) -> Self {
        self.value["metadata"][field] = value;
        self
    }

    /// Makes `owner` the controller of this object, beside the owners that it has.
    #[must_use]
    pub fn owned_by(mut self, owner: &Object) -> Self {
        let info = owner.kind().info();
        let reference = json!({
            "apiVersion": info.api_version(),
            "kind": info.name,
            "name": owner.key().name.as_ref(),
            "uid": owner.meta().uid.as_str(),
            "controller": true,
            "blockOwnerDeletion": true,
        });
        let owners = &mut self.value["metadata"]["ownerReferences"];
        match owners.as_array_mut() {
            Some(owners) => owners.push(reference),
            None => *owners = json!([reference]),
        }
        self
    }

    /// Takes `owner` out of the owners of this object.
    #[must_use]
    pub fn released_by(mut self, owner: &Uid) -> Self {
        self.retain("ownerReferences", |entry| entry["uid"] != owner.as_str());
        self
    }

    /// Keeps the entries of a list of the metadata that `keep` chooses; an empty list goes.
    pub fn retain(&mut self, field: &str, keep: impl FnMut(&Value) -> bool) {
        let meta = &mut self.value["metadata"];
        if let Some(list) = meta[field].as_array_mut() {
            list.retain(keep);
        }
        if let (true, Some(meta)) = (
            meta[field].as_array().is_none_or(Vec::is_empty),
            meta.as_object_mut(),
        ) {
            meta.remove(field);
        }
    }

    /// Sets or removes an annotation.
    pub fn annotate(&mut self, key: &str, text: Option<&str>) {
        let annotations = entry(&mut self.value["metadata"], "annotations");
        match text {
            Some(text) => annotations.insert(key.to_owned(), text.into()),
            None => annotations.remove(key),
        };
    }

    /// The write, or `None` if nothing was changed. A change of `spec` raises the generation.
    #[must_use]
    pub fn write(mut self) -> Option<Write> {
        let Some(old) = self.old.take() else {
            return Some(self.create());
        };
        if self.spec.as_ref() != Some(&self.value["spec"]) && old.meta().generation > 0 {
            self.value["metadata"]["generation"] = (old.meta().generation + 1).into();
        }
        let new = self.object();
        (!new.same_content(&old)).then(|| Write::replace(&old, new))
    }

    /// The write that creates the object, if there is none of its name.
    #[must_use]
    pub fn create(self) -> Write {
        Write::create(self.object())
    }

    /// The object as drafted.
    ///
    /// # Panics
    /// If the draft's `apiVersion`, `kind` or name was destroyed, which no plan does.
    #[must_use]
    pub fn object(self) -> Object {
        whole(self.value)
    }
}

/// An object of a value that was one, and in which neither kind nor name was touched.
#[expect(
    clippy::expect_used,
    reason = "plans change what is inside of objects, never what they are"
)]
pub(crate) fn whole(value: Value) -> Object {
    Object::from_value(value).expect("a changed object keeps its kind and name")
}

/// The map under a field, made if it is missing.
fn entry<'a>(value: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    let slot = &mut value[field];
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    #[expect(clippy::expect_used, reason = "made a map two lines above")]
    slot.as_object_mut().expect("a map")
}
