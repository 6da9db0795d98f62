use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;
use skiff_api::{Millis, Object, Status};

use super::*;
use crate::command::{Command, Write};

fn service(name: &str, spec: &Value) -> Object {
    let value = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "d"}, "spec": spec});
    Object::from_value(value).unwrap()
}

fn put(state: &mut State, object: Object) {
    let write = match state.get(object.key()) {
        Some(old) => Write::replace(old, object),
        None => Write::create(object),
    };
    let command = Command {
        term: 1,
        at: Millis(0),
        writes: vec![write],
    };
    state.apply(&command);
}

/// A state with small ranges, and services with these `spec`s.
fn state(ports: &str, services: &[(&str, Value)]) -> State {
    let mut state = State::default();
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": CONFIG_NAME, "namespace": CONFIG_NAMESPACE},
        "data": {"serviceCIDR": "10.43.0.0/28", "nodePortRange": ports}});
    put(&mut state, Object::from_value(config).unwrap());
    for (name, spec) in services {
        put(&mut state, service(name, spec));
    }
    state
}

/// What a service gets: `address port port`.
fn gets(state: &State, spec: &Value) -> String {
    match allocate(state, service("web", spec)) {
        Ok(object) => {
            let spec = &object.to_value()["spec"];
            let ports = spec["ports"].as_array().cloned().unwrap_or_default();
            let ports = ports.iter().map(|port| port["nodePort"].to_string());
            let address = spec["clusterIP"].as_str().unwrap_or("-").to_owned();
            assert!(spec["clusterIP"].is_null() || spec["clusterIPs"][0] == spec["clusterIP"]);
            std::iter::once(address)
                .chain(ports)
                .collect::<Vec<_>>()
                .join(" ")
        }
        Err(Status { message, .. }) => message,
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn what_is_asked_for_is_checked() {
    let other = json!({"type": "NodePort", "clusterIP": "10.43.0.9", "ports": [{"port": 1,
        "nodePort": 30_080}]});
    let state = state("30000-30099", &[("other", other)]);
    let ip = |ip: &str| json!({"type": "ClusterIP", "clusterIP": ip});
    let port = |number: i64| {
        json!({"type": "NodePort", "clusterIP": "10.43.0.5",
            "ports": [{"port": 80, "nodePort": number}]})
    };
    let invalid = |rest: &str| format!("Service \"web\" is invalid: {rest}");
    let range = "the provided IP (10.44.0.1) is not in the valid range. \
                 The range of valid IPs is 10.43.0.0/28";
    let cases = [
        ("a free address", ip("10.43.0.5"), "10.43.0.5".to_owned()),
        ("headless", ip("None"), "None".to_owned()),
        (
            "another name",
            json!({"type": "ExternalName"}),
            "-".to_owned(),
        ),
        (
            "an address in use",
            ip("10.43.0.9"),
            invalid(
                "spec.clusterIPs: Invalid value: [\"10.43.0.9\"]: failed to allocate IP \
                 10.43.0.9: provided IP is already allocated",
            ),
        ),
        (
            "the address of the API servers",
            ip("10.43.0.1"),
            invalid(
                "spec.clusterIPs: Invalid value: [\"10.43.0.1\"]: failed to allocate IP \
                 10.43.0.1: provided IP is already allocated",
            ),
        ),
        (
            "an address from elsewhere",
            ip("10.44.0.1"),
            invalid(&format!(
                "spec.clusterIPs: Invalid value: [\"10.44.0.1\"]: failed to allocate IP \
                 10.44.0.1: {range}"
            )),
        ),
        ("a free port", port(30_081), "10.43.0.5 30081".to_owned()),
        (
            "a port in use",
            port(30_080),
            invalid(
                "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated",
            ),
        ),
        (
            "a port out of range",
            port(80),
            invalid(
                "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid \
                 range. The range of valid ports is 30000-30099",
            ),
        ),
    ];
    for (name, spec, expected) in cases {
        assert_eq!(gets(&state, &spec), expected, "{name}");
    }
}

#[test]
fn ports_are_given_as_the_type_needs_them() {
    let state = state("30000-30017", &[]);
    let spec = |kind: &str, ports: Value| {
        let mut spec = json!({"type": kind, "clusterIP": "10.43.0.5", "ports": ports});
        if kind == "Internal" {
            spec["type"] = "LoadBalancer".into();
            spec["allocateLoadBalancerNodePorts"] = false.into();
        }
        spec
    };
    let two = json!([{"name": "a", "port": 53, "protocol": "TCP"},
        {"name": "b", "port": 53, "protocol": "UDP"}]);
    let same = json!([{"name": "a", "port": 1, "nodePort": 30_001},
        {"name": "b", "port": 2, "nodePort": 30_001}]);
    let cases = [
        (
            "inside only",
            spec("ClusterIP", json!([{"port": 80}])),
            "10.43.0.5 null",
        ),
        (
            "balanced inside",
            spec("Internal", json!([{"port": 80}])),
            "10.43.0.5 null",
        ),
        ("none", spec("NodePort", json!([])), "10.43.0.5"),
        (
            "the same twice",
            spec("NodePort", same),
            "Service \"web\" is invalid: spec.ports[1].nodePort: Invalid value: 30001: \
             provided port is already allocated",
        ),
    ];
    for (name, spec, expected) in cases {
        assert_eq!(gets(&state, &spec), expected, "{name}");
    }
    let given = gets(&state, &spec("NodePort", two));
    let ports: Vec<&str> = given.split(' ').skip(1).collect();
    assert_eq!(
        ports.first(),
        ports.get(1),
        "one number for both protocols: {given}"
    );
    let many: Vec<Value> = (1..=19)
        .map(|n| json!({"name": n.to_string(), "port": n}))
        .collect();
    assert_eq!(
        gets(&state, &spec("NodePort", many.into())),
        "Internal error occurred: failed to allocate a nodePort: range is full"
    );
}

#[test]
fn settings_come_back_from_their_config_map() {
    let settings = Settings::new(
        "10.1.0.0/20".parse().unwrap(),
        "10.2.0.0/16".parse().unwrap(),
    )
    .unwrap();
    let mut state = State::default();
    assert_eq!(Settings::read(&state), Settings::default());
    put(
        &mut state,
        settings
            .config_map(&mut Stamper::new(Millis(0), 1))
            .object(),
    );
    assert_eq!(Settings::read(&state), settings);
}

#[test]
fn ranges_that_cannot_work_are_refused() {
    let cases = [
        ("10.0.0.0/16", "10.0.128.0/17", "overlap"),
        (
            "10.0.0.0/24",
            "10.1.0.0/16",
            "the range of pods must be between /8 and /23",
        ),
        (
            "10.0.0.0/16",
            "10.1.0.0/28",
            "the range of services must be between /12 and /24",
        ),
        (
            "10.0.0.0/16",
            "10.1.0.0/8",
            "must begin with the range's first address",
        ),
        ("10.0.0.0", "10.1.0.0/16", "it has no prefix"),
        (
            "fd00::/64",
            "10.1.0.0/16",
            "it does not begin with an IPv4 address",
        ),
        (
            "10.0.0.0/33",
            "10.1.0.0/16",
            "its prefix must be between 0 and 32",
        ),
    ];
    for (pods, services, expected) in cases {
        let made = pods
            .parse::<Range>()
            .and_then(|pods| Ok((pods, services.parse::<Range>()?)));
        let message = match made {
            Ok((pods, services)) => Settings::new(pods, services).unwrap_err().to_string(),
            Err(err) => err.to_string(),
        };
        assert!(message.contains(expected), "{pods} {services}: {message}");
    }
}

#[test]
fn a_range_is_used_up_to_its_last_address_and_no_address_twice() {
    let mut state = state("30000-30099", &[]);
    let mut given = BTreeSet::new();
    // 16 addresses, but for the first, the last, and that of the API servers.
    for n in 0..13 {
        let made = allocate(
            &state,
            service(&format!("s{n}"), &json!({"type": "ClusterIP"})),
        );
        let made = made.unwrap();
        given.insert(made.service().unwrap().cluster_ips.clone());
        put(&mut state, made);
    }
    assert_eq!(given.len(), 13);
    assert_eq!(
        gets(&state, &json!({"type": "ClusterIP"})),
        "Internal error occurred: failed to allocate a serviceIP: range is full"
    );
    let api = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default"}, "spec": {}});
    let api = allocate(&state, Object::from_value(api).unwrap()).unwrap();
    assert_eq!(api.to_value()["spec"]["clusterIP"], "10.43.0.1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is made, changed and removed, no two services ever share anything.
    #[test]
    fn nothing_is_given_twice(steps in prop::collection::vec((0..9_u8, 0..4_u8, 0..3_u8), 1..60)) {
        let mut state = state("30000-30063", &[]);
        for (name, kind, ports) in steps {
            let key = format!("s{name}");
            let kind = ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"][usize::from(kind)];
            let ports: Vec<Value> =
                (0..=ports).map(|n| json!({"name": n.to_string(), "port": n})).collect();
            let made = service(&key, &json!({"type": kind, "ports": ports}));
            let made = allocate(&state, made).unwrap();
            let again = allocate(&state, made.clone()).unwrap();
            prop_assert!(made.same_content(&again), "what is there is kept");
            put(&mut state, made);
            let views: Vec<_> = state.list(Kind::Service, None).filter_map(Object::service).collect();
            let ips: Vec<_> = views.iter().flat_map(|view| &view.cluster_ips).collect();
            let numbers: Vec<_> = views.iter().flat_map(|view| &view.node_ports).collect();
            prop_assert_eq!(ips.iter().collect::<BTreeSet<_>>().len(), ips.len());
            prop_assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), numbers.len());
        }
    }
}
