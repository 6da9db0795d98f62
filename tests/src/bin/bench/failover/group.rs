//! What the fail-over benchmark asks of a group of servers, whoever made them.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use skiff_tests::api::{Answer, Call, Connection, Identity};

/// Where Skiff's writes go.
pub(super) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// The value of each write.
const VALUE_BYTES: usize = 100;

/// Three servers, one of which leads.
pub(super) trait Group {
    /// Where clients can write; a server's number is its place.
    fn endpoints(&self) -> Vec<Endpoint>;

    /// The server that leads; waits for one.
    fn leader(&self) -> usize;

    /// Ends a server by SIGKILL and waits until it is gone.
    fn kill(&mut self, server: usize);

    /// Starts a server again and waits until it has what was committed by then.
    fn bring_back(&mut self, server: usize);

    /// The names of all writes that a server has, as of now.
    fn stored(&self, server: usize) -> BTreeSet<String>;
}

/// One server as its clients see it.
#[derive(Clone)]
pub(super) enum Endpoint {
    /// The Kubernetes API over TLS.
    Skiff(Identity),
    /// etcd's JSON gateway, by `host:port`, without TLS.
    Etcd(String),
}

impl Endpoint {
    pub(super) async fn connect(&self) -> Result<Connection, String> {
        match self {
            Self::Skiff(identity) => identity.connect().await,
            Self::Etcd(address) => Connection::plain(address).await,
        }
    }

    /// The write of that name, which nobody has made before.
    pub(super) fn write(&self, name: &str) -> Call {
        let value = "x".repeat(VALUE_BYTES);
        match self {
            Self::Skiff(_) => {
                let metadata = json!({"name": name, "namespace": "default"});
                let object = json!({
                    "apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": metadata, "data": {"value": value},
                });
                Call::post(CONFIG_MAPS, &object)
            }
            Self::Etcd(_) => {
                let body = json!({"key": STANDARD.encode(name), "value": STANDARD.encode(value)});
                Call::post("/v3/kv/put", &body)
            }
        }
    }

    /// Whether an answer acknowledges a write.
    pub(super) fn acknowledges(&self, answer: &Answer) -> bool {
        match self {
            Self::Skiff(_) => answer.status == 201,
            Self::Etcd(_) => answer.status == 200,
        }
    }
}
