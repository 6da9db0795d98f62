//! Ingresses and their classes: which requests from outside go to which service.

use std::net::IpAddr;

use serde_json::Value;

use super::{port, port_number};
use crate::admit::field::{At, Errors};
use crate::admit::{entry, fill, names};

const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
/// Parts of paths that proxies read in different ways.
const PATH_PARTS_REFUSED: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const PATH_ENDS_REFUSED: [&str; 2] = ["/..", "/."];

/// The older way to say an ingress's class.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

const CONTROLLER_BYTES_MAX: usize = 250;
const CONTROLLER: &str = "must be a domain-prefixed path (such as \"acme.io/foo\")";
const CONTROLLER_PATH: &str =
    "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";

/// Checks an ingress.
pub(in crate::admit) fn validate_ingress(object: &At<'_, '_>, errors: &mut Errors) {
    let spec = object.field("spec");
    let (rules, fallback) = (spec.field("rules"), spec.field("defaultBackend"));
    if rules.len() == 0 && !fallback.exists() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        errors.invalid_as(&spec, Value::Null, detail);
    }
    if fallback.exists() {
        backend(&fallback, errors);
    }
    for rule in rules.each() {
        host(&rule.field("host"), errors);
        let http = rule.field("http");
        let paths = http.field("paths");
        if http.exists() && paths.len() == 0 {
            errors.required(&paths, "");
        }
        for one in paths.each() {
            path(&one, errors);
        }
    }
    for tls in spec.field("tls").each() {
        for host in tls.field("hosts").each() {
            errors.problems(&host, host.text(), &names::host(host.text()));
        }
        let secret = tls.field("secretName");
        if !secret.text().is_empty() {
            errors.problems(&secret, secret.text(), &names::dns_subdomain(secret.text()));
        }
    }
    class(object, &spec.field("ingressClassName"), errors);
}

fn class(object: &At<'_, '_>, class: &At<'_, '_>, errors: &mut Errors) {
    if !class.exists() {
        return;
    }
    errors.problems(class, class.text(), &names::dns_subdomain(class.text()));
    let meta = object.field("metadata");
    let annotations = meta.field("annotations");
    let other = annotations.field(CLASS_ANNOTATION);
    if other.exists() && other.text() != class.text() {
        let at = object.field("annotations");
        let at = at.field(CLASS_ANNOTATION);
        let detail = "must match `ingressClassName` when both are specified";
        errors.invalid_as(&at, other.text(), detail);
    }
}

fn host(host: &At<'_, '_>, errors: &mut Errors) {
    if host.text().is_empty() {
        return;
    }
    if host.text().parse::<IpAddr>().is_ok() {
        errors.invalid(host, "must be a DNS name, not an IP address");
    }
    errors.problems(host, host.text(), &names::host(host.text()));
}

fn path(at: &At<'_, '_>, errors: &mut Errors) {
    let (word, path) = (at.field("pathType"), at.field("path"));
    if !word.exists() {
        errors.required(&word, "pathType must be specified");
        return;
    }
    let absolute = path.text().starts_with('/');
    match word.text() {
        "Exact" | "Prefix" => {
            if !absolute {
                errors.invalid_as(&path, path.text(), "must be an absolute path");
            }
            for part in PATH_PARTS_REFUSED {
                if path.text().contains(part) {
                    errors.invalid(&path, &format!("must not contain '{part}'"));
                }
            }
            for end in PATH_ENDS_REFUSED {
                if path.text().ends_with(end) {
                    errors.invalid(&path, &format!("cannot end with '{end}'"));
                }
            }
        }
        "ImplementationSpecific" if !absolute && !path.text().is_empty() => {
            errors.invalid(&path, "must be an absolute path");
        }
        "ImplementationSpecific" => {}
        _ => errors.not_supported(&word, &PATH_TYPES),
    }
    backend(&at.field("backend"), errors);
}

