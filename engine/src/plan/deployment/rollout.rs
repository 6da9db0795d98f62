//! A Deployment with its sets: read from the state, decided upon, written back.

use serde_json::{Value, json};
use skiff_api::{Key, Kind, Millis, Object, Phase};

use super::bounds::{Bounds, is_recreate};
use super::history::{self, DESIRED, MOST};
use super::sizes::{self, Size};
use super::template::{self, HASH_LABEL};
use super::{SOURCE, progress, selector};
use crate::draft::Draft;
use crate::event::{Note, Severity};
use crate::plan::{Plan, claim};
use crate::stamp::Stamper;
use crate::state::State;

/// One ReplicaSet of the Deployment.
pub(super) struct Set {
    pub(super) size: Size,
    pub(super) draft: Draft,
    /// The set as it is in the state; `None` for one that this pass makes.
    pub(super) object: Option<Object>,
}

impl Set {
    fn read(object: &Object) -> Self {
        let draft = Draft::of(object);
        let note = |name| history::number(&draft.value, name);
        let size = Size {
            name: object.key().name.to_string(),
            created: object.meta().created,
            replicas: draft.value["spec"]["replicas"].as_i64().unwrap_or(1),
            available: draft.value["status"]["availableReplicas"]
                .as_i64()
                .unwrap_or(0),
            desired: note(DESIRED),
            most: note(MOST),
            steps: Vec::new(),
        };
        Self {
            size,
            draft,
            object: Some(object.clone()),
        }
    }

    /// A count of its status.
    pub(super) fn count(&self, field: &str) -> i64 {
        self.draft.value["status"][field].as_i64().unwrap_or(0)
    }
}

/// A Deployment in the middle of a pass.
pub(super) struct Rollout<'a> {
    pub(super) state: &'a State,
    pub(super) deployment: &'a Object,
    pub(super) draft: Draft,
    pub(super) bounds: Bounds,
    /// The set of the current template, if it is there.
    pub(super) new: Option<Set>,
    /// The other sets, by age.
    pub(super) old: Vec<Set>,
}

impl<'a> Rollout<'a> {
    /// Reads a Deployment and its sets; `None` if sets must be adopted or released first.
    pub(super) fn read(state: &'a State, deployment: &'a Object, plan: &mut Plan) -> Option<Self> {
        let draft = Draft::of(deployment);
        let selector = selector(&draft.value)?;
        let claimed = claim::claim(state, deployment, &selector, Kind::ReplicaSet, plan);
        if !plan.writes.is_empty() {
            return None;
        }
        let mut old: Vec<Set> = claimed.into_iter().map(Set::read).collect();
        old.sort_by(|a, b| (a.size.created, &a.size.name).cmp(&(b.size.created, &b.size.name)));
        let wanted = &draft.value["spec"]["template"];
        let new = old
            .iter()
            .position(|set| template::same(&set.draft.value["spec"]["template"], wanted))
            .map(|at| old.remove(at));
        let bounds = Bounds::read(&draft.value["spec"]);
        Some(Self {
            state,
            deployment,
            draft,
            bounds,
            new,
            old,
        })
    }

    /// Whether the user holds the rollout.
    pub(super) fn is_paused(&self) -> bool {
        self.draft.value["spec"]["paused"]
            .as_bool()
            .unwrap_or(false)
    }

    /// Sizes the sets. `false` if the new set's name is taken: it needs another one.
    pub(super) fn decide(&mut self, stamper: &mut Stamper) -> bool {
        let paused = self.is_paused();
        let recreate = is_recreate(&self.draft.value["spec"]);
        progress::note_pause(&mut self.draft.value, paused, stamper.at());
        let all = self.new.iter().chain(&self.old).map(|set| &set.size);
        if paused || sizes::is_rescaled(&self.bounds, all) {
            let (new, old) = parts(&mut self.new, &mut self.old);
            sizes::rescale(&self.bounds, new, old, !recreate);
        }
        let done = paused
            || if recreate {
                self.recreate(stamper)
            } else {
                self.roll(stamper)
            };
        history::sync(self);
        done
    }

    fn roll(&mut self, stamper: &mut Stamper) -> bool {
        if self.new.is_none() && !self.make_new(stamper) {
            return false;
        }
        if let (Some(new), mut old) = parts(&mut self.new, &mut self.old) {
            sizes::roll(&self.bounds, new, &mut old);
        }
        true
    }

    /// All old pods go before the first new one comes.
    fn recreate(&mut self, stamper: &mut Stamper) -> bool {
        for set in &mut self.old {
            if set.size.replicas > 0 {
                set.size.scale(0, &self.bounds);
            }
        }
        if self.old.iter().any(|set| still_runs(self.state, set)) {
            return true;
        }
        if self.new.is_none() && !self.make_new(stamper) {
            return false;
        }
        if let Some(new) = &mut self.new {
            new.size.scale(self.bounds.replicas, &self.bounds);
        }
        true
    }

