//! The row of an event.

use serde_json::Value;
use skiff_api::Millis;

use super::Show::{Always, Wide};
use super::{Column, age, at, number, text};

pub(super) const COLUMNS: &[Column] = &[
    ("Last Seen", "string", Always),
    ("Type", "string", Always),
    ("Reason", "string", Always),
    ("Object", "string", Always),
    ("Subobject", "string", Wide),
    ("Source", "string", Wide),
    ("Message", "string", Always),
    ("First Seen", "string", Wide),
    ("Count", "string", Wide),
    ("Name", "string", Wide),
];

pub(super) fn cells(event: &Value, now: Millis) -> Vec<Value> {
    let series = &event["series"];
    let given = |field: &str| event.get(field).filter(|time| !time.is_null());
    let first = given("firstTimestamp").unwrap_or(&event["eventTime"]);
    let repeated = series
        .get("lastObservedTime")
        .filter(|time| !time.is_null());
    let last = repeated.or_else(|| given("lastTimestamp")).unwrap_or(first);
    let count = match number(&series["count"]) {
        0 => number(&event["count"]).max(1),
        count => count,
    };
    let about = &event["involvedObject"];
    let kind = text(&about["kind"]).to_lowercase();
    let object = match text(&about["name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    vec![
        age::since(last, now).into(),
        text(&event["type"]).into(),
        text(&event["reason"]).into(),
        object.into(),
        text(&about["fieldPath"]).into(),
        source(event).into(),
        text(&event["message"]).trim().into(),
        age::since(first, now).into(),
        count.into(),
        text(at(event, "/metadata/name")).into(),
    ]
}

fn source(event: &Value) -> String {
    let (component, host) = match text(at(event, "/source/component")) {
        "" => (
            text(&event["reportingComponent"]),
            text(&event["reportingInstance"]),
        ),
        component => (component, text(at(event, "/source/host"))),
    };
    let parts = [component, host];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}
