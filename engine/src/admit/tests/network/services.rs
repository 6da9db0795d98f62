//! Services.

use super::*;

/// A service as it is once an address was given to it.
fn addressed(of: &str) -> Object {
    let value = set(service(), "/spec/type", of.into());
    let value = set(value, "/spec/clusterIP", json!("10.43.0.9"));
    stored(Kind::Service, value)
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn a_service_gets_kubernetes_defaults() {
    let spec = stored(Kind::Service, service()).to_value()["spec"].clone();
    assert_eq!(
        spec,
        json!({"selector": {"app": "cart"}, "type": "ClusterIP", "sessionAffinity": "None",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"})
    );
    let cases = [
        (
            "/spec/type",
            json!("NodePort"),
            "/spec/externalTrafficPolicy",
            json!("Cluster"),
        ),
        (
            "/spec/type",
            json!("LoadBalancer"),
            "/spec/allocateLoadBalancerNodePorts",
            json!(true),
        ),
        (
            "/spec/externalIPs",
            json!(["192.0.2.1"]),
            "/spec/externalTrafficPolicy",
            json!("Cluster"),
        ),
        (
            "/spec/sessionAffinity",
            json!("ClientIP"),
            "/spec/sessionAffinityConfig",
            json!({"clientIP": {"timeoutSeconds": 10800}}),
        ),
        (
            "/spec/sessionAffinityConfig",
            json!({"clientIP": {}}),
            "/spec/sessionAffinityConfig",
            json!(null),
        ),
        (
            "/spec/ports/0/targetPort",
            json!("web"),
            "/spec/ports/0/targetPort",
            json!("web"),
        ),
        (
            "/spec/ports/0/targetPort",
            json!(0),
            "/spec/ports/0/targetPort",
            json!(80),
        ),
        (
            "/spec/clusterIP",
            json!("None"),
            "/spec/clusterIPs",
            json!(["None"]),
        ),
        ("/spec/clusterIP", json!(""), "/spec/clusterIP", json!(null)),
    ];
    for (path, value, shown, expected) in cases {
        let object = stored(Kind::Service, set(service(), path, value.clone())).to_value();
        let found = object.pointer(shown).cloned().unwrap_or_default();
        assert_eq!(found, expected, "{path} {value}");
    }
    let named = json!({"metadata": {"name": "db"}, "spec": {"type": "ExternalName", "externalName": "db.example."}});
    assert_eq!(
        stored(Kind::Service, named).to_value()["spec"],
        json!({"type": "ExternalName", "externalName": "db.example.", "sessionAffinity": "None"})
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn services_have_rules() {
    let dns = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
    let name = format!("metadata.name: Invalid value: \"1cart\": {dns}");
    refused(
        Kind::Service,
        &service(),
        &[
            ("/metadata/name", json!("1cart"), &name),
            ("/spec/ports", json!([]), "spec.ports: Required value"),
            (
                "/spec/type",
                json!("Internet"),
                "spec.type: Unsupported value: \"Internet\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
            ),
            (
                "/spec/ports/0/port",
                json!(0),
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive\nspec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (
                "/spec/ports/0/port",
                json!(null),
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (
                "/spec/ports/0/targetPort",
                json!(65536),
                "spec.ports[0].targetPort: Invalid value: 65536: must be between 1 and 65535, inclusive",
            ),
            (
                "/spec/ports/0/targetPort",
                json!("a--b"),
                "spec.ports[0].targetPort: Invalid value: \"a--b\": must not contain consecutive hyphens",
            ),
            (
                "/spec/ports/0/protocol",
                json!("tcp"),
                "spec.ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            ),
            (
                "/spec/ports/0/nodePort",
                json!(30001),
                "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            ),
            (
                "/spec/ports/1",
                json!({"port": 81}),
                "spec.ports[0].name: Required value\nspec.ports[1].name: Required value",
            ),
            (
                "/spec/ports",
                json!([{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]),
                "spec.ports[1].name: Duplicate value: \"a\"",
            ),
            (
                "/spec/ports",
                json!([{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]),
                "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":80,\"TargetPort\":0,\"NodePort\":0}",
            ),
            (
                "/spec/selector",
                json!({"app": "no spaces"}),
                "spec.selector: Invalid value: \"no spaces\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ),
            (
                "/spec/sessionAffinity",
                json!("Cookie"),
                "spec.sessionAffinity: Unsupported value: \"Cookie\": supported values: \"ClientIP\", \"None\"",
            ),
            (
                "/spec/clusterIP",
                json!("here"),
                "spec.clusterIPs[0]: Invalid value: \"here\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
            (
                "/spec/clusterIPs",
                json!(["10.43.0.9"]),
                "spec.clusterIPs: Invalid value: [\"10.43.0.9\"]: must be empty when `clusterIP` is not specified",
            ),
            (
                "/spec/clusterIP",
                json!("fd00::1"),
                "spec.clusterIPs[0]: Invalid value: \"fd00::1\": expected an IPv4 value as indicated by `ipFamilies[0]`",
            ),
            (
                "/spec/ipFamilies",
                json!(["IPv6"]),
                "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
            ),
            (
                "/spec/ipFamilyPolicy",
                json!("RequireDualStack"),
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
            ),
            (
                "/spec/externalIPs",
                json!(["127.0.0.1"]),
                "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ),
            (
                "/spec/loadBalancerSourceRanges",
                json!(["10.0.0.0/8"]),
                "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ),
            (
                "/spec/loadBalancerClass",
                json!("a/b"),
                "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ),
            (
                "/spec/externalTrafficPolicy",
                json!("Local"),
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
            ),
            (
                "/spec/internalTrafficPolicy",
                json!("Near"),
                "spec.internalTrafficPolicy: Unsupported value: \"Near\": supported values: \"Cluster\", \"Local\"",
            ),
            (
                "/spec/healthCheckNodePort",
                json!(31000),
                "spec.healthCheckNodePort: Invalid value: 31000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
            ),
        ],
    );
}

#[test]
fn each_type_has_rules() {
    let node_port = set(service(), "/spec/type", json!("NodePort"));
    refused(
        Kind::Service,
        &node_port,
        &[
            (
                "/spec/clusterIP",
                json!("None"),
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
            ),
            (
                "/spec/ports",
                json!([{"port": 80, "name": "a", "nodePort": 30080}, {"port": 81, "name": "b", "nodePort": 30080}]),
                "spec.ports[1].nodePort: Duplicate value: 30080",
            ),
            (
                "/spec/externalTrafficPolicy",
                json!("Near"),
                "spec.externalTrafficPolicy: Unsupported value: \"Near\": supported values: \"Cluster\", \"Local\"",
            ),
        ],
    );
    let external = json!({"metadata": {"name": "db"}, "spec": {"type": "ExternalName", "externalName": "db.example"}});
    refused(
        Kind::Service,
        &external,
        &[
            (
                "/spec/externalName",
                json!(null),
                "spec.externalName: Required value",
            ),
            (
                "/spec/clusterIP",
                json!("None"),
                "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
            ),
            (
                "/spec/ipFamilies",
                json!(["IPv4"]),
                "spec.ipFamilies: Forbidden: may not be set for ExternalName services",
            ),
        ],
    );
    let sticky = set(service(), "/spec/sessionAffinity", json!("ClientIP"));
    refused(
        Kind::Service,
        &sticky,
        &[(
            "/spec/sessionAffinityConfig",
            json!({"clientIP": {"timeoutSeconds": 86401}}),
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400",
        )],
    );
    let headless = set(service(), "/spec/clusterIP", json!("None"));
    assert!(
        created(Kind::Service, set(headless, "/spec/ports", json!(null))).is_ok(),
        "headless services need no ports"
    );
}

#[test]
fn an_update_keeps_what_was_given() {
    let old = addressed("NodePort");
    let given = set(old.to_value(), "/spec/ports/0/nodePort", json!(30080));
    let old = Object::from_value(given)
        .unwrap()
        .with_revision(Revision(9));
    let mut manifest = set(service(), "/spec/type", json!("NodePort"));
    manifest["spec"]["ports"][0]["targetPort"] = json!(8080);
    let new = updated(&old, manifest).unwrap().to_value();
    let spec = &new["spec"];
    assert_eq!(spec["clusterIP"], "10.43.0.9");
    assert_eq!(spec["clusterIPs"], json!(["10.43.0.9"]));
    assert_eq!(
        spec["ports"],
        json!([{"port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080}])
    );

    let inner = updated(&old, set(old.to_value(), "/spec/type", json!("ClusterIP"))).unwrap();
    let spec = &inner.to_value()["spec"];
    assert_eq!(
        (
            &spec["ports"][0]["nodePort"],
            &spec["externalTrafficPolicy"]
        ),
        (&json!(null), &json!(null))
    );
    assert_eq!(spec["clusterIP"], "10.43.0.9");

    let mut away = set(old.to_value(), "/spec/type", json!("ExternalName"));
    away["spec"]["externalName"] = json!("db.example");
    let spec = updated(&old, away).unwrap().to_value()["spec"].clone();
    for gone in [
        "clusterIP",
        "clusterIPs",
        "ipFamilies",
        "ipFamilyPolicy",
        "externalTrafficPolicy",
    ] {
        assert_eq!(spec[gone], json!(null), "{gone}");
    }
}

#[test]
fn an_address_does_not_change() {
    let old = addressed("ClusterIP");
    let cases = [
        (
            "/spec/clusterIP",
            json!("10.43.0.10"),
            "spec.clusterIPs[0]: Invalid value: [\"10.43.0.10\"]: may not change once set",
        ),
        (
            "/spec/clusterIP",
            json!("None"),
            "spec.clusterIPs[0]: Invalid value: [\"None\"]: may not change once set",
        ),
        (
            "/spec/clusterIPs",
            json!(["10.43.0.10"]),
            "spec.clusterIPs: Invalid value: [\"10.43.0.10\"]: first value must match `clusterIP`\nspec.clusterIPs[0]: Invalid value: [\"10.43.0.10\"]: may not change once set",
        ),
    ];
    for (path, value, expected) in cases {
        let found = causes(updated(&old, set(old.to_value(), path, value.clone())));
        assert_eq!(found, expected, "{path} {value}");
    }
    let external = json!({"metadata": {"name": "cart"}, "spec": {"type": "ExternalName", "externalName": "db.example"}});
    let external = stored(Kind::Service, external);
    let back = updated(
        &external,
        set(service(), "/spec/clusterIP", json!("10.43.0.10")),
    );
    assert_eq!(back.unwrap().to_value()["spec"]["clusterIP"], "10.43.0.10");
}

#[test]
fn what_nothing_acts_on_is_said() {
    let balanced = json!({"spec": {"type": "LoadBalancer", "loadBalancerClass": "a/b",
        "trafficDistribution": "PreferClose"}});
    let expected = [
        "spec.type: there is no load balancer here, the service is reached at the ports of the nodes",
        "spec.loadBalancerClass: kept, but this version of Skiff does not act on it",
        "spec.trafficDistribution: kept, but this version of Skiff does not act on it",
    ];
    assert_eq!(warnings(Kind::Service, &balanced), expected);
    let alone = json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false}});
    let expected = "spec.allocateLoadBalancerNodePorts: there is no load balancer here, without node ports nobody outside reaches the service";
    assert_eq!(warnings(Kind::Service, &alone), [expected]);
    let plain = stored(Kind::Service, service()).to_value();
    assert!(warnings(Kind::Service, &plain).is_empty());
    let hints = set(
        slice(),
        "/endpoints/0/hints",
        json!({"forZones": [{"name": "a"}]}),
    );
    let expected = "endpoints[0].hints: kept, but this version of Skiff does not act on it";
    assert_eq!(warnings(Kind::EndpointSlice, &hints), [expected]);
}
