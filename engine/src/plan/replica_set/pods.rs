//! Pods made of a set's template.
//!
//! A pod's name follows from the set and the pods that were seen, so that a plan that runs twice
//! on the same sight, on whatever server, proposes the same pods and not twice as many.

use serde_json::Value;
use skiff_api::{Key, Kind, Object};

use crate::admit;
use crate::draft::Draft;
use crate::stamp::{Stamper, digest};
use crate::state::State;

/// The longest name that can be a pod's host name.
const NAME_MAX: usize = 63;
/// Random letters at the end of a generated name.
const SUFFIX: usize = 5;

/// Makes pods for a set.
pub(super) struct Maker<'a> {
    state: &'a State,
    set: &'a Object,
    template: &'a Value,
    names: Stamper,
}

impl<'a> Maker<'a> {
    /// A maker for `set`, whose JSON is `value`, that saw these pods.
    pub(super) fn new(
        state: &'a State,
        set: &'a Object,
        seen: &[&Object],
        value: &'a Value,
    ) -> Self {
        let revision = set.revision().0.to_le_bytes();
        let uids = seen.iter().map(|pod| pod.meta().uid.as_str().as_bytes());
        let sight = [set.meta().uid.as_str().as_bytes(), &revision]
            .into_iter()
            .chain(uids);
        Self {
            state,
            set,
            template: &value["spec"]["template"],
            names: Stamper::new(set.meta().created, digest(sight)),
        }
    }

    /// Makes this many pods.
    pub(super) fn take(mut self, count: usize, stamper: &mut Stamper) -> Vec<Object> {
        let mut made: Vec<Object> = Vec::with_capacity(count);
        while made.len() < count {
            let prefix = self.prefix();
            let name = format!("{prefix}{}", self.names.suffix());
            let key = Key::new(Kind::Pod, &self.set.key().namespace, &name);
            let taken = self.state.get(&key).is_some() || made.iter().any(|pod| *pod.key() == key);
            if !taken {
                made.push(self.make(&name, &prefix, stamper));
            }
        }
        made
    }

    /// `generateName`, cut so that the whole name fits.
    fn prefix(&self) -> String {
        let name = &self.set.key().name;
        let room = NAME_MAX - SUFFIX;
        let prefix = format!("{name}-");
        prefix.get(..room).unwrap_or(&prefix).to_owned()
    }

    fn make(&self, name: &str, prefix: &str, stamper: &mut Stamper) -> Object {
        let mut draft = Draft::new(Kind::Pod, &self.set.key().namespace, name, stamper)
            .with_meta("generateName", prefix.into())
            .owned_by(self.set)
            .with("spec", self.template["spec"].clone());
        for field in ["labels", "annotations", "finalizers"] {
            let value = &self.template["metadata"][field];
            if !value.is_null() {
                draft = draft.with_meta(field, value.clone());
            }
        }
        admit::complete_pod(&mut draft.value);
        draft.object()
    }
}
