//! What is counted of a canary that is being judged, and beside it; and the report of all of these.
//! Counts what the weight or the header decided about, and nothing that was refused before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use skiff_api::canary::{BUCKETS, Counts, Observed, Report, bucket};
use skiff_client::{Client, Request};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::live::Live;
use crate::metrics::Version;
use crate::serve::Shared;

/// How often the servers are told: a bad canary is found out this much later at most.
const EVERY: Duration = Duration::from_secs(2);

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
fn observed(live: &Live) -> Vec<Observed> {
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

/// Shows a new report again and again, for as long as it is polled; none while nothing is judged.
pub(crate) async fn report(
    shared: Arc<Shared>,
    gateway: String,
    shown: watch::Sender<Arc<Report>>,
) {
    let instance = format!("{:016x}", rand::random::<u64>());
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let canaries = observed(&shared.live());
        if !canaries.is_empty() {
            shown.send_replace(Arc::new(Report {
                gateway: gateway.clone(),
                instance: instance.clone(),
                canaries,
            }));
        }
    }
}

/// Sends each report to the servers. One that is lost is made up for by the next.
pub(crate) async fn send(client: Client, mut reports: watch::Receiver<Arc<Report>>) {
    let mut failing = false;
    while reports.changed().await.is_ok() {
        let report = Arc::clone(&reports.borrow_and_update());
        let request = Request::new(http::Method::POST, skiff_api::canary::PATH)
            .json("application/json", &*report);
        let sent = match request {
            Ok(request) => client.bytes(request).await.map(drop),
            Err(error) => Err(error),
        };
        match sent {
            Ok(()) => failing = false,
            Err(error) if failing => tracing::debug!(%error, "still cannot report on canaries"),
            Err(error) => {
                failing = true;
                tracing::warn!(%error, "cannot report on canaries; will retry");
            }
        }
    }
}
