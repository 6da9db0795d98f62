//! `describe node`: with its pods and how much of it they ask for.

use serde_json::Value;
use skiff_api::{Kind, quantity};
use skiff_client::ListOptions;

use super::sheet::Sheet;
use crate::connect::Cluster;
use crate::error::CliError;
use crate::jsonpath::shown;
use crate::{age, json};

/// The pods on a node that have not ended.
pub(super) async fn pods(cluster: &Cluster, node: &Value) -> Result<Vec<Value>, CliError> {
    let name = json::name(node);
    let selector = format!("spec.nodeName={name},status.phase!=Succeeded,status.phase!=Failed");
    Ok(cluster
        .client
        .list(Kind::Pod, None, &ListOptions::field(selector))
        .await?
        .items)
}

pub(super) fn describe(node: &Value, pods: &[Value], sheet: &mut Sheet) {
    sheet.metadata(node);
    sheet.field(
        0,
        "CreationTimestamp",
        json::text(node, "/metadata/creationTimestamp"),
    );
    let taints = json::items(node, "/spec/taints").iter().map(|taint| {
        let at = |pointer: &str| json::text(taint, pointer);
        let value = at("/value");
        let equals = if value.is_empty() { "" } else { "=" };
        format!("{}{equals}{value}:{}", at("/key"), at("/effect"))
    });
    sheet.list(0, "Taints", taints.collect());
    sheet.field(
        0,
        "Unschedulable",
        &json::flag(node, "/spec/unschedulable").to_string(),
    );
    let columns = [
        ("Type", "type"),
        ("Status", "status"),
        ("LastHeartbeatTime", "lastHeartbeatTime"),
        ("LastTransitionTime", "lastTransitionTime"),
        ("Reason", "reason"),
        ("Message", "message"),
    ];
    sheet.conditions(node, &columns);
    sheet.heading(0, "Addresses");
    for address in json::items(node, "/status/addresses") {
        sheet.field(
            1,
            json::text(address, "/type"),
            json::text(address, "/address"),
        );
    }
    for (name, pointer) in [
        ("Capacity", "/status/capacity"),
        ("Allocatable", "/status/allocatable"),
    ] {
        sheet.heading(0, name);
        for (resource, amount) in json::entries(node, pointer) {
            sheet.field(1, resource, &shown(amount));
        }
    }
    sheet.heading(0, "System Info");
    for (name, value) in json::entries(node, "/status/nodeInfo") {
        sheet.field(1, name, &shown(value));
    }
    sheet.field_opt(0, "PodCIDR", json::text(node, "/spec/podCIDR"));
    allocation(node, pods, sheet);
}

/// What a pod's containers ask for, in milli-CPU and bytes.
fn asked(pod: &Value, what: &str) -> (i64, i64) {
    let sum = |resource: &str, parse: fn(&str) -> Option<i64>| -> i64 {
        let containers = json::items(pod, "/spec/containers").iter();
        let amounts = containers.filter_map(|container| {
            let amount = container.pointer(&format!("/resources/{what}/{resource}"))?;
            parse(&shown(amount))
        });
        amounts.fold(0, i64::saturating_add)
    };
    let cpu = sum("cpu", |text| quantity::millicores(text).ok());
    let memory = sum("memory", |text| quantity::units(text).ok());
    (cpu, memory)
}

fn allocation(node: &Value, pods: &[Value], sheet: &mut Sheet) {
    let text = |pointer: &str| node.pointer(pointer).map(shown).unwrap_or_default();
    let cpu = quantity::millicores(&text("/status/allocatable/cpu")).unwrap_or(0);
    let memory = quantity::units(&text("/status/allocatable/memory")).unwrap_or(0);
    let share = |part: i64, whole: i64| part.saturating_mul(100).checked_div(whole).unwrap_or(0);
    let show_cpu = |m: i64| format!("{} ({}%)", quantity::format_millicores(m), share(m, cpu));
    let show_memory = |b: i64| format!("{} ({}%)", quantity::format_bytes(b), share(b, memory));

    sheet.heading(0, "Non-terminated Pods");
    let now = age::now();
    let mut totals = ((0i64, 0i64), (0i64, 0i64));
    let mut rows = Vec::new();
    for pod in pods {
        let (requests, limits) = (asked(pod, "requests"), asked(pod, "limits"));
        totals.0 = (
            totals.0.0.saturating_add(requests.0),
            totals.0.1.saturating_add(requests.1),
        );
        totals.1 = (
            totals.1.0.saturating_add(limits.0),
            totals.1.1.saturating_add(limits.1),
        );
        rows.push(vec![
            json::namespace(pod).to_owned(),
            json::name(pod).to_owned(),
            show_cpu(requests.0),
            show_cpu(limits.0),
            show_memory(requests.1),
            show_memory(limits.1),
            age::since(json::text(pod, "/metadata/creationTimestamp"), now),
        ]);
    }
    let headings = [
        "Namespace",
        "Name",
        "CPU Requests",
        "CPU Limits",
        "Memory Requests",
        "Memory Limits",
        "Age",
    ];
    sheet.table(1, &headings, rows);
    sheet.heading(0, "Allocated resources");
    let (requests, limits) = totals;
    let rows = vec![
        vec!["cpu".to_owned(), show_cpu(requests.0), show_cpu(limits.0)],
        vec![
            "memory".to_owned(),
            show_memory(requests.1),
            show_memory(limits.1),
        ],
    ];
    sheet.table(1, &["Resource", "Requests", "Limits"], rows);
}
