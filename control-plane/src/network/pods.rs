//! `GET /skiff/v1/network/pods`: who has which address, without the pods' specs. An answer without
//! end, of JSON lines:
//!
//! ```text
//! {"type":"PUT","namespace":"shop","name":"cart-1","labels":{"app":"cart"},"ip":"10.42.1.7","node":"n1","revision":41}
//! {"type":"SYNCED","revision":57}
//! {"type":"DELETE","namespace":"shop","name":"cart-1","revision":63}
//! ```
//!
//! First one `PUT` for each pod there is, in the order of namespaces and names, then `SYNCED`; from
//! there on a line for each change that matters here. `ip` and `node` are left out while the pod has
//! none, and so are `ports` (`[{"name":"web","port":8080,"protocol":"TCP"}]`) where it names none. Pods that have ended for good, whose address may be somebody else's by now, and pods on
//! their nodes' own network, whose address is the node's, are as if they did not exist.
//!
//! The answer ends when the client is too slow or the server goes on without the history in between;
//! the client starts over, and takes what it hears until `SYNCED` for all there is.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use serde_json::{Map, Value, json};
use skiff_api::{Kind, Object, Reason, Revision, Status};
use skiff_engine::State;

use crate::http::reply::{JSON, Refused, retry_after, with_body};
use crate::store::Store;
use crate::watch::{Interest, Watch, WatchHub};

/// Bytes of lines sent at once.
const CHUNK: usize = 64 << 10;
/// Seconds after which a server without a leader may be asked again.
const RETRY_SECONDS: u32 = 1;

pub(super) async fn answer(store: &Store, hub: &WatchHub) -> Result<Response, Refused> {
    let unavailable = |why: String| {
        let status = Status::failure(Reason::ServiceUnavailable, why);
        retry_after(status, RETRY_SECONDS)
    };
    let mut state = store.state();
    if state.revision() == Revision(0) {
        // A server that joined just now knows nothing yet: that is no empty cluster.
        state = store
            .read()
            .await
            .map_err(|err| unavailable(err.to_string()))?;
    }
    let watch = hub.watch(Interest::Kind(Kind::Pod), state.revision());
    let watch = watch.map_err(|expired| unavailable(expired.to_string()))?;
    let pods = Pods {
        after: Some(None),
        state,
        watch,
    };
    let chunks = stream::unfold(pods, |mut pods| async move {
        let chunk = pods.next().await?;
        Some((Ok::<_, Infallible>(chunk), pods))
    });
    Ok(with_body(StatusCode::OK, JSON, Body::from_stream(chunks)))
}

struct Pods {
    /// The pod that was told last, while those of `state` are still being told.
    after: Option<Option<skiff_api::Key>>,
    state: State,
    watch: Watch,
}

impl Pods {
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        if let Some(after) = self.after.take() {
            self.begin(after, &mut out);
            return Some(out.into());
        }
        while out.is_empty() {
            let change = self.watch.next().await?;
            tell(&change, &mut out);
        }
        // What waits already goes out with it.
        while out.len() < CHUNK {
            let Some(change) = self.watch.try_next() else {
                break;
            };
            tell(&change, &mut out);
        }
        Some(out.into())
    }

    /// Tells some of the pods that are there.
    fn begin(&mut self, after: Option<skiff_api::Key>, out: &mut Vec<u8>) {
        let first = skiff_api::Key::new(Kind::Pod, "", "");
        let begin = after.unwrap_or(first);
        let mut last = begin.clone();
        for pod in self.state.list_after(&begin, None) {
            if out.len() >= CHUNK {
                self.after = Some(Some(last));
                return;
            }
            last = pod.key().clone();
            if let Some(fields) = fields(pod) {
                line("PUT", pod, pod.revision(), fields, out);
            }
        }
        let Revision(revision) = self.state.revision();
        let synced = json!({"type": "SYNCED", "revision": revision});
        out.extend_from_slice(synced.to_string().as_bytes());
        out.push(b'\n');
        // It held on to all that was there.
        self.state = State::default();
    }
}

/// A line for a change, if it is one here.
fn tell(change: &skiff_engine::Change, out: &mut Vec<u8>) {
    let side = |side: &Option<Object>| side.as_ref().and_then(fields);
    let (was, now) = (side(&change.was), side(&change.now));
    let pod = change.object();
    match (was, now) {
        (was, Some(now)) if was.as_ref() != Some(&now) => {
            line("PUT", pod, change.revision, now, out);
        }
        (Some(_), None) => line("DELETE", pod, change.revision, Map::new(), out),
        (Some(_) | None, Some(_)) | (None, None) => {}
    }
}

