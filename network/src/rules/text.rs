//! nftables' words for the table and its changes. Pure.

use super::NodeView;
use super::events::Stamp;
use super::table::{Change, Table, diff};

/// Where addresses of services lead: address, protocol, port.
pub(super) const SERVICES: &str = "services";
/// Where ports of the node lead: protocol, port.
pub(super) const NODE_PORTS: &str = "node-ports";
/// What becomes of packets to services that nobody translated.
pub(super) const UNSERVED: &str = "unserved";
/// What becomes of packets to ports of the node that nobody translated.
pub(super) const UNSERVED_NODE_PORTS: &str = "unserved-node-ports";
/// Pods of this node that may reach themselves through a service.
pub(super) const HAIRPIN: &str = "hairpin";
/// Pods whose outgoing traffic policies restrict, and the chain that judges.
pub(super) const EGRESS: &str = "egress";
/// Pods whose incoming traffic policies restrict, and the chain that judges.
pub(super) const INGRESS: &str = "ingress";
/// The chain that says no at once.
pub(super) const REFUSAL: &str = "refusal";
/// The set with the number of our last change: by it we know our own changes from others'.
pub(super) const STAMP: &str = "stamp";

/// The bit of a packet's mark that asks for masquerade when it leaves. None of Kubernetes' (0x4000,
/// 0x8000), since its kube-proxy may have run here before.
const MARK: u32 = 0x0010_0000;

/// Where a node tells its pods the cluster's names, at its address on their bridge.
const DNS_PORT: u16 = 53;

/// Elements in one statement: nftables' messages stay well below its limit.
const ELEMENTS_AT_ONCE: usize = 512;

/// `meta mark set …`: asks for masquerade.
pub(super) fn mark() -> String {
    format!("meta mark set meta mark | {MARK:#010x}")
}

/// Whether a text can be a part of a chain's name: what Kubernetes allows in names of objects.
pub(super) fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    !text.is_empty() && text.chars().all(allowed)
}

/// `{ 0 : a, 1 : b }`
pub(super) fn numbered<T>(items: &[T], word: impl Fn(&T) -> String) -> String {
    let items = items.iter().enumerate();
    let items: Vec<String> = items
        .map(|(number, item)| format!("{number} : {}", word(item)))
        .collect();
    format!("{{ {} }}", items.join(", "))
}

/// The name of a node's table.
pub(super) fn bare_name(node: &str) -> String {
    format!("skiff-{node}")
}

/// The name of a node's table, with its family.
fn table_name(node: &str) -> String {
    format!("ip {}", bare_name(node))
}

/// Text that replaces the whole table in one step, whether or not it was there.
#[must_use]
pub fn whole(table: &Table) -> String {
    let name = table_name(&table.node.table);
    let mut text = format!("add table {name}\ndelete table {name}\nadd table {name}\n");
    base(&mut text, &name, &table.node);
    let empty = Table::new(table.node.clone());
    text.push_str(&transaction(&table.node.table, &diff(&empty, table)));
    text
}

/// Text that removes a node's table, whether or not it was there.
pub(super) fn removal(node: &str) -> String {
    let name = table_name(node);
    format!("add table {name}\ndelete table {name}\n")
}

/// Text that leaves a number in the table.
pub(super) fn stamp(node: &str, stamp: Stamp) -> String {
    let name = table_name(node);
    let Stamp { epoch, number } = stamp;
    format!(
        "flush set {name} {STAMP}\nadd element {name} {STAMP} {{ {epoch:#010x} . {number:#010x} }}\n"
    )
}

