//! Which Ingresses are this gateway's: those of its class, and those without one where its class is
//! the default or no class exists.

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};

/// What an IngressClass names in `spec.controller` to mean this gateway.
pub const CONTROLLER: &str = "skiff.io/gateway";

/// The class that means this gateway even where nobody has made an object of it.
const CLASS: &str = "skiff";

/// How classes were named before there was a field.
const OLD_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// Marks the class of Ingresses that name none.
const DEFAULT_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// Whether this gateway serves an Ingress.
#[must_use]
pub fn is_ours(ingress: &Ingress, classes: &[IngressClass]) -> bool {
    let named = ingress
        .spec
        .as_ref()
        .and_then(|spec| spec.ingress_class_name.as_deref());
    let annotations = ingress.metadata.annotations.as_ref();
    let annotated = annotations.and_then(|all| all.get(OLD_ANNOTATION));
    match (named, annotated) {
        (Some(name), _) => is_our_name(name, classes),
        (None, Some(name)) => is_our_name(name, classes),
        (None, None) if classes.is_empty() => true,
        (None, None) => classes
            .iter()
            .any(|class| is_default(class) && is_our_class(class)),
    }
}

fn is_our_name(name: &str, classes: &[IngressClass]) -> bool {
    let found = classes
        .iter()
        .find(|class| class.metadata.name.as_deref() == Some(name));
    found.map_or(name == CLASS, is_our_class)
}

fn is_our_class(class: &IngressClass) -> bool {
    let controller = class
        .spec
        .as_ref()
        .and_then(|spec| spec.controller.as_deref());
    controller == Some(CONTROLLER)
}

fn is_default(class: &IngressClass) -> bool {
    let annotations = class.metadata.annotations.as_ref();
    annotations.is_some_and(|all| all.get(DEFAULT_ANNOTATION).is_some_and(|on| on == "true"))
}
