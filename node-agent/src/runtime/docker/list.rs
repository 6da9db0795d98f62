//! What runs on this node, as the Engine tells it.
//!
//! One list call shows all containers but not when they started or how they ended; that takes an
//! inspection of each. A container moves only from created to running to exited, so the answer is
//! kept per container and state: a settled node costs one call per pass.

mod read;
#[cfg(test)]
mod tests;
mod unread;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{ContainerState as EngineState, ContainerSummary};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use skiff_api::Millis;

use super::error::{Subject, within};
use super::exits::{Exits, Watched};
use super::names::{Identity, Owner};
use crate::runtime::{
    Container, ContainerId, ContainerState, Observed, ObservedContainer, ObservedSandbox,
    RuntimeError, SandboxId, Step, Wake,
};
use read::{ip, network_mode, phase, state};
use unread::Unread;

/// The Engine lists a thousand containers in well under a second unless it is starved.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);
/// An inspection takes milliseconds; of a container that the Engine has locked up it never ends, and
/// the others wait for it.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Inspections under way at once; each is a short read of the Engine's memory.
const INSPECTIONS: usize = 8;

/// How far a container is, as the list shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Created,
    Running,
    Exited,
}

/// What inspections found, by container. Nothing in it outlives its container in the list.
#[derive(Debug, Default)]
pub(super) struct Details {
    // A std mutex: held for reading or replacing the map, never across an await.
    known: Mutex<HashMap<Arc<str>, Detail>>,
    unread: Unread,
    exits: Exits,
}

/// What one inspection found.
#[derive(Clone, Debug)]
struct Detail {
    phase: Phase,
    state: ContainerState,
    /// While its process is watched.
    _watched: Option<Arc<Watched>>,
}

/// What is shown of a container, and what is remembered of it.
type Seen = (ContainerState, Option<Detail>);

/// A container of the list whose state is still to be found.
struct Listed {
    id: Arc<str>,
    phase: Phase,
    container: Container,
    sandbox: SandboxId,
    spec_hash: Arc<str>,
    image: Arc<str>,
    image_id: Arc<str>,
    created_at: Millis,
}

/// Everything that carries this node's labels.
pub(super) async fn list(
    docker: &Docker,
    owner: &Owner,
    details: &Details,
) -> Result<Observed, RuntimeError> {
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&owner.filter())
        .build();
    let call = docker.list_containers(Some(options));
    let summaries = within(Step::List, Subject::Engine, LIST_TIMEOUT, call).await?;
    let mut sandboxes = Vec::new();
    let mut listed = Vec::new();
    for summary in summaries {
        sort(summary, &mut sandboxes, &mut listed);
    }
    let mut containers = details.complete(docker, listed).await?;
    sandboxes
        .sort_by(|a, b| (a.created_at, &a.pod, a.attempt).cmp(&(b.created_at, &b.pod, b.attempt)));
    containers.sort_by(|a, b| (a.created_at, &a.container).cmp(&(b.created_at, &b.container)));
    Ok(Observed {
        sandboxes,
        containers,
    })
}

/// Puts one container of the Engine where it belongs; what we cannot read is left alone.
fn sort(summary: ContainerSummary, sandboxes: &mut Vec<ObservedSandbox>, listed: &mut Vec<Listed>) {
    let identity = summary.labels.as_ref().and_then(Identity::parse);
    let (Some(id), Some(identity)) = (summary.id.as_deref().map(Arc::from), identity) else {
        tracing::debug!(id = ?summary.id, "a container carries this node's labels but not all of them");
        return;
    };
    let created_at = Millis(summary.created.unwrap_or_default().saturating_mul(1000));
    let phase = phase(summary.state);
    match identity {
        Identity::Sandbox { pod, attempt } => sandboxes.push(ObservedSandbox {
            id: SandboxId(id),
            pod,
            attempt,
            ip: ip(&summary),
            running: phase == Phase::Running,
            host_network: network_mode(&summary) == Some("host"),
            created_at,
        }),
        Identity::Container {
            container,
            sandbox,
            spec_hash,
        } => listed.push(Listed {
            id,
            phase,
            container,
            sandbox,
            spec_hash,
            image: summary.image.unwrap_or_default().into(),
            image_id: summary.image_id.unwrap_or_default().into(),
            created_at,
        }),
    }
}

