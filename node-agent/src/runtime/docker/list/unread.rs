//! Containers that the Engine lists but cannot describe: their files are lost, or it has locked
//! them up. They must not hide all the others, so something is said in place of what is not known.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Listed, Phase};
use crate::chain::Chain;
use crate::runtime::{ContainerState, RuntimeError};

/// So long the Engine is not asked again about such a container: each time may cost a time-out.
pub(super) const PAUSE: Duration = Duration::from_secs(15);

/// Tries before an end that cannot be read counts as one: it may end a pod for good, and the first
/// try may have met a busy Engine.
const TRIES: u32 = 2;

/// The exit code of a container that ended in an unknown way.
const UNKNOWN: i64 = 255;

/// The containers of the list that could not be read, by id.
#[derive(Debug, Default)]
// A std mutex: held for a few lines of memory, never across an await.
pub(super) struct Unread(Mutex<HashMap<Arc<str>, Failure>>);

/// What came of asking about one.
#[derive(Debug)]
struct Failure {
    /// What it was listed as; in another phase it is another question.
    phase: Phase,
    tries: u32,
    asked: Instant,
    words: Arc<str>,
}

impl Unread {
    /// Whether the Engine may be asked about a container.
    pub(super) fn is_due(&self, listed: &Listed) -> bool {
        let all = self.lock();
        let failure = all.get(&listed.id).filter(|one| one.phase == listed.phase);
        failure.is_none_or(|failure| failure.asked.elapsed() >= PAUSE)
    }

    /// It was asked in vain.
    pub(super) fn note(&self, listed: &Listed, error: &RuntimeError) {
        let words: Arc<str> = Chain(error).to_string().into();
        let mut all = self.lock();
        let before = all.get(&listed.id).filter(|one| one.phase == listed.phase);
        if before.is_none() {
            let container = &listed.container;
            tracing::warn!(
                pod = %container.pod, container = %container.name, id = %listed.id, error = %words,
                "a container cannot be inspected"
            );
        }
        let failure = Failure {
            phase: listed.phase,
            tries: before.map_or(1, |failure| failure.tries.saturating_add(1)),
            asked: Instant::now(),
            words,
        };
        all.insert(Arc::clone(&listed.id), failure);
    }

    /// The state to show of a container that could not be read, given the one it was in before.
    pub(super) fn stand_in(
        &self,
        listed: &Listed,
        before: Option<&ContainerState>,
    ) -> ContainerState {
        let created_at = listed.created_at;
        let all = self.lock();
        let failure = all.get(&listed.id).filter(|one| one.phase == listed.phase);
        match (listed.phase, failure) {
            (Phase::Created, _) => ContainerState::Created,
            (Phase::Exited, Some(failure)) if failure.tries >= TRIES => ContainerState::Exited {
                code: UNKNOWN,
                oom_killed: false,
                // The same at each look, and of each agent.
                started_at: created_at,
                finished_at: created_at,
                error: Arc::clone(&failure.words),
            },
            (Phase::Running | Phase::Exited, _) => before.cloned().unwrap_or({
                ContainerState::Running {
                    started_at: created_at,
                }
            }),
        }
    }

    /// Drops those that are no longer listed.
    pub(super) fn retain(&self, listed: &HashSet<Arc<str>>) {
        self.lock().retain(|id, _| listed.contains(id));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
