//! Which objects of a collection a list, a watch or a deletion is about.

use skiff_api::{FieldSelector, Key, Kind, LabelSelector, Object, Reason, Scope, Status};
use skiff_engine::{Change, State};

use super::fields;
use super::path::Target;
use super::query::Query;
use super::reply::Refused;
use crate::watch::Interest;

/// A kind, perhaps a namespace or a name, and selectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    kind: Kind,
    namespace: Option<String>,
    name: Option<String>,
    labels: LabelSelector,
    fields: FieldSelector,
}

/// What a change is to somebody who sees only what a filter lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    Added(Object),
    Modified(Object),
    Deleted(Object),
}

impl Filter {
    /// Reads the selectors of a request for a collection, or for one object as a collection.
    ///
    /// # Errors
    /// 400 for selectors that can't be read or that ask for unknown fields.
    pub(crate) fn parse(target: &Target, query: &Query) -> Result<Self, Refused> {
        let bad = |parameter: &str, why: String| {
            let message = format!("unable to parse {parameter}: {why}");
            Status::failure(Reason::BadRequest, message)
        };
        let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or(""))
            .map_err(|err| bad("labelSelector", err.to_string()))?;
        let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or(""))
            .map_err(|err| bad("fieldSelector", err.to_string()))?;
        fields::check(target.kind, &fields)?;
        Ok(Self {
            kind: target.kind,
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            labels,
            fields,
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether an object of the kind passes.
    pub(crate) fn passes(&self, object: &Object) -> bool {
        let key = object.key();
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        is(&self.namespace, &key.namespace)
            && is(&self.name, &key.name)
            && (self.labels.is_empty() || self.labels.matches(&object.meta().labels))
            && (self.fields.is_empty() || fields::matches(&self.fields, object))
    }

    /// The one object that can pass, if the filter names it.
    fn named(&self) -> Option<Key> {
        let name = self.name.as_deref();
        let name = name.or_else(|| self.fields.exact("metadata.name"))?;
        let namespace = self.namespace.as_deref();
        let namespace = namespace.or_else(|| self.fields.exact("metadata.namespace"));
        let enough = namespace.is_some() || self.kind.info().scope == Scope::Cluster;
        enough.then(|| Key::new(self.kind, namespace.unwrap_or(""), name))
    }

    fn node(&self) -> Option<&str> {
        self.fields
            .exact("spec.nodeName")
            .filter(|_| self.kind == Kind::Pod)
    }

    /// The smallest interest that covers the filter.
    pub(crate) fn interest(&self) -> Interest {
        if let Some(key) = self.named() {
            return Interest::Object(key);
        }
        // Unbound pods are under no node's interest.
        if let Some(node) = self.node().filter(|node| !node.is_empty()) {
            return Interest::Node(node.into());
        }
        match &self.namespace {
            Some(namespace) => Interest::Namespace(self.kind, namespace.as_str().into()),
            None => Interest::Kind(self.kind),
        }
    }

    /// The objects that pass, behind a key, in the order of keys.
    pub(crate) fn select<'a>(
        &'a self,
        state: &'a State,
        after: Option<&'a Key>,
    ) -> Box<dyn Iterator<Item = &'a Object> + Send + 'a> {
        let behind = move |object: &&Object| after.is_none_or(|after| object.key() > after);
        let namespace = self.namespace.as_deref();
        if let Some(key) = self.named() {
            let one = state.get(&key).into_iter().filter(behind);
            return Box::new(one.filter(|object| self.passes(object)));
        }
        if let Some(node) = self.node() {
            let pods = state.pods_on(node).filter(behind);
            return Box::new(pods.filter(|object| self.passes(object)));
        }
        match after {
            None => {
                let all = state.list(self.kind, namespace);
                Box::new(all.filter(|object| self.passes(object)))
            }
            Some(key) => {
                let rest = state.list_after(key, namespace);
                Box::new(rest.filter(|object| self.passes(object)))
            }
        }
    }

    /// What a change of an object of the kind means to who sees only what passes.
    pub(crate) fn transition(&self, change: &Change) -> Option<Transition> {
        let passes = |side: &Option<Object>| side.as_ref().filter(|o| self.passes(o)).cloned();
        match (passes(&change.was), passes(&change.now)) {
            (None, None) => None,
            (None, Some(now)) => Some(Transition::Added(now)),
            (Some(_), Some(now)) => Some(Transition::Modified(now)),
            (Some(was), None) => Some(Transition::Deleted(was.with_revision(change.revision))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use skiff_api::Revision;

    fn filter(namespace: Option<&str>, query: &str) -> Filter {
        let target = Target {
            kind: Kind::Pod,
            namespace: namespace.map(str::to_owned),
            name: None,
            subresource: None,
        };
        Filter::parse(&target, &Query::parse(Some(query)).unwrap()).unwrap()
    }

    fn pod(name: &str, app: &str, node: &str) -> Object {
        Object::from_value(json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "d", "labels": {"app": app}},
            "spec": {"nodeName": node}}))
        .unwrap()
        .with_revision(Revision(1))
    }

    #[test]
    fn a_change_is_told_as_the_watcher_sees_it() {
        let web = || Some(pod("a", "web", ""));
        let other = || Some(pod("a", "db", ""));
        let cases = [
            ("created and selected", None, web(), "ADDED"),
            ("created, not selected", None, other(), "-"),
            (
                "changed, selected before and after",
                web(),
                web(),
                "MODIFIED",
            ),
            ("starts to match", other(), web(), "ADDED"),
            ("stops to match", web(), other(), "DELETED"),
            ("changed, never selected", other(), other(), "-"),
            ("removed", web(), None, "DELETED"),
            ("removed, not selected", other(), None, "-"),
        ];
        for (name, was, now, expected) in cases {
            let change = Change {
                revision: Revision(9),
                was,
                now,
            };
            let found = match filter(Some("d"), "labelSelector=app=web").transition(&change) {
                Some(Transition::Added(_)) => "ADDED",
                Some(Transition::Modified(_)) => "MODIFIED",
                Some(Transition::Deleted(object)) => {
                    assert_eq!(object.revision(), Revision(9), "{name}");
                    "DELETED"
                }
                None => "-",
            };
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn the_objects_that_pass_are_found_whatever_the_way_to_them() {
        let state = State::restore(
            Revision(1),
            [
                pod("a", "web", "n1"),
                pod("b", "web", "n2"),
                pod("c", "db", "n1"),
            ],
        );
        let cases = [
            (Some("d"), "", None, "a b c"),
            (None, "", Some("a"), "b c"),
            (Some("e"), "", None, ""),
            (Some("d"), "labelSelector=app=web", None, "a b"),
            (None, "fieldSelector=spec.nodeName=n1", None, "a c"),
            (None, "fieldSelector=spec.nodeName=n1", Some("a"), "c"),
            (Some("e"), "fieldSelector=spec.nodeName=n1", None, ""),
            (Some("d"), "fieldSelector=metadata.name=b", None, "b"),
            (None, "fieldSelector=metadata.name=b", None, "b"),
            (
                Some("d"),
                "fieldSelector=metadata.name=b&labelSelector=app=db",
                None,
                "",
            ),
        ];
        for (namespace, query, after, expected) in cases {
            let after = after.map(|name| Key::new(Kind::Pod, "d", name));
            let filter = filter(namespace, query);
            let found: Vec<_> = filter
                .select(&state, after.as_ref())
                .map(|object| object.key().name.as_ref())
                .collect();
            assert_eq!(
                found.join(" "),
                expected,
                "{namespace:?} {query} after {after:?}"
            );
        }
    }

    #[test]
    fn a_watch_asks_for_no_more_than_it_needs() {
        let cases = [
            (None, "", Interest::Kind(Kind::Pod)),
            (Some("d"), "", Interest::Namespace(Kind::Pod, "d".into())),
            (
                Some("d"),
                "fieldSelector=metadata.name=a",
                Interest::Object(Key::new(Kind::Pod, "d", "a")),
            ),
            (
                None,
                "fieldSelector=metadata.name=a",
                Interest::Kind(Kind::Pod),
            ),
            (
                None,
                "fieldSelector=spec.nodeName=n",
                Interest::Node("n".into()),
            ),
            (
                None,
                "fieldSelector=spec.nodeName=",
                Interest::Kind(Kind::Pod),
            ),
        ];
        for (namespace, query, expected) in cases {
            assert_eq!(filter(namespace, query).interest(), expected, "{query}");
        }
    }

    proptest! {
        /// Who applies what it is told to what it listed sees what a new list would show.
        #[test]
        fn following_changes_is_as_good_as_listing(
            writes in proptest::collection::vec((0..4usize, 0..3usize), 0..40),
        ) {
            let filter = filter(Some("d"), "labelSelector=app=web");
            let (mut world, mut seen) = (BTreeMap::new(), BTreeMap::new());
            for (revision, (name, fate)) in (1..).zip(writes) {
                let name = ["a", "b", "c", "d"][name];
                let now = [Some("web"), Some("db"), None][fate].map(|app| pod(name, app, ""));
                let was = match now.clone() {
                    Some(now) => world.insert(name.to_owned(), now),
                    None => world.remove(name),
                };
                match filter.transition(&Change { revision: Revision(revision), was, now }) {
                    Some(Transition::Added(object)) => {
                        prop_assert!(seen.insert(name.to_owned(), object).is_none());
                    }
                    Some(Transition::Modified(object)) => {
                        prop_assert!(seen.insert(name.to_owned(), object).is_some());
                    }
                    Some(Transition::Deleted(_)) => prop_assert!(seen.remove(name).is_some()),
                    None => {}
                }
                let mut listed = world.clone();
                listed.retain(|_, object| filter.passes(object));
                prop_assert_eq!(&seen, &listed);
            }
        }
    }
}
