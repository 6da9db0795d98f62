//! Decides on which node each waiting pod runs (step 10 of the walk).
//!
//! Filter, score, choose, bind: a whole batch of pods in one command, or for each pod the reasons
//! why no node fits. Owns `spec.nodeName` and the condition `PodScheduled`, nothing else. Ties are
//! broken by name, so that each replay agrees.

#![expect(
    clippy::indexing_slicing,
    reason = "of JSON: a field that is missing reads as null, and is made when it is written"
)]

mod affinity;
mod choose;
mod cluster;
mod demand;
mod filter;
mod score;
mod verdict;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use skiff_api::{Key, Object};

pub use self::cluster::Cluster;
pub use self::verdict::{Unfit, Verdict, unavailable};

use self::choose::Choice;
use self::demand::Demand;
use crate::command::Write;
use crate::draft::whole;
use crate::event::{self, Note, Severity};
use crate::plan::condition::{self, Condition};
use crate::stamp::Stamper;
use crate::state::State;

/// The scheduler's name in events and in `spec.schedulerName`, as in Kubernetes.
const NAME: &str = "default-scheduler";

/// The field of `PodScheduled` that tells when it was last decided, and how soon another refusal
/// may be told: a thousand waiting pods must not fill the log with numbers.
const SAID: &str = "lastProbeTime";
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// The pods of a state that wait for a node.
pub fn waiting(state: &State) -> impl Iterator<Item = &Object> {
    state
        .pods_on("")
        .filter(|pod| pod.meta().deletion.is_none())
}

/// Schedules pods against a cluster read from the state just now.
///
/// A loop keeps its [`Cluster`] instead and feeds it the changes.
#[must_use]
pub fn schedule(state: &State, pods: &[Object], stamper: &mut Stamper) -> Vec<Write> {
    Cluster::read(state).schedule(state, pods, stamper)
}

/// What each node of a cluster says to a pod, in the order of their names.
#[must_use]
pub fn explain(cluster: &Cluster, pod: &Object) -> Vec<Verdict> {
    filter::verdicts(cluster, &Demand::read(pod, &pod.to_value()))
}

/// A pod of the batch, with its JSON to be changed.
struct Waiting<'a> {
    pod: &'a Object,
    value: Value,
}

impl Cluster {
    /// Places pods, and returns the writes that bind them or say why not.
    ///
    /// Placed pods count as placed in this cluster from now on. If their write turns out to
    /// conflict, the change that it conflicted with sets this right once it is observed; if the
    /// fate of the command is unknown, read the cluster anew.
    #[must_use]
    pub fn schedule(
        &mut self,
        state: &State,
        pods: &[Object],
        stamper: &mut Stamper,
    ) -> Vec<Write> {
        let mut writes = Vec::with_capacity(pods.len() * 2);
        let (classes, others) = classes(pods);
        for pod in others {
            self.note_refused(pod);
        }
        for (demand, class) in classes {
            let choice = Choice::begin(self, demand);
            self.place_class(choice, class, &mut |bound| match bound {
                Placed::On { pod, value, node } => {
                    writes.push(bind(pod, value, node, stamper));
                    writes.push(tell_bound(state, pod, node, stamper));
                }
                Placed::Nowhere { pod, value, why } => {
                    writes.extend(refuse(state, pod, value, why, stamper));
                }
            });
        }
        writes
    }

    fn place_class(
        &mut self,
        mut choice: Choice,
        class: Vec<Waiting<'_>>,
        tell: &mut dyn FnMut(Placed<'_>),
    ) {
        let mut why = None;
        for Waiting { pod, value } in class {
            if let Some(slot) = choice.next() {
                self.assume(pod, slot);
                choice.placed(self, slot);
                let node = self
                    .node(slot)
                    .map_or_else(|| "".into(), |node| node.name.clone());
                tell(Placed::On {
                    pod,
                    value,
                    node: &node,
                });
            } else {
                let verdicts = || filter::verdicts(self, choice.demand());
                let why = why.get_or_insert_with(|| unavailable(&verdicts()));
                self.note_refused(pod);
                tell(Placed::Nowhere { pod, value, why });
            }
        }
    }
}

/// What became of a pod of the batch.
enum Placed<'a> {
    On {
        pod: &'a Object,
        value: Value,
        node: &'a str,
    },
    Nowhere {
        pod: &'a Object,
        value: Value,
        why: &'a str,
    },
}

