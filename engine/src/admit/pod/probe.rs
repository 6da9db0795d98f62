//! Probes and lifecycle hooks: exactly one handler, and sane numbers.

use crate::admit::field::{At, Errors};
use crate::admit::names;

const SCHEMES: [&str; 2] = ["HTTP", "HTTPS"];

/// Checks the probes and hooks of a container that runs on its own.
pub(super) fn validate(container: &At<'_, '_>, errors: &mut Errors) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.field(name);
        if !probe.exists() {
            continue;
        }
        handler(&probe, &["exec", "httpGet", "tcpSocket", "grpc"], errors);
        numbers(&probe, errors);
        let successes = probe.field("successThreshold");
        if name != "readinessProbe" && successes.int().is_some_and(|count| count != 1) {
            errors.invalid(&successes, "must be 1");
        }
        let grace = probe.field("terminationGracePeriodSeconds");
        if grace.exists() && name == "readinessProbe" {
            errors.invalid(&grace, "must not be set for readinessProbes");
        } else if grace.int().is_some_and(|seconds| seconds <= 0) {
            errors.invalid(&grace, "must be greater than 0");
        }
    }
    let lifecycle = container.field("lifecycle");
    for name in ["postStart", "preStop"] {
        let hook = lifecycle.field(name);
        if hook.exists() {
            handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], errors);
        }
    }
}

/// An init container that ends cannot be probed.
pub(super) fn forbid(container: &At<'_, '_>, errors: &mut Errors) {
    for name in [
        "lifecycle",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
    ] {
        let at = container.field(name);
        if at.exists() {
            let detail = "may not be set for init containers without restartPolicy=Always";
            errors.forbidden(&at, detail);
        }
    }
}

fn numbers(probe: &At<'_, '_>, errors: &mut Errors) {
    const NAMES: [&str; 5] = [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ];
    for name in NAMES {
        let at = probe.field(name);
        if at.int().is_some_and(|number| number < 0) {
            errors.invalid(&at, "must be greater than or equal to 0");
        }
    }
}

fn handler(at: &At<'_, '_>, kinds: &[&str], errors: &mut Errors) {
    let mut found = 0;
    for kind in kinds {
        let one = at.field(kind);
        if !one.exists() {
            continue;
        }
        found += 1;
        if found > 1 {
            errors.forbidden(&one, "may not specify more than 1 handler type");
            continue;
        }
        match *kind {
            "exec" if one.field("command").len() == 0 => {
                errors.required(&one.field("command"), "");
            }
            "httpGet" => http_get(&one, errors),
            "tcpSocket" => port(&one.field("port"), errors),
            "grpc" => port(&one.field("port"), errors),
            _ => {}
        }
    }
    if found == 0 {
        errors.required(at, "must specify a handler type");
    }
}

fn http_get(get: &At<'_, '_>, errors: &mut Errors) {
    let (path, scheme) = (get.field("path"), get.field("scheme"));
    if path.text().is_empty() {
        errors.required(&path, "");
    }
    port(&get.field("port"), errors);
    if !SCHEMES.contains(&scheme.text()) {
        errors.not_supported(&scheme, &SCHEMES);
    }
    for header in get.field("httpHeaders").each() {
        if header.field("name").text().is_empty() {
            errors.required(&header.field("name"), "");
        }
    }
}

/// A number, or the name of one of the container's ports.
fn port(at: &At<'_, '_>, errors: &mut Errors) {
    match at.int() {
        Some(number) if !(1..=65535).contains(&number) => {
            errors.invalid(at, "must be between 1 and 65535, inclusive");
        }
        Some(_) => {}
        None => errors.problems(at, at.text(), &names::port_name(at.text())),
    }
}
