use serde_json::{Value, json};
use skiff_api::{Kind, Revision};
use skiff_client::Event;

use super::{Catalog, Cidr, Leaving, Reach, ServiceKey};

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"],
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]}})
}

/// A slice with endpoints of these numbers: ready, serving, terminating.
fn slice(name: &str, of: &str, revision: u64, endpoints: &[(u8, bool, bool, bool)]) -> Value {
    let endpoint = |(number, ready, serving, terminating): &(u8, bool, bool, bool)| {
        json!({"addresses": [format!("10.42.0.{number}")], "nodeName": "n1",
            "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
            "targetRef": {"kind": "Pod", "name": format!("p{number}"), "uid": format!("u{number}")}})
    };
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": revision.to_string(),
            "labels": {"kubernetes.io/service-name": of}},
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>()})
}

fn catalog(events: Vec<(Kind, Event)>) -> Catalog {
    let mut catalog = Catalog::default();
    for (kind, event) in events {
        catalog.apply(kind, event);
    }
    catalog
}

fn addresses(catalog: &Catalog) -> Vec<String> {
    let key = ServiceKey::new("shop", "cart");
    let service = catalog.service(&key).unwrap();
    catalog
        .backends(&key, &service.ports[0])
        .iter()
        .map(|backend| format!("{}:{}", backend.address, backend.port))
        .collect()
}

/// The last part of an address, and whether it is ready, serving and terminating.
type Endpoint = (u8, bool, bool, bool);

#[test]
fn new_connections_go_to_the_ready_and_only_without_any_to_those_that_still_serve() {
    let cases: [(&str, &[Endpoint], &[&str]); 5] = [
        ("none", &[], &[]),
        (
            "one ready, one on its way out",
            &[(2, true, true, false), (3, false, true, true)],
            &["10.42.0.2:8080"],
        ),
        (
            "all on their way out",
            &[(2, false, true, true), (3, false, false, true)],
            &["10.42.0.2:8080"],
        ),
        ("not ready", &[(2, false, false, false)], &[]),
        (
            "one on its way out that is published all the same",
            &[(2, true, true, true), (3, true, true, false)],
            &["10.42.0.3:8080"],
        ),
    ];
    for (case, endpoints, expected) in cases {
        let catalog = catalog(vec![
            (Kind::Service, Event::Applied(service("cart"))),
            (
                Kind::EndpointSlice,
                Event::Applied(slice("cart-a", "cart", 7, endpoints)),
            ),
        ]);
        assert_eq!(addresses(&catalog), expected, "{case}");
    }
}

#[test]
fn changes_are_found_by_service() {
    let before = catalog(vec![
        (
            Kind::Service,
            Event::Restarted(vec![service("cart"), service("user")]),
        ),
        (
            Kind::EndpointSlice,
            Event::Restarted(vec![
                slice("cart-a", "cart", 7, &[(2, true, true, false)]),
                slice("user-a", "user", 8, &[(4, true, true, false)]),
            ]),
        ),
    ]);
    assert_eq!(before.revision, Revision(8));
    let mut after = before.clone();
    after.apply(
        Kind::EndpointSlice,
        Event::Applied(slice("cart-a", "cart", 9, &[(3, true, true, false)])),
    );
    let changed: Vec<_> = after.changed_since(&before).into_iter().collect();
    assert_eq!(changed, [ServiceKey::new("shop", "cart")]);
    assert_eq!(addresses(&after), ["10.42.0.3:8080"]);
    assert_eq!(addresses(&before), ["10.42.0.2:8080"], "it never changes");
    after.apply(
        Kind::EndpointSlice,
        Event::Deleted(slice("cart-a", "cart", 10, &[])),
    );
    assert!(addresses(&after).is_empty());
    assert_eq!(after.revision, Revision(10));
}

#[test]
fn a_pod_has_left_when_no_slice_sends_it_anything_new() {
    let with = |endpoints: &[(u8, bool, bool, bool)]| {
        catalog(vec![
            (
                Kind::EndpointSlice,
                Event::Applied(slice("cart-a", "cart", 7, endpoints)),
            ),
            (
                Kind::EndpointSlice,
                Event::Applied(slice("user-a", "user", 9, &[(2, false, true, true)])),
            ),
        ])
    };
    let ready = with(&[(2, true, true, false)]);
    assert_eq!(ready.leaving("shop", "u2"), Leaving::StillWanted);
    assert_eq!(ready.leaving("shop", "u5"), Leaving::NoEndpoint);
    assert_eq!(ready.leaving("elsewhere", "u2"), Leaving::NoEndpoint);
    let going = with(&[(2, false, true, true)]);
    assert_eq!(going.leaving("shop", "u2"), Leaving::SeenAt(Revision(9)));
    let published = with(&[(2, true, true, true)]);
    assert_eq!(
        published.leaving("shop", "u2"),
        Leaving::SeenAt(Revision(9)),
        "its service publishes what is not ready"
    );
}

#[test]
fn services_are_read_by_how_they_are_reached() {
    let mut headless = service("cart");
    headless["spec"]["clusterIP"] = "None".into();
    let mut outside = service("cart");
    outside["spec"]["type"] = "ExternalName".into();
    outside["spec"]["externalName"] = "example.org".into();
    let cases = [
        (
            service("cart"),
            Reach::ClusterIp(vec!["10.43.0.9".parse().unwrap()]),
        ),
        (headless, Reach::Endpoints),
        (outside, Reach::Name("example.org".into())),
    ];
    for (value, expected) in cases {
        let catalog = catalog(vec![(Kind::Service, Event::Applied(value))]);
        let found = catalog.service(&ServiceKey::new("shop", "cart")).unwrap();
        assert_eq!(found.reach, expected);
    }
}

#[test]
fn ranges_are_read_cut_and_asked() {
    let range: Cidr = "10.42.3.7/24".parse().unwrap();
    assert_eq!(range.to_string(), "10.42.3.0/24");
    assert_eq!(range.gateway().to_string(), "10.42.3.1");
    assert!(range.contains("10.42.3.255".parse().unwrap()));
    assert!(!range.contains("10.42.4.0".parse().unwrap()));
    assert!(!range.contains("fd00::1".parse().unwrap()));
    let all: Cidr = "0.0.0.0/0".parse().unwrap();
    assert!(all.contains("255.1.1.1".parse().unwrap()));
    for wrong in ["", "10.0.0.0", "10.0.0.0/33", "a/8", "10.0.0.0/-1"] {
        assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
    }
}
