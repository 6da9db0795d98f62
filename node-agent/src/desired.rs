//! The pods bound to this node, kept by a watch (step 11 of the walk).
//! Only tells what is; whoever listens plans from all of it.

use std::sync::Arc;

use serde_json::Value;
use skiff_api::Kind;
use skiff_api::k8s_openapi::api::core::v1::Pod;
use skiff_client::{Client, Event, ListOptions, Watcher};
use tokio::sync::watch;

use crate::chain::Chain;
use crate::pod::{DesiredPod, Pods};

/// What the servers want of this node.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// Whether the servers have said so since this agent started. Until then nothing may be
    /// concluded from a pod's absence.
    pub synced: bool,
    /// The pods.
    pub pods: Pods,
}

/// Follows the pods of a node for as long as it is polled.
pub async fn follow(client: Client, node: &str, desired: &watch::Sender<Desired>) {
    let options = ListOptions::field(format!("spec.nodeName={node}"));
    let mut watcher = Watcher::new(client, Kind::Pod, None, options);
    let mut failing = false;
    loop {
        match watcher.next().await {
            Ok(event) => {
                failing = false;
                desired.send_modify(|desired| apply(desired, event));
            }
            Err(error) if failing => {
                tracing::debug!(error = %Chain(&error), "still cannot follow the node's pods");
            }
            Err(error) => {
                failing = true;
                tracing::warn!(error = %Chain(&error), "cannot follow the node's pods; will retry");
            }
        }
    }
}

fn apply(desired: &mut Desired, event: Event) {
    match event {
        Event::Restarted(all) => {
            desired.pods = all.into_iter().filter_map(read).collect();
            desired.synced = true;
        }
        Event::Applied(pod) => desired.pods.extend(read(pod)),
        Event::Deleted(pod) => {
            if let Some(uid) = pod.pointer("/metadata/uid").and_then(Value::as_str) {
                desired.pods.remove(uid);
            }
        }
    }
}

fn read(value: Value) -> Option<(Arc<str>, Arc<DesiredPod>)> {
    match skiff_api::typed::<Pod>(&value) {
        Ok(pod) => {
            let pod = DesiredPod::read(pod)?;
            Some((Arc::clone(&pod.pod.uid), Arc::new(pod)))
        }
        Err(error) => {
            tracing::error!(%error, "a pod cannot be read; it is left alone");
            None
        }
    }
}
