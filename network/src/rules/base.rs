//! The sets and chains that are always in the table, whatever services and policies there are. Pure.

use super::NodeView;
use super::text::{
    EGRESS, HAIRPIN, INGRESS, NODE_PORTS, REFUSAL, SERVICES, STAMP, UNSERVED, UNSERVED_NODE_PORTS,
};

/// The bit of a packet's mark that asks for masquerade when it leaves. None of Kubernetes' (0x4000,
/// 0x8000), since its kube-proxy may have run here before.
const MARK: u32 = 0x0010_0000;

/// Where a node tells its pods the cluster's names, at its address on their bridge.
const DNS_PORT: u16 = 53;

/// `meta mark set …`: asks for masquerade.
pub(super) fn mark() -> String {
    format!("meta mark set meta mark | {MARK:#010x}")
}

/// The sets and chains that are always there.
pub(super) fn write(text: &mut String, table: &str, node: &NodeView) {
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
