//! Namespaces: the label that names them, and the finalizer that keeps a namespace until its
//! objects are gone.

use serde_json::{Value, json};

use super::{entry, map, text};

const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) fn default(value: &mut Value) {
    let name = text(value, "metadata", "name").to_owned();
    if !name.is_empty() {
        let labels = map(entry(value, "metadata")
            .entry("labels")
            .or_insert(Value::Null));
        labels.insert(NAME_LABEL.into(), name.into());
    }
    // Only a namespace whose deletion has ended may be without.
    let deleting = value
        .get("metadata")
        .is_some_and(|m| m.get("deletionTimestamp").is_some());
    let spec = entry(value, "spec");
    if !deleting && !spec.contains_key("finalizers") {
        spec.insert("finalizers".into(), json!(["kubernetes"]));
    }
}

/// The main path cannot end a deletion by taking the finalizers away.
pub(super) fn keep_finalizers(before: &Value, value: &mut Value) {
    let kept = before.get("spec").and_then(|spec| spec.get("finalizers"));
    let spec = entry(value, "spec");
    match kept {
        Some(kept) => drop(spec.insert("finalizers".into(), kept.clone())),
        None => drop(spec.remove("finalizers")),
    }
}
