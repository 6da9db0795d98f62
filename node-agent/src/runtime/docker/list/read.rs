//! The Engine's words on a container, with all their oddities, in ours. Pure.

use std::net::IpAddr;

use bollard::models::{ContainerState as EngineState, ContainerSummary, ContainerSummaryStateEnum};
use skiff_api::Millis;

use super::Phase;
use crate::runtime::ContainerState;

pub(super) fn state(state: EngineState) -> ContainerState {
    let at = |text: &Option<String>| text.as_deref().and_then(Millis::parse);
    let started_at = at(&state.started_at);
    if state.running == Some(true) {
        return ContainerState::Running {
            started_at: started_at.unwrap_or_default(),
        };
    }
    // The Engine writes the year 1 for "never".
    let finished_at = at(&state.finished_at)
        .filter(|at| at.0 > 0)
        .unwrap_or_default();
    // Of a container that ends at once it may notice the end a few milliseconds before the start.
    let started_at = started_at
        .filter(|at| at.0 > 0)
        .map_or(finished_at, |at| at.min(finished_at));
    ContainerState::Exited {
        code: state.exit_code.unwrap_or_default(),
        oom_killed: state.oom_killed.unwrap_or_default(),
        started_at,
        finished_at,
        error: state.error.unwrap_or_default().into(),
    }
}

pub(super) fn phase(state: Option<ContainerSummaryStateEnum>) -> Phase {
    use ContainerSummaryStateEnum as Engine;
    match state {
        None | Some(Engine::EMPTY | Engine::CREATED) => Phase::Created,
        Some(Engine::RUNNING | Engine::PAUSED | Engine::RESTARTING | Engine::STOPPING) => {
            Phase::Running
        }
        Some(Engine::EXITED | Engine::DEAD | Engine::REMOVING) => Phase::Exited,
    }
}

pub(super) fn network_mode(summary: &ContainerSummary) -> Option<&str> {
    summary.host_config.as_ref()?.network_mode.as_deref()
}

pub(super) fn ip(summary: &ContainerSummary) -> Option<IpAddr> {
    let networks = summary.network_settings.as_ref()?.networks.as_ref()?;
    networks
        .values()
        .find_map(|network| network.ip_address.as_ref()?.parse().ok())
}
