//! The part of the plan that makes a pod run: sandbox, init containers in order, then the others.

use std::sync::Arc;

use skiff_api::Millis;

use super::{Action, PodPlan, Stop, Why, World, exit_code, restart_due, will_restart};
use crate::memory::WHOLE_POD;
use crate::pod::{DesiredPod, Part, Role};
use crate::runtime::{ContainerState, ObservedContainer, SandboxId};
use crate::sight::{Sight, is_running};

/// Whether the next container in line may start now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Moves,
    Waits,
}

struct Starter<'a> {
    world: &'a World<'a>,
    pod: &'a DesiredPod,
    sight: &'a Sight,
    /// The sandbox that runs; none while one is to be made.
    sandbox: Option<&'a SandboxId>,
    plan: PodPlan,
}

/// The steps that bring a pod's containers to running.
pub(super) fn containers(world: &World<'_>, pod: &DesiredPod, sight: &Sight) -> PodPlan {
    let sandbox = sight.sandbox().map(|sandbox| &sandbox.id);
    let mut starter = Starter {
        world,
        pod,
        sight,
        sandbox,
        plan: PodPlan::default(),
    };
    starter.clear_lost();
    if sandbox.is_some() {
        starter.start_containers();
        starter.remove_sandboxes(|id| Some(id) != sandbox);
        return starter.plan;
    }
    // One is left behind by each start that fails. The newest stays until another one runs: its
    // number says which attempt is next.
    let newest = sight.sandboxes.last().map(|sandbox| &sandbox.id);
    starter.remove_sandboxes(|id| Some(id) != newest);
    if starter.start_sandbox() {
        starter.start_containers();
        starter.remove_sandboxes(|id| Some(id) == newest);
    }
    starter.plan
}

impl<'a> Starter<'a> {
    /// Containers that outlived their sandbox have no network, and must not meet their successors.
    fn clear_lost(&mut self) {
        let stops: Vec<Stop> = self
            .sight
            .all()
            .filter(|container| is_running(container) && !self.is_current(container))
            .map(|container| self.stop(container, Why::SandboxLost))
            .collect();
        if !stops.is_empty() {
            self.plan.actions.push(Action::Stop(stops));
        }
    }

    fn start_sandbox(&mut self) -> bool {
        if !self.may_try(WHOLE_POD) {
            return false;
        }
        let attempt = self
            .sight
            .sandboxes
            .last()
            .map_or(0, |last| last.attempt.saturating_add(1));
        self.plan.actions.push(Action::StartSandbox { attempt });
        true
    }

    fn remove_sandboxes(&mut self, is_old: impl Fn(&SandboxId) -> bool) {
        let ids = self.sight.sandboxes.iter().map(|sandbox| &sandbox.id);
        let old = ids.filter(|id| is_old(id)).cloned();
        self.plan.actions.extend(old.map(Action::RemoveSandbox));
    }

    fn start_containers(&mut self) {
        if self.inits() == Line::Moves {
            self.mains();
        }
    }

    /// Init containers and sidecars, one after the other.
    fn inits(&mut self) -> Line {
        // Once a main container has been started here, the init containers have done their work,
        // whatever is left of them.
        let begun = self.pod.parts.iter().any(|part| {
            part.role == Role::Main
                && self
                    .current(part)
                    .is_some_and(|c| c.state != ContainerState::Created)
        });
        let pod = self.pod;
        for part in &pod.parts {
            let line = match part.role {
                Role::Init if begun => Line::Moves,
                Role::Init => self.init(part),
                Role::Sidecar => self.sidecar(part),
                Role::Main => return Line::Moves,
            };
            if line == Line::Waits && !begun {
                return Line::Waits;
            }
        }
        Line::Moves
    }

    fn init(&mut self, part: &Part) -> Line {
        match self.current(part) {
            Some(container) if exit_code(container) == Some(0) => return Line::Moves,
            Some(container) if is_running(container) => {}
            Some(container) if exit_code(container).is_some() => self.restart(part),
            Some(_) | None => {
                self.start(part);
            }
        }
        Line::Waits
    }

