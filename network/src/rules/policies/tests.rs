use serde_json::{Value, json};
use skiff_client::Event;

use super::pieces::pieces;
use super::read::Line;
use super::{OwnPod, OwnPods, Policies};
use crate::catalog::{Protocol, ServiceKey};
use crate::rules::tests::view;

/// Two pods here, one elsewhere, one in another namespace.
fn pods() -> Vec<Line> {
    let pod = |namespace: &str, name: &str, ip: &str, node: &str| {
        serde_json::from_value(json!({"type": "PUT", "namespace": namespace, "name": name,
            "labels": {"app": name}, "ip": ip, "node": node,
            "ports": [{"name": "web", "protocol": "TCP", "port": 8080}]}))
        .unwrap()
    };
    vec![
        pod("shop", "cart", "10.42.0.2", "n1"),
        pod("shop", "user", "10.42.0.3", "n1"),
        pod("shop", "front", "10.42.1.2", "n2"),
        pod("watch", "probe", "10.42.1.3", "n2"),
    ]
}

fn policies(spec: Value) -> Policies {
    let mut policies = Policies::default();
    let named = |name: &str, namespace: Option<&str>, labels: Value| json!({"metadata": {"name": name, "namespace": namespace, "labels": labels}});
    policies.take_namespaces(Event::Restarted(vec![
        named("shop", None, json!({})),
        named("watch", None, json!({"team": "ops"})),
    ]));
    let mut policy = named("p", Some("shop"), json!({}));
    policy["spec"] = spec;
    policies.take_policies(Event::Restarted(vec![policy]));
    policies.take_all_pods(pods());
    policies
}

/// What is in the table, a line for each chain's rule and each set's elements.
fn lines(policies: &Policies) -> Vec<String> {
    let pieces = pieces(&view(), policies);
    let rules = pieces.chains.iter();
    let rules =
        rules.flat_map(|(name, rules)| rules.iter().map(move |rule| format!("{name}: {rule}")));
    let elements = pieces.elements.iter();
    let elements = elements.map(|(slot, value)| format!("{}: {} {value}", slot.set, slot.key));
    rules
        .chain(elements)
        .map(|line| line.trim_end().to_owned())
        .collect()
}

