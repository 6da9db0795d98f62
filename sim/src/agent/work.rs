//! Work on a pod, step by step: what the agent's own work does, with virtual time between the steps.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use skiff_api::{Key, Kind};
use skiff_node_agent::blueprint::{self, Found};
use skiff_node_agent::env;
use skiff_node_agent::fields::Place;
use skiff_node_agent::memory::{Failure, FailureKind, WHOLE_POD};
use skiff_node_agent::plan::Action;
use skiff_node_agent::pod::DesiredPod;
use skiff_node_agent::refs::Refs;
use skiff_node_agent::runtime::{Runtime as _, RuntimeError, SandboxId};
use skiff_node_agent::sight::Sight;

use super::{Asked, PASS_GAP, Turn, now};
use crate::context::Context;
use crate::event::Task;
use crate::message::Call;

/// Work under way.
pub(super) struct Flight {
    sight: Sight,
    pod: Option<Arc<DesiredPod>>,
    /// The sandbox that containers go into.
    sandbox: Option<SandboxId>,
    actions: VecDeque<Action>,
}

impl Flight {
    pub(super) fn new(sight: Sight, pod: Option<Arc<DesiredPod>>, actions: Vec<Action>) -> Self {
        let sandbox = sight.sandbox().map(|sandbox| sandbox.id.clone());
        Self {
            sight,
            pod,
            sandbox,
            actions: actions.into(),
        }
    }
}

/// Why a step was not done.
enum Stopped {
    /// In a way that the plan must know of.
    Failed(FailureKind, String),
    /// In a way that the next look will show.
    Runtime,
}

impl From<RuntimeError> for Stopped {
    fn from(_: RuntimeError) -> Self {
        Self::Runtime
    }
}

