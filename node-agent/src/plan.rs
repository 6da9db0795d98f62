//! Decides what to do for each pod, from what is desired and what exists (step 11 of the walk).
//! Pure: never reads a clock, never waits, never remembers. Doing a plan and planning again comes
//! to an empty plan.

mod backoff;
mod start;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use skiff_api::Millis;

pub use backoff::{restart_due, will_restart};

use crate::memory::{Failures, Health};
use crate::pod::{DesiredPod, Pods, Role};
use crate::runtime::{ContainerId, ContainerState, ObservedContainer, SandboxId};
use crate::sight::{Sight, Sights, is_running};

/// How long containers may take to end whose pod is gone from the servers: nobody waits for them
/// any more, and their replacements may run already.
pub const ORPHAN_GRACE: Duration = Duration::from_secs(10);

/// Attempts kept per container: the newest, and the one before for `logs --previous`.
const ATTEMPTS_KEPT: usize = 2;

/// Everything that a decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The pods bound to this node.
    pub desired: &'a Pods,
    /// What exists.
    pub sights: &'a Sights,
    /// Starts that failed.
    pub failures: &'a Failures,
    /// The verdicts of probes.
    pub health: &'a Health,
    /// The machine's clock, which is the runtime's as well.
    pub now: Millis,
}

/// What to do for one pod, in order; when a step fails, the steps that need it are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodPlan {
    /// The steps.
    pub actions: Vec<Action>,
    /// When time alone will change the decision.
    pub wake_at: Option<Millis>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make volumes and sandbox.
    StartSandbox {
        /// Which sandbox of the pod.
        attempt: u32,
    },
    /// Create and start a container in the pod's sandbox.
    StartContainer {
        /// Its name in the pod.
        name: Arc<str>,
        /// Which attempt.
        attempt: u32,
    },
    /// End containers, all at the same time.
    Stop(Vec<Stop>),
    /// Remove a container that does not run.
    RemoveContainer(ContainerId),
    /// Remove a sandbox, running or not.
    RemoveSandbox(SandboxId),
    /// Remove the pod's directory with its volumes.
    RemoveVolumes,
    /// Tell the servers that nothing is left of the pod.
    ConfirmDeletion,
}

/// A container to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The engine's id.
    pub id: ContainerId,
    /// Its name in the pod.
    pub name: Arc<str>,
    /// How long it may take, hooks included.
    pub grace: Duration,
    /// Why it has to end.
    pub why: Why,
}

/// Why a container has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its pod is being deleted.
    Deleted,
    /// Its pod is gone from the servers.
    Orphaned,
    /// A probe condemned it, in these words.
    Unhealthy(Arc<str>),
    /// Its definition has changed.
    Changed,
    /// Its pod has come to its end, or has reached its deadline.
    Finished,
    /// Its sandbox is dead: it has no network any more.
    SandboxLost,
}

/// What to do for every pod that needs something done.
#[must_use]
pub fn plan(world: &World<'_>) -> BTreeMap<Arc<str>, PodPlan> {
    let desired = world.desired.iter().map(|(uid, pod)| {
        let missing = Sight::empty(pod.pod.clone());
        let sight = world.sights.get(uid).unwrap_or(&missing);
        (Arc::clone(uid), plan_pod(world, pod, sight))
    });
    let orphans = world
        .sights
        .iter()
        .filter(|(uid, _)| !world.desired.contains_key(*uid))
        .map(|(uid, sight)| (Arc::clone(uid), orphan(sight)));
    desired
        .chain(orphans)
        .filter(|(_, plan)| *plan != PodPlan::default())
        .collect()
}

/// What to do for one pod that is bound to this node.
#[must_use]
pub fn plan_pod(world: &World<'_>, pod: &DesiredPod, sight: &Sight) -> PodPlan {
    if let Some(grace) = pod.deletion {
        return delete(pod, sight, grace);
    }
    if is_over(pod, sight, world.now) {
        return settle(pod, sight);
    }
    let mut plan = start::containers(world, pod, sight);
    plan.actions.extend(garbage(sight));
    let deadline = pod.deadline;
    plan.wake_at = [plan.wake_at, deadline].into_iter().flatten().min();
    plan
}

/// Whether the pod has come to its end: nothing of it will be started again.
#[must_use]
pub fn is_over(pod: &DesiredPod, sight: &Sight, now: Millis) -> bool {
    pod.terminal
        || pod.deadline.is_some_and(|deadline| deadline <= now)
        || has_failed_init(pod, sight)
        || has_run_out(pod, sight)
}

