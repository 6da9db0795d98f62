//! Ingresses and their classes.

use super::*;

const FIRST: &str = "/spec/rules/0/http/paths/0";

fn class() -> Value {
    json!({"metadata": {"name": "skiff"}, "spec": {"controller": "skiff.io/gateway"}})
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn ingresses_have_rules() {
    let at = |part: &str| format!("{FIRST}{part}");
    let wildcard = "spec.rules[0].host: Invalid value: \"a.*.example\": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    refused(
        Kind::Ingress,
        &ingress(),
        &[
            (
                "/spec/rules",
                json!([]),
                "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified",
            ),
            (
                "/spec/rules/0/host",
                json!("192.0.2.1"),
                "spec.rules[0].host: Invalid value: \"192.0.2.1\": must be a DNS name, not an IP address",
            ),
            ("/spec/rules/0/host", json!("a.*.example"), wildcard),
            (
                "/spec/rules/0/http/paths",
                json!([]),
                "spec.rules[0].http.paths: Required value",
            ),
            (
                &at("/pathType"),
                json!(null),
                "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
            ),
            (
                &at("/pathType"),
                json!("Regex"),
                "spec.rules[0].http.paths[0].pathType: Unsupported value: \"Regex\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\"",
            ),
            (
                &at("/path"),
                json!("cart"),
                "spec.rules[0].http.paths[0].path: Invalid value: \"cart\": must be an absolute path",
            ),
            (
                &at("/path"),
                json!(null),
                "spec.rules[0].http.paths[0].path: Invalid value: \"\": must be an absolute path",
            ),
            (
                &at("/path"),
                json!("/a//b/.."),
                "spec.rules[0].http.paths[0].path: Invalid value: \"/a//b/..\": must not contain '//'\nspec.rules[0].http.paths[0].path: Invalid value: \"/a//b/..\": cannot end with '/..'",
            ),
            (
                &at("/backend"),
                json!({}),
                "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required",
            ),
            (
                &at("/backend/service/name"),
                json!("1cart"),
                "spec.rules[0].http.paths[0].backend.service.name: Invalid value: \"1cart\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            ),
            (
                &at("/backend/service/port"),
                json!({"name": "web", "number": 80}),
                "spec.rules[0].http.paths[0].backend: Invalid value: \"\": cannot set both port name & port number",
            ),
            (
                &at("/backend/service/port"),
                json!({}),
                "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
            ),
            (
                &at("/backend/service/port"),
                json!({"number": 70000}),
                "spec.rules[0].http.paths[0].backend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ),
            (
                &at("/backend"),
                json!({"resource": {"kind": "Bucket", "name": "b"}}),
                "spec.rules[0].http.paths[0].backend.resource: Forbidden: resource backends are not supported by this version of Skiff; name a service",
            ),
            (
                "/spec/tls",
                json!([{"hosts": ["Shop"]}]),
                "spec.tls[0].hosts[0]: Invalid value: \"Shop\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ),
        ],
    );
    for fine in ["*.example.com", "shop.example"] {
        assert!(
            created(
                Kind::Ingress,
                set(ingress(), "/spec/rules/0/host", fine.into())
            )
            .is_ok()
        );
    }
}

#[test]
fn the_two_ways_to_say_a_class_must_agree() {
    let both = set(
        ingress(),
        "/metadata/annotations",
        json!({"kubernetes.io/ingress.class": "nginx"}),
    );
    assert!(
        created(Kind::Ingress, both.clone()).is_ok(),
        "one of them may say it alone"
    );
    refused(
        Kind::Ingress,
        &both,
        &[(
            "/spec/ingressClassName",
            json!("skiff"),
            "annotations.kubernetes.io/ingress.class: Invalid value: \"nginx\": must match `ingressClassName` when both are specified",
        )],
    );
    assert!(
        created(
            Kind::Ingress,
            set(both, "/spec/ingressClassName", json!("nginx"))
        )
        .is_ok()
    );
}

#[test]
fn classes_have_rules() {
    let long = "a".repeat(251);
    let too_long = format!(
        "spec.controller: Too long: may not be more than 250 bytes\nspec.controller: Invalid value: \"{long}\": must be a domain-prefixed path (such as \"acme.io/foo\")"
    );
    refused(
        Kind::IngressClass,
        &class(),
        &[
            (
                "/spec/controller",
                json!(null),
                "spec.controller: Required value",
            ),
            (
                "/spec/controller",
                json!("gateway"),
                "spec.controller: Invalid value: \"gateway\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ),
            ("/spec/controller", json!(long), &too_long),
            (
                "/spec/controller",
                json!("a.io/x y"),
                "spec.controller: Invalid value: \"x y\": Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')",
            ),
            (
                "/spec/parameters",
                json!({"kind": "Conf", "name": "c", "scope": "Namespace"}),
                "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
            ),
            (
                "/spec/parameters",
                json!({"kind": "Conf", "name": "c", "namespace": "d"}),
                "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'",
            ),
        ],
    );
    let old = stored(Kind::IngressClass, class());
    let other = set(
        old.to_value(),
        "/spec/controller",
        json!("other.io/gateway"),
    );
    assert_eq!(
        causes(updated(&old, other)),
        "spec.controller: Invalid value: \"other.io/gateway\": field is immutable"
    );
}