    /// Makes the set of the current template, still without pods.
    fn make_new(&mut self, stamper: &mut Stamper) -> bool {
        let deployment = &self.draft.value;
        let spec = &deployment["spec"];
        let collisions = deployment["status"]["collisionCount"].as_i64().unwrap_or(0);
        let hash = template::hash(&spec["template"], collisions);
        let Key {
            namespace, name, ..
        } = self.deployment.key();
        let name = format!("{name}-{hash}");
        if self
            .state
            .get(&Key::new(Kind::ReplicaSet, namespace, &name))
            .is_some()
        {
            return false;
        }
        let mut template = spec["template"].clone();
        template["metadata"]["labels"][HASH_LABEL] = hash.as_str().into();
        let mut selector = spec["selector"].clone();
        selector["matchLabels"][HASH_LABEL] = hash.as_str().into();
        let labels = template["metadata"]["labels"].clone();
        let set_spec = json!({"replicas": 0, "selector": selector, "template": template});
        let draft = Draft::new(Kind::ReplicaSet, namespace, &name, stamper)
            .with_meta("labels", labels)
            .with_meta("generation", 1.into())
            .owned_by(self.deployment)
            .with("spec", set_spec)
            .with("status", json!({"replicas": 0}));
        progress::note_new_set(&mut self.draft.value, &name, stamper.at());
        let size = Size {
            name,
            created: stamper.at(),
            ..Size::default()
        };
        self.new = Some(Set {
            size,
            draft,
            object: None,
        });
        true
    }

    /// Another object has the name that the new set would get: count it, so as to draw another.
    pub(super) fn report_collision(mut self, now: Millis, plan: &mut Plan) {
        let count = &mut self.draft.value["status"]["collisionCount"];
        *count = count.as_i64().unwrap_or(0).saturating_add(1).into();
        plan.change(self.draft);
        plan.look_again(now);
    }

    /// Writes the status; `deciding` is false for a Deployment on its way out.
    pub(super) fn report(&mut self, deciding: bool, now: Millis, plan: &mut Plan) {
        progress::report(self, deciding && !self.is_paused(), now, plan);
    }

    /// Writes what changed: the sets, the events that tell of it, the Deployment.
    pub(super) fn write(mut self, stamper: &mut Stamper, plan: &mut Plan) {
        let doomed = history::surplus(&self);
        for mut set in self.old.drain(..).chain(self.new.take()) {
            if let Some(object) = set.object.as_ref().filter(|set| doomed.contains(set.key())) {
                plan.writes.push(crate::command::Write::remove(object));
                continue;
            }
            set.draft.value["spec"]["replicas"] = set.size.replicas.into();
            for (name, number) in [(DESIRED, set.size.desired), (MOST, set.size.most)] {
                if let Some(number) = number {
                    set.draft.annotate(name, Some(&number.to_string()));
                }
            }
            plan.change(set.draft);
            for step in &set.size.steps {
                let message = scaling(&set.size.name, *step);
                let note = Note {
                    about: self.deployment,
                    severity: Severity::Normal,
                    reason: "ScalingReplicaSet",
                    message: &message,
                    source: SOURCE,
                };
                plan.note(self.state, &note, stamper);
            }
        }
        plan.change(self.draft);
    }
}

/// The sets' sizes, to be changed.
fn parts<'s>(
    new: &'s mut Option<Set>,
    old: &'s mut [Set],
) -> (Option<&'s mut Size>, Vec<&'s mut Size>) {
    let new = new.as_mut().map(|set| &mut set.size);
    (new, old.iter_mut().map(|set| &mut set.size).collect())
}

/// Whether a set still has a pod that may be running, one on its way out included.
fn still_runs(state: &State, set: &Set) -> bool {
    let pods = set
        .object
        .as_ref()
        .map(|object| state.owned_by(&object.meta().uid));
    set.count("replicas") > 0
        || pods.into_iter().flatten().any(|pod| {
            let phase = pod.pod().map(|view| view.phase);
            phase.is_some_and(|phase: Phase| !phase.is_terminal())
        })
}

fn scaling(set: &str, (from, to): (i64, i64)) -> String {
    let way = if to > from { "up" } else { "down" };
    format!("Scaled {way} replica set {set} from {from} to {to}")
}

/// The annotations of an object, as a map that may be missing.
pub(super) fn annotations(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object["metadata"]["annotations"]
        .as_object()
        .into_iter()
        .flatten()
}
