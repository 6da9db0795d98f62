//! What the runtime shows, sorted by pod: the other half of what deciding needs.
//! A snapshot; nothing here outlives the pass that it was made for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::runtime::{
    ContainerId, ContainerState, Observed, ObservedContainer, ObservedSandbox, PodRef,
};

/// Everything of this node that exists, by the uid of its pod.
pub type Sights = BTreeMap<Arc<str>, Sight>;

/// What exists of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Whose.
    pub pod: PodRef,
    /// Its sandboxes, by attempt.
    pub sandboxes: Vec<ObservedSandbox>,
    /// Its containers by name, each list by attempt.
    pub containers: BTreeMap<Arc<str>, Vec<ObservedContainer>>,
}

impl Sight {
    /// Nothing of that pod.
    #[must_use]
    pub const fn empty(pod: PodRef) -> Self {
        Self {
            pod,
            sandboxes: Vec::new(),
            containers: BTreeMap::new(),
        }
    }

    /// The newest sandbox that runs.
    #[must_use]
    pub fn sandbox(&self) -> Option<&ObservedSandbox> {
        self.sandboxes.iter().rev().find(|sandbox| sandbox.running)
    }

    /// The newest attempt at a container.
    #[must_use]
    pub fn latest(&self, name: &str) -> Option<&ObservedContainer> {
        self.containers.get(name)?.last()
    }

    /// The newest attempt at a container that was started, and the one before it.
    #[must_use]
    pub fn started(&self, name: &str) -> [Option<&ObservedContainer>; 2] {
        let attempts = self.containers.get(name).into_iter().flatten().rev();
        let mut started = attempts.filter(|one| one.state != ContainerState::Created);
        [started.next(), started.next()]
    }

    /// Every container, whatever its name.
    pub fn all(&self) -> impl Iterator<Item = &ObservedContainer> {
        self.containers.values().flatten()
    }

    /// The container with that id.
    #[must_use]
    pub fn by_id(&self, id: &ContainerId) -> Option<&ObservedContainer> {
        self.all().find(|container| container.id == *id)
    }

    /// Whether nothing is left of the pod.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.containers.is_empty()
    }
}

/// Whether a container runs.
#[must_use]
pub const fn is_running(container: &ObservedContainer) -> bool {
    matches!(container.state, ContainerState::Running { .. })
}

/// Sorts what the runtime listed.
#[must_use]
pub fn sort(observed: Observed) -> Sights {
    let mut sights = Sights::new();
    for sandbox in observed.sandboxes {
        entry(&mut sights, &sandbox.pod).sandboxes.push(sandbox);
    }
    for container in observed.containers {
        let sight = entry(&mut sights, &container.container.pod);
        let name = Arc::clone(&container.container.name);
        sight.containers.entry(name).or_default().push(container);
    }
    for sight in sights.values_mut() {
        sight.sandboxes.sort_by_key(|sandbox| sandbox.attempt);
        for attempts in sight.containers.values_mut() {
            attempts.sort_by_key(|container| container.container.attempt);
        }
    }
    sights
}

fn entry<'a>(sights: &'a mut Sights, pod: &PodRef) -> &'a mut Sight {
    sights
        .entry(Arc::clone(&pod.uid))
        .or_insert_with(|| Sight::empty(pod.clone()))
}