/// What is told of a pod; nothing of one that has no address of its own and never will.
fn fields(pod: &Object) -> Option<Map<String, Value>> {
    let view = pod.pod()?;
    if view.phase.is_terminal() || view.host_network {
        return None;
    }
    let labels: Map<String, Value> = pod
        .meta()
        .labels
        .iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    let mut fields = Map::new();
    fields.insert("labels".into(), labels.into());
    if !view.named_ports.is_empty() {
        let port = |(name, port, protocol): &(Box<str>, u16, Box<str>)| json!({"name": name, "port": port, "protocol": protocol});
        let ports: Vec<Value> = view.named_ports.iter().map(port).collect();
        fields.insert("ports".into(), ports.into());
    }
    if let Some(ip) = view.ip {
        fields.insert("ip".into(), ip.to_string().into());
    }
    if let Some(node) = &view.node {
        fields.insert("node".into(), node.as_ref().into());
    }
    Some(fields)
}

fn line(
    of: &str,
    pod: &Object,
    revision: Revision,
    mut fields: Map<String, Value>,
    out: &mut Vec<u8>,
) {
    let key = pod.key();
    fields.insert("type".into(), of.into());
    fields.insert("namespace".into(), key.namespace.as_ref().into());
    fields.insert("name".into(), key.name.as_ref().into());
    fields.insert("revision".into(), revision.0.into());
    out.extend_from_slice(Value::Object(fields).to_string().as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_api::Millis;
    use skiff_engine::{Command, Draft, Write};

    fn pod(name: &str, ip: &str) -> Object {
        let value = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "d", "labels": {"app": name}},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"podIP": ip, "phase": "Running"}});
        Object::from_value(value).unwrap()
    }

    fn lines(bytes: &[u8]) -> Vec<String> {
        let text = std::str::from_utf8(bytes).unwrap();
        let spell = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            let text = |field: &str| line[field].as_str().unwrap_or("-").to_owned();
            let (of, name, ip) = (text("type"), text("name"), text("ip"));
            format!("{of} {name} {ip} {}", line["revision"])
        };
        text.lines().map(spell).collect()
    }

    #[tokio::test]
    async fn pods_are_told_and_then_what_changes_of_them() {
        let hub = WatchHub::new(Revision(0), 1 << 20);
        let mut state = State::default();
        let mut apply = |write| {
            let command = Command {
                term: 1,
                at: Millis(0),
                writes: vec![write],
            };
            let applied = state.apply(&command);
            hub.publish(&applied.changes);
            state.clone()
        };
        apply(Write::create(pod("a", "10.42.0.2")));
        let mut host = pod("h", "192.0.2.1").to_value();
        host["spec"]["hostNetwork"] = true.into();
        apply(Write::create(Object::from_value(host).unwrap()));
        let seen = apply(Write::create(pod("b", "")));
        let mut pods = Pods {
            after: Some(None),
            watch: hub
                .watch(Interest::Kind(Kind::Pod), seen.revision())
                .unwrap(),
            state: seen.clone(),
        };
        let first = pods.next().await.unwrap();
        assert_eq!(
            lines(&first),
            ["PUT a 10.42.0.2 1", "PUT b - 3", "SYNCED - - 3"]
        );
        let change = |state: &State, name: &str, change: &dyn Fn(&mut Value)| {
            let key = skiff_api::Key::new(Kind::Pod, "d", name);
            let mut draft = Draft::of(state.get(&key).unwrap());
            change(&mut draft.value);
            draft.write().unwrap()
        };
        let state = apply(change(&seen, "b", &|pod| {
            pod["status"]["podIP"] = "10.42.0.3".into()
        }));
        let state = apply(change(&state, "b", &|pod| pod["spec"]["x"] = 1.into()));
        let state = apply(change(&state, "a", &|pod| {
            pod["status"]["phase"] = "Failed".into()
        }));
        apply(Write::remove(state.get(pod("b", "").key()).unwrap()));
        let rest = pods.next().await.unwrap();
        assert_eq!(
            lines(&rest),
            ["PUT b 10.42.0.3 4", "DELETE a - 6", "DELETE b - 7"]
        );
        hub.take(&state, crate::store::News::Restored);
        assert_eq!(pods.next().await, None, "the client starts over");
    }
}