/// Text that makes changes in one step.
#[must_use]
pub fn transaction(node: &str, changes: &[Change]) -> String {
    let table = table_name(node);
    let mut text = String::new();
    let mut rest = changes;
    while let Some((change, after)) = rest.split_first() {
        let (statement, left) = match change {
            Change::AddSet(name, of) => (format!("add set {table} {name} {{ {of} }}"), after),
            Change::AddChain(name) => (format!("add chain {table} {name}"), after),
            Change::FlushChain(name) => (format!("flush chain {table} {name}"), after),
            Change::AddRule(chain, rule) => (format!("add rule {table} {chain} {rule}"), after),
            Change::DeleteChain(name) => (format!("delete chain {table} {name}"), after),
            Change::DeleteSet(name) => (format!("delete set {table} {name}"), after),
            Change::RemoveElement(set, _) => {
                let (keys, left) = together(rest, |change| removed(change, set));
                (format!("delete element {table} {set} {{ {keys} }}"), left)
            }
            Change::AddElement(set, ..) => {
                let (elements, left) = together(rest, |change| added(change, set));
                (format!("add element {table} {set} {{ {elements} }}"), left)
            }
        };
        text.push_str(&statement);
        text.push('\n');
        rest = left;
    }
    text
}

/// The elements at the beginning of a list that one statement can name, and what is left.
fn together(changes: &[Change], word: impl Fn(&Change) -> Option<String>) -> (String, &[Change]) {
    let most = changes.iter().take(ELEMENTS_AT_ONCE);
    let words: Vec<String> = most.map_while(word).collect();
    let left = changes.get(words.len()..).unwrap_or_default();
    (words.join(", "), left)
}

fn removed(change: &Change, set: &str) -> Option<String> {
    let Change::RemoveElement(of, key) = change else {
        return None;
    };
    (of == set).then(|| key.clone())
}

fn added(change: &Change, set: &str) -> Option<String> {
    let Change::AddElement(of, key, value) = change else {
        return None;
    };
    let value = match value.as_str() {
        "" => String::new(),
        value => format!(" : {value}"),
    };
    (of == set).then(|| format!("{key}{value}"))
}

/// The sets and chains that are always there.
fn base(text: &mut String, table: &str, node: &NodeView) {
    let address = "type ipv4_addr . inet_proto . inet_service : verdict;";
    let port = "type inet_proto . inet_service : verdict;";
    let pod = "type ipv4_addr : verdict;";
    let sets = [
        ("map", SERVICES, address),
        ("map", NODE_PORTS, port),
        ("map", UNSERVED, address),
        ("map", UNSERVED_NODE_PORTS, port),
        ("map", EGRESS, pod),
        ("map", INGRESS, pod),
        ("set", HAIRPIN, "type ipv4_addr . ipv4_addr;"),
        ("set", STAMP, "type mark . mark;"),
    ];
    let mut lines: Vec<String> = Vec::new();
    for (kind, name, of) in sets {
        lines.push(format!("add {kind} {table} {name} {{ {of} }}"));
    }
    let chains = chains(node);
    for (name, hook, _) in &chains {
        let hook = match hook {
            Some(hook) => format!(" {{ type {hook}; policy accept; }}"),
            None => String::new(),
        };
        lines.push(format!("add chain {table} {name}{hook}"));
    }
    for (name, _, rules) in &chains {
        let rules = rules.iter();
        lines.extend(rules.map(|rule| format!("add rule {table} {name} {rule}")));
    }
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
}

/// A chain: its name, where it is hooked in, its rules.
type Chain = (&'static str, Option<&'static str>, Vec<String>);

fn chains(node: &NodeView) -> Vec<Chain> {
    let mut chains = translation(node);
    chains.extend(refusing(node));
    chains.extend(forwarding(node));
    chains
}

