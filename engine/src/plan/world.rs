//! A cluster in a test: the real state, `apply` and plans, and a node agent that obeys orders.

use serde_json::{Value, json};
use skiff_api::{Key, Kind, Millis, Object};

use super::{Controller, Plan, condition, controllers};
use crate::apply::Outcome;
use crate::command::{Command, Write};
use crate::draft::Draft;
use crate::stamp::Stamper;
use crate::state::State;

/// More passes than any sane plan needs to come to rest.
const PASSES_MAX: usize = 200;

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now: Millis,
    seed: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut world = Self {
            state: State::default(),
            now: Millis(1_795_398_400_000),
            seed,
        };
        world.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "d"}}));
        world.put(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}));
        world
    }

    pub(crate) fn stamper(&mut self) -> Stamper {
        self.seed += 1;
        Stamper::new(self.now, self.seed)
    }

    /// Creates or replaces an object, as a user may.
    pub(crate) fn put(&mut self, mut value: Value) -> Object {
        if value["metadata"]["uid"].is_null() {
            value["metadata"]["uid"] = self.stamper().uid().as_str().into();
            value["metadata"]["creationTimestamp"] = self.now.rfc3339().into();
        }
        let object = Object::from_value(value).unwrap();
        let write = match self.state.get(object.key()) {
            Some(old) => Write::replace(old, object.clone()),
            None => Write::create(object.clone()),
        };
        self.apply(vec![write]);
        self.state.get(object.key()).unwrap().clone()
    }

    /// Changes an object, as a user or an agent may.
    pub(crate) fn change(&mut self, key: &Key, change: impl FnOnce(&mut Value)) {
        let mut draft = Draft::of(self.state.get(key).unwrap());
        change(&mut draft.value);
        self.apply(draft.write().into_iter().collect());
    }

    /// Applies writes, all of which must hold.
    pub(crate) fn apply(&mut self, writes: Vec<Write>) {
        let applied = self.state.apply(&Command {
            term: 1,
            at: self.now,
            writes,
        });
        for outcome in applied.outcomes {
            assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        }
    }

    /// Runs one plan and applies it. Unless it asks to be run again now, a second pass is empty.
    pub(crate) fn step(&mut self, controller: &Controller, key: &Key) -> Plan {
        let mut stamper = self.stamper();
        let plan = (controller.plan)(&self.state, key, &mut stamper);
        self.apply(plan.writes.clone());
        if plan.again_at.is_none_or(|at| at > self.now) {
            let second = (controller.plan)(&self.state, key, &mut stamper);
            assert_eq!(
                second.writes,
                [],
                "the second pass of {} over {key}",
                controller.name
            );
        }
        plan
    }

    /// Runs all plans until they rest. Returns when the first of them wants to look again.
    pub(crate) fn settle(&mut self) -> Option<Millis> {
        for _ in 0..PASSES_MAX {
            let mut rest = true;
            let mut again: Option<Millis> = None;
            for controller in controllers() {
                for key in (controller.resync)(&self.state) {
                    let plan = self.step(&controller, &key);
                    if !plan.writes.is_empty() {
                        rest = false;
                    }
                    again = again.into_iter().chain(plan.again_at).min();
                }
            }
            if rest {
                return again;
            }
        }
        panic!("the plans do not come to rest");
    }

    pub(crate) fn list(&self, kind: Kind) -> Vec<Object> {
        self.state.list(kind, Some("d")).cloned().collect()
    }

    /// The pods that nobody deleted.
    pub(crate) fn active(&self) -> Vec<Object> {
        let mut pods = self.list(Kind::Pod);
        pods.retain(|pod| pod.meta().deletion.is_none());
        pods
    }

    /// The agent: binds a pod to a node and reports it running, ready or not.
    pub(crate) fn run(&mut self, pod: &Key, node: &str, ready: bool) {
        let now = self.now;
        self.change(pod, |pod| {
            pod["spec"]["nodeName"] = node.into();
            pod["status"]["phase"] = "Running".into();
            let status = if ready { "True" } else { "False" };
            let ready = condition::Condition {
                kind: "Ready",
                status,
                reason: "",
                message: "",
            };
            condition::set(&mut pod["status"], &ready, now);
        });
    }

    /// The agent: runs every active pod that is not ready yet.
    pub(crate) fn run_all(&mut self) {
        for pod in self.active() {
            if !pod.pod().unwrap().ready {
                self.run(pod.key(), "n1", true);
            }
        }
    }

    /// The agent: removes the pods that are on their way out.
    pub(crate) fn reap(&mut self) {
        let gone: Vec<Write> = self
            .list(Kind::Pod)
            .iter()
            .filter(|pod| pod.meta().deletion.is_some())
            .map(Write::remove)
            .collect();
        self.apply(gone);
    }

    /// The messages of the events of a reason, in the order of their making.
    pub(crate) fn said(&self, reason: &str) -> Vec<String> {
        let mut events = self.list(Kind::Event);
        events.retain(|event| event.to_value()["reason"] == reason);
        events.sort_by_key(Object::revision);
        events
            .iter()
            .map(|event| event.to_value()["message"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A Deployment as admission leaves it.
pub(crate) fn deployment(name: &str, replicas: i64, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "d", "generation": 1},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "progressDeadlineSeconds": 600, "revisionHistoryLimit": 2,
            "template": template(name, image)}})
}

pub(crate) fn template(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "image": image}]}})
}
