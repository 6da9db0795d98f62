//! `describe ingress` and `ingressclass`: which requests go where.

use serde_json::Value;
use skiff_api::Kind;
use skiff_client::ListOptions;

use super::network::{backends, balancer, slices};
use super::sheet::Sheet;
use crate::connect::Cluster;
use crate::error::CliError;
use crate::json;
use crate::jsonpath::shown;

/// What an ingress's backends lead to.
pub(super) struct Behind {
    services: Vec<Value>,
    slices: Vec<Value>,
}

/// The services of an ingress's namespace, and who serves them.
pub(super) async fn behind(cluster: &Cluster, ingress: &Value) -> Result<Behind, CliError> {
    let namespace = json::namespace(ingress);
    let all = ListOptions::default();
    let services = cluster
        .client
        .list::<Value>(Kind::Service, Some(namespace), &all);
    Ok(Behind {
        services: services.await?.items,
        slices: slices(cluster, namespace, None).await?,
    })
}

/// An ingress.
pub(super) fn ingress(object: &Value, behind: &Behind, sheet: &mut Sheet) {
    sheet.field(0, "Name", json::name(object));
    sheet.map("Labels", object, "/metadata/labels", "=");
    sheet.field(0, "Namespace", json::namespace(object));
    sheet.list(0, "Address", vec![balancer(object)]);
    let class = json::text(object, "/spec/ingressClassName");
    sheet.field(0, "Ingress Class", class);
    let fallback = object.pointer("/spec/defaultBackend");
    let fallback = fallback.map_or_else(|| "<default>".to_owned(), |one| backend(one, behind));
    sheet.field(0, "Default backend", &fallback);
    let tls = json::items(object, "/spec/tls");
    if !tls.is_empty() {
        sheet.heading(0, "TLS");
    }
    for one in tls {
        let hosts: Vec<String> = json::items(one, "/hosts").iter().map(shown).collect();
        let text = match json::text(one, "/secretName") {
            "" => format!("SNI routes {}", hosts.join(",")),
            secret => format!("{secret} terminates {}", hosts.join(",")),
        };
        sheet.line(1, &text);
    }
    sheet.heading(0, "Rules");
    let mut rows = Vec::new();
    for rule in json::items(object, "/spec/rules") {
        let host = json::text(rule, "/host");
        let host = if host.is_empty() { "*" } else { host };
        rows.push(vec![host.to_owned(), String::new(), String::new()]);
        for path in json::items(rule, "/http/paths") {
            let to = path.pointer("/backend").unwrap_or(&Value::Null);
            let path = json::text(path, "/path").to_owned();
            rows.push(vec![String::new(), path, backend(to, behind)]);
        }
    }
    sheet.table(1, &["Host", "Path", "Backends"], rows);
    sheet.map("Annotations", object, "/metadata/annotations", ": ");
}

/// `cart:80 (10.42.0.7:8080)`.
fn backend(backend: &Value, behind: &Behind) -> String {
    let name = json::text(backend, "/service/name");
    let port = match json::text(backend, "/service/port/name") {
        "" => json::int(backend, "/service/port/number").to_string(),
        word => word.to_owned(),
    };
    let service = behind
        .services
        .iter()
        .find(|service| json::name(service) == name);
    let Some(service) = service else {
        return format!("{name}:{port} (<error: services \"{name}\" not found>)");
    };
    let found = json::items(service, "/spec/ports").iter().find(|one| {
        json::text(one, "/name") == port || json::int(one, "/port").to_string() == port
    });
    let served = found.map_or_else(String::new, |one| {
        backends(&behind.slices, name, json::text(one, "/name"))
    });
    format!("{name}:{port} ({served})")
}

/// A class of ingresses.
pub(super) fn class(object: &Value, sheet: &mut Sheet) {
    sheet.metadata(object);
    sheet.field(0, "Controller", json::text(object, "/spec/controller"));
    let parameter = |field: &str| json::text(object, &format!("/spec/parameters/{field}"));
    if !parameter("kind").is_empty() {
        sheet.heading(0, "Parameters");
        for (name, field) in [
            ("APIGroup", "apiGroup"),
            ("Kind", "kind"),
            ("Name", "name"),
            ("Namespace", "namespace"),
            ("Scope", "scope"),
        ] {
            sheet.field_opt(1, name, parameter(field));
        }
    }
}
