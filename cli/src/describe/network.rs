//! `describe service`, `endpoints`, `endpointslice`: how something is reached, and who serves it.

use serde_json::Value;
use skiff_api::Kind;
use skiff_client::ListOptions;

use super::sheet::Sheet;
use crate::connect::Cluster;
use crate::error::CliError;
use crate::json;
use crate::jsonpath::shown;

/// The label that names a slice's service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Places named in one line; of the others only the number is told.
const NAMED_MAX: usize = 3;

/// The slices of a service, or of all services of a namespace.
pub(super) async fn slices(
    cluster: &Cluster,
    namespace: &str,
    service: Option<&str>,
) -> Result<Vec<Value>, CliError> {
    let labels = match service {
        Some(name) => format!("{SERVICE_NAME}={name}"),
        None => SERVICE_NAME.to_owned(),
    };
    let options = ListOptions::labels(labels);
    let found = cluster
        .client
        .list::<Value>(Kind::EndpointSlice, Some(namespace), &options);
    Ok(found.await?.items)
}

/// Who serves the port of that name of a service now.
pub(super) fn backends(slices: &[Value], service: &str, port: &str) -> String {
    let mut all = Vec::new();
    let of = |slice: &&Value| {
        let labels = json::entries(slice, "/metadata/labels");
        labels
            .filter(|(key, _)| *key == SERVICE_NAME)
            .any(|(_, name)| name == service)
    };
    for slice in slices.iter().filter(of) {
        let ports = json::items(slice, "/ports");
        let numbers: Vec<i64> = ports
            .iter()
            .filter(|found| json::text(found, "/name") == port)
            .map(|found| json::int(found, "/port"))
            .collect();
        let ready = |one: &&Value| {
            let ready = one.pointer("/conditions/ready").and_then(Value::as_bool);
            ready.unwrap_or(true)
        };
        for endpoint in json::items(slice, "/endpoints").iter().filter(ready) {
            for address in json::items(endpoint, "/addresses") {
                let address = shown(address);
                all.extend(numbers.iter().map(|port| format!("{address}:{port}")));
            }
        }
    }
    let more = all.len().saturating_sub(NAMED_MAX);
    all.truncate(NAMED_MAX);
    match more {
        0 => all.join(","),
        more => format!("{} + {more} more...", all.join(",")),
    }
}

/// A service and who serves it.
pub(super) fn service(object: &Value, slices: &[Value], sheet: &mut Sheet) {
    let text = |field: &str| json::text(object, &format!("/spec/{field}"));
    let joined = |field: &str| {
        let all = json::items(object, &format!("/spec/{field}"));
        all.iter().map(shown).collect::<Vec<_>>().join(",")
    };
    sheet.metadata(object);
    let selector = json::entries(object, "/spec/selector");
    let selector = selector.map(|(key, value)| format!("{key}={}", shown(value)));
    sheet.field(0, "Selector", &selector.collect::<Vec<_>>().join(","));
    sheet.field(0, "Type", text("type"));
    sheet.field_opt(0, "IP Family Policy", text("ipFamilyPolicy"));
    sheet.field_opt(0, "IP Families", &joined("ipFamilies"));
    sheet.field(0, "IP", text("clusterIP"));
    sheet.field(0, "IPs", &joined("clusterIPs"));
    sheet.field_opt(0, "External IPs", &joined("externalIPs"));
    sheet.field_opt(0, "External Name", text("externalName"));
    sheet.field_opt(0, "LoadBalancer Ingress", &balancer(object));
    for port in json::items(object, "/spec/ports") {
        let (name, protocol) = (json::text(port, "/name"), json::text(port, "/protocol"));
        let label = if name.is_empty() { "<unset>" } else { name };
        let number = json::int(port, "/port");
        sheet.field(0, "Port", &format!("{label}  {number}/{protocol}"));
        let target = port.pointer("/targetPort").map(shown).unwrap_or_default();
        sheet.field(0, "TargetPort", &format!("{target}/{protocol}"));
        let outer = json::int(port, "/nodePort");
        if outer != 0 {
            sheet.field(0, "NodePort", &format!("{label}  {outer}/{protocol}"));
        }
        let served = backends(slices, json::name(object), name);
        sheet.list(0, "Endpoints", vec![served]);
    }
    sheet.field(0, "Session Affinity", text("sessionAffinity"));
    sheet.field_opt(0, "External Traffic Policy", text("externalTrafficPolicy"));
    sheet.field_opt(0, "Internal Traffic Policy", text("internalTrafficPolicy"));
}

