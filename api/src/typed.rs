//! The check at the door: does a value have its kind's type, and which of its fields are unknown?

use k8s_openapi::api::{apps, coordination, core, discovery, networking};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::kind::Kind;

/// A value that does not have the type of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct WrongType {
    /// The field, `spec.replicas`.
    pub path: String,
    /// What was expected there.
    pub message: String,
}

/// A Rust type with a kind's wire form.
pub trait WireType: DeserializeOwned {}
impl<T: DeserializeOwned> WireType for T {}

/// Checks a value against the type of its kind and returns the paths of unknown fields.
///
/// # Errors
/// [`WrongType`] naming the first field of a wrong type.
pub fn check(kind: Kind, value: &Value) -> Result<Vec<String>, WrongType> {
    match kind {
        Kind::Namespace => check_as::<core::v1::Namespace>(value),
        Kind::Node => check_as::<core::v1::Node>(value),
        Kind::Pod => check_as::<core::v1::Pod>(value),
        Kind::ConfigMap => check_as::<core::v1::ConfigMap>(value),
        Kind::Secret => check_as::<core::v1::Secret>(value),
        Kind::Event => check_as::<core::v1::Event>(value),
        Kind::ServiceAccount => check_as::<core::v1::ServiceAccount>(value),
        Kind::Deployment => check_as::<apps::v1::Deployment>(value),
        Kind::ReplicaSet => check_as::<apps::v1::ReplicaSet>(value),
        Kind::Lease => check_as::<coordination::v1::Lease>(value),
        Kind::Service => check_as::<core::v1::Service>(value),
        Kind::Endpoints => check_as::<core::v1::Endpoints>(value),
        Kind::EndpointSlice => check_as::<discovery::v1::EndpointSlice>(value),
        Kind::Ingress => check_as::<networking::v1::Ingress>(value),
        Kind::IngressClass => check_as::<networking::v1::IngressClass>(value),
        Kind::NetworkPolicy => check_as::<networking::v1::NetworkPolicy>(value),
    }
}

fn check_as<T: WireType>(value: &Value) -> Result<Vec<String>, WrongType> {
    let mut unknown = Vec::new();
    let Err(message) = read::<T>(value, &mut |path| unknown.push(spell(&path.to_string()))) else {
        return Ok(unknown);
    };
    let fails = |value: &Value| typed::<T>(value).is_err_and(|other| other == message);
    let path = locate(value, &fails);
    Err(WrongType { path, message })
}

/// A value in its typed form; fields that the type does not know are left out.
///
/// # Errors
/// What was expected instead.
pub fn typed<T: WireType>(value: &Value) -> Result<T, String> {
    read(value, &mut |_| {})
}

/// The one place where the types' deserializers come in: each further one would double their code,
/// a megabyte of the binary and of what every process keeps in memory.
fn read<T: WireType>(
    value: &Value,
    note: &mut dyn FnMut(serde_ignored::Path<'_>),
) -> Result<T, String> {
    let read: Result<T, serde_json::Error> = serde_ignored::deserialize(value, note);
    read.map_err(|err| err.to_string())
}

/// Finds the field that an error comes from: the innermost one without which it is gone.
///
/// Errors are rare, and a deserializer that keeps track of its path would double the code of all
/// types. Halving the children takes some dozen trials even for the largest body.
fn locate(value: &Value, fails: &dyn Fn(&Value) -> bool) -> String {
    let mut path: Vec<String> = Vec::new();
    loop {
        let names = children(at(value, &path));
        let without = |names: &[String]| {
            let mut trial = value.clone();
            remove(&mut trial, &path, names);
            trial
        };
        let mut suspects = names.as_slice();
        while suspects.len() > 1 {
            let (first, second) = suspects.split_at(suspects.len() / 2);
            suspects = if fails(&without(first)) {
                second
            } else {
                first
            };
        }
        match suspects {
            [culprit] if !fails(&without(suspects)) => path.push(culprit.clone()),
            _ => return spell(&path.join(".")),
        }
    }
}

fn at<'a>(value: &'a Value, path: &[String]) -> &'a Value {
    path.iter()
        .fold(value, |value, name| match (value, name.parse::<usize>()) {
            (Value::Array(items), Ok(index)) => items.get(index).unwrap_or(&Value::Null),
            _ => value.get(name).unwrap_or(&Value::Null),
        })
}

/// The keys of a map, the indexes of an array.
fn children(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields.keys().cloned().collect(),
        Value::Array(items) => (0..items.len()).map(|index| index.to_string()).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn remove(value: &mut Value, path: &[String], names: &[String]) {
    if let Some((first, rest)) = path.split_first() {
        let inner = match (value, first.parse::<usize>()) {
            (Value::Array(items), Ok(index)) => items.get_mut(index),
            (value, _) => value.get_mut(first),
        };
        if let Some(inner) = inner {
            remove(inner, rest, names);
        }
        return;
    }
    let gone = |name: &str| names.iter().any(|one| one == name);
    match value {
        Value::Object(fields) => fields.retain(|name, _| !gone(name)),
        Value::Array(items) => {
            let mut index = 0..;
            items.retain(|_| !gone(&index.next().unwrap_or(0).to_string()));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `spec.containers.0.?.imge` as Kubernetes writes it: `spec.containers[0].imge`.
fn spell(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for part in path.split('.').filter(|part| *part != "?") {
        if part.bytes().all(|b| b.is_ascii_digit()) {
            out.push('[');
            out.push_str(part);
            out.push(']');
        } else {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(part);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn wrong_types_name_their_field() {
        let wrong = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "spec": {"replicas": "three", "selector": {}, "template": {}}});
        let err = check(Kind::Deployment, &wrong).unwrap_err();
        assert_eq!(err.path, "spec.replicas");
        assert!(
            err.message.contains("invalid type: string \"three\""),
            "{}",
            err.message
        );
    }

    #[test]
    fn a_wrong_field_is_found_at_any_depth() {
        let pod = |containers: Value| {
            json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"containers": containers}})
        };
        let good = json!({"name": "a", "env": [{"name": "A", "value": "1"}]});
        let cases = [
            (
                json!([good, good, {"name": "b", "env": [{"name": "A", "value": 1}]}]),
                "spec.containers[2].env[0].value",
            ),
            (
                json!([{"name": "b", "ports": [{"containerPort": "http"}]}, good]),
                "spec.containers[0].ports[0].containerPort",
            ),
            (json!({"name": "a"}), "spec.containers"),
            (json!([good, ["a"]]), "spec.containers[1]"),
        ];
        for (containers, expected) in cases {
            assert_eq!(
                check(Kind::Pod, &pod(containers)).unwrap_err().path,
                expected
            );
        }
    }

    #[test]
    fn unknown_fields_are_listed_with_their_paths() {
        let value = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"nam": "x"},
            "spec": {"containers": [{"name": "a", "imge": "b"}]}});
        let unknown = check(Kind::Pod, &value).unwrap();
        assert_eq!(unknown, ["metadata.nam", "spec.containers[0].imge"]);
    }
}
