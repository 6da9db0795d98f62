//! An object of any kind, in wire form.
//!
//! The bytes are the object's JSON with sorted keys and without `metadata.resourceVersion`, which
//! is known only when the write is applied: it is spliced in when the object is written out.
//! So answering a read copies bytes and encodes nothing.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::key::{Key, Revision};
use crate::kind::{Kind, Scope};
use crate::view::{Meta, NodeView, PodView, ServiceView, View};

/// Why a value is not an object that Skiff can hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The text is not JSON.
    #[error("not a JSON object: {0}")]
    Json(String),
    /// `apiVersion` and `kind` name nothing that is served.
    #[error("no matches for kind {kind:?} in version {api_version:?}")]
    UnknownKind {
        /// As written.
        api_version: String,
        /// As written.
        kind: String,
    },
    /// There is no `metadata.name`.
    #[error("metadata.name: Required value: name or generateName is required")]
    NoName,
}

/// An object at a revision. Cheap to clone.
#[derive(Clone)]
pub struct Object {
    revision: Revision,
    data: Arc<Data>,
}

struct Data {
    key: Key,
    meta: Meta,
    view: View,
    body: Box<[u8]>,
    /// Where in `body` the resourceVersion belongs: right behind `"metadata":{`.
    splice: usize,
}

/// What of a stored object is read at once.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts<'a> {
    #[serde(borrow)]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    metadata: &'a RawValue,
}

impl Object {
    /// Makes an object of a JSON value; a `metadata.resourceVersion` in it is dropped.
    ///
    /// # Errors
    /// [`Malformed`] if it has no name or is of no kind that is served.
    pub fn from_value(mut value: Value) -> Result<Self, Malformed> {
        let key = read_key(&value)?;
        if let Some(Value::Object(meta)) = value.get_mut("metadata") {
            meta.remove("resourceVersion");
        }
        let Value::Object(fields) = &value else {
            return Err(Malformed::Json("not a map".into()));
        };
        let (body, splice) =
            write_sorted(fields).map_err(|err| Malformed::Json(err.to_string()))?;
        let meta = Meta::read(&value);
        let view = View::read(key.kind, &value);
        let data = Data {
            key,
            meta,
            view,
            body: body.into_boxed_slice(),
            splice,
        };
        Ok(Self {
            revision: Revision(0),
            data: Arc::new(data),
        })
    }

    /// Reads what [`Object::body`] gave. The bytes stay what they are: every server that holds an
    /// object holds the same ones, whatever a number in them would be written as again.
    ///
    /// # Errors
    /// [`Malformed`] if the text is not such an object.
    pub fn from_body(body: &[u8]) -> Result<Self, Malformed> {
        let malformed = |err: serde_json::Error| Malformed::Json(err.to_string());
        let parts: Parts<'_> = serde_json::from_slice(body).map_err(malformed)?;
        let metadata = parts.metadata.get();
        let value = json!({
            "apiVersion": parts.api_version,
            "kind": parts.kind,
            "metadata": serde_json::from_str::<Value>(metadata).map_err(malformed)?,
        });
        let key = read_key(&value)?;
        if value.pointer("/metadata/resourceVersion").is_some() {
            return Self::from_value(serde_json::from_slice(body).map_err(malformed)?);
        }
        let view = if View::is_of(key.kind) {
            let whole = serde_json::from_slice(body).map_err(malformed)?;
            View::read(key.kind, &whole)
        } else {
            View::Other
        };
        let data = Data {
            key,
            meta: Meta::read(&value),
            view,
            // Behind the brace that the metadata begins with.
            splice: metadata.as_ptr().addr() - body.as_ptr().addr() + 1,
            body: body.into(),
        };
        Ok(Self {
            revision: Revision(0),
            data: Arc::new(data),
        })
    }

    /// The same object as of another revision.
    #[must_use]
    pub fn with_revision(mut self, revision: Revision) -> Self {
        self.revision = revision;
        self
    }

    /// Its identity.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.data.key
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.data.key.kind
    }

    /// The write that made it so; 0 before it was applied.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The parsed part of its metadata.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.data.meta
    }

    /// The parsed summary of its kind.
    #[must_use]
    pub fn view(&self) -> &View {
        &self.data.view
    }

    /// The summary, if it is a pod.
    #[must_use]
    pub fn pod(&self) -> Option<&PodView> {
        match &self.data.view {
            View::Pod(pod) => Some(pod),
            View::Node(_) | View::Service(_) | View::Other => None,
        }
    }

    /// The summary, if it is a node.
    #[must_use]
    pub fn node(&self) -> Option<&NodeView> {
        match &self.data.view {
            View::Node(node) => Some(node),
            View::Pod(_) | View::Service(_) | View::Other => None,
        }
    }

    /// The summary, if it is a service.
    #[must_use]
    pub fn service(&self) -> Option<&ServiceView> {
        match &self.data.view {
            View::Service(service) => Some(service),
            View::Pod(_) | View::Node(_) | View::Other => None,
        }
    }

    /// Its JSON without the resourceVersion: the form that is stored.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.data.body
    }

    /// Appends its JSON, resourceVersion included.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let (head, tail) = self.data.body.split_at(self.data.splice);
        out.reserve(self.data.body.len() + 48);
        out.extend_from_slice(head);
        if self.revision != Revision(0) {
            out.extend_from_slice(b"\"resourceVersion\":\"");
            out.extend_from_slice(self.revision.to_string().as_bytes());
            out.extend_from_slice(b"\",");
        }
        out.extend_from_slice(tail);
    }

    /// Its JSON, resourceVersion included.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_json(&mut out);
        out
    }

    /// Its value, resourceVersion included.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the bytes were written by this module")]
    pub fn to_value(&self) -> Value {
        serde_json::from_slice(&self.to_json()).expect("an object's bytes are JSON")
    }

    /// Whether both have the same content, at whatever revisions.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.data.body == other.data.body
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}", self.data.key, self.revision)
    }
}

