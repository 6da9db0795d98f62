//! `describe networkpolicy`: which connections are allowed, in words.

use serde_json::Value;
use skiff_api::LabelSelector;

use super::sheet::Sheet;
use crate::json;
use crate::jsonpath::shown;

/// One direction of a policy.
struct Direction {
    /// As in `policyTypes`.
    word: &'static str,
    /// The field with its rules, and its name in sentences.
    field: &'static str,
    /// The field with the other side.
    peers: &'static str,
    peers_title: &'static str,
    ports_title: &'static str,
    /// What is restricted where no rule is.
    isolated: &'static str,
}

const DIRECTIONS: [Direction; 2] = [
    Direction {
        word: "Ingress",
        field: "ingress",
        peers: "/from",
        peers_title: "From",
        ports_title: "To Port",
        isolated: "<none> (Selected pods are isolated for ingress connectivity)",
    },
    Direction {
        word: "Egress",
        field: "egress",
        peers: "/to",
        peers_title: "To",
        ports_title: "To Port",
        isolated: "<none> (Selected pods are isolated for egress connectivity)",
    },
];

pub(super) fn describe(object: &Value, sheet: &mut Sheet) {
    sheet.field(0, "Name", json::name(object));
    sheet.field(0, "Namespace", json::namespace(object));
    let created = json::text(object, "/metadata/creationTimestamp");
    sheet.field(0, "Created on", created);
    sheet.map("Labels", object, "/metadata/labels", "=");
    sheet.map("Annotations", object, "/metadata/annotations", ": ");
    sheet.heading(0, "Spec");
    let pods = match selector(object.pointer("/spec/podSelector")) {
        none if none.is_empty() => {
            "<none> (Allowing the specific traffic to all pods in this namespace)".to_owned()
        }
        some => some,
    };
    sheet.line(1, &format!("PodSelector:     {pods}"));
    let types: Vec<String> = json::items(object, "/spec/policyTypes")
        .iter()
        .map(shown)
        .collect();
    for direction in &DIRECTIONS {
        if types.iter().any(|word| word == direction.word) {
            sheet.line(1, &format!("Allowing {} traffic:", direction.field));
            rules(object, direction, sheet);
        } else {
            sheet.line(1, &format!("Not affecting {} traffic", direction.field));
        }
    }
    sheet.line(1, &format!("Policy Types: {}", types.join(", ")));
}

fn rules(object: &Value, direction: &Direction, sheet: &mut Sheet) {
    let rules = json::items(object, &format!("/spec/{}", direction.field));
    if rules.is_empty() {
        sheet.line(2, direction.isolated);
    }
    for (index, rule) in rules.iter().enumerate() {
        if index > 0 {
            sheet.line(2, "----------");
        }
        let ports = json::items(rule, "/ports");
        if ports.is_empty() {
            let any = "<any> (traffic allowed to all ports)";
            sheet.line(2, &format!("{}: {any}", direction.ports_title));
        }
        for one in ports {
            sheet.line(2, &format!("{}: {}", direction.ports_title, port(one)));
        }
        let title = direction.peers_title;
        let peers = json::items(rule, direction.peers);
        if peers.is_empty() {
            let any = "<any> (traffic not restricted by";
            let by = if title == "From" {
                "source"
            } else {
                "destination"
            };
            sheet.line(2, &format!("{title}: {any} {by})"));
            continue;
        }
        for one in peers {
            sheet.heading(2, title);
            peer(one, sheet);
        }
    }
}

/// `80/TCP`, `8000-8010/TCP`, `<any>/UDP`.
fn port(port: &Value) -> String {
    let first = port.pointer("/port").map(shown);
    let first = first.unwrap_or_else(|| "<any>".to_owned());
    let last = port.pointer("/endPort").map(shown);
    let last = last.map_or_else(String::new, |last| format!("-{last}"));
    format!("{first}{last}/{}", json::text(port, "/protocol"))
}

fn peer(peer: &Value, sheet: &mut Sheet) {
    for (name, pointer) in [
        ("NamespaceSelector", "/namespaceSelector"),
        ("PodSelector", "/podSelector"),
    ] {
        if let Some(found) = peer.pointer(pointer) {
            let text = selector(Some(found));
            let text = if text.is_empty() { "<none>" } else { &text };
            sheet.line(3, &format!("{name}: {text}"));
        }
    }
    if let Some(block) = peer.pointer("/ipBlock") {
        sheet.heading(3, "IPBlock");
        sheet.line(4, &format!("CIDR: {}", json::text(block, "/cidr")));
        let except: Vec<String> = json::items(block, "/except").iter().map(shown).collect();
        sheet.line(4, format!("Except: {}", except.join(", ")).trim_end());
    }
}

/// A selector in the form of a query; one that cannot be read is said to be so.
fn selector(value: Option<&Value>) -> String {
    LabelSelector::from_json(value.unwrap_or(&Value::Null))
        .map_or_else(|_| "<error>".to_owned(), |selector| selector.to_string())
}
