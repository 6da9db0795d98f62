//! What Kubernetes fills into a pod. Every function may run twice: the second changes nothing.

use serde_json::{Map, Value, json};

use super::volume::SOURCES;
use crate::admit::{fill, map};

type Fields = Map<String, Value>;

/// The defaults of a pod: those of a template, and those that only a pod gets.
pub(super) fn pod(spec: &mut Fields) {
    template(spec);
    fill(spec, "enableServiceLinks", true);
    fill(spec, "serviceAccountName", "default");
    mirror_service_account(spec);
    let host_network = spec
        .get("hostNetwork")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    for list in ["initContainers", "containers"] {
        for container in each(spec, list) {
            requests_from_limits(container);
            if host_network {
                host_ports(container);
            }
        }
    }
}

/// The defaults of a pod template's spec.
pub(in crate::admit) fn template(spec: &mut Fields) {
    fill(spec, "restartPolicy", "Always");
    fill(spec, "dnsPolicy", "ClusterFirst");
    fill(spec, "schedulerName", "default-scheduler");
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill(spec, "securityContext", json!({}));
    mirror_service_account(spec);
    for list in ["initContainers", "containers"] {
        each(spec, list).for_each(container);
    }
    each(spec, "volumes").for_each(volume);
}

/// The name has an old spelling that some clients still read.
fn mirror_service_account(spec: &mut Fields) {
    let find = |name: &str| spec.get(name).filter(|v| v.as_str() != Some("")).cloned();
    if let Some(name) = find("serviceAccountName").or_else(|| find("serviceAccount")) {
        spec.insert("serviceAccountName".into(), name.clone());
        spec.insert("serviceAccount".into(), name);
    }
}

fn each<'a>(fields: &'a mut Fields, list: &str) -> impl Iterator<Item = &'a mut Fields> + use<'a> {
    let items = fields
        .get_mut(list)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten();
    items.filter_map(Value::as_object_mut)
}

fn container(container: &mut Fields) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or("");
    let policy = if is_latest(image) {
        "Always"
    } else {
        "IfNotPresent"
    };
    fill(container, "imagePullPolicy", policy);
    fill(container, "terminationMessagePath", "/dev/termination-log");
    fill(container, "terminationMessagePolicy", "File");
    fill(container, "resources", json!({}));
    each(container, "ports").for_each(|port| fill(port, "protocol", "TCP"));
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(Value::Object(found)) = container.get_mut(name) {
            probe(found);
        }
    }
    if let Some(Value::Object(lifecycle)) = container.get_mut("lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(Value::Object(found)) = lifecycle.get_mut(hook) {
                handler(found);
            }
        }
    }
    for variable in each(container, "env") {
        if let Some(Value::Object(source)) = variable.get_mut("valueFrom") {
            env_source(source);
        }
    }
}

/// Whether the image's tag is `latest`, written or implied.
fn is_latest(image: &str) -> bool {
    let (name, digest) = match image.split_once('@') {
        Some((name, _)) => (name, true),
        None => (image, false),
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => !digest,
    }
}

fn probe(probe: &mut Fields) {
    fill(probe, "timeoutSeconds", 1);
    fill(probe, "periodSeconds", 10);
    fill(probe, "successThreshold", 1);
    fill(probe, "failureThreshold", 3);
    // Zero means "not given" on the wire.
    for (name, standard) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        if probe.get(name).and_then(Value::as_i64) == Some(0) {
            probe.insert(name.into(), standard.into());
        }
    }
    handler(probe);
}

fn handler(handler: &mut Fields) {
    if let Some(Value::Object(get)) = handler.get_mut("httpGet") {
        fill(get, "path", "/");
        fill(get, "scheme", "HTTP");
    }
    if let Some(Value::Object(grpc)) = handler.get_mut("grpc") {
        fill(grpc, "service", "");
    }
}

fn env_source(source: &mut Fields) {
    if let Some(Value::Object(reference)) = source.get_mut("fieldRef") {
        fill(reference, "apiVersion", "v1");
    }
    if let Some(Value::Object(reference)) = source.get_mut("resourceFieldRef") {
        fill(reference, "divisor", "0");
    }
}

fn volume(volume: &mut Fields) {
    if !volume.keys().any(|key| SOURCES.contains(&key.as_str())) {
        volume.insert("emptyDir".into(), json!({}));
    }
    for source in ["configMap", "secret", "downwardAPI", "projected"] {
        if let Some(Value::Object(found)) = volume.get_mut(source) {
            fill(found, "defaultMode", 0o644);
        }
    }
    if let Some(Value::Object(found)) = volume.get_mut("hostPath") {
        fill(found, "type", "");
    }
    if let Some(Value::Object(found)) = volume.get_mut("downwardAPI") {
        each(found, "items").for_each(env_source);
    }
    if let Some(Value::Object(found)) = volume.get_mut("projected") {
        each(found, "sources").for_each(projection);
    }
}

fn projection(source: &mut Fields) {
    if let Some(Value::Object(token)) = source.get_mut("serviceAccountToken") {
        fill(token, "expirationSeconds", 3600);
    }
    if let Some(Value::Object(found)) = source.get_mut("downwardAPI") {
        each(found, "items").for_each(env_source);
    }
}

/// A limit without a request asks for all of the limit.
fn requests_from_limits(container: &mut Fields) {
    let Some(Value::Object(resources)) = container.get_mut("resources") else {
        return;
    };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else {
        return;
    };
    if limits.is_empty() {
        return;
    }
    let requests = map(resources.entry("requests").or_insert(Value::Null));
    for (name, limit) in limits {
        requests.entry(name).or_insert(limit);
    }
}

/// In the node's own network a container's port is the node's port.
fn host_ports(container: &mut Fields) {
    for port in each(container, "ports") {
        let unset = port.get("hostPort").and_then(Value::as_i64).unwrap_or(0) == 0;
        if let (true, Some(number)) = (unset, port.get("containerPort").cloned()) {
            port.insert("hostPort".into(), number);
        }
    }
}

/// People write `cpu: 2`; on the wire of Kubernetes a quantity is text.
pub(in crate::admit) fn quantities_to_text(spec: &mut Fields) {
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in each(spec, list) {
            if let Some(Value::Object(resources)) = container.get_mut("resources") {
                amounts(resources, "limits");
                amounts(resources, "requests");
            }
            for variable in each(container, "env") {
                if let Some(source) = variable.get_mut("valueFrom").and_then(Value::as_object_mut)
                    && let Some(Value::Object(reference)) = source.get_mut("resourceFieldRef")
                {
                    amount(reference, "divisor");
                }
            }
        }
    }
    amounts(spec, "overhead");
    for volume in each(spec, "volumes") {
        if let Some(Value::Object(empty)) = volume.get_mut("emptyDir") {
            amount(empty, "sizeLimit");
        }
    }
}

/// Makes text of every quantity in the map under a field.
pub(in crate::admit) fn amounts(fields: &mut Fields, name: &str) {
    if let Some(Value::Object(found)) = fields.get_mut(name) {
        for value in found.values_mut() {
            number_to_text(value);
        }
    }
}

fn amount(fields: &mut Fields, name: &str) {
    if let Some(value) = fields.get_mut(name) {
        number_to_text(value);
    }
}

fn number_to_text(value: &mut Value) {
    if let Value::Number(number) = value {
        *value = number.to_string().into();
    }
}
