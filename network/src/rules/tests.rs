mod kernel;

use std::net::SocketAddrV4;

use proptest::prelude::*;
use serde_json::{Value, json};
use skiff_api::Kind;
use skiff_client::Event;

use self::kernel::Kernel;
use super::conntrack::{Direction, is_stale, left_ports};
use super::{NodeView, Policies, Table, diff, table, transaction, whole};
use crate::Catalog;

pub(super) fn view() -> NodeView {
    NodeView {
        name: "n1".into(),
        table: "n1".into(),
        bridge: "pods0".into(),
        pod_cidr: "10.42.0.0/24".parse().unwrap(),
        cluster_cidr: "10.42.0.0/16".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        addresses: vec!["192.0.2.1".parse().unwrap()],
        same_bridge_masquerade: false,
    }
}

/// A service as a test says it.
#[derive(Clone, Debug, Default)]
struct Said {
    number: u8,
    udp: bool,
    node_port: bool,
    /// An address outside that others may claim as well.
    external: bool,
    affinity: Option<u32>,
    local: (bool, bool),
    /// Endpoints by number; even ones are on this node.
    endpoints: Vec<u8>,
}

fn say(catalog: &mut Catalog, said: &Said) {
    let name = format!("s{}", said.number);
    let policy = |local: bool| if local { "Local" } else { "Cluster" };
    let mut port =
        json!({"name": "p", "port": 80, "protocol": if said.udp { "UDP" } else { "TCP" }});
    if said.node_port {
        port["nodePort"] = (30_000 + u16::from(said.number)).into();
    }
    let mut spec = json!({"clusterIP": format!("10.43.0.{}", said.number), "ports": [port],
        "internalTrafficPolicy": policy(said.local.0),
        "externalTrafficPolicy": policy(said.local.1)});
    if said.external {
        spec["externalIPs"] = json!(["192.0.2.80"]);
    }
    if let Some(seconds) = said.affinity {
        spec["sessionAffinity"] = "ClientIP".into();
        spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": seconds}});
    }
    let service = json!({"metadata": {"name": name, "namespace": "d"}, "spec": spec});
    catalog.apply(Kind::Service, Event::Applied(service));
    let endpoint = |number: &u8| {
        let node = if number.is_multiple_of(2) { "n1" } else { "n2" };
        json!({"addresses": [format!("10.42.{}.{number}", number % 2)], "nodeName": node})
    };
    let slice = json!({"metadata": {"name": name, "namespace": "d", "resourceVersion": "1",
            "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "endpoints": said.endpoints.iter().map(endpoint).collect::<Vec<Value>>(),
        "ports": [{"name": "p", "port": 8080, "protocol": if said.udp { "UDP" } else { "TCP" }}]});
    catalog.apply(Kind::EndpointSlice, Event::Applied(slice));
}

fn catalog(said: &[Said]) -> Catalog {
    let mut catalog = Catalog::default();
    for said in said {
        say(&mut catalog, said);
    }
    catalog
}

fn wanted(said: &[Said]) -> Table {
    table(&catalog(said), &view(), &Policies::default())
}

fn some_service(number: u8) -> impl Strategy<Value = Said> {
    let ways = (any::<bool>(), any::<bool>(), any::<bool>());
    let affinity = prop::option::of(prop::sample::select(vec![10_u32, 20]));
    let local = (any::<bool>(), any::<bool>());
    let endpoints = prop::sample::subsequence(vec![2_u8, 3, 4, 5], 0..=4);
    (ways, affinity, local, endpoints).prop_map(move |(ways, affinity, local, endpoints)| Said {
        number,
        udp: ways.0,
        node_port: ways.1,
        external: ways.2,
        affinity,
        local,
        endpoints,
    })
}

fn some_services() -> impl Strategy<Value = Vec<Said>> {
    let all = (1..=3).map(|number| prop::option::of(some_service(number)));
    all.collect::<Vec<_>>()
        .prop_map(|all| all.into_iter().flatten().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_change_leads_from_one_table_to_the_other(before in some_services(), after in some_services()) {
        let (before, after) = (wanted(&before), wanted(&after));
        let empty = Table::new(view());
        let mut kernel = Kernel::new(&whole(&empty));
        for change in diff(&empty, &before) {
            kernel.apply(change);
        }
        for change in diff(&before, &after) {
            kernel.apply(change);
        }
        let mut fresh = Kernel::new(&whole(&empty));
        for change in diff(&empty, &after) {
            fresh.apply(change);
        }
        prop_assert_eq!(kernel, fresh);
        prop_assert_eq!(diff(&after, &after), []);
    }

    #[test]
    fn a_table_that_follows_is_the_table_from_the_beginning(before in some_services(), after in some_services()) {
        let (old, new) = (catalog(&before), catalog(&after));
        let mut following = wanted(&before);
        for key in new.changed_since(&old) {
            following.put_service(&new, &key);
        }
        prop_assert_eq!(diff(&following, &wanted(&after)), []);
        prop_assert_eq!(following, wanted(&after));
    }
}

#[test]
fn one_endpoint_more_is_one_rule() {
    let said = |endpoints: &[u8]| Said {
        number: 9,
        endpoints: endpoints.to_vec(),
        ..Said::default()
    };
    let others = (10..200).map(|number| Said {
        number,
        endpoints: vec![2, 3],
        ..Said::default()
    });
    let others: Vec<Said> = others.collect();
    let with = |endpoints: &[u8]| wanted(&[&others[..], &[said(endpoints)]].concat());
    let text = transaction("n1", &diff(&with(&[2]), &with(&[2, 3])));
    let expected = "flush chain ip skiff-n1 all/d/s9/tcp/80\n\
         add rule ip skiff-n1 all/d/s9/tcp/80 meta l4proto tcp dnat ip addr . port \
         to numgen random mod 2 map { 0 : 10.42.0.2 . 8080, 1 : 10.42.1.3 . 8080 }\n";
    assert_eq!(text, expected);
    let text = transaction("n1", &diff(&with(&[2]), &with(&[])));
    let expected = "delete element ip skiff-n1 hairpin { 10.42.0.2 . 10.42.0.2 }\n";
    assert!(
        !text.contains(expected),
        "another service needs it still: {text}"
    );
    let expected = "delete element ip skiff-n1 services { 10.43.0.9 . tcp . 80 }\n\
         add element ip skiff-n1 unserved { 10.43.0.9 . tcp . 80 : goto refusal }\n\
         flush chain ip skiff-n1 all/d/s9/tcp/80\n\
         delete chain ip skiff-n1 all/d/s9/tcp/80\n";
    assert_eq!(text, expected);
}

/// What one service adds to the table.
fn text_of(said: Said) -> String {
    let (empty, one) = (Table::new(view()), wanted(&[said]));
    transaction("n1", &diff(&empty, &one)).replace(" ip skiff-n1", "")
}

#[test]
fn a_local_policy_has_a_chain_for_clients_outside() {
    let text = text_of(Said {
        number: 9,
        node_port: true,
        local: (false, true),
        endpoints: vec![2, 3],
        ..Said::default()
    });
    let expected = "add chain all/d/s9/tcp/80\nadd chain ext/d/s9/tcp/80\nadd chain loc/d/s9/tcp/80\n\
        add rule all/d/s9/tcp/80 meta l4proto tcp dnat ip addr . port to numgen random mod 2 map \
        { 0 : 10.42.0.2 . 8080, 1 : 10.42.1.3 . 8080 }\n\
        add rule ext/d/s9/tcp/80 ip saddr 10.42.0.0/24 goto all/d/s9/tcp/80\n\
        add rule ext/d/s9/tcp/80 ip saddr 10.42.0.0/16 meta mark set meta mark | 0x00100000 \
        goto all/d/s9/tcp/80\n\
        add rule ext/d/s9/tcp/80 fib saddr type local meta mark set meta mark | 0x00100000 \
        goto all/d/s9/tcp/80\n\
        add rule ext/d/s9/tcp/80 goto loc/d/s9/tcp/80\n\
        add rule loc/d/s9/tcp/80 meta l4proto tcp dnat to 10.42.0.2:8080\n\
        add element hairpin { 10.42.0.2 . 10.42.0.2 }\n\
        add element node-ports { tcp . 30009 : goto ext/d/s9/tcp/80 }\n\
        add element services { 10.43.0.9 . tcp . 80 : goto all/d/s9/tcp/80 }\n";
    assert_eq!(text, expected);
}

#[test]
fn affinity_has_a_set_for_each_endpoint() {
    let text = text_of(Said {
        number: 9,
        affinity: Some(10),
        endpoints: vec![3],
        ..Said::default()
    });
    let expected = "add set kept/10/d/s9/tcp/80/10.42.1.3/8080 \
        { type ipv4_addr; flags dynamic, timeout; timeout 10s; size 65536; }\n\
        add chain all/d/s9/tcp/80\nadd chain end/d/s9/tcp/80/10.42.1.3/8080\n\
        add rule all/d/s9/tcp/80 ip saddr @kept/10/d/s9/tcp/80/10.42.1.3/8080 \
        goto end/d/s9/tcp/80/10.42.1.3/8080\n\
        add rule all/d/s9/tcp/80 numgen random mod 1 vmap \
        { 0 : goto end/d/s9/tcp/80/10.42.1.3/8080 }\n\
        add rule end/d/s9/tcp/80/10.42.1.3/8080 update \
        @kept/10/d/s9/tcp/80/10.42.1.3/8080 { ip saddr }\n\
        add rule end/d/s9/tcp/80/10.42.1.3/8080 meta l4proto tcp dnat to 10.42.1.3:8080\n\
        add element services { 10.43.0.9 . tcp . 80 : goto all/d/s9/tcp/80 }\n";
    assert_eq!(text, expected);
}

#[test]
fn the_first_by_name_has_an_address_that_two_services_claim() {
    let said = |number| Said {
        number,
        external: true,
        endpoints: vec![3],
        ..Said::default()
    };
    let both = wanted(&[said(1), said(2)]);
    let text = transaction("n1", &diff(&both, &wanted(&[said(2)])));
    assert!(
        text.contains(
            "add element ip skiff-n1 services { 192.0.2.80 . tcp . 80 : goto ext/d/s2/tcp/80 }"
        ),
        "{text}"
    );
    assert_eq!(diff(&both, &wanted(&[said(2), said(1)])), []);
}

#[test]
fn names_that_are_none_never_become_rules() {
    let mut catalog = Catalog::default();
    for name in ["a b", "x\nflush ruleset", "{", "", "ä"] {
        let service = json!({"metadata": {"name": name, "namespace": "d"},
            "spec": {"clusterIP": "10.43.0.9", "ports": [{"port": 80}]}});
        catalog.apply(Kind::Service, Event::Applied(service));
    }
    let table = table(&catalog, &view(), &Policies::default());
    assert_eq!(diff(&Table::new(view()), &table), []);
}

#[test]
fn what_is_remembered_of_udp_is_stale_when_nobody_serves_there() {
    let said = |endpoints: &[u8]| Said {
        number: 9,
        udp: true,
        node_port: true,
        endpoints: endpoints.to_vec(),
        ..Said::default()
    };
    let (before, now) = (catalog(&[said(&[2, 3])]), catalog(&[said(&[3])]));
    let changed = now.changed_since(&before);
    let ports = left_ports(Some(&before), &now, changed.iter());
    let cases = [
        "stale: 10.43.0.9:80 10.42.0.2:8080 led to one that left",
        "right: 10.43.0.9:80 10.42.1.3:8080 led to one that stays",
        "stale: 10.43.0.9:80 10.43.0.9:80 led nowhere, since there was nobody",
        "right: 10.43.0.9:81 10.42.0.2:8080 another port of the service",
        "right: 10.43.0.8:80 10.42.0.2:8080 another service",
        "stale: 192.0.2.1:30009 10.42.0.2:8080 by the node's port to one that left",
        "right: 192.0.2.1:30009 10.42.1.3:8080 by the node's port to one that stays",
        "right: 10.42.0.2:8080 10.42.0.2:8080 straight to the pod",
        "right: 198.51.100.1:30009 198.51.100.1:30009 somebody else's business",
    ];
    for case in cases {
        let words: Vec<&str> = case.split(' ').collect();
        let at = |text: &str| text.parse::<SocketAddrV4>().unwrap();
        let pair = |at: SocketAddrV4| (*at.ip(), at.port());
        let client = pair(at("10.42.0.7:40000"));
        let original = Direction {
            protocol: 17,
            source: client,
            destination: pair(at(words[1])),
        };
        let reply = Direction {
            protocol: 17,
            source: pair(at(words[2])),
            destination: client,
        };
        let stale = is_stale(&view(), &ports, original, reply);
        assert_eq!(stale, case.starts_with("stale"), "{case}");
    }
}

#[test]
fn tcp_clients_are_led_away_only_from_those_that_are_lost() {
    let service = json!({"metadata": {"name": "web", "namespace": "d"},
        "spec": {"clusterIP": "10.43.0.9", "ports": [{"name": "p", "port": 80}]}});
    // Two endpoints: one that stays, and one in some condition or not there at all.
    let catalog = |other: Option<Value>| {
        let mut catalog = Catalog::default();
        catalog.apply(Kind::Service, Event::Applied(service.clone()));
        let endpoint = |ip: &str, conditions| json!({"addresses": [ip], "conditions": conditions});
        let mut endpoints = vec![endpoint("10.42.0.2", json!({"ready": true}))];
        endpoints.extend(other.map(|conditions| endpoint("10.42.1.3", conditions)));
        let slice = json!({"metadata": {"name": "web", "namespace": "d", "resourceVersion": "1",
                "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"name": "p", "port": 8080, "protocol": "TCP"}]});
        catalog.apply(Kind::EndpointSlice, Event::Applied(slice));
        catalog
    };
    let ready = || Some(json!({"ready": true}));
    let leaves = || Some(json!({"ready": false, "serving": true, "terminating": true}));
    let cases = [
        (
            "its node is lost",
            ready(),
            Some(json!({"ready": false})),
            1,
        ),
        ("it is gone all at once", ready(), None, 1),
        ("it leaves", ready(), leaves(), 0),
        ("it has left", leaves(), None, 0),
        ("it comes", None, ready(), 0),
    ];
    for (name, then, other, expected) in cases {
        let (before, now) = (catalog(then), catalog(other));
        let changed = now.changed_since(&before);
        let ports = left_ports(Some(&before), &now, changed.iter());
        // Those of the service as it was, and as it is.
        assert!(ports.len().min(1) == expected, "{name}: {ports:?}");
        let direction = |source, destination| Direction {
            protocol: 6,
            source: (source, 40_000),
            destination: (destination, 80),
        };
        let there = direction([10, 42, 0, 7].into(), [10, 43, 0, 9].into());
        let back = Direction {
            source: ([10, 42, 1, 3].into(), 8080),
            ..direction([0; 4].into(), [10, 42, 0, 7].into())
        };
        let stale = is_stale(&view(), &ports, there, back);
        assert_eq!(stale, expected == 1, "{name}");
    }
}