/// A class of pods that ask for the same.
type Class<'a> = (Demand, Vec<Waiting<'a>>);

/// Pods that ask for the same, together; by priority, then by age of the first of each. Besides,
/// those that nobody has to place here now.
fn classes(pods: &[Object]) -> (Vec<Class<'_>>, Vec<&Object>) {
    let mut queue: Vec<&Object> = pods.iter().collect();
    queue.sort_by(|a, b| (a.meta().created, a.key()).cmp(&(b.meta().created, b.key())));
    let mut found: BTreeMap<Demand, usize> = BTreeMap::new();
    let mut classes: Vec<Class<'_>> = Vec::new();
    let mut others = Vec::new();
    for pod in queue {
        let value = pod.to_value();
        if !is_waiting(pod) || !demand::is_ours(&value) {
            others.push(pod);
            continue;
        }
        let demand = Demand::read(pod, &value);
        let at = *found.entry(demand.clone()).or_insert(classes.len());
        let waiting = Waiting { pod, value };
        match classes.get_mut(at) {
            Some((_, class)) => class.push(waiting),
            None => classes.push((demand, vec![waiting])),
        }
    }
    // Stable: within one priority the class of the oldest pod stays first.
    classes.sort_by_key(|(demand, _)| std::cmp::Reverse(demand.priority));
    (classes, others)
}

fn is_waiting(pod: &Object) -> bool {
    let unbound = pod
        .pod()
        .is_some_and(|view| view.node.is_none() && !view.phase.is_terminal());
    unbound && pod.meta().deletion.is_none()
}

fn bind(pod: &Object, mut value: Value, node: &str, stamper: &Stamper) -> Write {
    value["spec"]["nodeName"] = node.into();
    let scheduled = Condition {
        kind: "PodScheduled",
        status: "True",
        reason: "",
        message: "",
    };
    condition::set(&mut value["status"], &scheduled, stamper.at());
    Write::replace(pod, whole(value))
}

fn tell_bound(state: &State, pod: &Object, node: &str, stamper: &mut Stamper) -> Write {
    let Key {
        namespace, name, ..
    } = pod.key();
    let message = format!("Successfully assigned {namespace}/{name} to {node}");
    let severity = Severity::Normal;
    let note = Note {
        about: pod,
        severity,
        reason: "Scheduled",
        message: &message,
        source: NAME,
    };
    event::record(state, &note, stamper)
}

/// Says why a pod cannot be placed, unless that is what was said last, or the last was said just
/// now: in a busy cluster the numbers change with every pod that comes or goes.
fn refuse(
    state: &State,
    pod: &Object,
    mut value: Value,
    why: &str,
    stamper: &mut Stamper,
) -> Vec<Write> {
    let known = condition::find(&value["status"], "PodScheduled");
    if let Some(known) = known.filter(|known| known["status"] == "False") {
        let said = condition::time(known, SAID).unwrap_or_default();
        if known["message"] == why || stamper.at().since(said) < SAY_AGAIN {
            return Vec::new();
        }
    }
    let unschedulable = Condition {
        kind: "PodScheduled",
        status: "False",
        reason: "Unschedulable",
        message: why,
    };
    condition::set(&mut value["status"], &unschedulable, stamper.at());
    if let Some(told) = condition::find_mut(&mut value["status"], "PodScheduled") {
        told[SAID] = stamper.at().rfc3339().into();
    }
    let severity = Severity::Warning;
    let note = Note {
        about: pod,
        severity,
        reason: "FailedScheduling",
        message: why,
        source: NAME,
    };
    vec![
        Write::replace(pod, whole(value)),
        event::record(state, &note, stamper),
    ]
}

#[cfg(test)]
mod tests;
