//! The status of each container: its state, the state before, and whether it is ready.

use std::sync::Arc;

use skiff_api::k8s_openapi::api::core::v1::{
    ContainerState as WireState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus,
};

use super::{Facts, time};
use crate::memory::WHOLE_POD;
use crate::plan::{is_over, restart_due, will_restart};
use crate::pod::{Part, Role};
use crate::runtime::{ContainerState, ObservedContainer};

/// A container's status, and what it is for.
#[derive(Clone, Debug)]
pub(super) struct Reported {
    pub(super) role: Role,
    pub(super) status: ContainerStatus,
    /// It has ended and will be started again.
    pub(super) returns: bool,
}

impl Reported {
    /// Its exit code, if its state is that it ended.
    pub(super) fn exit_code(&self) -> Option<i32> {
        self.status
            .state
            .as_ref()?
            .terminated
            .as_ref()
            .map(|ended| ended.exit_code)
    }

    /// It ended well.
    pub(super) fn has_succeeded(&self) -> bool {
        self.exit_code() == Some(0)
    }

    /// It runs.
    pub(super) fn is_running(&self) -> bool {
        self.status
            .state
            .as_ref()
            .is_some_and(|state| state.running.is_some())
    }
}

/// The statuses of all containers, in the order of their start.
pub(super) fn report(facts: &Facts<'_>) -> Vec<Reported> {
    facts
        .pod
        .parts
        .iter()
        .map(|part| one(facts, part))
        .collect()
}

fn one(facts: &Facts<'_>, part: &Part) -> Reported {
    let image = facts
        .pod
        .container(&part.name)
        .and_then(|container| container.image.clone());
    // A container that was created and not started is not shown: its failure is, or what was before.
    let [latest, previous] = facts.sight.started(&part.name);
    let Some(latest) = latest else {
        return Reported {
            role: part.role,
            status: unseen(facts, part, image.unwrap_or_default()),
            returns: false,
        };
    };
    let verdict = facts.health.of(part, &latest.id);
    let running = matches!(latest.state, ContainerState::Running { .. });
    let returns = will_restart(facts.pod, part, latest)
        && facts.pod.deletion.is_none()
        && !is_over(facts.pod, facts.sight, facts.now);
    let waiting = if returns { waiting(facts, part) } else { None };
    let dead = if waiting.is_some() {
        Some(latest)
    } else {
        previous
    };
    let last_state = last_state(facts, part, dead);
    let ready = match part.role {
        Role::Init => matches!(latest.state, ContainerState::Exited { code: 0, .. }),
        Role::Sidecar | Role::Main => running && verdict.ready,
    };
    let status = ContainerStatus {
        name: part.name.to_string(),
        state: Some(match waiting {
            Some(waiting) => WireState {
                waiting: Some(waiting),
                ..WireState::default()
            },
            None => state(facts, latest),
        }),
        last_state,
        ready,
        started: Some(running && verdict.started),
        restart_count: i32::try_from(latest.container.attempt).unwrap_or(i32::MAX),
        image: latest.image.to_string(),
        image_id: latest.image_id.to_string(),
        container_id: Some(wire_id(facts, latest)),
        ..ContainerStatus::default()
    };
    Reported {
        role: part.role,
        status,
        returns,
    }
}

/// How the attempt before ended: seen, or known to the servers.
fn last_state(
    facts: &Facts<'_>,
    part: &Part,
    dead: Option<&ObservedContainer>,
) -> Option<WireState> {
    let known = || facts.pod.known_status(&part.name)?.last_state.clone();
    let seen = dead.and_then(|dead| terminated(facts, dead));
    let seen = seen.map(|ended| WireState {
        terminated: Some(ended),
        ..WireState::default()
    });
    seen.or_else(known)
}

