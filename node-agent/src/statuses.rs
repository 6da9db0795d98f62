//! Brings pods' statuses to the servers: only what has changed, several at a time, and again when
//! the servers were away. What waits here is the newest status of each pod, never a history.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skiff_api::k8s_openapi::api::core::v1::PodStatus;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::chain::Chain;
use crate::pod::DesiredPod;
use crate::report::patch;
use crate::runtime::PodRef;
use crate::servers::Servers;

/// Patches under way at once; the servers commit them in groups.
const PARALLEL: usize = 16;

/// A status that was sent and does not show is sent again after this.
const ECHO: Duration = Duration::from_secs(5);

/// The wait after servers did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Takes statuses; cheap to clone.
#[derive(Clone, Default)]
pub struct Statuses(Arc<Shared>);

#[derive(Default)]
struct Shared {
    pods: Mutex<BTreeMap<Arc<str>, Entry>>,
    wake: Notify,
}

struct Entry {
    pod: PodRef,
    /// What the servers should know and may not.
    waiting: Option<PodStatus>,
    /// What they were told last, and when.
    sent: Option<(PodStatus, Instant)>,
    /// They are being told right now; a newer status must not overtake.
    under_way: bool,
}

impl Statuses {
    /// Makes a pod's status known, unless the servers know it or are just being told.
    pub fn tell(&self, pod: &DesiredPod, status: PodStatus) {
        let known = pod.wire.status.as_ref() == Some(&status);
        let mut pods = self.lock();
        let entry = pods
            .entry(Arc::clone(&pod.pod.uid))
            .or_insert_with(|| Entry {
                pod: pod.pod.clone(),
                waiting: None,
                sent: None,
                under_way: false,
            });
        let told = entry
            .sent
            .as_ref()
            .is_some_and(|(sent, at)| *sent == status && at.elapsed() < ECHO);
        if known || told {
            entry.waiting = None;
        } else {
            entry.waiting = Some(status);
            self.0.wake.notify_one();
        }
    }

    /// Forgets the pods that `keep` does not name.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.lock().retain(|uid, _| keep(uid));
    }

    /// Sends what waits for as long as it is polled.
    pub async fn send(&self, servers: Arc<dyn Servers>) {
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < PARALLEL {
                let Some((pod, status)) = self.take() else {
                    break;
                };
                let (this, servers) = (self.clone(), Arc::clone(&servers));
                under_way.spawn(async move { this.send_one(&*servers, pod, status).await });
            }
            let full = under_way.len() >= PARALLEL;
            tokio::select! {
                () = self.0.wake.notified(), if !full => {}
                Some(ended) = under_way.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "sending a status broke off");
                    }
                }
            }
        }
    }

    async fn send_one(&self, servers: &dyn Servers, pod: PodRef, status: PodStatus) {
        let failed = servers.report(&pod, patch(&pod.uid, &status)).await.err();
        if let Some(error) = &failed {
            tracing::debug!(%pod, error = %Chain(error), "status not sent; will retry");
            tokio::time::sleep(RETRY).await;
        }
        if let Some(entry) = self.lock().get_mut(&pod.uid) {
            entry.under_way = false;
            if failed.is_some() {
                entry.sent = None;
                entry.waiting.get_or_insert(status);
            }
        }
        self.0.wake.notify_one();
    }

    /// The next status to send; it counts as sent from now on.
    fn take(&self) -> Option<(PodRef, PodStatus)> {
        let mut pods = self.lock();
        let entry = pods
            .values_mut()
            .find(|e| e.waiting.is_some() && !e.under_way)?;
        let status = entry.waiting.take()?;
        entry.sent = Some((status.clone(), Instant::now()));
        entry.under_way = true;
        Some((entry.pod.clone(), status))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Entry>> {
        self.0.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
