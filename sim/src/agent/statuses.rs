//! Statuses on their way to the servers: the newest of each pod, as the agent keeps them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use skiff_api::k8s_openapi::api::core::v1::PodStatus;
use skiff_node_agent::pod::DesiredPod;
use skiff_node_agent::report::patch;
use skiff_node_agent::runtime::PodRef;

use crate::time::Time;

/// Patches under way at once.
const PARALLEL: usize = 16;
/// A status that was sent and does not show is sent again after this.
const ECHO: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Statuses(BTreeMap<Arc<str>, Entry>);

#[derive(Debug)]
struct Entry {
    pod: PodRef,
    waiting: Option<PodStatus>,
    sent: Option<(PodStatus, Time)>,
    under_way: bool,
    not_before: Time,
}

impl Statuses {
    /// Makes a pod's status known, unless the servers know it or are just being told.
    pub(super) fn tell(&mut self, now: Time, pod: &DesiredPod, status: PodStatus) {
        let known = pod.wire.status.as_ref() == Some(&status);
        let entry = self
            .0
            .entry(Arc::clone(&pod.pod.uid))
            .or_insert_with(|| Entry {
                pod: pod.pod.clone(),
                waiting: None,
                sent: None,
                under_way: false,
                not_before: now,
            });
        let told = entry
            .sent
            .as_ref()
            .is_some_and(|(sent, at)| *sent == status && now.since(*at) < ECHO);
        entry.waiting = if known || told { None } else { Some(status) };
    }

    /// Forgets the pods that `keep` does not name.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|uid, _| keep(uid));
    }

    /// The next status to send; it counts as sent from now on.
    pub(super) fn take(&mut self, now: Time) -> Option<(PodRef, Value)> {
        if self.0.values().filter(|one| one.under_way).count() >= PARALLEL {
            return None;
        }
        let due =
            |one: &&mut Entry| one.waiting.is_some() && !one.under_way && one.not_before <= now;
        let entry = self.0.values_mut().find(due)?;
        let status = entry.waiting.take()?;
        let body = patch(&entry.pod.uid, &status);
        entry.sent = Some((status, now));
        entry.under_way = true;
        Some((entry.pod.clone(), body))
    }

    /// Notes that a status arrived, or is to be sent again later.
    pub(super) fn sent(&mut self, uid: &str, arrived: bool, again_at: Time) {
        let Some(entry) = self.0.get_mut(uid) else {
            return;
        };
        entry.under_way = false;
        if !arrived {
            let lost = entry.sent.take().map(|(status, _)| status);
            entry.waiting = entry.waiting.take().or(lost);
            entry.not_before = again_at;
        }
    }
}
