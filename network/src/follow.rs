//! Keeps a catalog by watching services, slices and nodes. Losing the servers leaves the catalog as
//! it was; whoever reads it goes on with that.

use std::sync::Arc;

use skiff_api::Kind;
use skiff_client::{Client, Event, ListOptions, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::catalog::Catalog;

/// What a catalog is made of.
const KINDS: [Kind; 3] = [Kind::Service, Kind::EndpointSlice, Kind::Node];

/// Events that wait to be taken in; a watch that is faster waits.
const QUEUE: usize = 256;

/// Keeps the catalog for as long as it is polled. Readers see it only once all kinds are listed;
/// several events that come together are shown as one change.
pub async fn follow(client: Client, shown: watch::Sender<Arc<Catalog>>) {
    let (tell, mut told) = mpsc::channel(QUEUE);
    let mut watches = JoinSet::new();
    for kind in KINDS {
        watches.spawn(watch_kind(client.clone(), kind, tell.clone()));
    }
    let mut catalog = Catalog::default();
    let mut missing: Vec<Kind> = KINDS.to_vec();
    while let Some((kind, event)) = told.recv().await {
        take(&mut catalog, &mut missing, kind, event);
        while let Ok((kind, event)) = told.try_recv() {
            take(&mut catalog, &mut missing, kind, event);
        }
        if missing.is_empty() {
            catalog.synced = true;
            shown.send_replace(Arc::new(catalog.clone()));
        }
    }
}

fn take(catalog: &mut Catalog, missing: &mut Vec<Kind>, kind: Kind, event: Event) {
    if matches!(event, Event::Restarted(_)) {
        missing.retain(|one| *one != kind);
    }
    catalog.apply(kind, event);
}

async fn watch_kind(client: Client, kind: Kind, tell: mpsc::Sender<(Kind, Event)>) {
    let mut watcher = Watcher::new(client, kind, None, ListOptions::default());
    let mut failing = false;
    loop {
        match watcher.next().await {
            Ok(event) => {
                failing = false;
                if tell.send((kind, event)).await.is_err() {
                    return;
                }
            }
            Err(error) if failing => tracing::debug!(%kind, %error, "still cannot watch"),
            Err(error) => {
                failing = true;
                tracing::warn!(%kind, %error, "cannot watch; will retry");
            }
        }
    }
}
