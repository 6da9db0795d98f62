//! The parts that a pod and a pod template share: containers and volumes.

use serde_json::Value;

use super::sheet::Sheet;
use crate::json;
use crate::jsonpath::shown;

/// The containers of a pod spec, with their states if the pod has any.
pub(super) fn containers(spec: &Value, statuses: &Value, level: usize, sheet: &mut Sheet) {
    let lists = [
        (
            "Init Containers",
            "/initContainers",
            "/initContainerStatuses",
        ),
        ("Containers", "/containers", "/containerStatuses"),
    ];
    for (heading, field, status_field) in lists {
        let containers = json::items(spec, field);
        if containers.is_empty() {
            continue;
        }
        sheet.heading(level, heading);
        for item in containers {
            let name = json::text(item, "/name");
            let statuses = json::items(statuses, status_field);
            let status = statuses
                .iter()
                .find(|status| json::text(status, "/name") == name);
            sheet.heading(level + 1, name);
            container(item, status, level + 2, sheet);
        }
    }
}

fn container(item: &Value, status: Option<&Value>, level: usize, sheet: &mut Sheet) {
    if let Some(status) = status {
        sheet.field(level, "Container ID", json::text(status, "/containerID"));
    }
    sheet.field(level, "Image", json::text(item, "/image"));
    if let Some(status) = status {
        sheet.field(level, "Image ID", json::text(status, "/imageID"));
    }
    let ports = |field: &str| {
        let each = json::items(item, "/ports").iter().map(|port| {
            let number = json::int(port, field);
            let protocol = json::text(port, "/protocol");
            format!(
                "{number}/{}",
                if protocol.is_empty() { "TCP" } else { protocol }
            )
        });
        each.collect::<Vec<_>>().join(", ")
    };
    sheet.field(level, "Ports", &ports("/containerPort"));
    sheet.field(level, "Host Ports", &ports("/hostPort"));
    for (name, pointer) in [("Command", "/command"), ("Args", "/args")] {
        let words: Vec<String> = json::items(item, pointer).iter().map(shown).collect();
        if !words.is_empty() {
            sheet.list(level, name, words);
        }
    }
    if let Some(status) = status {
        states(status, level, sheet);
    }
    for (name, pointer) in [
        ("Limits", "/resources/limits"),
        ("Requests", "/resources/requests"),
    ] {
        let amounts: Vec<String> = json::entries(item, pointer)
            .map(|(key, value)| format!("{key}: {}", shown(value)))
            .collect();
        if !amounts.is_empty() {
            sheet.list(level, name, amounts);
        }
    }
    for (name, pointer) in [
        ("Liveness", "/livenessProbe"),
        ("Readiness", "/readinessProbe"),
        ("Startup", "/startupProbe"),
    ] {
        if let Some(probe) = item.pointer(pointer) {
            sheet.field(level, name, &self::probe(probe));
        }
    }
    sheet.list(level, "Environment", environment(item));
    let mounts = json::items(item, "/volumeMounts").iter().map(|mount| {
        let mode = if json::flag(mount, "/readOnly") {
            "ro"
        } else {
            "rw"
        };
        let (path, from) = (json::text(mount, "/mountPath"), json::text(mount, "/name"));
        format!("{path} from {from} ({mode})")
    });
    sheet.list(level, "Mounts", mounts.collect());
}

fn states(status: &Value, level: usize, sheet: &mut Sheet) {
    state("State", status.pointer("/state"), level, sheet);
    if status
        .pointer("/lastState")
        .and_then(Value::as_object)
        .is_some_and(|map| !map.is_empty())
    {
        state("Last State", status.pointer("/lastState"), level, sheet);
    }
    let ready = if json::flag(status, "/ready") {
        "True"
    } else {
        "False"
    };
    sheet.field(level, "Ready", ready);
    sheet.field(
        level,
        "Restart Count",
        &json::int(status, "/restartCount").to_string(),
    );
}

