//! Bodies of requests: read up to a bound, parsed as JSON or YAML, checked against the kind's
//! type. Unknown fields are refused, warned of or dropped, as the client asks.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use serde_json::Value;
use skiff_api::{Kind, Reason, WrongType};

use super::negotiate::BodyType;
use super::query::Query;
use super::reply::{Refused, refuse};

/// Bytes in a body at most, as in Kubernetes: an object of more than this does no store good.
pub(crate) const BODY_MAX: usize = 3 << 20;
/// How long a client may take to send its body.
const BODY_WAIT: Duration = Duration::from_secs(60);

/// How much of a body that is too large is read and thrown away.
const DISCARDED_MAX: usize = 4 * BODY_MAX;
/// For how long.
const DISCARD_WAIT: Duration = Duration::from_secs(5);

/// Reads a whole body.
///
/// # Errors
/// 413 if it is too large, 400 if it breaks off, 504 if it takes too long.
pub(crate) async fn read(mut body: Body) -> Result<Bytes, Refused> {
    if body.size_hint().lower() > BODY_MAX as u64 {
        discard(&mut body).await;
        return Err(too_large());
    }
    let collected = tokio::time::timeout(BODY_WAIT, Limited::new(&mut body, BODY_MAX).collect());
    match collected.await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(err)) if err.is::<LengthLimitError>() => {
            discard(&mut body).await;
            Err(too_large())
        }
        Ok(Err(err)) => Err(bad(format!("the body of the request broke off: {err}"))),
        Err(_) => Err(refuse(
            Reason::Timeout,
            "the body of the request did not come in time",
        )),
    }
}

/// Reads on without keeping anything, within bounds: a client that is still sending when its
/// connection is closed would not read the answer.
async fn discard(body: &mut Body) {
    let mut left = DISCARDED_MAX;
    let reading = async {
        while left > 0
            && let Some(Ok(frame)) = body.frame().await
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    // The answer is the same whether the client came to its end or not.
    drop(tokio::time::timeout(DISCARD_WAIT, reading).await);
}

fn too_large() -> Refused {
    let message = format!("Request entity too large: limit is {BODY_MAX}");
    refuse(Reason::RequestEntityTooLarge, message)
}

fn bad(message: impl Into<String>) -> Refused {
    refuse(Reason::BadRequest, message)
}

/// Parses a body. JSON patches are lists, everything else is a map; an empty body is null.
///
/// # Errors
/// 400 if it is no JSON or YAML, or of the wrong shape.
pub(crate) fn parse(bytes: &[u8], of: BodyType) -> Result<Value, Refused> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let value: Value = match of {
        BodyType::Yaml => serde_yaml::from_slice(bytes)
            .map_err(|err| bad(format!("error converting YAML to JSON: yaml: {err}")))?,
        BodyType::Json | BodyType::JsonPatch | BodyType::MergePatch | BodyType::StrategicPatch => {
            serde_json::from_slice(bytes)
                .map_err(|err| bad(format!("the body of the request is not valid JSON: {err}")))?
        }
    };
    match (&value, of) {
        (Value::Array(_), BodyType::JsonPatch) => Ok(value),
        (_, BodyType::JsonPatch) => Err(bad("a JSON patch must be a list of operations")),
        (Value::Object(_), _) => Ok(value),
        _ => Err(bad("the body of the request must be a map")),
    }
}

/// What to do about unknown fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

impl FieldValidation {
    /// Reads the query parameter of that name.
    ///
    /// # Errors
    /// 422 for another word.
    pub(crate) fn parse(query: &Query) -> Result<Self, Refused> {
        match query.get("fieldValidation") {
            Some("Ignore") => Ok(Self::Ignore),
            None | Some("Warn") => Ok(Self::Warn),
            Some("Strict") => Ok(Self::Strict),
            Some(other) => {
                let message = format!(
                    "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \
                     \"Strict\", \"Warn\""
                );
                Err(refuse(Reason::Invalid, message))
            }
        }
    }
}

