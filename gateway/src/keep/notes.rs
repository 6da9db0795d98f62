//! Notes about Ingresses become Events. Their names come from what they say, so that several
//! gateways that see the same make one Event of it.

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use skiff_api::{Kind, Reason};
use skiff_client::{Client, WriteOptions};
use tokio::sync::mpsc;

use crate::route::Note;

/// The longest message that Kubernetes keeps in an event, in characters.
const MESSAGE_MAX: usize = 1024;

/// Sends notes until the last sender is gone.
pub(crate) async fn tell(client: Client, host: String, mut notes: mpsc::Receiver<Note>) {
    while let Some(note) = notes.recv().await {
        let event = event(&note, &host, &jiff::Timestamp::now().to_string());
        let namespace = Some(&*note.ingress.namespace);
        let options = WriteOptions::by("skiff-gateway");
        let sent = client
            .create::<Value>(Kind::Event, namespace, &event, &options)
            .await;
        match sent {
            Ok(_) => {}
            Err(error) if error.is(Reason::AlreadyExists) => {}
            Err(error) => tracing::debug!(%error, ingress = %note.ingress, "event not sent"),
        }
    }
}

fn event(note: &Note, host: &str, now: &str) -> Value {
    let ingress = &note.ingress;
    let told = format!("{}\n{}\n{}", ingress.uid, note.reason, note.message);
    let hash = digest(&SHA256, told.as_bytes());
    let hash: String = hash
        .as_ref()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let message: String = note.message.chars().take(MESSAGE_MAX).collect();
    // `2026-01-02T03:04:05Z`: Kubernetes' older time has no fraction.
    let seconds = now
        .split_once('.')
        .map_or(now.to_owned(), |(whole, _)| format!("{whole}Z"));
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": format!("{}.{hash}", ingress.name),
            "namespace": &*ingress.namespace,
        },
        "involvedObject": {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "namespace": &*ingress.namespace,
            "name": &*ingress.name,
            "uid": &*ingress.uid,
        },
        "type": "Warning",
        "reason": note.reason,
        "message": message,
        "source": {"component": "skiff-gateway", "host": host},
        "reportingComponent": "skiff-gateway",
        "reportingInstance": host,
        "firstTimestamp": seconds,
        "lastTimestamp": seconds,
        "count": 1,
    })
}
