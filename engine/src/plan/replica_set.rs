//! Decides which pods a ReplicaSet lacks or has too many of (step 9 of the walk).
//!
//! Owns the set's pods' existence and the set's status; never touches a pod's spec or status.
//! Pods on their way out do not count: a replacement is made at once.

mod pods;
mod status;
mod surplus;

use std::time::Duration;

use skiff_api::{Key, Kind, LabelSelector, Object};

use super::{Controller, Plan, all, claim, controllers_of, deletion, is_open};
use crate::apply::Change;
use crate::draft::Draft;
use crate::event::{Note, Severity};
use crate::stamp::Stamper;
use crate::state::State;

/// The controller's name in events, as in Kubernetes.
const SOURCE: &str = "replicaset-controller";

/// Pods made or deleted by one command: its bytes must fit a log entry and its apply must not
/// hold up other writers. The next pass does the rest.
const BURST: usize = 500;

/// One event for each pod up to this many in a pass; beyond it, one for all the rest.
const NOTES: usize = 10;

/// Failed pods that are kept for people to look at; older ones are removed.
const FAILED_KEPT: usize = 3;

/// A pod that failed sooner than this after it was made keeps its place until then: what fails at
/// once would otherwise be made again as fast as the cluster can.
const BACK_OFF: Duration = Duration::from_secs(10);

pub(super) const CONTROLLER: Controller = Controller {
    name: "replica_set",
    wakes,
    resync: |state| all(state, Kind::ReplicaSet),
    plan,
};

fn wakes(state: &State, change: &Change) -> Vec<Key> {
    let object = change.object();
    match object.kind() {
        Kind::ReplicaSet => vec![object.key().clone()],
        Kind::Pod if object.meta().controller().is_none() => selecting(state, object),
        Kind::Pod => controllers_of(change, Kind::ReplicaSet).collect(),
        Kind::Namespace
        | Kind::Node
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::Event
        | Kind::ServiceAccount
        | Kind::Deployment
        | Kind::Lease
        | Kind::Service
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::Ingress
        | Kind::IngressClass
        | Kind::NetworkPolicy => Vec::new(),
    }
}

/// The sets that would adopt an orphan.
fn selecting(state: &State, orphan: &Object) -> Vec<Key> {
    state
        .list(Kind::ReplicaSet, Some(&orphan.key().namespace))
        .filter(|set| selector(set).is_some_and(|s| s.matches(&orphan.meta().labels)))
        .map(|set| set.key().clone())
        .collect()
}

/// A set's selector; an empty one selects nothing here, and a broken one cannot have been admitted.
fn selector(set: &Object) -> Option<LabelSelector> {
    let selector = LabelSelector::from_json(&set.to_value()["spec"]["selector"]).ok()?;
    (!selector.is_empty()).then_some(selector)
}

fn plan(state: &State, key: &Key, stamper: &mut Stamper) -> Plan {
    let mut plan = Plan::default();
    let Some((set, selector)) = state.get(key).and_then(|set| Some((set, selector(set)?))) else {
        return plan;
    };
    let claimed = claim::claim(state, set, &selector, Kind::Pod, &mut plan);
    if !plan.writes.is_empty() {
        plan.again_if_written(stamper.at());
        return plan;
    }
    let (mut active, finished) = sort_out(&claimed);
    let (fresh, old): (Vec<Object>, Vec<Object>) = finished
        .into_iter()
        .partition(|pod| pod.meta().created.after(BACK_OFF) > stamper.at());
    let mut draft = Draft::of(set);
    if set.meta().deletion.is_none() {
        let desired = draft.value["spec"]["replicas"].as_u64().unwrap_or(1);
        let desired = usize::try_from(desired).unwrap_or(usize::MAX);
        bury(state, &old, stamper, &mut plan);
        let mut shift = Shift {
            state,
            set,
            stamper,
            plan: &mut plan,
        };
        if active.len() > desired {
            shift.delete(&mut active, desired);
        } else if is_open(state, &key.namespace) {
            let missing = desired - active.len();
            let made = shift.create(missing.saturating_sub(fresh.len()), &claimed, &draft);
            active.extend(made);
            for held in fresh.iter().take(missing) {
                plan.look_again(held.meta().created.after(BACK_OFF));
            }
        }
    }
    status::report(&mut draft, set, &active, stamper.at(), &mut plan);
    plan.change(draft);
    plan
}

/// The pods that count, and those that failed. Finished and terminating ones count no more.
fn sort_out(claimed: &[&Object]) -> (Vec<Object>, Vec<Object>) {
    let staying = claimed.iter().filter(|pod| pod.meta().deletion.is_none());
    let (finished, active): (Vec<Object>, Vec<Object>) = staying
        .map(|pod| Object::clone(pod))
        .partition(|pod| pod.pod().is_some_and(|view| view.phase.is_terminal()));
    (active, finished)
}

/// Removes finished pods but for the youngest few.
fn bury(state: &State, finished: &[Object], stamper: &mut Stamper, plan: &mut Plan) {
    let mut finished: Vec<&Object> = finished.iter().collect();
    finished.sort_by_key(|pod| (std::cmp::Reverse(pod.meta().created), pod.key().clone()));
    for pod in finished.into_iter().skip(FAILED_KEPT) {
        plan.writes
            .extend(deletion::delete_pod(state, pod, stamper));
    }
}

/// The creation or deletion of some pods of a set.
struct Shift<'a> {
    state: &'a State,
    set: &'a Object,
    stamper: &'a mut Stamper,
    plan: &'a mut Plan,
}

impl Shift<'_> {
    /// Creates missing pods and returns them.
    fn create(&mut self, missing: usize, seen: &[&Object], set: &Draft) -> Vec<Object> {
        let made: Vec<Object> = pods::Maker::new(self.state, self.set, seen, &set.value)
            .take(missing.min(BURST), self.stamper);
        for pod in &made {
            self.plan
                .writes
                .push(crate::command::Write::create(pod.clone()));
        }
        self.tell("SuccessfulCreate", "Created", &made);
        if missing > made.len() {
            self.plan.look_again(self.stamper.at());
        }
        made
    }

    /// Deletes what is too much, in Kubernetes' order, and leaves the others.
    fn delete(&mut self, active: &mut Vec<Object>, desired: usize) {
        let surplus = active.len() - desired;
        surplus::sort(self.state, self.set, active);
        let doomed: Vec<Object> = active.drain(..surplus.min(BURST)).collect();
        for pod in &doomed {
            self.plan
                .writes
                .extend(deletion::delete_pod(self.state, pod, self.stamper));
        }
        self.tell("SuccessfulDelete", "Deleted", &doomed);
        if surplus > doomed.len() {
            self.plan.look_again(self.stamper.at());
        }
    }

    fn tell(&mut self, reason: &str, verb: &str, pods: &[Object]) {
        let single = if pods.len() > NOTES { NOTES - 1 } else { NOTES };
        let mut messages: Vec<String> = pods
            .iter()
            .take(single)
            .map(|pod| format!("{verb} pod: {}", pod.key().name))
            .collect();
        if let Some(rest) = pods.len().checked_sub(single).filter(|rest| *rest > 0) {
            messages.push(format!(
                "(combined from similar events): {verb} {rest} pods"
            ));
        }
        for message in messages {
            let note = Note {
                about: self.set,
                severity: Severity::Normal,
                reason,
                message: &message,
                source: SOURCE,
            };
            self.plan.note(self.state, &note, self.stamper);
        }
    }
}

#[cfg(test)]
mod tests;
