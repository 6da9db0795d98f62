//! The classes of Ingresses, as far as they decide whose one is, and the class that a new one gets
//! that names none.

#![expect(
    clippy::indexing_slicing,
    reason = "of JSON: a field that is missing reads as null, and is made when it is written"
)]

use serde_json::Value;
use skiff_api::gateway::{Class, DEFAULT_CLASS, OLD_CLASS, default_class};
use skiff_api::{Kind, Object};

use crate::state::State;

/// All classes, as they are in the state.
pub(crate) fn list(state: &State) -> Vec<Value> {
    let classes = state.list(Kind::IngressClass, None);
    classes.map(Object::to_value).collect()
}

/// What of them decides.
pub(crate) fn read(classes: &[Value]) -> Vec<Class<'_>> {
    classes.iter().map(class).collect()
}

fn class(value: &Value) -> Class<'_> {
    fn text(value: &Value) -> &str {
        value.as_str().unwrap_or_default()
    }
    Class {
        name: text(&value["metadata"]["name"]),
        controller: text(&value["spec"]["controller"]),
        is_default: value["metadata"]["annotations"][DEFAULT_CLASS] == "true",
        created: text(&value["metadata"]["creationTimestamp"]),
    }
}

/// The class that an Ingress names, by its field or else by the annotation.
pub(crate) fn named(ingress: &Value) -> Option<&str> {
    let field = ingress["spec"]["ingressClassName"].as_str();
    field.or_else(|| ingress["metadata"]["annotations"][OLD_CLASS].as_str())
}

/// Gives a new Ingress the default class, if it names none and there is one. Kubernetes'
/// `DefaultIngressClass` admission.
pub(crate) fn begin(state: &State, ingress: &mut Value) {
    if named(ingress).is_some() {
        return;
    }
    let listed = list(state);
    if let Some(class) = default_class(&read(&listed)) {
        ingress["spec"]["ingressClassName"] = class.name.into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::world::World;

    #[test]
    fn an_ingress_without_a_class_gets_the_newest_default() {
        let class = |name: &str, default: bool, created: &str| {
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
                "metadata": {"name": name, "uid": name, "creationTimestamp": created,
                    "annotations": {DEFAULT_CLASS: default.to_string()}},
                "spec": {"controller": "x/y"}})
        };
        let given = |world: &World, annotations: Value, spec: Value| {
            let mut value = json!({"metadata": {"annotations": annotations}, "spec": spec});
            begin(&world.state, &mut value);
            let found = value["spec"]["ingressClassName"].as_str();
            found.unwrap_or("-").to_owned()
        };
        let mut world = World::new(1);
        assert_eq!(given(&world, json!({}), json!({})), "-");
        world.put(class("old", true, "2026-01-01T00:00:00Z"));
        world.put(class("new", true, "2026-01-02T00:00:00Z"));
        world.put(class("newest", false, "2026-01-03T00:00:00Z"));
        assert_eq!(given(&world, json!({}), json!({})), "new");
        let named = json!({"ingressClassName": "old"});
        assert_eq!(given(&world, json!({}), named), "old");
        let annotated = json!({OLD_CLASS: "old"});
        assert_eq!(given(&world, annotated, json!({})), "-");
    }
}
