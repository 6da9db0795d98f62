//! What gateways count of canaries that judge themselves, on the leader.
//!
//! All of it is kept in memory: a leader that loses it, or a new one, begins the step anew.

mod windows;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use skiff_api::canary::{Auto, Observed};
use skiff_api::gateway::Host;
use skiff_api::{Key, Kind, Object, Uid};
use skiff_engine::State;
use skiff_engine::plan::{self, Memory};

use self::windows::Windows;

/// The steps of all canaries that are being judged. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Canaries(Arc<Mutex<Windows>>);

/// A canary that gateways report on.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    /// Its Ingress, as it is now.
    pub(crate) ingress: Object,
    /// What was counted of the step that it is at.
    pub(crate) memory: Memory,
}

impl Canaries {
    /// Takes what an instance of a gateway has observed; returns how much of it is being judged.
    pub(super) fn take(
        &self,
        (host, name): &(Host, String),
        instance: &str,
        canaries: Vec<Observed>,
        state: &State,
        now: Instant,
    ) -> usize {
        let gateway = match host {
            Host::Node => format!("node {name}"),
            Host::Server => format!("server {name}"),
        };
        let mut windows = self.lock();
        let mut judged = 0;
        for observed in canaries {
            // What is not judged takes no memory.
            if let Some((ingress, _)) = find(state, &key_of(&observed), &observed.uid) {
                windows.take((&gateway, instance), ingress.key(), observed, now);
                judged += 1;
            }
        }
        judged
    }

    /// Forgets everything: who begins to lead knows nothing of what was counted before.
    pub(crate) fn forget(&self) {
        *self.lock() = Windows::default();
    }

    /// The canaries that are reported on and to be judged, each with what is known of its step.
    pub(crate) fn trials(&self, state: &State, now: Instant) -> Vec<Trial> {
        let mut windows = self.lock();
        windows.drop_silent(now);
        let mut trials = Vec::new();
        windows.retain(|uid, window| match find(state, window.key(), uid) {
            Some((ingress, auto)) => {
                window.enter(&auto.step, now);
                trials.push(Trial {
                    ingress: ingress.clone(),
                    memory: window.memory(now),
                });
                true
            }
            None => false,
        });
        trials
    }

    /// It was said that this canary waits for something.
    pub(crate) fn told(&self, ingress: &Uid) {
        self.lock().told(ingress.as_str());
    }

    fn lock(&self) -> MutexGuard<'_, Windows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_of(observed: &Observed) -> Key {
    Key::new(Kind::Ingress, &observed.namespace, &observed.name)
}

/// The Ingress of a canary that is to be judged, if it is still that one.
fn find<'a>(state: &'a State, key: &Key, uid: &str) -> Option<(&'a Object, Auto)> {
    let ingress = state.get(key)?;
    if ingress.meta().uid.as_str() != uid {
        return None;
    }
    Some((ingress, plan::auto(ingress)?))
}
