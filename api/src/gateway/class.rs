//! Which Ingresses are Skiff's: those of its class, and those without one where its class is the
//! default or no class exists.

/// What an IngressClass names in `spec.controller` to mean Skiff's gateways.
pub const CONTROLLER: &str = "skiff.io/gateway";

/// The class that means them even where nobody has made an object of it.
pub const CLASS: &str = "skiff";

/// The annotation by which classes were named before there was a field.
pub const OLD_CLASS: &str = "kubernetes.io/ingress.class";

/// The annotation that marks the class of Ingresses that name none.
pub const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

/// What of an IngressClass decides whose Ingresses are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class<'a> {
    /// Its name.
    pub name: &'a str,
    /// `spec.controller`.
    pub controller: &'a str,
    /// Whether it is marked as the default.
    pub is_default: bool,
    /// When it was created, as it is written: the newest of several defaults counts.
    pub created: &'a str,
}

/// Whether an Ingress is Skiff's that names this class, or none, by its field or else by the
/// annotation.
#[must_use]
pub fn is_ours(named: Option<&str>, classes: &[Class<'_>]) -> bool {
    let is_our_class = |class: &Class<'_>| class.controller == CONTROLLER;
    match named {
        Some(name) => {
            let mut found = classes.iter().filter(|class| class.name == name);
            found.next().map_or(name == CLASS, is_our_class)
        }
        None if classes.is_empty() => true,
        None => default_class(classes).is_some_and(is_our_class),
    }
}

/// The class of an Ingress that names none: the newest one that is marked, and of those that are as
/// new the first by name. As Kubernetes' `DefaultIngressClass` admission has it.
#[must_use]
pub fn default_class<'a>(classes: &'a [Class<'a>]) -> Option<&'a Class<'a>> {
    let marked = classes.iter().filter(|class| class.is_default);
    marked.max_by(|one, other| {
        let by_time = one.created.cmp(other.created);
        by_time.then_with(|| other.name.cmp(one.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class<'a>(name: &'a str, controller: &'a str, created: &'a str) -> Class<'a> {
        Class {
            name,
            controller,
            is_default: !created.is_empty(),
            created,
        }
    }

    #[test]
    fn an_ingress_is_ours_by_its_class_or_for_want_of_another() {
        let ours = class("skiff", CONTROLLER, "");
        let other = class("nginx", "k8s.io/nginx", "");
        let renamed = class("edge", CONTROLLER, "");
        let taken = class("skiff", "k8s.io/nginx", "");
        let default = class("skiff", CONTROLLER, "2026-01-02");
        let older = class("nginx", "k8s.io/nginx", "2026-01-01");
        let newer = class("nginx", "k8s.io/nginx", "2026-01-03");
        let cases = [
            ("no class anywhere", None, vec![], true),
            ("ours, without an object", Some("skiff"), vec![], true),
            ("another's, without an object", Some("nginx"), vec![], false),
            ("ours", Some("skiff"), vec![&other, &ours], true),
            ("another's", Some("nginx"), vec![&other, &ours], false),
            ("ours by another name", Some("edge"), vec![&renamed], true),
            (
                "our name, taken by another",
                Some("skiff"),
                vec![&taken],
                false,
            ),
            ("none, and no default", None, vec![&ours], false),
            ("none, and ours is the default", None, vec![&default], true),
            (
                "ours is the newest default",
                None,
                vec![&older, &default],
                true,
            ),
            ("another's is", None, vec![&newer, &default], false),
        ];
        for (name, named, classes, expected) in cases {
            let classes: Vec<Class<'_>> = classes.into_iter().cloned().collect();
            assert_eq!(is_ours(named, &classes), expected, "{name}");
        }
    }
}