/// An init container failed and may not be tried again.
#[must_use]
pub fn has_failed_init(pod: &DesiredPod, sight: &Sight) -> bool {
    pod.parts
        .iter()
        .filter(|part| part.role == Role::Init)
        .any(|part| {
            sight.latest(&part.name).is_some_and(|container| {
                exit_code(container).is_some_and(|code| code != 0)
                    && !will_restart(pod, part, container)
            })
        })
}

/// Every main container has ended and none will be started again.
#[must_use]
pub fn has_run_out(pod: &DesiredPod, sight: &Sight) -> bool {
    let mut mains = pod
        .parts
        .iter()
        .filter(|part| part.role == Role::Main)
        .peekable();
    mains.peek().is_some()
        && mains.all(|part| {
            sight.latest(&part.name).is_some_and(|container| {
                exit_code(container).is_some() && !will_restart(pod, part, container)
            })
        })
}

/// Ends what still runs of a pod that is over, and frees its sandbox; dead containers stay for
/// their logs until the pod is deleted.
fn settle(pod: &DesiredPod, sight: &Sight) -> PodPlan {
    let mut actions = stop_all(Some(pod), sight, pod.grace, &Why::Finished);
    actions.extend(remove_sandboxes(sight));
    let created = sight
        .all()
        .filter(|container| container.state == ContainerState::Created);
    actions.extend(created.map(|container| Action::RemoveContainer(container.id.clone())));
    PodPlan {
        actions,
        wake_at: None,
    }
}

/// Ends a pod, and then removes it; the two are separate passes so that the way its containers
/// ended can be reported in between.
fn delete(pod: &DesiredPod, sight: &Sight, grace: Duration) -> PodPlan {
    let mut actions = stop_all(Some(pod), sight, grace, &Why::Deleted);
    if actions.is_empty() {
        actions = remove_all(sight);
        actions.extend([Action::RemoveVolumes, Action::ConfirmDeletion]);
    }
    PodPlan {
        actions,
        wake_at: None,
    }
}

/// Ends and removes what belongs to no pod that should be here.
fn orphan(sight: &Sight) -> PodPlan {
    let mut actions = stop_all(None, sight, ORPHAN_GRACE, &Why::Orphaned);
    actions.extend(remove_all(sight));
    actions.push(Action::RemoveVolumes);
    PodPlan {
        actions,
        wake_at: None,
    }
}

/// Main containers end together; the sidecars, which serve them, end after them, last one first.
fn stop_all(pod: Option<&DesiredPod>, sight: &Sight, grace: Duration, why: &Why) -> Vec<Action> {
    let role = |container: &ObservedContainer| {
        let name = &container.container.name;
        pod.and_then(|pod| pod.part(name))
            .map_or(Role::Main, |part| part.role)
    };
    let stop = |container: &ObservedContainer| Stop {
        id: container.id.clone(),
        name: Arc::clone(&container.container.name),
        grace,
        why: why.clone(),
    };
    let running = || sight.all().filter(|container| is_running(container));
    let first: Vec<Stop> = running()
        .filter(|c| role(c) != Role::Sidecar)
        .map(stop)
        .collect();
    let order = |name: &str| pod.and_then(|pod| pod.parts.iter().position(|p| &*p.name == name));
    let mut sidecars: Vec<&ObservedContainer> =
        running().filter(|c| role(c) == Role::Sidecar).collect();
    sidecars.sort_by_key(|container| std::cmp::Reverse(order(&container.container.name)));
    let first = (!first.is_empty()).then_some(Action::Stop(first));
    first
        .into_iter()
        .chain(sidecars.into_iter().map(|c| Action::Stop(vec![stop(c)])))
        .collect()
}

fn remove_all(sight: &Sight) -> Vec<Action> {
    let containers = sight
        .all()
        .map(|container| Action::RemoveContainer(container.id.clone()));
    containers.chain(remove_sandboxes(sight)).collect()
}

fn remove_sandboxes(sight: &Sight) -> impl Iterator<Item = Action> {
    sight
        .sandboxes
        .iter()
        .map(|sandbox| Action::RemoveSandbox(sandbox.id.clone()))
}

/// Dead containers beyond those that are kept.
fn garbage(sight: &Sight) -> impl Iterator<Item = Action> {
    sight.containers.values().flat_map(|attempts| {
        let old = attempts.len().saturating_sub(ATTEMPTS_KEPT);
        let dead = attempts
            .iter()
            .take(old)
            .filter(|container| !is_running(container));
        dead.map(|container| Action::RemoveContainer(container.id.clone()))
    })
}

/// The exit code of a container that has ended.
#[must_use]
pub fn exit_code(container: &ObservedContainer) -> Option<i64> {
    match container.state {
        ContainerState::Exited { code, .. } => Some(code),
        ContainerState::Created | ContainerState::Running { .. } => None,
    }
}
