//! The narrow door to the API servers: the few things that running pods needs of them. The client
//! crate stands behind it in an agent, a map in tests.

use std::pin::Pin;
use std::time::Duration;

use serde_json::Value;
use skiff_api::{Key, Kind, Reason, Revision, Subresource};
use skiff_client::{Client, ClientError, DeleteOptions, Patch, Request, WriteOptions};

use crate::runtime::PodRef;

/// The name under which the agent writes.
pub const MANAGER: &str = "skiff-agent";

/// An answer that is being waited for.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ClientError>> + Send + 'a>>;

/// Whether the pod that was spoken of is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The servers know it.
    Known,
    /// It is gone, or another pod has its name now.
    Gone,
}

/// What running pods needs of the servers.
pub trait Servers: Send + Sync + 'static {
    /// Reads an object; none if it does not exist.
    fn read<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Value>>;

    /// Merges a patch into a pod's status. The patch names the pod's uid.
    fn report<'a>(&'a self, pod: &'a PodRef, patch: Value) -> Answer<'a, Presence>;

    /// Deletes a pod of which nothing is left here; not another one of its name.
    fn confirm<'a>(&'a self, pod: &'a PodRef) -> Answer<'a, ()>;

    /// Whether everybody who sends to endpoints follows them up to a revision; a server waits for it
    /// so long before it says no.
    fn applied<'a>(&'a self, revision: Revision, wait: Duration) -> Answer<'a, bool>;

    /// Creates an Event; its name is its own.
    fn create_event<'a>(&'a self, namespace: &'a str, event: Value) -> Answer<'a, ()>;

    /// Merges a patch into an Event.
    fn patch_event<'a>(&'a self, key: &'a Key, patch: Value) -> Answer<'a, Presence>;
}

impl Servers for Client {
    fn read<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Value>> {
        Box::pin(self.get_opt(key))
    }

    fn report<'a>(&'a self, pod: &'a PodRef, patch: Value) -> Answer<'a, Presence> {
        Box::pin(async move {
            let patch = Patch::Merge(patch);
            let key = pod_key(pod);
            let status = Some(Subresource::Status);
            let options = WriteOptions::by(MANAGER);
            presence(self.patch::<Value>(&key, status, &patch, &options).await)
        })
    }

    fn confirm<'a>(&'a self, pod: &'a PodRef) -> Answer<'a, ()> {
        Box::pin(async move {
            let options = DeleteOptions {
                grace_seconds: Some(0),
                uid: Some(pod.uid.to_string()),
                ..DeleteOptions::default()
            };
            presence(self.delete(&pod_key(pod), &options).await).map(|_| ())
        })
    }

    fn applied<'a>(&'a self, revision: Revision, wait: Duration) -> Answer<'a, bool> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Applied {
            waiting_for: Vec<String>,
        }
        Box::pin(async move {
            let request = Request::get("/skiff/v1/network/applied")
                .query("revision", revision.to_string())
                .query("timeoutMillis", wait.as_millis().to_string());
            let Applied { waiting_for } = self.json(request).await?;
            Ok(waiting_for.is_empty())
        })
    }

    fn create_event<'a>(&'a self, namespace: &'a str, event: Value) -> Answer<'a, ()> {
        Box::pin(async move {
            let options = WriteOptions::by(MANAGER);
            match self
                .create::<Value>(Kind::Event, Some(namespace), &event, &options)
                .await
            {
                // Its name is its own, so it can only be this one, sent twice.
                Err(error) if error.is(Reason::AlreadyExists) => Ok(()),
                created => created.map(|_| ()),
            }
        })
    }

    fn patch_event<'a>(&'a self, key: &'a Key, patch: Value) -> Answer<'a, Presence> {
        Box::pin(async move {
            let options = WriteOptions::by(MANAGER);
            presence(
                self.patch::<Value>(key, None, &Patch::Merge(patch), &options)
                    .await,
            )
        })
    }
}

fn pod_key(pod: &PodRef) -> Key {
    Key::new(Kind::Pod, &pod.namespace, &pod.name)
}

fn presence(answer: Result<Value, ClientError>) -> Result<Presence, ClientError> {
    match answer {
        Ok(_) => Ok(Presence::Known),
        Err(error) if error.is_not_found() || error.is(Reason::Conflict) => Ok(Presence::Gone),
        Err(error) => Err(error),
    }
}