impl Turn<'_> {
    /// Begins work on a pod.
    pub(super) fn set_off(&mut self, context: &mut Context, uid: &Arc<str>, flight: Flight) {
        let delay = flight.actions.front().map(|next| duration(context, next));
        self.brain.flights.insert(Arc::clone(uid), flight);
        let event = self.event(Task::Step(Arc::clone(uid)));
        context.after(delay.unwrap_or_default(), event);
    }

    /// Ends the step that was under way for a pod, and begins the next.
    pub(super) fn step(&mut self, context: &mut Context, uid: &Arc<str>) {
        let Some(mut flight) = self.brain.flights.remove(uid) else {
            return;
        };
        let Some(action) = flight.actions.pop_front() else {
            self.pass_in(context, PASS_GAP);
            return;
        };
        if action == Action::ConfirmDeletion {
            let pod = flight.sight.pod.clone();
            let call = Call::Delete {
                key: Key::new(Kind::Pod, &pod.namespace, &pod.name),
                at_once: Some(pod.uid.to_string()),
            };
            self.brain.flights.insert(Arc::clone(uid), flight);
            self.ask(context, call, Asked::Deletion(Arc::clone(uid)));
            return;
        }
        let done = self.carry_out(&mut flight, &action);
        let (name, pod) = (self.name, &flight.sight.pod);
        context.say(format_args!(
            "{name} {pod} {} {}",
            word(&action),
            if done.is_ok() { "done" } else { "failed" }
        ));
        match done {
            Ok(()) if flight.actions.is_empty() => self.pass_in(context, PASS_GAP),
            Ok(()) => self.set_off(context, uid, flight),
            Err(stopped) => {
                if let Stopped::Failed(kind, message) = stopped {
                    let name = if let Action::StartContainer { name, .. } = &action {
                        Arc::clone(name)
                    } else {
                        WHOLE_POD.into()
                    };
                    let failure = Failure {
                        kind,
                        message: message.into(),
                        at: Self::wall(context),
                        count: 1,
                    };
                    self.brain.failures.note(uid, &name, failure);
                }
                self.pass_in(context, PASS_GAP);
            }
        }
    }

    fn carry_out(&mut self, flight: &mut Flight, action: &Action) -> Result<(), Stopped> {
        let runtime = self.runtime;
        match action {
            Action::StartSandbox { attempt } => {
                let pod = flight.pod.as_ref().ok_or(Stopped::Runtime)?;
                let spec = blueprint::sandbox(pod, *attempt);
                let id = now(runtime.run_sandbox(&spec)).ok_or(Stopped::Runtime)??;
                flight.sandbox = Some(id);
                self.brain.failures.clear(&pod.pod.uid, WHOLE_POD);
                Ok(())
            }
            Action::StartContainer { name, attempt } => self.start(flight, name, *attempt),
            Action::Stop(stops) => {
                for stop in stops {
                    now(runtime.stop_container(&stop.id, stop.grace)).ok_or(Stopped::Runtime)??;
                }
                Ok(())
            }
            Action::RemoveContainer(id) => {
                Ok(now(runtime.remove_container(id)).ok_or(Stopped::Runtime)??)
            }
            Action::RemoveSandbox(id) => {
                Ok(now(runtime.remove_sandbox(id)).ok_or(Stopped::Runtime)??)
            }
            Action::RemoveVolumes | Action::ConfirmDeletion => Ok(()),
        }
    }

    fn start(&mut self, flight: &Flight, name: &str, attempt: u32) -> Result<(), Stopped> {
        let pod = flight.pod.as_ref().ok_or(Stopped::Runtime)?;
        let wire = pod.container(name).ok_or(Stopped::Runtime)?;
        let sandbox = flight.sandbox.as_ref().ok_or(Stopped::Runtime)?;
        let image = wire.image.as_deref().unwrap_or("");
        let image = now(self.runtime.image(image)).ok_or(Stopped::Runtime)??;
        let image =
            image.ok_or_else(|| Stopped::Failed(FailureKind::Image, "no such image".into()))?;
        let place = self.place();
        let config =
            |error: &dyn std::fmt::Display| Stopped::Failed(FailureKind::Config, error.to_string());
        let env = env::build(wire, pod, &Refs::default(), &place, Vec::new())
            .map_err(|err| config(&err))?;
        let found = Found {
            sandbox,
            env,
            mounts: Vec::new(),
            image: &image,
            place: &place,
        };
        let spec = blueprint::container(pod, wire, attempt, found).map_err(|err| config(&err))?;
        let id = now(self.runtime.create_container(&spec)).ok_or(Stopped::Runtime)??;
        now(self.runtime.start_container(&id)).ok_or(Stopped::Runtime)??;
        self.brain.failures.clear(&pod.pod.uid, name);
        Ok(())
    }

    fn place(&self) -> Place {
        Place {
            node: self.name.to_owned(),
            host_ip: self.facts.ip,
            pod_ip: None::<IpAddr>,
            cpu_millicores: self.facts.cpu_millicores,
            memory_bytes: self.facts.memory_bytes,
        }
    }
}

/// How long a step takes.
fn duration(context: &mut Context, action: &Action) -> Duration {
    match action {
        Action::StartSandbox { .. } | Action::StartContainer { .. } => context.some_millis(50, 400),
        Action::Stop(_) => context.some_millis(20, 1500),
        Action::RemoveContainer(_) | Action::RemoveSandbox(_) => context.some_millis(5, 100),
        Action::RemoveVolumes | Action::ConfirmDeletion => Duration::ZERO,
    }
}

const fn word(action: &Action) -> &'static str {
    match action {
        Action::StartSandbox { .. } => "start sandbox",
        Action::StartContainer { .. } => "start container",
        Action::Stop(_) => "stop",
        Action::RemoveContainer(_) => "remove container",
        Action::RemoveSandbox(_) => "remove sandbox",
        Action::RemoveVolumes => "remove volumes",
        Action::ConfirmDeletion => "confirm deletion",
    }
}