/// The status of a container of which nothing exists: it waits, or it is lost.
fn unseen(facts: &Facts<'_>, part: &Part, image: String) -> ContainerStatus {
    let known = facts.pod.known_status(&part.name);
    let ended = known
        .filter(|_| facts.pod.terminal)
        .and_then(|known| known.state.clone())
        .filter(|state| state.terminated.is_some());
    let waiting = || WireState {
        waiting: Some(not_yet(facts, part)),
        ..WireState::default()
    };
    ContainerStatus {
        name: part.name.to_string(),
        image: known.map_or(image, |known| known.image.clone()),
        image_id: known
            .map(|known| known.image_id.clone())
            .unwrap_or_default(),
        container_id: known.and_then(|known| known.container_id.clone()),
        restart_count: known.map_or(0, |known| known.restart_count),
        last_state: known.and_then(|known| known.last_state.clone()),
        ready: false,
        started: Some(false),
        state: Some(ended.unwrap_or_else(waiting)),
        ..ContainerStatus::default()
    }
}

/// Why a container has not been started yet.
fn not_yet(facts: &Facts<'_>, part: &Part) -> ContainerStateWaiting {
    let uid = &facts.pod.pod.uid;
    if let Some(failure) = facts
        .failures
        .get(uid, &part.name)
        .or_else(|| facts.failures.get(uid, WHOLE_POD))
    {
        return reason(
            failure.reason(facts.now),
            Some(Arc::clone(&failure.message)),
        );
    }
    let initializing = part.role == Role::Main
        && facts.pod.parts.iter().any(|part| {
            part.role == Role::Init
                && !facts.sight.latest(&part.name).is_some_and(|container| {
                    matches!(container.state, ContainerState::Exited { code: 0, .. })
                })
        });
    reason(
        if initializing {
            "PodInitializing"
        } else {
            "ContainerCreating"
        },
        None,
    )
}

/// What a container that ended waits for, unless it is started again at once.
fn waiting(facts: &Facts<'_>, part: &Part) -> Option<ContainerStateWaiting> {
    if let Some(failure) = facts.failures.get(&facts.pod.pod.uid, &part.name) {
        return Some(reason(
            failure.reason(facts.now),
            Some(Arc::clone(&failure.message)),
        ));
    }
    let (pause, due) = restart_due(facts.sight, &part.name, facts.now)?;
    (due > facts.now).then(|| {
        let pod = &facts.pod.pod;
        let message = format!(
            "back-off {}s restarting failed container={} pod={}_{}({})",
            pause.as_secs(),
            part.name,
            pod.name,
            pod.namespace,
            pod.uid
        );
        reason("CrashLoopBackOff", Some(message.into()))
    })
}

fn reason(reason: &str, message: Option<Arc<str>>) -> ContainerStateWaiting {
    ContainerStateWaiting {
        reason: Some(reason.to_owned()),
        message: message.map(|message| message.to_string()),
    }
}

fn state(facts: &Facts<'_>, container: &ObservedContainer) -> WireState {
    let running = match container.state {
        ContainerState::Running { started_at } => Some(ContainerStateRunning {
            started_at: Some(time(started_at)),
        }),
        ContainerState::Created | ContainerState::Exited { .. } => None,
    };
    WireState {
        running,
        terminated: terminated(facts, container),
        waiting: None,
    }
}

fn terminated(
    facts: &Facts<'_>,
    container: &ObservedContainer,
) -> Option<ContainerStateTerminated> {
    let ContainerState::Exited {
        code,
        oom_killed,
        started_at,
        finished_at,
        error,
    } = &container.state
    else {
        return None;
    };
    let reason = match (oom_killed, code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        (false, _) if !error.is_empty() => "ContainerCannotRun",
        (false, _) => "Error",
    };
    let words = facts.last_words.get(&container.id).filter(|_| *code != 0);
    let message = if error.is_empty() {
        words.cloned()
    } else {
        Some(Arc::clone(error))
    };
    Some(ContainerStateTerminated {
        container_id: Some(wire_id(facts, container)),
        exit_code: i32::try_from(*code).unwrap_or(i32::MAX),
        finished_at: Some(time(*finished_at)),
        started_at: Some(time(*started_at)),
        message: message
            .map(|message| message.to_string())
            .filter(|words| !words.is_empty()),
        reason: Some(reason.to_owned()),
        signal: None,
    })
}

fn wire_id(facts: &Facts<'_>, container: &ObservedContainer) -> String {
    format!("{}://{}", facts.scheme, container.id)
}
