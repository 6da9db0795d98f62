//! Watches Ingresses and classes, and reads the Secrets that they name: at once when an Ingress
//! changes, and again and again, because a node may read such a Secret but not watch it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use serde_json::Value;
use skiff_api::{Key, Kind, WireType};
use skiff_client::{Client, Event, ListOptions, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::{Objects, Pair};
use crate::route;

/// A changed certificate is in use within this.
const SECRETS_AGAIN: Duration = Duration::from_secs(10);

/// Events that wait to be taken in; a watch that is faster waits.
const QUEUE: usize = 256;

const KINDS: [Kind; 2] = [Kind::Ingress, Kind::IngressClass];

/// An object's namespace and name.
type Name = (String, String);

#[derive(Default)]
struct Known {
    ingresses: BTreeMap<Name, Ingress>,
    classes: BTreeMap<Name, IngressClass>,
    secrets: BTreeMap<(Arc<str>, Arc<str>), Pair>,
    missing: BTreeSet<&'static str>,
}

/// Keeps the objects up to date for as long as it is polled.
pub(crate) async fn follow(client: Client, shown: watch::Sender<Arc<Objects>>) {
    let (tell, mut told) = mpsc::channel(QUEUE);
    let mut watches = JoinSet::new();
    for kind in KINDS {
        watches.spawn(watch_kind(client.clone(), kind, tell.clone()));
    }
    let mut known = Known {
        missing: KINDS.iter().map(|kind| kind.info().plural).collect(),
        ..Known::default()
    };
    let mut again = interval(SECRETS_AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let changed = tokio::select! {
            event = told.recv() => {
                let Some((kind, event)) = event else { return };
                known.take(kind, event);
                while let Ok((kind, event)) = told.try_recv() {
                    known.take(kind, event);
                }
                true
            }
            _ = again.tick() => false,
        };
        if !known.missing.is_empty() {
            continue;
        }
        // An Ingress that names a new Secret is shown with it, not before it.
        let renewed = known.read_secrets(&client, changed).await;
        if changed || renewed {
            shown.send_replace(Arc::new(known.objects()));
        }
    }
}

impl Known {
    fn take(&mut self, kind: Kind, event: Event) {
        if matches!(event, Event::Restarted(_)) {
            self.missing.remove(kind.info().plural);
        }
        if kind == Kind::Ingress {
            take(&mut self.ingresses, event);
        } else if kind == Kind::IngressClass {
            take(&mut self.classes, event);
        }
    }

    fn objects(&self) -> Objects {
        Objects {
            ingresses: self.ingresses.values().cloned().collect(),
            classes: self.classes.values().cloned().collect(),
            secrets: self.secrets.clone(),
            synced: true,
        }
    }

    /// Reads the Secrets in use; after a change only those that were not read before. Whether any
    /// is different now.
    async fn read_secrets(&mut self, client: &Client, only_new: bool) -> bool {
        let objects = self.objects();
        let wanted = route::tls_secrets(&objects.ingresses, &objects.classes);
        let wanted: BTreeSet<_> = wanted
            .into_iter()
            .map(|(ingress, secret, _)| (ingress.namespace, secret))
            .collect();
        self.secrets.retain(|name, _| wanted.contains(name));
        let mut renewed = false;
        for name in wanted {
            if only_new && self.secrets.contains_key(&name) {
                continue;
            }
            // Without the servers, what is known stays.
            if let Some(pair) = read(client, &name.0, &name.1).await
                && self.secrets.get(&name) != Some(&pair)
            {
                self.secrets.insert(name, pair);
                renewed = true;
            }
        }
        renewed
    }
}

async fn read(client: &Client, namespace: &str, name: &str) -> Option<Pair> {
    let key = Key::new(Kind::Secret, namespace, name);
    match client.get_opt::<Value>(&key).await {
        Ok(Some(secret)) => Some(pair(&secret)),
        Ok(None) => Some(Err("there is no such Secret".into())),
        Err(error) if error.is(skiff_api::Reason::Forbidden) => {
            Some(Err("this gateway may not read it".into()))
        }
        Err(error) => {
            tracing::debug!(namespace, name, %error, "cannot read a Secret; will retry");
            None
        }
    }
}

fn pair(secret: &Value) -> Pair {
    let field = |name: &str| -> Result<Vec<u8>, Arc<str>> {
        let text = secret.get("data").and_then(|data| data.get(name)?.as_str());
        let text = text.ok_or_else(|| Arc::from(format!("it has no {name}")))?;
        STANDARD
            .decode(text)
            .map_err(|_| format!("its {name} is not base64").into())
    };
    Ok((field("tls.crt")?, field("tls.key")?))
}

fn take<T: WireType>(known: &mut BTreeMap<Name, T>, event: Event) {
    match event {
        Event::Restarted(all) => {
            known.clear();
            for value in all {
                put(known, value);
            }
        }
        Event::Applied(value) => put(known, value),
        Event::Deleted(value) => {
            known.remove(&name(&value));
        }
    }
}

fn put<T: WireType>(known: &mut BTreeMap<Name, T>, value: Value) {
    let name = name(&value);
    match skiff_api::typed(&value) {
        Ok(object) => {
            known.insert(name, object);
        }
        Err(error) => {
            tracing::error!(?name, %error, "an object cannot be read; it is left out");
            known.remove(&name);
        }
    }
}

fn name(value: &Value) -> Name {
    let text = |pointer| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    (
        text("/metadata/namespace").to_owned(),
        text("/metadata/name").to_owned(),
    )
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