/// From services to endpoints, and the sender's address where that is needed.
fn translation(node: &NodeView) -> Vec<Chain> {
    let (bridge, mine) = (&node.bridge, node.pod_cidr);
    let (cluster, services) = (node.cluster_cidr, node.service_cidr);
    let mark = mark();
    let mut postrouting = vec![
        format!(
            "meta mark & {MARK:#010x} == {MARK:#010x} meta mark set meta mark & {:#010x} masquerade",
            !MARK
        ),
        // A pod that reached itself would answer itself directly.
        format!("ct status dnat ip saddr . ip daddr @{HAIRPIN} masquerade"),
        // Nobody outside the cluster knows the way to a pod.
        format!("ip saddr {mine} ip daddr != {cluster} oifname != \"{bridge}\" masquerade"),
    ];
    if node.same_bridge_masquerade {
        postrouting.push(format!(
            "iifname \"{bridge}\" oifname \"{bridge}\" ct status dnat masquerade"
        ));
    }
    let local_port = "ip daddr != 127.0.0.0/8 fib daddr type local meta l4proto . th dport";
    vec![
        (
            "to-services",
            None,
            vec![
                // Answers to a client that is no pod must come back this way.
                format!("ip daddr {services} ip saddr != {cluster} {mark}"),
                format!("ip daddr . meta l4proto . th dport vmap @{SERVICES}"),
                format!("{local_port} vmap @{NODE_PORTS}"),
            ],
        ),
        (
            "prerouting",
            Some("nat hook prerouting priority -100"),
            vec![
                // Pods of other nodes: their own nodes translate what they send to services.
                format!(
                    "iifname != \"{bridge}\" ip saddr {cluster} {local_port} vmap @{NODE_PORTS}"
                ),
                format!("iifname != \"{bridge}\" ip saddr {cluster} return"),
                "jump to-services".to_owned(),
            ],
        ),
        (
            "output",
            Some("nat hook output priority -100"),
            vec!["jump to-services".to_owned()],
        ),
        (
            "postrouting",
            Some("nat hook postrouting priority 100"),
            postrouting,
        ),
    ]
}

/// After all tables could translate: what nobody translated and nobody serves.
fn refusing(node: &NodeView) -> Vec<Chain> {
    let (bridge, cluster) = (&node.bridge, node.cluster_cidr);
    let services = node.service_cidr;
    vec![
        (
            REFUSAL,
            None,
            vec![
                "meta l4proto tcp reject with tcp reset".to_owned(),
                "reject with icmp port-unreachable".to_owned(),
            ],
        ),
        (
            "untranslated",
            None,
            vec![
                format!(
                    "ip daddr != 127.0.0.0/8 fib daddr type local \
                     meta l4proto . th dport vmap @{UNSERVED_NODE_PORTS}"
                ),
                format!("iifname != \"{bridge}\" ip saddr {cluster} return"),
                format!("ip daddr . meta l4proto . th dport vmap @{UNSERVED}"),
                format!("ip daddr {services} goto {REFUSAL}"),
            ],
        ),
        (
            "refuse-received",
            Some("filter hook prerouting priority -95"),
            vec!["jump untranslated".to_owned()],
        ),
        (
            "refuse-sent",
            Some("filter hook output priority -95"),
            vec!["jump untranslated".to_owned()],
        ),
    ]
}

/// Between pods and everything else.
fn forwarding(node: &NodeView) -> Vec<Chain> {
    let (bridge, gateway) = (&node.bridge, node.pod_cidr.gateway());
    // The smallest link on the way may be a tunnel, and messages about it get lost.
    let clamp = "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu";
    vec![
        (
            "segments",
            Some("filter hook forward priority -150"),
            vec![
                format!("iifname \"{bridge}\" {clamp}"),
                format!("oifname \"{bridge}\" {clamp}"),
            ],
        ),
        (
            "policies",
            Some("filter hook forward priority 0"),
            vec![
                "ct state established,related accept".to_owned(),
                format!("ip saddr vmap @{EGRESS}"),
                format!("ip daddr vmap @{INGRESS}"),
            ],
        ),
        (
            "policies-here",
            Some("filter hook input priority 0"),
            vec![
                "ct state established,related accept".to_owned(),
                // The cluster's names are told by the node itself, which no policy can name.
                format!(
                    "ip daddr {gateway} meta l4proto {{ tcp, udp }} th dport {DNS_PORT} accept"
                ),
                format!("ip saddr vmap @{EGRESS}"),
            ],
        ),
    ]
}
