//! What a node may do for the network beside what its pods need: read the settings; with a gateway,
//! read the certificates that Ingresses name, and report.

use skiff_api::{Key, Kind, Object};
use skiff_engine::State;
use skiff_engine::network::{CONFIG_NAME, CONFIG_NAMESPACE};

use super::Attributes;

/// The annotation of a Node that runs a gateway.
const GATEWAY: &str = "network.skiff.io/gateway";
/// The type of Secrets that hold certificates.
const TLS: &str = "kubernetes.io/tls";

/// Whether the ConfigMap or Secret is one that the node's network needs.
pub(super) fn reads(node: &str, what: &Attributes<'_>, name: &str, state: &State) -> bool {
    let namespace = what.namespace.unwrap_or("");
    if what.kind == Kind::ConfigMap {
        return (namespace, name) == (CONFIG_NAMESPACE, CONFIG_NAME);
    }
    runs_on(node, state) && is_served(namespace, name, state)
}

/// Whether the node says that it runs a gateway.
pub(crate) fn runs_on(node: &str, state: &State) -> bool {
    let node = state.get(&Key::cluster(Kind::Node, node));
    let annotation = |node: &Object| {
        let value = node.to_value();
        let annotations = value.pointer("/metadata/annotations")?;
        annotations.get(GATEWAY).map(serde_json::Value::is_string)
    };
    node.and_then(annotation).unwrap_or(false)
}

/// Whether a Secret is a certificate that an Ingress shows to its clients.
fn is_served(namespace: &str, name: &str, state: &State) -> bool {
    let secret = state.get(&Key::new(Kind::Secret, namespace, name));
    let is_certificate =
        secret.is_some_and(|secret| secret.to_value().get("type").is_some_and(|of| of == TLS));
    let mut ingresses = state.list(Kind::Ingress, Some(namespace));
    is_certificate
        && ingresses.any(|ingress| {
            let value = ingress.to_value();
            let entries = value.pointer("/spec/tls").and_then(|tls| tls.as_array());
            let mut secrets = entries
                .into_iter()
                .flatten()
                .filter_map(|entry| entry.get("secretName"));
            secrets.any(|secret| secret == name)
        })
}
