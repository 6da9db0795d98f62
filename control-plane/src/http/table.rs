//! `as=Table`: the columns that `kubectl get` prints, by kind. Adding a kind adds a row to
//! `columns` and a function for its cells; the compiler names both places.

mod age;
mod event;
mod network;
mod node;
mod pod;
mod workload;

#[cfg(test)]
mod tests;

use serde_json::{Value, json};
use skiff_api::{Kind, LabelSelector, Millis, Object};

use super::encode::serialize;
use super::json::at;
use age::since;

/// A column: its name, its type, and whether only `-o wide` shows it.
type Column = (&'static str, &'static str, Show);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Show {
    Always,
    Wide,
}

use Show::{Always, Wide};

const NAME: Column = ("Name", "string", Always);
const AGE: Column = ("Age", "string", Always);
const CONTAINERS: Column = ("Containers", "string", Wide);
const IMAGES: Column = ("Images", "string", Wide);
const SELECTOR: Column = ("Selector", "string", Wide);

fn columns(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Namespace => &[NAME, ("Status", "string", Always), AGE],
        Kind::Node => node::COLUMNS,
        Kind::Pod => pod::COLUMNS,
        Kind::ConfigMap => &[NAME, ("Data", "string", Always), AGE],
        Kind::Secret => &[
            NAME,
            ("Type", "string", Always),
            ("Data", "string", Always),
            AGE,
        ],
        Kind::Event => event::COLUMNS,
        Kind::ServiceAccount => &[NAME, ("Secrets", "string", Always), AGE],
        Kind::Deployment => workload::DEPLOYMENT_COLUMNS,
        Kind::ReplicaSet => workload::REPLICA_SET_COLUMNS,
        Kind::Lease => &[NAME, ("Holder", "string", Always), AGE],
        Kind::Service => network::SERVICE_COLUMNS,
        Kind::Endpoints => &[NAME, ("Endpoints", "string", Always), AGE],
        Kind::EndpointSlice => network::SLICE_COLUMNS,
        Kind::Ingress => network::INGRESS_COLUMNS,
        Kind::IngressClass => network::CLASS_COLUMNS,
        Kind::NetworkPolicy => &[NAME, ("Pod-Selector", "string", Always), AGE],
    }
}

fn cells(kind: Kind, object: &Value, now: Millis) -> Vec<Value> {
    let name = text(at(object, "/metadata/name"));
    let age = since(at(object, "/metadata/creationTimestamp"), now);
    match kind {
        Kind::Namespace => vec![
            name.into(),
            text(at(object, "/status/phase")).into(),
            age.into(),
        ],
        Kind::Node => node::cells(object, name, age),
        Kind::Pod => pod::cells(object, now),
        Kind::ConfigMap => {
            vec![
                name.into(),
                (len(&object["data"]) + len(&object["binaryData"])).into(),
                age.into(),
            ]
        }
        Kind::Secret => {
            let kind = text(&object["type"]);
            vec![
                name.into(),
                kind.into(),
                len(&object["data"]).into(),
                age.into(),
            ]
        }
        Kind::Event => event::cells(object, now),
        Kind::ServiceAccount => vec![name.into(), len(&object["secrets"]).into(), age.into()],
        Kind::Deployment => workload::deployment_cells(object, name, age),
        Kind::ReplicaSet => workload::replica_set_cells(object, name, age),
        Kind::Service => network::service_cells(object, name, age),
        Kind::Endpoints => vec![
            name.into(),
            network::endpoints(&object["subsets"]).into(),
            age.into(),
        ],
        Kind::EndpointSlice => network::slice_cells(object, name, age),
        Kind::Ingress => network::ingress_cells(object, name, age),
        Kind::IngressClass => network::class_cells(object, name, age),
        Kind::NetworkPolicy => {
            let selector = selector(at(object, "/spec/podSelector"));
            vec![name.into(), selector.into(), age.into()]
        }
        Kind::Lease => {
            vec![
                name.into(),
                text(at(object, "/spec/holderIdentity")).into(),
                age.into(),
            ]
        }
    }
}

/// Appends the column definitions of a kind.
pub(super) fn write_columns(kind: Kind, out: &mut Vec<u8>) {
    let definitions = columns(kind).iter().map(|(name, of, show)| {
        json!({
            "name": name,
            "type": of,
            "format": if *name == "Name" { "name" } else { "" },
            "description": "",
            "priority": i32::from(*show == Wide),
        })
    });
    serialize(&definitions.collect::<Vec<_>>(), out);
}

/// Appends the cells of an object, one for each column.
pub(super) fn write_cells(object: &Object, now: Millis, out: &mut Vec<u8>) {
    serialize(&cells(object.kind(), &object.to_value(), now), out);
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// The text, or what kubectl prints for none.
fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

/// A selector of labels as kubectl prints it.
fn selector(value: &Value) -> String {
    let selector = LabelSelector::from_json(value);
    let text = selector.map_or_else(|_| "<error>".to_owned(), |found| found.to_string());
    or_none(&text).to_owned()
}

fn items(value: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    value
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
}

fn len(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.len(),
        Value::Object(map) => map.len(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    items(at(object, "/status/conditions")).find(|condition| condition["type"] == name)
}
