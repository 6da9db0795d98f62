//! Moves pods off nodes with `NoExecute` taints: at once, or when their toleration ends.
//!
//! An eviction is a graceful deletion; the pods' owners make the replacements.

use std::time::Duration;

use skiff_api::{Effect, Millis, Object, Taint, Toleration};

use super::SOURCE;
use super::brake::{Company, Fallen};
use super::taints::{NOT_READY, UNREACHABLE};
use crate::command::Write;
use crate::draft::whole;
use crate::event::{self, Note, Severity};
use crate::plan::Plan;
use crate::plan::condition::{self, Condition};
use crate::plan::deletion;
use crate::stamp::Stamper;
use crate::state::State;

/// Pods evicted in a second, over all nodes: a mistake must not empty a large cluster in a blink.
const RATE: usize = 200;
const SECOND: Duration = Duration::from_secs(1);

/// Evicts from the given nodes, as they will be after this pass, whatever is due.
pub(super) fn plan(
    state: &State,
    nodes: &[Object],
    fallen: &Fallen,
    stamper: &mut Stamper,
    plan: &mut Plan,
) {
    let mut budget = Budget {
        state,
        nodes,
        left: None,
    };
    for node in nodes {
        let name = &node.key().name;
        let suspicion = fallen.company(name).filter(Company::is_suspicious);
        if let Some(company) = suspicion.filter(Company::is_certain) {
            tell_stopped(state, node, company, stamper, plan);
        }
        let taints = executing(node, suspicion.is_some());
        let silent = fallen.silent.contains(name);
        if taints.is_empty() && !silent {
            continue;
        }
        for pod in state.pods_on(name).filter(|pod| is_running(pod)) {
            match due(pod, &taints) {
                Some(at) if at > stamper.at() => plan.look_again(at),
                Some(_) if !budget.take(stamper.at()) => {
                    plan.look_again(stamper.at().after(SECOND));
                }
                Some(_) => {
                    evict(state, pod, stamper, plan);
                    continue;
                }
                None => {}
            }
            if silent {
                plan.writes.extend(doubt(pod, stamper.at()));
            }
        }
    }
}

/// How many pods may still be evicted within this second; counted once it matters.
struct Budget<'a> {
    state: &'a State,
    nodes: &'a [Object],
    left: Option<usize>,
}

impl Budget<'_> {
    /// Takes one, if there is one.
    fn take(&mut self, now: Millis) -> bool {
        let left = self
            .left
            .unwrap_or_else(|| RATE.saturating_sub(recent(self.state, self.nodes, now)));
        self.left = Some(left.saturating_sub(1));
        left > 0
    }
}

/// The taints that drive pods away. Under suspicion those that only say "not ready" do not count.
fn executing(node: &Object, suspicion: bool) -> Vec<Taint> {
    let taints = node
        .node()
        .map(|view| view.taints.as_slice())
        .unwrap_or_default();
    let drives = taints
        .iter()
        .filter(|taint| taint.effect == Effect::NoExecute);
    let doubtful = |taint: &Taint| [NOT_READY, UNREACHABLE].contains(&&*taint.key);
    drives
        .filter(|taint| !(suspicion && doubtful(taint)))
        .cloned()
        .collect()
}

fn is_running(pod: &Object) -> bool {
    pod.pod().is_some_and(|view| !view.phase.is_terminal())
}

/// When a pod has to leave: at the first moment at which it does not tolerate a taint. One that is
/// leaving already need not.
fn due(pod: &Object, taints: &[Taint]) -> Option<Millis> {
    if taints.is_empty() || pod.meta().deletion.is_some() {
        return None;
    }
    let value = pod.to_value();
    let list = value["spec"]["tolerations"]
        .as_array()
        .into_iter()
        .flatten();
    let tolerations: Vec<Toleration> = list.map(Toleration::read).collect();
    taints
        .iter()
        .filter_map(|taint| ends(taint, &tolerations))
        .min()
}

/// When a taint is no longer tolerated; `None` if never.
fn ends(taint: &Taint, tolerations: &[Toleration]) -> Option<Millis> {
    let added = taint.added.unwrap_or(Millis(i64::MIN));
    let mut matching = tolerations
        .iter()
        .filter(|toleration| toleration.tolerates(taint))
        .peekable();
    if matching.peek().is_none() {
        return Some(added);
    }
    let seconds = matching.filter_map(|toleration| toleration.seconds).min()?;
    Some(added.after(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
}

fn evict(state: &State, pod: &Object, stamper: &mut Stamper, plan: &mut Plan) {
    let Some(write) = deletion::delete_pod(state, pod, stamper) else {
        return;
    };
    let message = format!(
        "Marking for deletion Pod {}/{}",
        pod.key().namespace,
        pod.key().name
    );
    let note = Note {
        about: pod,
        severity: Severity::Normal,
        reason: "TaintManagerEviction",
        message: &message,
        source: "taint-eviction-controller",
    };
    plan.writes.push(match write {
        Write::Put { object, .. } => {
            let mut value = object.to_value();
            let target = Condition {
                kind: "DisruptionTarget",
                status: "True",
                reason: "DeletionByTaintManager",
                message: "Taint manager: deleting due to NoExecute taint",
            };
            condition::set(&mut value["status"], &target, stamper.at());
            Write::replace(pod, whole(value))
        }
        removal @ Write::Delete { .. } => removal,
    });
    plan.note(state, &note, stamper);
}

/// A pod of which nothing is heard is not ready, as far as anybody can tell.
fn doubt(pod: &Object, now: Millis) -> Option<Write> {
    if !pod.pod().is_some_and(|view| view.ready) {
        return None;
    }
    let mut value = pod.to_value();
    let doubt = Condition {
        kind: "Ready",
        status: "False",
        reason: "NodeNotReady",
        message: "nothing is heard of the node",
    };
    condition::set(&mut value["status"], &doubt, now);
    Some(Write::replace(pod, whole(value)))
}

/// How many pods of these nodes were marked within the last second.
fn recent(state: &State, nodes: &[Object], now: Millis) -> usize {
    let pods = nodes
        .iter()
        .flat_map(|node| state.pods_on(&node.key().name));
    let marked = pods.filter_map(|pod| pod.meta().deletion);
    marked
        .filter(|deletion| now.after(deletion.grace).since(deletion.due) < SECOND)
        .count()
}

/// Says once for each fall why nothing is evicted.
fn tell_stopped(
    state: &State,
    node: &Object,
    company: Company,
    stamper: &mut Stamper,
    plan: &mut Plan,
) {
    let Company {
        fell,
        stood,
        since,
        late: _,
    } = company;
    let message = format!(
        "{fell} of {stood} nodes became not ready together: \
         their pods stay, the fault may lie elsewhere"
    );
    let note = Note {
        about: node,
        severity: Severity::Warning,
        reason: "EvictionsStopped",
        message: &message,
        source: SOURCE,
    };
    if event::last_recorded(state, &note).is_none_or(|last| last < since) {
        plan.note(state, &note, stamper);
    }
}
