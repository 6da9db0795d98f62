//! ConfigMaps and Secrets: keys, sizes, immutability, and what each type of Secret must hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::field::{At, Errors};
use super::{entry, fill, map, names};

/// All values of one ConfigMap or Secret together, in bytes.
const BYTES_MAX: usize = 1 << 20;

const IMMUTABLE: &str = "field is immutable when `immutable` is set";

/// `stringData` is a way to write `data`; it is not kept.
pub(super) fn default_secret(value: &mut Value) {
    let fields = map(value);
    fill(fields, "type", "Opaque");
    let Some(Value::Object(plain)) = fields.remove("stringData") else {
        return;
    };
    if plain.is_empty() {
        return;
    }
    let data = entry(value, "data");
    for (key, text) in plain {
        if let Some(text) = text.as_str() {
            data.insert(key, STANDARD.encode(text).into());
        }
    }
}

/// A Secret keeps its type if an update leaves it out.
pub(super) fn keep_secret(before: &Value, value: &mut Value) {
    if let Some(kept) = before.get("type") {
        fill(map(value), "type", kept.clone());
    }
}

pub(super) fn validate_config_map(object: &At<'_, '_>, errors: &mut Errors) {
    let (data, binary) = (object.field("data"), object.field("binaryData"));
    let mut bytes = 0;
    for (key, value) in data.entries() {
        errors.problems(&data.key(key), key, &names::config_key(key));
        if binary.field(key).exists() {
            errors.invalid_as(
                &data.key(key),
                key,
                "duplicate of key present in binaryData",
            );
        }
        bytes += value.as_str().map_or(0, str::len);
    }
    for (key, value) in binary.entries() {
        errors.problems(&binary.key(key), key, &names::config_key(key));
        bytes += decoded_len(value.as_str().unwrap_or(""));
    }
    if bytes > BYTES_MAX {
        errors.too_long(object, BYTES_MAX);
    }
}

pub(super) fn validate_config_map_update(old: &At<'_, '_>, new: &At<'_, '_>, errors: &mut Errors) {
    validate_immutable(old, new, &["data", "binaryData"], errors);
}

pub(super) fn validate_secret(object: &At<'_, '_>, errors: &mut Errors) {
    let data = object.field("data");
    let mut bytes = 0;
    for (key, value) in data.entries() {
        errors.problems(&data.key(key), key, &names::config_key(key));
        bytes += decoded_len(value.as_str().unwrap_or(""));
    }
    if bytes > BYTES_MAX {
        errors.too_long(&data, BYTES_MAX);
    }
    validate_secret_type(object, &data, errors);
}

fn validate_secret_type(object: &At<'_, '_>, data: &At<'_, '_>, errors: &mut Errors) {
    let mut require = |keys: &[&str]| {
        for key in keys.iter().filter(|key| !data.field(key).exists()) {
            errors.required(&data.key(key), "");
        }
    };
    match object.field("type").text() {
        "kubernetes.io/tls" => require(&["tls.crt", "tls.key"]),
        "kubernetes.io/ssh-auth" => require(&["ssh-privatekey"]),
        "kubernetes.io/dockerconfigjson" => docker_config(data, ".dockerconfigjson", errors),
        "kubernetes.io/dockercfg" => docker_config(data, ".dockercfg", errors),
        "kubernetes.io/basic-auth" => {
            let none = ["username", "password"]
                .iter()
                .all(|key| !data.field(key).exists());
            if none {
                require(&["username", "password"]);
            }
        }
        "kubernetes.io/service-account-token" => {
            const NAME: &str = "kubernetes.io/service-account.name";
            let meta = object.field("metadata");
            let annotations = meta.field("annotations");
            if annotations.field(NAME).text().is_empty() {
                errors.required(&annotations.key(NAME), "");
            }
        }
        _ => {}
    }
}

fn docker_config(data: &At<'_, '_>, key: &str, errors: &mut Errors) {
    let at = data.key(key);
    if !at.exists() {
        errors.required(&at, "");
        return;
    }
    let config = STANDARD.decode(at.text()).ok();
    let parsed = config.map(|bytes| serde_json::from_slice::<serde::de::IgnoredAny>(&bytes));
    if let Some(Err(err)) = parsed {
        errors.invalid_as(&at, "<secret contents redacted>", &err.to_string());
    }
}

pub(super) fn validate_secret_update(old: &At<'_, '_>, new: &At<'_, '_>, errors: &mut Errors) {
    let kind = new.field("type");
    if old.field("type").value() != kind.value() {
        errors.invalid(&kind, "field is immutable");
    }
    validate_immutable(old, new, &["data"], errors);
}

fn validate_immutable(old: &At<'_, '_>, new: &At<'_, '_>, contents: &[&str], errors: &mut Errors) {
    if !old.field("immutable").is_true() {
        return;
    }
    if !new.field("immutable").is_true() {
        errors.forbidden(&new.field("immutable"), IMMUTABLE);
    }
    for name in contents {
        if old.field(name).value() != new.field(name).value() {
            errors.forbidden(&new.field(name), IMMUTABLE);
        }
    }
}

/// How many bytes a base64 text stands for.
fn decoded_len(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}
