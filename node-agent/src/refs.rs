//! ConfigMaps and Secrets as pods refer to them: which ones are needed, and what they hold.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use skiff_api::Kind;

/// An object that holds configuration, in the pod's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ref {
    /// ConfigMap or Secret.
    pub kind: RefKind,
    /// Its name.
    pub name: String,
}

/// The two kinds of such objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefKind {
    /// Plain.
    ConfigMap,
    /// Not to be shown.
    Secret,
}

impl RefKind {
    /// The kind in the API.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::ConfigMap => Kind::ConfigMap,
            Self::Secret => Kind::Secret,
        }
    }

    /// As messages name it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }
}

/// What an object holds, by key.
pub type Data = BTreeMap<String, Vec<u8>>;

/// The objects that were asked for; those that do not exist are known as such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refs(BTreeMap<Ref, Option<Data>>);

impl Refs {
    /// Takes an answer of the servers.
    pub fn insert(&mut self, name: Ref, object: Option<&Value>) {
        let data = object.map(|object| data(name.kind, object));
        self.0.insert(name, data);
    }

    /// What an object holds; none if it does not exist.
    #[must_use]
    pub fn get(&self, kind: RefKind, name: &str) -> Option<&Data> {
        self.0
            .get(&Ref {
                kind,
                name: name.to_owned(),
            })?
            .as_ref()
    }
}

/// A set of objects to ask for.
pub type Wanted = BTreeSet<Ref>;

fn data(kind: RefKind, object: &Value) -> Data {
    let entries = |field: &str| object[field].as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let decoded = |value: &Value| STANDARD.decode(text(value)).unwrap_or_default();
    let encoded = match kind {
        RefKind::ConfigMap => "binaryData",
        RefKind::Secret => "data",
    };
    let mut data: Data = entries(encoded)
        .map(|(key, value)| (key.clone(), decoded(value)))
        .collect();
    if kind == RefKind::ConfigMap {
        data.extend(entries("data").map(|(key, value)| (key.clone(), text(value).into_bytes())));
    }
    data
}
