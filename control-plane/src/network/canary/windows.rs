//! What was counted of each canary's step: gateways tell sums that only grow, and what they grew by
//! between two reports of the same step is added up. Pure: whoever tells brings the time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use skiff_api::Key;
use skiff_api::canary::{BUCKETS, Counts, Observed, Step};
use skiff_engine::plan::Memory;

/// A gateway that says nothing for so long is gone. One that nobody hears of takes no memory, and a
/// canary of which nobody tells is not judged.
const SILENT: Duration = Duration::from_secs(30);

/// By the Ingress' uid.
#[derive(Debug, Default)]
pub(super) struct Windows(BTreeMap<String, Window>);

/// One canary's step.
#[derive(Debug)]
pub(super) struct Window {
    key: Key,
    step: Step,
    since: Instant,
    stable: Counts,
    canary: Counts,
    told: bool,
    /// By the gateway.
    last: BTreeMap<String, Last>,
}

/// What a gateway told last.
#[derive(Debug)]
struct Last {
    instance: String,
    at: Instant,
    step: Step,
    stable: Counts,
    canary: Counts,
}

impl Windows {
    /// Takes what an instance of a gateway has observed.
    pub(super) fn take(
        &mut self,
        (gateway, instance): (&str, &str),
        key: &Key,
        observed: Observed,
        now: Instant,
    ) {
        let window = self.0.entry(observed.uid).or_insert_with(|| Window {
            key: key.clone(),
            step: observed.step.clone(),
            since: now,
            stable: Counts::default(),
            canary: Counts::default(),
            told: false,
            last: BTreeMap::new(),
        });
        let last = Last {
            instance: instance.to_owned(),
            at: now,
            step: observed.step,
            stable: known(observed.stable),
            canary: known(observed.canary),
        };
        window.take(gateway, last);
    }

    /// Forgets gateways that are silent, and canaries of which no gateway tells.
    pub(super) fn drop_silent(&mut self, now: Instant) {
        self.0.retain(|_, window| {
            let is_heard = |last: &Last| now.saturating_duration_since(last.at) < SILENT;
            window.last.retain(|_, last| is_heard(last));
            !window.last.is_empty()
        });
    }

    /// Keeps those that `keep` says, after it has seen them.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str, &mut Window) -> bool) {
        self.0.retain(|uid, window| keep(uid, window));
    }

    pub(super) fn told(&mut self, uid: &str) {
        if let Some(window) = self.0.get_mut(uid) {
            window.told = true;
        }
    }
}

impl Window {
    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// The step that the Ingress is at now: another one begins with nothing.
    pub(super) fn enter(&mut self, step: &Step, now: Instant) {
        if self.step == *step {
            return;
        }
        self.step = step.clone();
        self.since = now;
        self.stable = Counts::default();
        self.canary = Counts::default();
        self.told = false;
    }

    pub(super) fn memory(&self, now: Instant) -> Memory {
        Memory {
            step: self.step.clone(),
            age: now.saturating_duration_since(self.since),
            stable: self.stable.clone(),
            canary: self.canary.clone(),
            told: self.told,
        }
    }

    fn take(&mut self, gateway: &str, next: Last) {
        let known = self.last.get(gateway);
        // Between these two the gateway may have gone from step to step, or have started anew: what
        // it counted meanwhile is nobody's.
        let same = |last: &&Last| {
            last.instance == next.instance && last.step == self.step && next.step == self.step
        };
        let grown = known.filter(same).and_then(|last| {
            let stable = next.stable.since(&last.stable)?;
            Some((stable, next.canary.since(&last.canary)?))
        });
        if let Some((stable, canary)) = grown {
            self.stable.add(&stable);
            self.canary.add(&canary);
        }
        self.last.insert(gateway.to_owned(), next);
    }
}

/// Counts without the buckets that there are none of.
fn known(mut counts: Counts) -> Counts {
    counts.latency.retain(|bucket, _| *bucket < BUCKETS);
    counts
}

#[cfg(test)]
mod tests;
