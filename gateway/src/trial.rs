//! What is counted of a canary that is being judged, and beside it.
//! Counts what the weight or the header decided about, and nothing that was refused before.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use skiff_api::canary::{BUCKETS, Counts, Observed, bucket};

use crate::live::Live;
use crate::metrics::Version;

/// Counts of an Ingress' canary, all of its routes together.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    stable: Tally,
    canary: Tally,
}

#[derive(Debug)]
struct Tally {
    errors: AtomicU64,
    latency: [AtomicU64; BUCKETS as usize],
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            errors: AtomicU64::new(0),
            latency: [const { AtomicU64::new(0) }; BUCKETS as usize],
        }
    }
}

impl Trial {
    /// An answer's head was there after so long.
    pub(crate) fn answered(&self, version: Version, code: StatusCode, after: Duration) {
        let tally = match version {
            Version::Stable => &self.stable,
            Version::Canary => &self.canary,
        };
        let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = tally.latency.get(usize::from(bucket(micros))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if code.is_server_error() {
            tally.errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Tally {
    fn counts(&self) -> Counts {
        let counts = self.latency.iter().zip(0..);
        let counts = counts.map(|(count, bucket)| (bucket, count.load(Ordering::Relaxed)));
        Counts {
            errors: self.errors.load(Ordering::Relaxed),
            latency: counts.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

/// All canaries that are being judged, with what was counted.
pub(crate) fn observed(live: &Live) -> Vec<Observed> {
    let mut found = BTreeMap::new();
    for route in live.routes() {
        let canary = route.route.canary.as_ref();
        let auto = canary.and_then(|canary| canary.auto.as_ref());
        let (Some(auto), Some(trial)) = (auto, &route.trial) else {
            continue;
        };
        let ingress = &route.route.ingress;
        found.entry(ingress).or_insert_with(|| Observed {
            namespace: ingress.namespace.to_string(),
            name: ingress.name.to_string(),
            uid: ingress.uid.to_string(),
            step: auto.step.clone(),
            stable: trial.stable.counts(),
            canary: trial.canary.counts(),
        });
    }
    found.into_values().collect()
}
