//! What identifies an object, and where in the replicated history a state stands.

use std::fmt;
use std::sync::Arc;

use crate::kind::{Kind, Scope};

/// The identity of an object while it exists: kind, namespace, name.
///
/// Ordered by kind, then namespace, then name, so that the objects of one kind, and those of one
/// namespace in it, are neighbours. The namespace of a cluster-scoped object is empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What kind of object.
    pub kind: Kind,
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// The name within kind and namespace.
    pub name: Arc<str>,
}

impl Key {
    /// The key of an object; the namespace is dropped for cluster-scoped kinds.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        let namespace = match kind.info().scope {
            Scope::Namespaced => namespace.into(),
            Scope::Cluster => "".into(),
        };
        Self {
            kind,
            namespace,
            name: name.into(),
        }
    }

    /// The key of a cluster-scoped object.
    #[must_use]
    pub fn cluster(kind: Kind, name: &str) -> Self {
        Self::new(kind, "", name)
    }
}

/// As people write it: `pods/shop/front-7x2kq`, `nodes/n1`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = self.kind.info().plural;
        if self.namespace.is_empty() {
            write!(f, "{plural}/{}", self.name)
        } else {
            write!(f, "{plural}/{}/{}", self.namespace, self.name)
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A position in the history of writes: the number of the successful write that made a state.
///
/// Grows by one for each successful write, over all kinds, and is never reused. On the wire:
/// `metadata.resourceVersion`, decimal text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision that follows this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The identity of one life of an object: a new object of the same name gets another one.
///
/// Made by the proposer of the creating write, in the form of a version 4 UUID.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub Arc<str>);

impl Uid {
    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
