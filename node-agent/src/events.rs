//! Kubernetes Events about pods: what a person reads to find out why. Told to a bounded queue and
//! sent by one task; a repeated event raises a count instead of making another object.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use skiff_api::{Key, Kind, Millis};
use tokio::sync::mpsc;

use crate::chain::Chain;
use crate::identity::wall_clock;
use crate::pod::DesiredPod;
use crate::runtime::PodRef;
use crate::servers::{Presence, Servers};

/// Events waiting to be sent; when the servers are away, later ones are dropped: they are news,
/// not state.
const QUEUE: usize = 512;

/// Events whose counts are remembered; beyond it the least recent are forgotten.
const KNOWN_MAX: usize = 1024;

/// A repeated event is counted on its object for so long; after that it becomes a new one.
const SAME: Duration = Duration::from_secs(3600);

/// The longest message that Kubernetes keeps in an event, in bytes.
const MESSAGE_MAX: usize = 1024;

/// Whether an event is good or bad news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// As it should be.
    Normal,
    /// Somebody may want to look.
    Warning,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    pod: PodRef,
    /// The part of the pod, as `spec.containers{web}`; empty for the whole.
    field_path: String,
    tone: Tone,
    reason: &'static str,
    message: String,
}

/// Takes events; cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<Note>,
}

/// The other end: what is to be sent.
#[derive(Debug)]
pub struct Outbox {
    queue: mpsc::Receiver<Note>,
}

/// Makes both ends.
#[must_use]
pub fn channel() -> (Events, Outbox) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Events { queue: sender }, Outbox { queue: receiver })
}

impl Events {
    /// Tells something about a pod.
    pub fn pod(&self, pod: &PodRef, tone: Tone, reason: &'static str, message: String) {
        self.tell(pod, String::new(), tone, reason, message);
    }

    /// Tells something about a container of a pod.
    pub fn container(
        &self,
        (pod, name): (&DesiredPod, &str),
        tone: Tone,
        reason: &'static str,
        message: String,
    ) {
        let is_init = pod
            .spec()
            .init_containers
            .iter()
            .flatten()
            .any(|c| c.name == name);
        let list = if is_init {
            "initContainers"
        } else {
            "containers"
        };
        self.tell(
            &pod.pod,
            format!("spec.{list}{{{name}}}"),
            tone,
            reason,
            message,
        );
    }

    fn tell(
        &self,
        pod: &PodRef,
        field_path: String,
        tone: Tone,
        reason: &'static str,
        message: String,
    ) {
        tracing::debug!(%pod, reason, "{message}");
        let message = cut(message);
        let note = Note {
            pod: pod.clone(),
            field_path,
            tone,
            reason,
            message,
        };
        if self.queue.try_send(note).is_err() {
            tracing::debug!(%pod, reason, "event dropped: the queue is full");
        }
    }
}

fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_MAX {
        let end = (0..=MESSAGE_MAX - 3)
            .rev()
            .find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or(0));
        message.push_str("...");
    }
    message
}

/// An event that the servers have.
#[derive(Clone, Debug)]
struct Known {
    name: String,
    count: u32,
    last: Millis,
}

/// Sends events until the last [`Events`] is gone.
pub async fn send(mut outbox: Outbox, servers: Arc<dyn Servers>, node: &str) {
    let mut known: BTreeMap<Note, Known> = BTreeMap::new();
    while let Some(note) = outbox.queue.recv().await {
        let now = wall_clock();
        let before = known
            .get(&note)
            .filter(|known| now.since(known.last) < SAME)
            .cloned();
        let sent = match before {
            Some(before) => repeat(&*servers, &note, before, now).await,
            None => None,
        };
        let sent = match sent {
            Some(sent) => Some(sent),
            None => first(&*servers, &note, node, now).await,
        };
        if let Some(sent) = sent {
            known.insert(note, sent);
        }
        if known.len() > KNOWN_MAX {
            let mut times: Vec<Millis> = known.values().map(|known| known.last).collect();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied().unwrap_or(now);
            known.retain(|_, known| known.last >= middle);
        }
    }
}

/// Raises the count of an event; none if its object is gone.
async fn repeat(servers: &dyn Servers, note: &Note, before: Known, now: Millis) -> Option<Known> {
    let count = before.count.saturating_add(1);
    let key = Key::new(Kind::Event, &note.pod.namespace, &before.name);
    let patch = json!({"count": count, "lastTimestamp": now.rfc3339()});
    match servers.patch_event(&key, patch).await {
        Ok(Presence::Known) => Some(Known {
            count,
            last: now,
            ..before
        }),
        Ok(Presence::Gone) => None,
        Err(error) => {
            tracing::debug!(error = %Chain(&error), "cannot count an event");
            Some(before)
        }
    }
}

async fn first(servers: &dyn Servers, note: &Note, node: &str, now: Millis) -> Option<Known> {
    let name = format!("{}.{:016x}", note.pod.name, rand::random::<u64>());
    let event = object(note, &name, node, now);
    match servers.create_event(&note.pod.namespace, event).await {
        Ok(()) => Some(Known {
            name,
            count: 1,
            last: now,
        }),
        Err(error) => {
            tracing::debug!(error = %Chain(&error), "cannot send an event");
            None
        }
    }
}

fn object(note: &Note, name: &str, node: &str, now: Millis) -> Value {
    let at = now.rfc3339();
    let mut event = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": &*note.pod.namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": &*note.pod.namespace,
            "name": &*note.pod.name,
            "uid": &*note.pod.uid,
        },
        "type": match note.tone { Tone::Normal => "Normal", Tone::Warning => "Warning" },
        "reason": note.reason,
        "message": note.message,
        "source": {"component": "kubelet", "host": node},
        "reportingComponent": "kubelet",
        "reportingInstance": node,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    });
    let object = event
        .pointer_mut("/involvedObject")
        .and_then(Value::as_object_mut);
    if let Some(object) = object.filter(|_| !note.field_path.is_empty()) {
        object.insert("fieldPath".into(), json!(note.field_path));
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let cases = [
            ("short", "short".to_owned(), 5),
            ("exactly full", "x".repeat(MESSAGE_MAX), MESSAGE_MAX),
            ("too long", "x".repeat(MESSAGE_MAX + 1), MESSAGE_MAX),
            ("wide characters", "é".repeat(MESSAGE_MAX), MESSAGE_MAX),
        ];
        for (name, message, most) in cases {
            assert!(cut(message).len() <= most, "{name}");
        }
    }
}