fn state(name: &str, state: Option<&Value>, level: usize, sheet: &mut Sheet) {
    let entry = state
        .and_then(Value::as_object)
        .and_then(|map| map.iter().next());
    let Some((kind, detail)) = entry else {
        sheet.field(level, name, "Waiting");
        return;
    };
    let title = match kind.as_str() {
        "running" => "Running",
        "terminated" => "Terminated",
        _ => "Waiting",
    };
    sheet.field(level, name, title);
    sheet.field_opt(level + 1, "Reason", json::text(detail, "/reason"));
    sheet.field_opt(level + 1, "Message", json::text(detail, "/message").trim());
    if kind == "terminated" {
        sheet.field(
            level + 1,
            "Exit Code",
            &json::int(detail, "/exitCode").to_string(),
        );
    }
    sheet.field_opt(level + 1, "Started", json::text(detail, "/startedAt"));
    sheet.field_opt(level + 1, "Finished", json::text(detail, "/finishedAt"));
}

/// `http-get http://:8080/healthz delay=0s timeout=1s period=10s #success=1 #failure=3`.
fn probe(probe: &Value) -> String {
    let port = |pointer: &str| probe.pointer(pointer).map(shown).unwrap_or_default();
    let what = if let Some(http) = probe.get("httpGet") {
        let scheme = json::text(http, "/scheme").to_lowercase();
        let scheme = if scheme.is_empty() {
            "http"
        } else {
            scheme.as_str()
        };
        let (host, path) = (json::text(http, "/host"), json::text(http, "/path"));
        format!("http-get {scheme}://{host}:{}{path}", port("/httpGet/port"))
    } else if let Some(tcp) = probe.get("tcpSocket") {
        format!(
            "tcp-socket {}:{}",
            json::text(tcp, "/host"),
            port("/tcpSocket/port")
        )
    } else if probe.get("grpc").is_some() {
        format!("grpc :{}", port("/grpc/port"))
    } else {
        let words: Vec<String> = json::items(probe, "/exec/command")
            .iter()
            .map(shown)
            .collect();
        format!("exec [{}]", words.join(" "))
    };
    let or =
        |field: &str, default: i64| probe.get(field).and_then(Value::as_i64).unwrap_or(default);
    format!(
        "{what} delay={}s timeout={}s period={}s #success={} #failure={}",
        or("initialDelaySeconds", 0),
        or("timeoutSeconds", 1),
        or("periodSeconds", 10),
        or("successThreshold", 1),
        or("failureThreshold", 3),
    )
}

fn environment(container: &Value) -> Vec<String> {
    let from = json::items(container, "/envFrom").iter().map(|source| {
        let (kind, name) = if source.get("secretRef").is_some() {
            ("Secret", json::text(source, "/secretRef/name"))
        } else {
            ("ConfigMap", json::text(source, "/configMapRef/name"))
        };
        format!("all of {kind} {name}")
    });
    let single = json::items(container, "/env").iter().map(|variable| {
        let name = json::text(variable, "/name");
        format!("{name}: {}", variable_value(variable))
    });
    from.chain(single).collect()
}

fn variable_value(variable: &Value) -> String {
    let at = |pointer: &str| json::text(variable, pointer);
    if let Some(source) = variable.get("valueFrom") {
        for (kind, field) in [
            ("secret", "secretKeyRef"),
            ("config map", "configMapKeyRef"),
        ] {
            if let Some(reference) = source.get(field) {
                let (key, name) = (
                    json::text(reference, "/key"),
                    json::text(reference, "/name"),
                );
                return format!("<set to the key '{key}' in {kind} '{name}'>");
            }
        }
        let field = at("/valueFrom/fieldRef/fieldPath");
        if !field.is_empty() {
            return format!("({field})");
        }
        return format!("({})", at("/valueFrom/resourceFieldRef/resource"));
    }
    at("/value").to_owned()
}

/// The volumes of a pod spec: name, type, and what it is made of.
pub(super) fn volumes(spec: &Value, level: usize, sheet: &mut Sheet) {
    let volumes = json::items(spec, "/volumes");
    if volumes.is_empty() {
        return;
    }
    sheet.heading(level, "Volumes");
    for volume in volumes {
        sheet.heading(level + 1, json::text(volume, "/name"));
        for (kind, detail) in json::entries(volume, "").filter(|(key, _)| *key != "name") {
            sheet.field(level + 2, "Type", kind);
            for (key, value) in json::entries(detail, "") {
                sheet.field(level + 2, key, &shown(value));
            }
        }
    }
}