fn backend(at: &At<'_, '_>, errors: &mut Errors) {
    let (service, resource) = (at.field("service"), at.field("resource"));
    match (service.exists(), resource.exists()) {
        (true, true) => {
            errors.invalid_as(at, "", "cannot set both resource and service backends");
        }
        (false, false) => errors.invalid_as(at, "", "resource or service backend is required"),
        (false, true) => {
            let detail = "resource backends are not supported by this version of Skiff; name a \
                          service";
            errors.forbidden(&resource, detail);
        }
        (true, false) => service_backend(at, &service, errors),
    }
}

fn service_backend(at: &At<'_, '_>, service: &At<'_, '_>, errors: &mut Errors) {
    let name = service.field("name");
    if name.text().is_empty() {
        errors.required(&name, "");
    } else {
        errors.problems(&name, name.text(), &names::dns_1035_label(name.text()));
    }
    let of = service.field("port");
    let (word, number) = (of.field("name"), of.field("number"));
    let has_number = number.int().is_some_and(|number| number != 0);
    match (!word.text().is_empty(), has_number) {
        (true, true) => errors.invalid_as(at, "", "cannot set both port name & port number"),
        (true, false) => port(&word, errors),
        (false, true) => port_number(&number, errors),
        (false, false) => errors.required(at, "port name or number is required"),
    }
}

/// Parameters that say nothing else are the cluster's.
pub(in crate::admit) fn default_ingress_class(value: &mut Value) {
    let spec = entry(value, "spec");
    if let Some(Value::Object(parameters)) = spec.get_mut("parameters") {
        fill(parameters, "scope", "Cluster");
    }
}

/// Checks a class of ingresses.
pub(in crate::admit) fn validate_ingress_class(object: &At<'_, '_>, errors: &mut Errors) {
    let spec = object.field("spec");
    controller(&spec.field("controller"), errors);
    let parameters = spec.field("parameters");
    if parameters.exists() {
        reference(&parameters, errors);
    }
}

/// A class belongs to the same controller for life.
pub(in crate::admit) fn validate_ingress_class_update(
    old: &At<'_, '_>,
    new: &At<'_, '_>,
    errors: &mut Errors,
) {
    let (old, new) = (old.field("spec"), new.field("spec"));
    let controller = new.field("controller");
    if old.field("controller").value() != controller.value() {
        errors.invalid(&controller, "field is immutable");
    }
}

fn controller(at: &At<'_, '_>, errors: &mut Errors) {
    let text = at.text();
    if text.is_empty() {
        errors.required(at, "");
        return;
    }
    if text.len() > CONTROLLER_BYTES_MAX {
        errors.too_long(at, CONTROLLER_BYTES_MAX);
    }
    match text.split_once('/') {
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => {
            errors.problems(at, domain, &names::dns_subdomain(domain));
            let plain =
                |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
            if !path.bytes().all(plain) {
                errors.invalid_as(at, path, CONTROLLER_PATH);
            }
        }
        Some(_) | None => errors.invalid(at, CONTROLLER),
    }
}

fn reference(at: &At<'_, '_>, errors: &mut Errors) {
    let group = at.field("apiGroup");
    if group.exists() {
        errors.problems(&group, group.text(), &names::dns_subdomain(group.text()));
    }
    for name in ["kind", "name"] {
        let part = at.field(name);
        match part.text() {
            "" => errors.required(&part, ""),
            "." | ".." => errors.invalid(&part, &format!("may not be '{}'", part.text())),
            text => {
                for bad in ["/", "%"] {
                    if text.contains(bad) {
                        errors.invalid(&part, &format!("may not contain '{bad}'"));
                    }
                }
            }
        }
    }
    let (scope, namespace) = (at.field("scope"), at.field("namespace"));
    match scope.text() {
        "Namespace" if namespace.exists() => {
            let text = namespace.text();
            errors.problems(&namespace, text, &names::dns_label(text));
        }
        "Namespace" => {
            errors.required(&namespace, "`parameters.scope` is set to 'Namespace'");
        }
        "Cluster" if namespace.exists() => {
            errors.forbidden(&namespace, "`parameters.scope` is set to 'Cluster'");
        }
        "Cluster" => {}
        _ => errors.not_supported(&scope, &["Cluster", "Namespace"]),
    }
}