/// The addresses and names in `status.loadBalancer`.
pub(super) fn balancer(object: &Value) -> String {
    let all = json::items(object, "/status/loadBalancer/ingress");
    let all = all.iter().map(|one| match json::text(one, "/ip") {
        "" => json::text(one, "/hostname"),
        ip => ip,
    });
    all.collect::<Vec<_>>().join(", ")
}

/// The mirror of a service's endpoints.
pub(super) fn endpoints(object: &Value, sheet: &mut Sheet) {
    sheet.metadata(object);
    sheet.heading(0, "Subsets");
    for subset in json::items(object, "/subsets") {
        for (name, field) in [
            ("Addresses", "/addresses"),
            ("NotReadyAddresses", "/notReadyAddresses"),
        ] {
            let all = json::items(subset, field).iter();
            let all: Vec<&str> = all.map(|one| json::text(one, "/ip")).collect();
            sheet.field(1, name, &all.join(","));
        }
        ports(subset, 1, sheet);
    }
}

/// A part of a service's endpoints.
pub(super) fn slice(object: &Value, sheet: &mut Sheet) {
    sheet.metadata(object);
    sheet.field(0, "AddressType", json::text(object, "/addressType"));
    ports(object, 0, sheet);
    let all = json::items(object, "/endpoints");
    if all.is_empty() {
        sheet.field(0, "Endpoints", "");
        return;
    }
    sheet.heading(0, "Endpoints");
    for endpoint in all {
        let addresses = json::items(endpoint, "/addresses").iter().map(shown);
        let addresses: Vec<String> = addresses.collect();
        sheet.line(1, &format!("- Addresses:  {}", addresses.join(",")));
        sheet.heading(2, "Conditions");
        for (name, field) in [
            ("Ready", "ready"),
            ("Serving", "serving"),
            ("Terminating", "terminating"),
        ] {
            let condition = endpoint.pointer(&format!("/conditions/{field}"));
            sheet.field_opt(3, name, &condition.map(shown).unwrap_or_default());
        }
        for (name, field) in [("Hostname", "/hostname"), ("NodeName", "/nodeName")] {
            let text = json::text(endpoint, field);
            sheet.field(2, name, if text.is_empty() { "<unset>" } else { text });
        }
        let target = |field: &str| json::text(endpoint, &format!("/targetRef/{field}"));
        if !target("name").is_empty() {
            let target = format!("{}/{}", target("kind"), target("name"));
            sheet.field(2, "TargetRef", &target);
        }
    }
}

fn ports(object: &Value, level: usize, sheet: &mut Sheet) {
    let all = json::items(object, "/ports");
    if all.is_empty() {
        sheet.field(level, "Ports", "<unset>");
        return;
    }
    sheet.heading(level, "Ports");
    let row = |port: &Value| {
        let name = json::text(port, "/name");
        let name = if name.is_empty() { "<unset>" } else { name };
        let number = port.pointer("/port").map(shown);
        vec![
            name.to_owned(),
            number.unwrap_or_else(|| "<unset>".to_owned()),
            json::text(port, "/protocol").to_owned(),
        ]
    };
    let headings = ["Name", "Port", "Protocol"];
    sheet.table(level + 1, &headings, all.iter().map(row).collect());
}