/// Equal content at equal revisions.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision && self.same_content(other)
    }
}

impl Eq for Object {}

fn read_key(value: &Value) -> Result<Key, Malformed> {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let (api_version, kind) = (text(&value["apiVersion"]), text(&value["kind"]));
    let found = Kind::find(&api_version, &kind);
    let kind = found.ok_or(Malformed::UnknownKind { api_version, kind })?;
    let meta = &value["metadata"];
    let name = meta["name"]
        .as_str()
        .filter(|name| !name.is_empty())
        .ok_or(Malformed::NoName)?;
    let namespace = match kind.info().scope {
        Scope::Namespaced => meta["namespace"].as_str().unwrap_or(""),
        Scope::Cluster => "",
    };
    Ok(Key::new(kind, namespace, name))
}

/// Serialises the top level by hand, to know where `metadata` begins.
fn write_sorted(fields: &Map<String, Value>) -> Result<(Vec<u8>, usize), serde_json::Error> {
    let mut out = Vec::with_capacity(512);
    let mut splice = 0;
    for (index, (name, value)) in fields.iter().enumerate() {
        out.push(if index == 0 { b'{' } else { b',' });
        serde_json::to_writer(&mut out, name)?;
        out.push(b':');
        if name == "metadata" {
            splice = out.len() + 1;
        }
        serde_json::to_writer(&mut out, value)?;
    }
    out.push(b'}');
    Ok((out, splice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config_map() -> Value {
        json!({
            "kind": "ConfigMap", "apiVersion": "v1", "data": {"metadata": "{\"x\":1}"},
            "metadata": {"namespace": "shop", "name": "a", "resourceVersion": "7", "uid": "u"},
        })
    }

    #[test]
    fn the_revision_is_spliced_into_the_stored_bytes() {
        let object = Object::from_value(config_map()).unwrap();
        assert!(
            object.to_value()["metadata"]
                .get("resourceVersion")
                .is_none()
        );
        let object = object.with_revision(Revision(41));
        assert_eq!(object.to_value()["metadata"]["resourceVersion"], "41");
        assert_eq!(object.to_value()["data"], config_map()["data"]);
        assert_eq!(
            Object::from_body(object.body()).unwrap().body(),
            object.body()
        );
    }

    #[test]
    fn stored_bytes_are_taken_as_they_are() {
        // Written again, this number would be another one.
        let body = br#"{"apiVersion":"v1","data":{"a":"\u00e9"},"kind":"ConfigMap","metadata":{"managedFields":[{"fieldsV1":{"x":5.777727685858154e+49}}],"name":"a","namespace":"d"}}"#;
        let object = Object::from_body(body).unwrap();
        assert_eq!(object.body(), body);
        assert_eq!(object.key(), &Key::new(Kind::ConfigMap, "d", "a"));
        let json = String::from_utf8(object.with_revision(Revision(3)).to_json()).unwrap();
        assert!(json.contains(r#""metadata":{"resourceVersion":"3","managedFields""#));
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"nodeName": "n1"}});
        let pod = Object::from_value(pod).unwrap();
        let again = Object::from_body(pod.body()).unwrap();
        assert_eq!((again.pod(), again.meta()), (pod.pod(), pod.meta()));
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"apiVersion":"v1","kind":"Pod","metadata":{}}"#,
        ] {
            assert!(Object::from_body(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let versioned = serde_json::to_vec(&config_map()).unwrap();
        let object = Object::from_body(&versioned).unwrap();
        assert!(
            object.to_value()["metadata"]
                .get("resourceVersion")
                .is_none()
        );
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        let cases = [
            (
                "no name",
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}}),
            ),
            (
                "unknown kind",
                json!({"apiVersion": "v1", "kind": "Widget", "metadata": {"name": "a"}}),
            ),
            ("no map", json!(["apiVersion"])),
            (
                "metadata is text",
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": "x"}),
            ),
        ];
        for (name, value) in cases {
            assert!(Object::from_value(value).is_err(), "{name}");
        }
    }

    #[test]
    fn a_pod_is_summarised() {
        let pod = Object::from_value(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "d"},
            "spec": {"nodeName": "n1",
                "initContainers": [
                    {"name": "i", "resources": {"requests": {"cpu": "2", "memory": "1Mi"}}},
                    {"name": "s", "restartPolicy": "Always",
                     "resources": {"requests": {"cpu": "1"}}}],
                "containers": [
                    {"name": "a", "resources": {"requests": {"cpu": "300m", "memory": "64Mi"}},
                     "ports": [{"containerPort": 80, "hostPort": 8080}]},
                    {"name": "b", "resources": {"requests": {"cpu": 1}}}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }))
        .unwrap();
        let view = pod.pod().unwrap();
        assert_eq!(view.node.as_deref(), Some("n1"));
        assert_eq!(
            view.requests.cpu_millicores, 2300,
            "sidecars add, init containers peak"
        );
        assert_eq!(view.requests.memory_bytes, 64 << 20);
        assert_eq!(view.host_ports, [(8080, "TCP".into())]);
        assert!(view.ready && view.phase == Phase::Running);
    }

    use crate::view::Phase;
}
