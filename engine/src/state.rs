//! The replicated state: all objects, and the indexes that the loops ask.
//!
//! Maps are persistent, so a clone is a consistent snapshot in constant time. Only `apply`
//! changes a state; everybody else reads clones.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::OrdSet;
use skiff_api::{Key, Kind, Object, Revision, Uid};

/// All objects at one revision.
#[derive(Clone, Debug, Default)]
pub struct State {
    revision: Revision,
    objects: OrdMap<Key, Object>,
    /// Dependents by their owners' uids; those that nobody controls also under the empty one.
    owned: OrdSet<(Uid, Key)>,
    /// Pods by the node that they are bound to; unbound ones under the empty name.
    placed: OrdSet<(Arc<str>, Key)>,
}

impl State {
    /// Rebuilds a state from what a checkpoint holds.
    #[must_use]
    pub fn restore(revision: Revision, objects: impl IntoIterator<Item = Object>) -> Self {
        let mut state = Self {
            revision,
            ..Self::default()
        };
        for object in objects {
            state.insert(object);
        }
        state
    }

    /// The revision of the latest successful write.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// One object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    /// How many objects there are, of all kinds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is no object at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Every object, in the order of keys.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// Every object behind a key, or all of them, in the order of keys.
    pub fn objects_after(&self, after: Option<&Key>) -> impl Iterator<Item = &Object> {
        let first = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.clone()));
        self.objects
            .range((first, Bound::Unbounded))
            .map(|(_, object)| object)
    }

    /// The objects of a kind, in one namespace or in all, in the order of keys.
    pub fn list(&self, kind: Kind, namespace: Option<&str>) -> impl Iterator<Item = &Object> {
        let first = Key {
            kind,
            namespace: namespace.unwrap_or("").into(),
            name: "".into(),
        };
        self.list_from(Bound::Included(first), kind, namespace)
    }

    /// Like [`State::list`], from behind the given key on: for the pages of a list.
    pub fn list_after(
        &self,
        after: &Key,
        namespace: Option<&str>,
    ) -> impl Iterator<Item = &Object> {
        self.list_from(Bound::Excluded(after.clone()), after.kind, namespace)
    }

    fn list_from(
        &self,
        first: Bound<Key>,
        kind: Kind,
        namespace: Option<&str>,
    ) -> impl Iterator<Item = &Object> {
        let namespace: Option<Arc<str>> = namespace.map(Into::into);
        self.objects
            .range((first, Bound::Unbounded))
            .take_while(move |(key, _)| {
                key.kind == kind && namespace.as_ref().is_none_or(|only| *only == key.namespace)
            })
            .map(|(_, object)| object)
    }

    /// The objects that name this uid among their owners.
    pub fn owned_by(&self, owner: &Uid) -> impl Iterator<Item = &Object> {
        let first = (owner.clone(), Key::cluster(Kind::Namespace, ""));
        let owner = owner.clone();
        self.owned
            .range(first..)
            .take_while(move |(uid, _)| *uid == owner)
            .filter_map(|(_, key)| self.objects.get(key))
    }

    /// The objects of a kind in a namespace that no owner controls: those that may be adopted.
    pub fn uncontrolled(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = &Object> {
        let first = Key::new(kind, namespace, "");
        let namespace: Arc<str> = namespace.into();
        self.owned
            .range((Uid::default(), first)..)
            .take_while(move |(uid, key)| {
                *uid == Uid::default() && key.kind == kind && key.namespace == namespace
            })
            .filter_map(|(_, key)| self.objects.get(key))
    }

    /// The pods bound to a node; those bound to none for the empty name.
    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = &Object> {
        let node: Arc<str> = node.into();
        let first = (node.clone(), Key::cluster(Kind::Namespace, ""));
        self.placed
            .range(first..)
            .take_while(move |(name, _)| *name == node)
            .filter_map(|(_, key)| self.objects.get(key))
    }

    /// Takes the next revision; `apply` calls it once for each successful write.
    pub(crate) fn advance(&mut self) -> Revision {
        self.revision = self.revision.next();
        self.revision
    }

    /// Puts an object in and returns the one it replaces.
    pub(crate) fn insert(&mut self, object: Object) -> Option<Object> {
        let was = self.remove(object.key());
        for uid in owners(&object) {
            self.owned.insert((uid, object.key().clone()));
        }
        if let Some(place) = placement(&object) {
            self.placed.insert(place);
        }
        self.objects.insert(object.key().clone(), object);
        was
    }

    /// Takes an object out.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Object> {
        let was = self.objects.remove(key)?;
        for uid in owners(&was) {
            self.owned.remove(&(uid, key.clone()));
        }
        if let Some(place) = placement(&was) {
            self.placed.remove(&place);
        }
        Some(was)
    }
}

/// The uids under which an object is indexed. Only pods and ReplicaSets are ever adopted.
fn owners(object: &Object) -> Vec<Uid> {
    let meta = object.meta();
    let adoptable = matches!(object.kind(), Kind::Pod | Kind::ReplicaSet);
    let orphan = (adoptable && meta.controller().is_none()).then(Uid::default);
    let owners = meta.owners.iter().map(|owner| owner.uid.clone());
    owners.chain(orphan).collect()
}

fn placement(object: &Object) -> Option<(Arc<str>, Key)> {
    let node = object.pod()?.node.clone().unwrap_or_else(|| "".into());
    Some((node, object.key().clone()))
}
