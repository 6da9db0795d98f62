//! NetworkPolicies.

use super::*;

#[test]
fn a_policy_is_about_what_it_speaks_of() {
    let cases = [
        ("nothing said", json!({}), json!(["Ingress"])),
        (
            "only what comes in",
            json!({"ingress": [{}]}),
            json!(["Ingress"]),
        ),
        (
            "what goes out",
            json!({"egress": [{}]}),
            json!(["Ingress", "Egress"]),
        ),
        (
            "said",
            json!({"egress": [{}], "policyTypes": ["Egress"]}),
            json!(["Egress"]),
        ),
    ];
    for (name, spec, expected) in cases {
        let policy = json!({"metadata": {"name": "p"}, "spec": spec});
        let found = stored(Kind::NetworkPolicy, policy).to_value();
        assert_eq!(found["spec"]["policyTypes"], expected, "{name}");
        assert_eq!(found["spec"]["podSelector"], json!({}), "{name}");
    }
    let port =
        stored(Kind::NetworkPolicy, policy()).to_value()["spec"]["ingress"][0]["ports"][0].clone();
    assert_eq!(port, json!({"port": 80, "protocol": "TCP"}));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn policies_have_rules() {
    let from = "/spec/ingress/0/from/0";
    let port = "/spec/ingress/0/ports/0";
    refused(
        Kind::NetworkPolicy,
        &policy(),
        &[
            (
                from,
                json!({}),
                "spec.ingress[0].from[0]: Required value: must specify a peer",
            ),
            (
                from,
                json!({"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}),
                "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
            ),
            (
                from,
                json!({"ipBlock": {"cidr": "10.0.0.0"}}),
                "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ),
            (
                from,
                json!({"ipBlock": {"cidr": ""}}),
                "spec.ingress[0].from[0].ipBlock.cidr: Required value",
            ),
            (
                from,
                json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}),
                "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
            ),
            (
                from,
                json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}),
                "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`",
            ),
            (
                from,
                json!({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}),
                "spec.ingress[0].from[0].podSelector.matchExpressions[0].operator: Invalid value: \"Near\": not a valid selector operator",
            ),
            (
                port,
                json!({"protocol": "ICMP"}),
                "spec.ingress[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"TCP\", \"UDP\", \"SCTP\"",
            ),
            (
                port,
                json!({"port": 80, "endPort": 79}),
                "spec.ingress[0].ports[0].endPort: Invalid value: 79: must be greater than or equal to `port`",
            ),
            (
                port,
                json!({"port": "web", "endPort": 80}),
                "spec.ingress[0].ports[0].endPort: Invalid value: 80: may not be specified when `port` is non-numeric",
            ),
            (
                port,
                json!({"endPort": 80}),
                "spec.ingress[0].ports[0].endPort: Invalid value: 80: may not be specified when `port` is not specified",
            ),
            (
                "/spec/policyTypes",
                json!(["Transit"]),
                "spec.policyTypes[0]: Unsupported value: \"Transit\": supported values: \"Ingress\", \"Egress\"",
            ),
        ],
    );
    let inner = json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.3.0.0/16"]}});
    assert!(created(Kind::NetworkPolicy, set(policy(), from, inner)).is_ok());
}
