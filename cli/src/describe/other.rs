//! `describe` for kinds without a form of their own: metadata, then the fields as YAML.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use skiff_api::manifest::to_yaml;

use super::sheet::Sheet;
use crate::json;

/// Fields that the metadata part has shown already, or that say what everybody knows.
const SHOWN: [&str; 3] = ["apiVersion", "kind", "metadata"];

pub(super) fn describe(object: &Value, sheet: &mut Sheet) {
    sheet.metadata(object);
    for (name, value) in json::entries(object, "").filter(|(name, _)| !SHOWN.contains(name)) {
        let is_empty = value.as_object().is_some_and(serde_json::Map::is_empty);
        if (value.is_object() || value.is_array()) && !is_empty {
            sheet.heading(0, &title(name));
            to_yaml(value).lines().for_each(|line| sheet.line(1, line));
        } else {
            let text = if is_empty {
                String::new()
            } else {
                crate::jsonpath::shown(value)
            };
            sheet.field(0, &title(name), &text);
        }
    }
}

/// A secret: how long its values are, and no more.
pub(super) fn secret(object: &Value, sheet: &mut Sheet) {
    sheet.metadata(object);
    sheet.field(0, "Type", json::text(object, "/type"));
    sheet.heading(0, "Data");
    for (key, value) in json::entries(object, "/data") {
        let length = STANDARD
            .decode(value.as_str().unwrap_or_default())
            .map_or(0, |data| data.len());
        sheet.field(1, key, &format!("{length} bytes"));
    }
}

/// `firstTimestamp` → `FirstTimestamp`.
fn title(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}
