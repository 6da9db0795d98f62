//! The downward API: what a pod may ask about itself, as text.

use std::net::IpAddr;

use skiff_api::k8s_openapi::api::core::v1::{Container, ResourceFieldSelector};
use skiff_api::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use skiff_api::quantity;

use crate::pod::DesiredPod;

/// What the pod's own object does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The node's name.
    pub node: String,
    /// The node's address.
    pub host_ip: Option<IpAddr>,
    /// The pod's address, once it has a sandbox.
    pub pod_ip: Option<IpAddr>,
    /// What the node can give at most, in millicores.
    pub cpu_millicores: i64,
    /// What the node can give at most, in bytes.
    pub memory_bytes: i64,
}

/// Why a field has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Not one of the fields that may be asked for.
    #[error("unsupported fieldPath: {0}")]
    Field(String),
    /// Not one of the resources that may be asked for.
    #[error("unsupported container resource: {0}")]
    Resource(String),
    /// No such container in the pod.
    #[error("container {0} not found")]
    Container(String),
}

/// The value of a `fieldRef`.
///
/// # Errors
/// [`FieldError::Field`] for a path that cannot be asked for.
pub fn field(path: &str, pod: &DesiredPod, place: &Place) -> Result<String, FieldError> {
    let ip = |ip: Option<IpAddr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
    if let Some(value) = keyed(path, &pod.wire.metadata) {
        return Ok(value);
    }
    Ok(match path {
        "metadata.name" => pod.pod.name.to_string(),
        "metadata.namespace" => pod.pod.namespace.to_string(),
        "metadata.uid" => pod.pod.uid.to_string(),
        "metadata.labels" => lines(pod.wire.metadata.labels.as_ref()),
        "metadata.annotations" => lines(pod.wire.metadata.annotations.as_ref()),
        "spec.nodeName" => place.node.clone(),
        "spec.serviceAccountName" => pod
            .spec()
            .service_account_name
            .clone()
            .unwrap_or_else(|| "default".into()),
        "status.hostIP" | "status.hostIPs" => ip(place.host_ip),
        "status.podIP" | "status.podIPs" => ip(if pod.host_network() {
            place.host_ip
        } else {
            place.pod_ip
        }),
        _ => return Err(FieldError::Field(path.to_owned())),
    })
}

/// `metadata.labels['app']`, `metadata.annotations['note']`; an absent key is empty.
fn keyed(path: &str, meta: &ObjectMeta) -> Option<String> {
    let key = |prefix: &str| path.strip_prefix(prefix)?.strip_suffix("']");
    let find = |map: &Option<std::collections::BTreeMap<String, String>>, key: &str| {
        map.as_ref()
            .and_then(|map| map.get(key))
            .cloned()
            .unwrap_or_default()
    };
    if let Some(key) = key("metadata.labels['") {
        return Some(find(&meta.labels, key));
    }
    key("metadata.annotations['").map(|key| find(&meta.annotations, key))
}

/// One `key="value"` per line, as files of the downward API have it.
fn lines(map: Option<&std::collections::BTreeMap<String, String>>) -> String {
    let line = |(key, value): (&String, &String)| format!("{key}={value:?}");
    map.into_iter()
        .flatten()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The value of a `resourceFieldRef`; a missing limit is what the node can give.
///
/// # Errors
/// [`FieldError`] for a container or resource that is not there.
pub fn resource(
    selector: &ResourceFieldSelector,
    own: Option<&Container>,
    pod: &DesiredPod,
    place: &Place,
) -> Result<String, FieldError> {
    let container = match selector
        .container_name
        .as_deref()
        .filter(|name| !name.is_empty())
    {
        Some(name) => pod
            .container(name)
            .ok_or_else(|| FieldError::Container(name.into()))?,
        None => own.ok_or_else(|| FieldError::Container(String::new()))?,
    };
    let unknown = || FieldError::Resource(selector.resource.clone());
    let (list, name) = selector.resource.split_once('.').ok_or_else(unknown)?;
    let resources = container.resources.as_ref();
    let amounts = match list {
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => return Err(unknown()),
    };
    let amount = amounts
        .and_then(|amounts| amounts.get(name))
        .map(|amount| amount.0.as_str());
    let parse = if name == "cpu" {
        quantity::millicores
    } else {
        quantity::units
    };
    let spare = match (list, name) {
        ("limits", "cpu") => place.cpu_millicores,
        ("limits", "memory") => place.memory_bytes,
        (_, "cpu" | "memory" | "ephemeral-storage") => 0,
        _ => return Err(unknown()),
    };
    let value = amount
        .and_then(|amount| parse(amount).ok())
        .unwrap_or(spare);
    let divisor = selector
        .divisor
        .as_ref()
        .and_then(|divisor| parse(&divisor.0).ok());
    let divisor = divisor.filter(|divisor| *divisor > 0);
    let divisor = divisor.unwrap_or(if name == "cpu" { 1000 } else { 1 });
    // Rounded up, as Kubernetes does: half a core is one.
    Ok((value.saturating_add(divisor - 1) / divisor).to_string())
}