#[test]
fn policies_become_chains_of_what_may_pass() {
    let cart = json!({"matchLabels": {"app": "cart"}});
    let cases: [(&str, Value, &[&str]); 4] = [
        (
            "nothing may come in, to any pod of the namespace",
            json!({"podSelector": {}, "policyTypes": ["Ingress"]}),
            &[
                "in/10.42.0.2: ip saddr 10.42.0.2 return",
                "in/10.42.0.2: drop",
                "in/10.42.0.3: ip saddr 10.42.0.3 return",
                "in/10.42.0.3: drop",
                "ingress: 10.42.0.2 jump in/10.42.0.2",
                "ingress: 10.42.0.3 jump in/10.42.0.3",
            ],
        ),
        (
            "anything may",
            json!({"podSelector": cart, "policyTypes": ["Ingress"], "ingress": [{}]}),
            &[
                "in/10.42.0.2: ip saddr 10.42.0.2 return",
                "in/10.42.0.2: return",
                "in/10.42.0.2: drop",
                "ingress: 10.42.0.2 jump in/10.42.0.2",
            ],
        ),
        (
            "pods of the namespace, by a port that has a name",
            json!({"podSelector": cart, "policyTypes": ["Ingress"], "ingress": [{
                "from": [{"podSelector": {"matchLabels": {"app": "front"}}}],
                "ports": [{"protocol": "TCP", "port": "web"}, {"protocol": "UDP", "port": 53}]}]}),
            &[
                "in/10.42.0.2: ip saddr 10.42.0.2 return",
                "in/10.42.0.2: ip saddr @in/shop/p/0 tcp dport 8080 return",
                "in/10.42.0.2: ip saddr @in/shop/p/0 udp dport 53 return",
                "in/10.42.0.2: drop",
                "in/shop/p/0: 10.42.1.2",
                "ingress: 10.42.0.2 jump in/10.42.0.2",
            ],
        ),
        (
            "pods of other namespaces, and addresses with holes",
            json!({"podSelector": cart, "policyTypes": ["Ingress"], "ingress": [{
                "from": [{"namespaceSelector": {"matchLabels": {"team": "ops"}}},
                    {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.7/32", "fd00::/8"]}},
                    {"ipBlock": {"cidr": "fd00::/8"}}]}]}),
            &[
                "in/10.42.0.2: ip saddr 10.42.0.2 return",
                "in/10.42.0.2: ip saddr 192.0.2.0/24 ip saddr != { 192.0.2.7/32 } return",
                "in/10.42.0.2: ip saddr @in/shop/p/0 return",
                "in/10.42.0.2: drop",
                "in/shop/p/0: 10.42.1.3",
                "ingress: 10.42.0.2 jump in/10.42.0.2",
            ],
        ),
    ];
    for (case, spec, expected) in cases {
        assert_eq!(lines(&policies(spec)), expected, "{case}");
    }
}

#[test]
fn policies_for_what_goes_out_ask_the_receivers_for_their_ports() {
    let cart = json!({"matchLabels": {"app": "cart"}});
    let cases: [(&str, Value, &[&str]); 3] = [
        (
            "out, to ports from one to another, and to a port that has a name",
            json!({"podSelector": cart, "policyTypes": ["Egress"], "egress": [{
                "ports": [{"protocol": "TCP", "port": 80, "endPort": 90}, {"protocol": "SCTP"}]},
                {"to": [{"podSelector": {"matchLabels": {"app": "user"}}}],
                 "ports": [{"port": "web"}]}]}),
            &[
                "out/10.42.0.2: ip daddr 10.42.0.2 return",
                "out/10.42.0.2: tcp dport 80-90 return",
                "out/10.42.0.2: meta l4proto sctp return",
                "out/10.42.0.2: ip daddr . tcp dport @out/shop/p/1/0 return",
                "out/10.42.0.2: drop",
                "egress: 10.42.0.2 jump out/10.42.0.2",
                "out/shop/p/1: 10.42.0.3",
                "out/shop/p/1/0: 10.42.0.3 . 8080",
            ],
        ),
        (
            "a port that nobody has",
            json!({"podSelector": cart, "policyTypes": ["Ingress"],
                "ingress": [{"ports": [{"port": "gone"}]}]}),
            &[
                "in/10.42.0.2: ip saddr 10.42.0.2 return",
                "in/10.42.0.2: drop",
                "ingress: 10.42.0.2 jump in/10.42.0.2",
            ],
        ),
        (
            "pods of other nodes are other nodes' business",
            json!({"podSelector": {"matchLabels": {"app": "front"}}, "policyTypes": ["Ingress", "Egress"]}),
            &[],
        ),
    ];
    for (case, spec, expected) in cases {
        assert_eq!(lines(&policies(spec)), expected, "{case}");
    }
}

fn own(name: &str, address: [u8; 4]) -> OwnPod {
    OwnPod {
        key: ServiceKey::new("shop", name),
        labels: [("app", name)].into_iter().collect(),
        address: address.into(),
        ports: vec![("web".into(), Protocol::Tcp, 8080)],
    }
}

#[test]
fn a_nodes_own_pods_are_restricted_before_the_servers_tell_of_them() {
    let only = |name: &str| {
        json!({"podSelector": {"matchLabels": {"app": name}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "user"}}}]}]})
    };
    // Known are: cart at 10.42.0.2 and user at 10.42.0.3, on this node.
    let cases: [(&str, &str, OwnPod, &[&str]); 3] = [
        (
            "one that the servers know without an address",
            "late",
            own("late", [10, 42, 0, 9]),
            &[
                "in/10.42.0.9: ip saddr 10.42.0.9 return",
                "in/10.42.0.9: ip saddr @in/shop/p/0 return",
                "in/10.42.0.9: drop",
                "in/shop/p/0: 10.42.0.3",
                "ingress: 10.42.0.9 jump in/10.42.0.9",
            ],
        ),
        (
            "one that has another address now",
            "cart",
            own("cart", [10, 42, 0, 9]),
            &[
                "in/10.42.0.9: ip saddr 10.42.0.9 return",
                "in/10.42.0.9: ip saddr @in/shop/p/0 return",
                "in/10.42.0.9: drop",
                "in/shop/p/0: 10.42.0.3",
                "ingress: 10.42.0.9 jump in/10.42.0.9",
            ],
        ),
        (
            "one that has the address of another that was here",
            "late",
            own("late", [10, 42, 0, 3]),
            &[
                "in/10.42.0.3: ip saddr 10.42.0.3 return",
                "in/10.42.0.3: ip saddr @in/shop/p/0 return",
                "in/10.42.0.3: drop",
                "ingress: 10.42.0.3 jump in/10.42.0.3",
            ],
        ),
    ];
    for (case, restricted, pod, expected) in cases {
        let mut policies = policies(only(restricted));
        policies.take_own(OwnPods::unit("u1".into(), pod.clone().into()));
        assert_eq!(lines(&policies), expected, "{case}");
        assert!(policies.has_own("u1", pod.address), "{case}");
        assert!(policies.restrict("shop", &pod.labels), "{case}");
        assert!(!policies.restrict("watch", &pod.labels), "{case}");
    }
}

#[test]
fn a_policy_that_cannot_be_read_is_left_out() {
    let odd = [
        json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Odd"}]}}),
        json!({"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "300.0.0.0/8"}}]}]}),
        json!({"podSelector": {}, "ingress": [{"ports": [{"port": 70000}]}]}),
    ];
    for spec in odd {
        assert!(policies(spec.clone()).is_empty(), "{spec}");
    }
}