    fn sidecar(&mut self, part: &Part) -> Line {
        match self.current(part) {
            Some(container) if is_running(container) => {
                if self.keep_running(part, container)
                    && self.world.health.of(part, &container.id).started
                {
                    return Line::Moves;
                }
            }
            Some(container) if exit_code(container).is_some() => self.restart(part),
            Some(_) | None => {
                if self.start(part) && !part.has_startup {
                    return Line::Moves;
                }
            }
        }
        Line::Waits
    }

    fn mains(&mut self) {
        let pod = self.pod;
        for part in pod.parts.iter().filter(|part| part.role == Role::Main) {
            match self.sight.latest(&part.name) {
                Some(container) if is_running(container) && self.is_current(container) => {
                    self.keep_running(part, container);
                }
                // It was running in a sandbox that is lost, and has been told to stop above.
                Some(container) if is_running(container) => {
                    self.start(part);
                }
                Some(container) if exit_code(container).is_some() => {
                    if will_restart(pod, part, container) {
                        self.restart(part);
                    }
                }
                Some(_) | None => {
                    self.start(part);
                }
            }
        }
    }

    /// Ends a running container that was condemned or whose definition changed; the pass after
    /// that starts it again. Says whether it may stay.
    fn keep_running(&mut self, part: &Part, container: &ObservedContainer) -> bool {
        let verdict = self.world.health.of(part, &container.id);
        let why = if *container.spec_hash != *part.hash {
            Why::Changed
        } else if let Some(words) = verdict.condemned {
            Why::Unhealthy(words)
        } else {
            return true;
        };
        let stop = self.stop(container, why);
        self.plan.actions.push(Action::Stop(vec![stop]));
        false
    }

    /// Starts a container that has ended, when its back-off is over.
    fn restart(&mut self, part: &Part) {
        let changed = self
            .sight
            .latest(&part.name)
            .is_some_and(|latest| *latest.spec_hash != *part.hash);
        match restart_due(self.sight, &part.name, self.world.now) {
            Some((_, due)) if due > self.world.now && !changed => self.wake_at(due),
            Some(_) | None => {
                self.start(part);
            }
        }
    }

    /// Starts a container anew, unless its last failure is too recent. Says whether it does.
    fn start(&mut self, part: &Part) -> bool {
        if !self.may_try(&part.name) {
            return false;
        }
        let latest = self.sight.latest(&part.name);
        let seen = latest.map_or(0, |container| container.container.attempt.saturating_add(1));
        let mut attempt = seen.max(part.attempts_known);
        if let Some(container) = latest.filter(|c| c.state == ContainerState::Created) {
            // It was never started, so its number is free again.
            self.plan
                .actions
                .push(Action::RemoveContainer(container.id.clone()));
            attempt = container.container.attempt;
        }
        self.plan.actions.push(Action::StartContainer {
            name: Arc::clone(&part.name),
            attempt,
        });
        true
    }

    fn may_try(&mut self, name: &str) -> bool {
        let now = self.world.now;
        let failure = self.world.failures.get(&self.pod.pod.uid, name);
        match failure.map(|failure| failure.due(now)) {
            Some(due) if due > now => {
                self.wake_at(due);
                false
            }
            Some(_) | None => true,
        }
    }

    fn wake_at(&mut self, at: Millis) {
        self.plan.wake_at = Some(self.plan.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// The newest attempt at a container, if it was made in the sandbox that runs.
    fn current(&self, part: &Part) -> Option<&'a ObservedContainer> {
        self.sight
            .latest(&part.name)
            .filter(|container| self.is_current(container))
    }

    fn is_current(&self, container: &ObservedContainer) -> bool {
        Some(&container.sandbox) == self.sandbox
    }

    fn stop(&self, container: &ObservedContainer, why: Why) -> Stop {
        let name = Arc::clone(&container.container.name);
        let probe = self.pod.part(&name).and_then(|part| part.probe_grace);
        let grace = match why {
            Why::Unhealthy(_) => probe.unwrap_or(self.pod.grace),
            Why::SandboxLost => std::time::Duration::ZERO,
            Why::Deleted | Why::Orphaned | Why::Changed | Why::Finished => self.pod.grace,
        };
        Stop {
            id: container.id.clone(),
            name,
            grace,
            why,
        }
    }
}
