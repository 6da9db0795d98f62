//! Who asks, and whether they may: identities from client certificates, and the rules for them.
//!
//! Administrators (`system:masters`) may do everything. A node may read what its own pods need
//! and write what it owns: its Node, the status of its pods, events (Kubernetes' node
//! authorizer). Nobody else may do anything.

pub(crate) mod gateway;

use skiff_api::{Key, Kind, Reason, Status, Subresource};
use skiff_engine::State;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate's common name.
    pub user: String,
    /// The certificate's organisations.
    pub groups: Vec<String>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: &'a str,
    /// Of which kind.
    pub kind: Kind,
    /// Which part of it.
    pub subresource: Option<Subresource>,
    /// In which namespace; `None` for all, and for cluster-scoped kinds.
    pub namespace: Option<&'a str>,
    /// Which object; `None` for a collection.
    pub name: Option<&'a str>,
    /// The `spec.nodeName` that a field selector of a list or watch names.
    pub node_selector: Option<&'a str>,
}

const MASTERS: &str = "system:masters";
/// Servers, among themselves.
const SERVERS: &str = "system:servers";
const NODES: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";

impl Identity {
    /// Reads the identity of a client certificate that was verified against our CA.
    #[must_use]
    pub fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, cert) = x509_parser::parse_x509_certificate(der).ok()?;
        let subject = cert.subject();
        let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let groups = subject
            .iter_organization()
            .filter_map(|group| group.as_str().ok())
            .map(str::to_owned)
            .collect();
        Some(Self { user, groups })
    }

    /// A server that speaks for itself.
    #[must_use]
    pub(crate) fn server() -> Self {
        Self {
            user: "skiff-server".to_owned(),
            groups: vec![SERVERS.to_owned()],
        }
    }

    /// The node that this is the agent of.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        if !self.is_in(NODES) {
            return None;
        }
        self.user.strip_prefix(NODE_PREFIX)
    }

    /// Whether this is an administrator.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.is_in(MASTERS)
    }

    /// Whether this is one of the cluster's servers.
    #[must_use]
    pub fn is_server(&self) -> bool {
        self.is_in(SERVERS)
    }

    fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|one| one == group)
    }
}

/// Refuses what the identity may not do.
///
/// # Errors
/// A 403 `Status` worded as Kubernetes does.
pub fn authorize(who: &Identity, what: &Attributes<'_>, state: &State) -> Result<(), Status> {
    if who.is_admin() {
        return Ok(());
    }
    let allowed = who.node().is_some_and(|node| node_may(node, what, state));
    if allowed {
        Ok(())
    } else {
        Err(forbidden(who, what))
    }
}

/// The answer to a request without an identity.
#[must_use]
pub fn unauthorized() -> Status {
    Status::failure(Reason::Unauthorized, "Unauthorized")
}

fn node_may(node: &str, what: &Attributes<'_>, state: &State) -> bool {
    let reads = matches!(what.verb, "get" | "list" | "watch");
    match what.kind {
        Kind::Node => match what.verb {
            // Where a node's pods are reached is every other node's business.
            "get" | "list" | "watch" => what.subresource.is_none() || what.name == Some(node),
            "create" | "update" | "patch" => what.name.is_none_or(|name| name == node),
            _ => false,
        },
        Kind::Pod => match (what.verb, what.subresource, what.name) {
            ("list" | "watch", None, _) => what.node_selector == Some(node),
            ("get" | "delete", None, Some(_))
            | ("get" | "update" | "patch", Some(Subresource::Status), Some(_)) => {
                runs_here(node, what, state)
            }
            _ => false,
        },
        Kind::ConfigMap | Kind::Secret => {
            what.verb == "get"
                && what.name.is_some_and(|name| {
                    needs(node, what, name, state) || gateway::reads(node, what, name, state)
                })
        }
        Kind::Event => matches!(what.verb, "create" | "update" | "patch" | "get"),
        Kind::ServiceAccount => reads && what.name.is_some(),
        Kind::Lease => reads && what.namespace == Some("kube-node-lease"),
        // How pods reach each other is every node's business; policies go by namespaces' labels.
        Kind::Namespace
        | Kind::Service
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::Ingress
        | Kind::IngressClass
        | Kind::NetworkPolicy => reads,
        Kind::Deployment | Kind::ReplicaSet => false,
    }
}

/// Whether the pod asked about is bound to the node, or does not exist: then there is nothing to
/// protect and the agent learns that it is gone.
fn runs_here(node: &str, what: &Attributes<'_>, state: &State) -> bool {
    let key = Key::new(
        Kind::Pod,
        what.namespace.unwrap_or(""),
        what.name.unwrap_or(""),
    );
    state
        .get(&key)
        .and_then(|pod| pod.pod())
        .is_none_or(|pod| pod.node.as_deref() == Some(node))
}

/// Whether a pod of the node refers to the ConfigMap or Secret.
fn needs(node: &str, what: &Attributes<'_>, name: &str, state: &State) -> bool {
    let namespace = what.namespace.unwrap_or("");
    state
        .pods_on(node)
        .filter(|pod| pod.key().namespace.as_ref() == namespace)
        .any(|pod| refers_to(&pod.to_value(), what.kind, name))
}

/// Looks for a reference in any of the places that a pod's spec has for one. A reference is a map
/// under a well-known field, so the search may go through all maps.
fn refers_to(value: &serde_json::Value, kind: Kind, name: &str) -> bool {
    use serde_json::Value;
    let fields: &[&str] = if kind == Kind::ConfigMap {
        &["configMap", "configMapRef", "configMapKeyRef"]
    } else {
        &["secret", "secretRef", "secretKeyRef", "imagePullSecrets"]
    };
    let named = |map: &Value| map["name"] == *name || map["secretName"] == *name;
    match value {
        Value::Object(map) => map.iter().any(|(field, inner)| {
            let hit = fields.contains(&field.as_str())
                && (named(inner) || inner.as_array().is_some_and(|all| all.iter().any(named)));
            hit || refers_to(inner, kind, name)
        }),
        Value::Array(items) => items.iter().any(|item| refers_to(item, kind, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn forbidden(who: &Identity, what: &Attributes<'_>) -> Status {
    let info = what.kind.info();
    let resource = match what.subresource {
        Some(part) => format!("{}/{}", info.plural, part.path()),
        None => info.plural.to_owned(),
    };
    let place = match what.namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".to_owned(),
    };
    let why = format!(
        "User {:?} cannot {} resource {resource:?} in API group {:?} {place}",
        who.user, what.verb, info.group
    );
    match what.name {
        Some(name) => Status::forbidden(what.kind, name, &why),
        None => {
            let message = format!("{} is forbidden: {why}", info.qualified());
            Status::about(Reason::Forbidden, what.kind, "", message)
        }
    }
}

#[cfg(test)]
mod tests;