/// Checks a value against the type of its kind and drops its unknown fields; returns the warnings
/// about them.
///
/// # Errors
/// 400 for a wrong type, and with `Strict` for unknown fields.
pub(crate) fn check(
    kind: Kind,
    value: &mut Value,
    validation: FieldValidation,
) -> Result<Vec<String>, Refused> {
    expect_type(kind, value)?;
    let unknown = skiff_api::check(kind, value).map_err(|err| wrong_type(kind, &err))?;
    let words = || {
        unknown
            .iter()
            .map(|path| format!("unknown field \"{path}\""))
    };
    if validation == FieldValidation::Strict && !unknown.is_empty() {
        let list: Vec<String> = words().collect();
        let why = format!("strict decoding error: {}", list.join(", "));
        return Err(bad(cannot_be_handled(kind, &why)));
    }
    let warnings = match validation {
        FieldValidation::Ignore => Vec::new(),
        FieldValidation::Warn | FieldValidation::Strict => words().collect(),
    };
    for path in &unknown {
        drop_field(value, path);
    }
    Ok(warnings)
}

/// A body may leave out its type, but not name another one.
fn expect_type(kind: Kind, value: &Value) -> Result<(), Refused> {
    let info = kind.info();
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or("");
    let (version, name) = (text("apiVersion"), text("kind"));
    let expected = info.api_version();
    if !version.is_empty() && version != expected {
        return Err(bad(format!(
            "the API version in the data ({version}) does not match the expected API version \
             ({expected})"
        )));
    }
    if !name.is_empty() && name != info.name {
        return Err(bad(format!(
            "{name} in version {expected:?} cannot be handled as a {}: another kind was expected \
             at this path",
            info.name
        )));
    }
    Ok(())
}

fn cannot_be_handled(kind: Kind, why: &str) -> String {
    let info = kind.info();
    format!(
        "{0} in version {1:?} cannot be handled as a {0}: {why}",
        info.name, info.version
    )
}

/// The words of Go's JSON decoder, which people find when they search for them.
fn wrong_type(kind: Kind, err: &WrongType) -> Refused {
    let found = err.message.strip_prefix("invalid type: ");
    let parts = found.and_then(|rest| rest.rsplit_once(", expected "));
    let why = match parts {
        Some((found, expected)) => format!(
            "json: cannot unmarshal {} into Go struct field .{} of type {}",
            go_value(found),
            err.path,
            go_type(expected)
        ),
        None => format!("{}: {}", err.path, err.message),
    };
    bad(cannot_be_handled(kind, &why))
}

fn go_value(found: &str) -> &str {
    match found.split_whitespace().next().unwrap_or(found) {
        "integer" | "floating" => "number",
        "boolean" => "bool",
        "map" => "object",
        "sequence" => "array",
        "unit" | "null" => "null",
        word => word,
    }
}

fn go_type(expected: &str) -> &str {
    match expected {
        "i32" => "int32",
        "i64" => "int64",
        "f64" => "float64",
        "a string" => "string",
        "a boolean" => "bool",
        "a sequence" => "[]",
        "a map" => "map[string]",
        other => other.strip_prefix("struct ").unwrap_or(other),
    }
}