impl Details {
    /// The ends of the containers that were listed as running.
    pub(super) fn ends(&self) -> impl Stream<Item = Wake> + use<> {
        self.exits.wakes()
    }

    async fn complete(
        &self,
        docker: &Docker,
        listed: Vec<Listed>,
    ) -> Result<Vec<ObservedContainer>, RuntimeError> {
        let ids: HashSet<_> = listed.iter().map(|listed| Arc::clone(&listed.id)).collect();
        // It stays as it is until the end: a list may fail, and two may be under way.
        let known = self.lock().clone();
        let found: Vec<_> = stream::iter(listed)
            .map(|listed| async {
                let seen = self.look(docker, &listed, known.get(&listed.id)).await?;
                Ok::<_, RuntimeError>(seen.map(|seen| (listed, seen)))
            })
            .buffered(INSPECTIONS)
            .try_filter_map(|found| std::future::ready(Ok(found)))
            .try_collect()
            .await?;
        let known = found.iter().filter_map(|(listed, (_, detail))| {
            let detail = detail.clone()?;
            Some((Arc::clone(&listed.id), detail))
        });
        *self.lock() = known.collect();
        self.unread.retain(&ids);
        Ok(found
            .into_iter()
            .map(|(listed, (state, _))| listed.in_state(state))
            .collect())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Detail>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says in which state a container is; `None` if it has been removed since it was listed. Only
    /// an Engine that is away is a failure: one that is there lists the others.
    async fn look(
        &self,
        docker: &Docker,
        listed: &Listed,
        known: Option<&Detail>,
    ) -> Result<Option<Seen>, RuntimeError> {
        if let Some(known) = known.filter(|known| known.phase == listed.phase) {
            return Ok(Some((known.state.clone(), Some(known.clone()))));
        }
        if self.unread.is_due(listed) {
            match self.detail(docker, listed).await {
                Ok(found) => return Ok(found.map(|found| (found.state.clone(), Some(found)))),
                Err(error @ RuntimeError::Unreachable { .. }) => return Err(error),
                Err(error) => self.unread.note(listed, &error),
            }
        }
        // What is remembered stays: it holds for the phase before.
        let before = known.map(|known| &known.state);
        Ok(Some((self.unread.stand_in(listed, before), known.cloned())))
    }

    /// Looks at a container; `None` if it has been removed since it was listed.
    async fn detail(
        &self,
        docker: &Docker,
        listed: &Listed,
    ) -> Result<Option<Detail>, RuntimeError> {
        let phase = listed.phase;
        if phase == Phase::Created {
            let state = ContainerState::Created;
            return Ok(Some(Detail {
                phase,
                state,
                _watched: None,
            }));
        }
        let found = inspect(docker, &listed.id).await?;
        Ok(found.map(|found| {
            let pid = found.pid.and_then(|pid| i32::try_from(pid).ok());
            let state = state(found);
            let running = matches!(state, ContainerState::Running { .. });
            let watched = pid.filter(|_| running).and_then(|pid| {
                let wake = Wake {
                    pod_uid: Arc::clone(&listed.container.pod.uid),
                    ended: Some(ContainerId(Arc::clone(&listed.id))),
                };
                self.exits.watch(&listed.id, pid, wake)
            });
            Detail {
                phase,
                state,
                _watched: watched.map(Arc::new),
            }
        }))
    }
}

impl Listed {
    fn in_state(self, state: ContainerState) -> ObservedContainer {
        ObservedContainer {
            id: ContainerId(self.id),
            container: self.container,
            sandbox: self.sandbox,
            image: self.image,
            image_id: self.image_id,
            state,
            spec_hash: self.spec_hash,
            created_at: self.created_at,
        }
    }
}

/// The state of a container; `None` if it has been removed since it was listed.
async fn inspect(docker: &Docker, id: &str) -> Result<Option<EngineState>, RuntimeError> {
    let call = async {
        match docker
            .inspect_container(id, None::<InspectContainerOptions>)
            .await
        {
            Err(Error::DockerResponseServerError {
                status_code: 404, ..
            }) => Ok(None),
            other => other.map(Some),
        }
    };
    let found = within(Step::List, Subject::Existing(id), INSPECT_TIMEOUT, call).await?;
    Ok(found.map(|found| found.state.unwrap_or_default()))
}
