//! When a container that ended is started again: Kubernetes' restart policy and back-off.
//!
//! The back-off is read off the runtime: the time between the end of the attempt before and the
//! start of the newest is the wait of last time. So it survives the agent.

use std::time::Duration;

use skiff_api::Millis;

use crate::memory::{BACKOFF_FIRST, BACKOFF_MAX, doubled, due};
use crate::pod::{DesiredPod, Part, RestartPolicy, Role};
use crate::runtime::{ContainerState, ObservedContainer};
use crate::sight::Sight;

/// A container that ran this long is no longer in a crash loop. Kubernetes'.
const RECOVERED: Duration = Duration::from_secs(600);

/// Whether a container that has ended is to be started again.
#[must_use]
pub fn will_restart(pod: &DesiredPod, part: &Part, ended: &ObservedContainer) -> bool {
    let ContainerState::Exited { code, .. } = ended.state else {
        return false;
    };
    let policy = match part.role {
        Role::Sidecar => RestartPolicy::Always,
        Role::Main => pod.restart,
        // An init container that succeeded is done, whatever the policy.
        Role::Init if pod.restart == RestartPolicy::Always => RestartPolicy::OnFailure,
        Role::Init => pod.restart,
    };
    match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => code != 0,
        RestartPolicy::Never => false,
    }
}

/// The wait that the newest attempt at a container is in, and when it is over; none if it has not
/// ended or its restart is due at once.
#[must_use]
pub fn restart_due(sight: &Sight, name: &str, now: Millis) -> Option<(Duration, Millis)> {
    let latest = sight.latest(name)?;
    let ContainerState::Exited {
        started_at,
        finished_at,
        ..
    } = latest.state
    else {
        return None;
    };
    let [_, before] = sight.started(name);
    let waited = before.and_then(|before| match before.state {
        ContainerState::Exited { finished_at, .. } => Some(started_at.since(finished_at)),
        ContainerState::Created | ContainerState::Running { .. } => None,
    });
    let ran = finished_at.since(started_at);
    let pause = pause(latest.container.attempt, ran, waited.unwrap_or_default());
    (!pause.is_zero()).then(|| (pause, due(finished_at, pause, now)))
}

/// The wait before the attempt that follows number `attempt`, which ran for `ran` after a wait of
/// `waited`. A wait that was long for other reasons counts for no more than the attempts explain.
fn pause(attempt: u32, ran: Duration, waited: Duration) -> Duration {
    if attempt == 0 || ran >= RECOVERED {
        return Duration::ZERO;
    }
    let explained = doubled(BACKOFF_FIRST, attempt - 1);
    let mut next = BACKOFF_FIRST;
    while next <= waited && next < BACKOFF_MAX {
        next = (next * 2).min(BACKOFF_MAX);
    }
    next.min(explained)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_are_forgotten() {
        let s = Duration::from_secs;
        let cases = [
            ("the first end costs nothing", 0, 1, 0, 0),
            ("the second end costs ten seconds", 1, 1, 0, 10),
            ("a wait of ten doubles", 2, 1, 10, 20),
            (
                "and doubles, though the wait took a little longer",
                3,
                1,
                21,
                40,
            ),
            ("and doubles", 5, 1, 81, 160),
            ("up to five minutes", 6, 1, 161, 300),
            ("and no further", 7, 1, 301, 300),
            ("ten minutes of running forgive everything", 7, 600, 301, 0),
            ("an hour without an engine is no crash loop", 1, 1, 3600, 10),
            ("the first quick end after a long run", 8, 5, 0, 10),
        ];
        for (name, attempt, ran, waited, expected) in cases {
            assert_eq!(pause(attempt, s(ran), s(waited)), s(expected), "{name}");
        }
    }
}
