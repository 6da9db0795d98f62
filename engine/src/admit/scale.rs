//! The `scale` subresource: the replica count of a workload as an `autoscaling/v1 Scale`.

use serde_json::{Value, json};
use skiff_api::{Cause, Object, Reason, Revision, Status};

use super::identity::check_same_life;
use super::{Request, entry, field, finish, metadata};

/// The Scale of a Deployment or ReplicaSet.
#[must_use]
pub fn read_scale(object: &Object) -> Value {
    let value = object.to_value();
    let count = |part: &str| {
        let part = value.get(part).and_then(|part| part.get("replicas"));
        part.and_then(Value::as_i64).unwrap_or(0)
    };
    let revision = (object.revision() > Revision(0)).then(|| object.revision().to_string());
    let selector = value.get("spec").and_then(|spec| spec.get("selector"));
    json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {
            "name": object.key().name.as_ref(),
            "namespace": object.key().namespace.as_ref(),
            "uid": object.meta().uid.as_str(),
            "creationTimestamp": object.meta().created.rfc3339(),
            "resourceVersion": revision.unwrap_or_default(),
        },
        "spec": {"replicas": count("spec")},
        "status": {
            "replicas": count("status"),
            "selector": selector.map(selector_text).unwrap_or_default(),
        },
    })
}

/// Admits a Scale: the workload with the replica count that it asks for.
///
/// # Errors
/// 400 if it is no Scale or another object's, 409 if it names another uid or an older
/// resourceVersion, 422 for a negative count.
pub fn scale(old: &Object, value: Value, _request: &Request<'_>) -> Result<Object, Status> {
    let kind = field(&value, "kind");
    if !matches!(kind, "" | "Scale") {
        let message = format!("{kind} cannot be handled as a Scale");
        return Err(Status::failure(Reason::BadRequest, message));
    }
    check_same_life(old, &value)?;
    let name = &old.key().name;
    let asked = value.get("spec").and_then(|spec| spec.get("replicas"));
    let replicas = match asked.filter(|asked| !asked.is_null()) {
        None => 0,
        Some(asked) => asked.as_i64().ok_or_else(|| {
            let message = format!("spec.replicas: expected a number, but received {asked}");
            Status::failure(Reason::BadRequest, message)
        })?,
    };
    if !(0..=i64::from(i32::MAX)).contains(&replicas) {
        return Err(negative(name, replicas));
    }
    let before = old.to_value();
    let mut new = before.clone();
    entry(&mut new, "spec").insert("replicas".into(), replicas.into());
    metadata::count_generation(old, &before, &mut new);
    finish(new)
}

fn negative(name: &str, replicas: i64) -> Status {
    let cause = Cause {
        reason: "FieldValueInvalid".into(),
        message: format!("Invalid value: {replicas}: must be greater than or equal to 0"),
        field: "spec.replicas".into(),
    };
    let message = format!(
        "Scale.autoscaling {name:?} is invalid: {}: {}",
        cause.field, cause.message
    );
    let mut status = Status::failure(Reason::Invalid, message);
    status.details = Some(skiff_api::Details {
        name: name.into(),
        group: "autoscaling".into(),
        kind: "Scale".into(),
        causes: vec![cause],
        ..skiff_api::Details::default()
    });
    status
}

/// A `metav1.LabelSelector` as a query: `app=web,tier in (a,b)`.
fn selector_text(selector: &Value) -> String {
    let labels = selector.get("matchLabels").and_then(Value::as_object);
    let mut parts: Vec<(String, String)> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            (
                key.clone(),
                format!("{key}={}", value.as_str().unwrap_or("")),
            )
        })
        .collect();
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    for expression in expressions.into_iter().flatten() {
        let key = field(expression, "key").to_owned();
        let values = expression.get("values").and_then(Value::as_array);
        let mut values: Vec<&str> = values
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        values.sort_unstable();
        let values = values.join(",");
        let text = match field(expression, "operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        };
        parts.push((key, text));
    }
    parts.sort();
    parts
        .into_iter()
        .map(|(_, text)| text)
        .collect::<Vec<_>>()
        .join(",")
}
