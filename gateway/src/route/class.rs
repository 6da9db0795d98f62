//! Which Ingresses are this gateway's, of typed objects.

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use skiff_api::gateway::{self, Class, DEFAULT_CLASS, OLD_CLASS};

/// Whether this gateway serves an Ingress.
#[must_use]
pub fn is_ours(ingress: &Ingress, classes: &[IngressClass]) -> bool {
    let named = ingress
        .spec
        .as_ref()
        .and_then(|spec| spec.ingress_class_name.as_deref());
    let annotations = ingress.metadata.annotations.as_ref();
    let annotated = annotations.and_then(|all| all.get(OLD_CLASS));
    let created: Vec<String> = classes.iter().map(created).collect();
    let classes: Vec<Class<'_>> = classes
        .iter()
        .zip(&created)
        .map(|(class, created)| read(class, created))
        .collect();
    gateway::is_ours(named.or(annotated.map(String::as_str)), &classes)
}

fn created(class: &IngressClass) -> String {
    let at = class.metadata.creation_timestamp.as_ref();
    at.map_or_else(String::new, |at| at.0.to_string())
}

fn read<'a>(class: &'a IngressClass, created: &'a str) -> Class<'a> {
    let controller = class
        .spec
        .as_ref()
        .and_then(|spec| spec.controller.as_deref());
    let annotations = class.metadata.annotations.as_ref();
    Class {
        name: class.metadata.name.as_deref().unwrap_or_default(),
        controller: controller.unwrap_or_default(),
        is_default: annotations
            .is_some_and(|all| all.get(DEFAULT_CLASS).is_some_and(|on| on == "true")),
        created,
    }
}