/// Removes the field that a path names: `spec.containers[0].imge`. Keys may hold dots themselves,
/// so every key that begins the rest of the path is tried.
fn drop_field(value: &mut Value, path: &str) -> bool {
    match value {
        Value::Object(fields) => {
            if fields.remove(path).is_some() {
                return true;
            }
            fields.iter_mut().any(|(key, inner)| {
                let rest = path.strip_prefix(key.as_str()).filter(|_| !key.is_empty());
                rest.and_then(|rest| {
                    rest.strip_prefix('.')
                        .or(rest.starts_with('[').then_some(rest))
                })
                .is_some_and(|rest| drop_field(inner, rest))
            })
        }
        Value::Array(items) => {
            let index = path.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            let Some((index, rest)) = index else {
                return false;
            };
            let item = index
                .parse()
                .ok()
                .and_then(|index: usize| items.get_mut(index));
            item.is_some_and(|item| drop_field(item, rest.strip_prefix('.').unwrap_or(rest)))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bodies_are_parsed_or_refused_with_the_reason() {
        let cases = [
            ("{\"a\": 1}", BodyType::Json, Ok(json!({"a": 1}))),
            ("a: 1\n", BodyType::Yaml, Ok(json!({"a": 1}))),
            ("", BodyType::Json, Ok(Value::Null)),
            ("[]", BodyType::JsonPatch, Ok(json!([]))),
            (
                "{}",
                BodyType::JsonPatch,
                Err("a JSON patch must be a list"),
            ),
            ("[]", BodyType::MergePatch, Err("must be a map")),
            (
                "{\"a\": ",
                BodyType::Json,
                Err("not valid JSON: EOF while parsing"),
            ),
            (
                "a: [1",
                BodyType::Yaml,
                Err("error converting YAML to JSON"),
            ),
        ];
        for (text, of, expected) in cases {
            match (parse(text.as_bytes(), of), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(status), Err(words)) => {
                    assert_eq!(status.code, 400, "{text}");
                    assert!(status.message.contains(words), "{text}: {}", status.message);
                }
                (found, expected) => panic!("{text}: {found:?}, expected {expected:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_body_has_a_bound() {
        let fits = Body::from(vec![b' '; BODY_MAX]);
        assert_eq!(read(fits).await.unwrap().len(), BODY_MAX);
        let known = Body::from(vec![b' '; BODY_MAX + 1]);
        assert_eq!(read(known).await.unwrap_err().code, 413);
        let chunks = (0..4).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 20])));
        let streamed = Body::from_stream(futures_util::stream::iter(chunks));
        assert_eq!(read(streamed).await.unwrap_err().code, 413);
    }

    fn pod() -> Value {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "labels": {"a.b/c": "d"}}, "sepc": {},
            "spec": {"containers": [{"name": "c", "imge": "x", "image": "y"}]}})
    }

    #[test]
    fn unknown_fields_are_treated_as_asked() {
        let mut dropped = pod();
        let warnings = check(Kind::Pod, &mut dropped, FieldValidation::Warn).unwrap();
        let expected = [
            "unknown field \"sepc\"",
            "unknown field \"spec.containers[0].imge\"",
        ];
        let mut sorted = warnings.clone();
        sorted.sort();
        assert_eq!(sorted, expected);
        let mut clean = pod();
        clean.as_object_mut().unwrap().remove("sepc");
        clean["spec"]["containers"][0]
            .as_object_mut()
            .unwrap()
            .remove("imge");
        assert_eq!(dropped, clean);
        assert_eq!(
            check(Kind::Pod, &mut pod(), FieldValidation::Ignore).unwrap(),
            [""; 0]
        );
        let strict = check(Kind::Pod, &mut pod(), FieldValidation::Strict).unwrap_err();
        assert_eq!(strict.code, 400);
        assert!(
            strict.message.contains("strict decoding error: "),
            "{}",
            strict.message
        );
        assert!(
            strict
                .message
                .contains("unknown field \"spec.containers[0].imge\"")
        );
    }

    #[test]
    fn a_wrong_type_is_named_with_its_path() {
        let mut deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "spec": {"replicas": "three", "selector": {}, "template": {}}});
        let status = check(Kind::Deployment, &mut deployment, FieldValidation::Warn).unwrap_err();
        assert_eq!(
            (status.code, status.message.as_str()),
            (
                400,
                "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot \
                 unmarshal string into Go struct field .spec.replicas of type int32"
            )
        );
    }
}
