//! What the gateway tells the servers of itself, again and again: that it is there, how it fares, and
//! what it counts of canaries that are being judged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use skiff_api::gateway::{PATH, Report};
use skiff_client::{Client, Request};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::serve::Shared;
use crate::trial;

/// How often the servers are told: a bad canary is found out this much later at most.
const EVERY: Duration = Duration::from_secs(2);

/// All requests since the start, whatever has become of their routes.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    requests: AtomicU64,
    errors: AtomicU64,
}

impl Totals {
    /// The head of an answer is there.
    pub(crate) fn answered(&self, code: StatusCode) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if code.is_server_error() {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Shows a new report again and again, for as long as it is polled.
pub(crate) async fn keep(shared: Arc<Shared>, shown: watch::Sender<Arc<Report>>) {
    let instance = format!("{:016x}", rand::random::<u64>());
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut gateway = shown.borrow().gateway.clone();
        let connections = shared.connections.load(Ordering::Relaxed);
        gateway.connections = u64::try_from(connections).unwrap_or(u64::MAX);
        gateway.requests = shared.totals.requests.load(Ordering::Relaxed);
        gateway.errors = shared.totals.errors.load(Ordering::Relaxed);
        shown.send_replace(Arc::new(Report {
            instance: instance.clone(),
            gateway,
            canaries: trial::observed(&shared.live()),
        }));
    }
}

/// Sends each report to the servers. One that is lost is made up for by the next.
pub(crate) async fn send(client: Client, mut reports: watch::Receiver<Arc<Report>>) {
    let mut failing = false;
    while reports.changed().await.is_ok() {
        let report = Arc::clone(&reports.borrow_and_update());
        let request = Request::new(http::Method::POST, PATH).json("application/json", &*report);
        let sent = match request {
            Ok(request) => client.bytes(request).await.map(drop),
            Err(error) => Err(error),
        };
        match sent {
            Ok(()) => failing = false,
            Err(error) if failing => tracing::debug!(%error, "still cannot report to the servers"),
            Err(error) => {
                failing = true;
                tracing::warn!(%error, "cannot report to the servers; will retry");
            }
        }
    }
}
