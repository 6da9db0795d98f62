//! The verdicts of all probes, and the tasks that write them: one per running container that has
//! probes, for as long as it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skiff_api::Millis;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::{Prober, age};
use crate::events::Events;
use crate::handler::Target;
use crate::memory::{Health, Verdict};
use crate::pod::{DesiredPod, Part, Pods};
use crate::runtime::{ContainerId, ContainerState, ObservedContainer, Runtime};
use crate::sight::{Sight, Sights};

/// Verdicts, written by probers and read by the pass that they wake.
#[derive(Debug)]
pub(super) struct Board {
    health: Mutex<Health>,
    wake: Arc<Notify>,
    /// An end was noted that nobody has taken up yet.
    ends: AtomicBool,
}

impl Board {
    pub(super) fn set(&self, id: &ContainerId, verdict: Verdict) {
        self.lock().verdicts.insert(id.clone(), verdict);
    }

    /// Changes a verdict, and wakes whoever decides if that made a difference.
    pub(super) fn change(&self, id: &ContainerId, change: impl FnOnce(&mut Verdict)) {
        let mut health = self.lock();
        let Some(verdict) = health.verdicts.get_mut(id) else {
            return;
        };
        let before = verdict.clone();
        change(verdict);
        if *verdict != before {
            self.wake.notify_one();
        }
    }

    fn end(&self, id: ContainerId) {
        self.lock().ended.insert(id);
        self.ends.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the runtime's word that containers have ended. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Endings(Arc<Board>);

impl Endings {
    /// This one has.
    pub fn note(&self, id: ContainerId) {
        self.0.end(id);
    }
}

/// Knows which containers are in their `postStart` hook. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hooks(Arc<Board>);

impl Hooks {
    /// This one's hook is about to run: until it has, the container is not ready, nor is it probed.
    #[must_use]
    pub fn begin(&self, id: &ContainerId) -> Hooked {
        self.0.lock().hooked.insert(id.clone());
        Hooked {
            board: Arc::clone(&self.0),
            id: id.clone(),
        }
    }
}

/// A `postStart` hook that is not over; it is as soon as this is dropped.
#[derive(Debug)]
pub struct Hooked {
    board: Arc<Board>,
    id: ContainerId,
}

impl Drop for Hooked {
    fn drop(&mut self) {
        self.board.lock().hooked.remove(&self.id);
        self.board.wake.notify_one();
    }
}

/// The probes of a node.
pub struct Probes {
    runtime: Arc<dyn Runtime>,
    events: Events,
    board: Arc<Board>,
    tasks: BTreeMap<ContainerId, AbortOnDropHandle<()>>,
}

impl Probes {
    /// No probes yet; `wake` is notified when a verdict changes.
    #[must_use]
    pub fn new(runtime: Arc<dyn Runtime>, events: Events, wake: Arc<Notify>) -> Self {
        let board = Arc::new(Board {
            health: Mutex::default(),
            wake,
            ends: AtomicBool::new(false),
        });
        Self {
            runtime,
            events,
            board,
            tasks: BTreeMap::new(),
        }
    }

    /// Where the runtime's word goes that a container has ended: from then on it is not ready.
    #[must_use]
    pub fn endings(&self) -> Endings {
        Endings(Arc::clone(&self.board))
    }

    /// Where it is kept which containers are in their `postStart` hook.
    #[must_use]
    pub fn hooks(&self) -> Hooks {
        Hooks(Arc::clone(&self.board))
    }

    /// Whether containers have ended since this was asked last.
    pub fn take_ends(&self) -> bool {
        self.board.ends.swap(false, Ordering::Acquire)
    }

    /// The verdicts so far.
    #[must_use]
    pub fn health(&self) -> Health {
        self.board.lock().clone()
    }

    /// Begins probing what runs now, and ends probing what does not.
    pub fn sync(&mut self, desired: &Pods, sights: &Sights, node_ip: Option<IpAddr>, now: Millis) {
        let mut running: BTreeMap<ContainerId, AbortOnDropHandle<()>> = BTreeMap::new();
        let mut kept = BTreeSet::new();
        let hooked = self.board.lock().hooked.clone();
        for (uid, pod) in desired {
            let Some(sight) = sights.get(uid) else {
                continue;
            };
            for part in &pod.parts {
                let Some(container) = sight.latest(&part.name) else {
                    continue;
                };
                let ContainerState::Running { started_at } = container.state else {
                    continue;
                };
                kept.insert(container.id.clone());
                // A pod that ends is left in peace; its readiness stays what it was.
                if pod.deletion.is_some() || hooked.contains(&container.id) {
                    continue;
                }
                let task = match self.tasks.remove(&container.id) {
                    Some(task) => Some(task),
                    None => self.begin(pod, part, (sight, container), (node_ip, started_at, now)),
                };
                if let Some(task) = task {
                    running.insert(container.id.clone(), task);
                }
            }
        }
        self.tasks = running;
        let mut health = self.board.lock();
        health.verdicts.retain(|id, _| kept.contains(id));
        health.ended.retain(|id| kept.contains(id));
    }

    fn begin(
        &self,
        pod: &Arc<DesiredPod>,
        part: &Part,
        (sight, observed): (&Sight, &ObservedContainer),
        (node_ip, started_at, now): (Option<IpAddr>, Millis, Millis),
    ) -> Option<AbortOnDropHandle<()>> {
        let container = pod.container(&part.name)?;
        if container.startup_probe.is_none()
            && container.liveness_probe.is_none()
            && container.readiness_probe.is_none()
        {
            return None;
        }
        let sandbox_ip = sight.sandbox().and_then(|sandbox| sandbox.ip);
        let prober = Prober {
            pod: Arc::clone(pod),
            container: container.clone(),
            target: Target {
                runtime: Arc::clone(&self.runtime),
                id: observed.id.clone(),
                ip: if pod.host_network() {
                    node_ip
                } else {
                    sandbox_ip
                },
            },
            age: age(started_at, now),
            events: self.events.clone(),
            board: Arc::clone(&self.board),
        };
        let known = known(pod, part, &observed.id);
        self.board.set(&observed.id, known.clone());
        Some(AbortOnDropHandle::new(tokio::spawn(prober.run(known))))
    }
}

/// Where a container's verdict begins: an agent that restarts does not make pods unready that the
/// servers know as ready.
fn known(pod: &DesiredPod, part: &Part, id: &ContainerId) -> Verdict {
    let status = pod.known_status(&part.name).filter(|status| {
        status
            .container_id
            .as_deref()
            .is_some_and(|known| known.ends_with(&*id.0))
    });
    let started = status.and_then(|status| status.started).unwrap_or(false);
    let ready = status.is_some_and(|status| status.ready);
    Verdict {
        started: started || !part.has_startup,
        ready: ready || (!part.has_readiness && (started || !part.has_startup)),
        condemned: None,
    }
}
