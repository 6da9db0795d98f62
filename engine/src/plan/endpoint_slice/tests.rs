use std::collections::BTreeMap;

use proptest::prelude::*;

use super::place::SLICE_MAX;
use super::*;
use crate::plan::world::World;

fn service(name: &str, spec: Value) -> Value {
    let mut value = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "d", "labels": {"of": "web"}},
        "spec": {"selector": {"app": "web"}, "clusterIP": "10.43.0.9",
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]}});
    if let (Value::Object(fields), Some(all)) = (spec, value["spec"].as_object_mut()) {
        all.extend(fields);
    }
    value
}

/// A pod that runs: `ip`, or none while it is empty; ready or not.
fn pod(name: &str, ip: &str, ready: bool) -> Value {
    let status = if ready { "True" } else { "False" };
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "d", "labels": {"app": "web"},
            "uid": format!("uid-{name}"), "creationTimestamp": "2026-11-28T00:00:00Z"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c",
            "ports": [{"name": "web", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": ip,
            "conditions": [{"type": "Ready", "status": status}]}})
}

fn leaving(mut pod: Value) -> Value {
    pod["metadata"]["deletionTimestamp"] = "2026-11-28T00:00:30Z".into();
    pod["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    pod
}

fn plan_all(world: &mut World) {
    for controller in [CONTROLLER, crate::plan::endpoints::CONTROLLER] {
        for key in (controller.resync)(&world.state) {
            world.step(&controller, &key);
        }
    }
}

/// Each slice as `port,port: pod@ip+rst …`: ready, serving, terminating.
fn slices_of(world: &World) -> Vec<String> {
    let mut all: Vec<String> = world.list(Kind::EndpointSlice).iter().map(spell).collect();
    all.sort();
    all
}

fn spell(slice: &Object) -> String {
    let value = slice.to_value();
    skiff_api::check(Kind::EndpointSlice, &value).unwrap();
    let list = |field: &str| value[field].as_array().unwrap().clone();
    let ports: Vec<String> = list("ports")
        .iter()
        .map(|p| p["port"].to_string())
        .collect();
    let endpoints: Vec<String> = list("endpoints").iter().map(spell_endpoint).collect();
    format!("{}: {}", ports.join(","), endpoints.join(" "))
}

fn spell_endpoint(endpoint: &Value) -> String {
    let conditions = &endpoint["conditions"];
    let flags = [("ready", 'r'), ("serving", 's'), ("terminating", 't')];
    let flags = flags.iter().filter(|(field, _)| conditions[field] == true);
    let flags: String = flags.map(|(_, letter)| letter).collect();
    let hostname = endpoint["hostname"].as_str().map(|name| format!("/{name}"));
    format!(
        "{}@{}+{flags}{}",
        endpoint["targetRef"]["name"].as_str().unwrap(),
        endpoint["addresses"][0].as_str().unwrap(),
        hostname.unwrap_or_default()
    )
}

/// Endpoints as `addresses | those not ready`.
fn endpoints_of(world: &World) -> String {
    let object = world.list(Kind::Endpoints).remove(0).to_value();
    skiff_api::check(Kind::Endpoints, &object).unwrap();
    let ips = |field: &str| {
        let subsets = object["subsets"].as_array().cloned().unwrap_or_default();
        let all = subsets
            .iter()
            .flat_map(|subset| subset[field].as_array().cloned());
        let ips = all
            .flatten()
            .map(|at| at["ip"].as_str().unwrap().to_owned());
        ips.collect::<Vec<_>>().join(" ")
    };
    format!("{} | {}", ips("addresses"), ips("notReadyAddresses"))
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn pods_are_endpoints_as_far_as_they_serve() {
    let named = |name: &str, ip: &str, port: u16| {
        let mut pod = pod(name, ip, true);
        pod["spec"]["containers"][0]["ports"][0]["containerPort"] = port.into();
        pod
    };
    let with = |pointer: &str, value: Value, mut pod: Value| {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[field] = value;
        pod
    };
    let none = || json!({});
    type Row<'a> = (&'a str, Value, Vec<Value>, &'a [&'a str], &'a str);
    let cases: [Row<'_>; 12] = [
        ("nobody yet", none(), vec![], &["8080: "], " | "),
        (
            "one that is ready, one that is not",
            none(),
            vec![pod("a", "10.0.0.1", true), pod("b", "10.0.0.2", false)],
            &["8080: a@10.0.0.1+rs b@10.0.0.2+"],
            "10.0.0.1 | 10.0.0.2",
        ),
        (
            "one that leaves stays, and is told apart",
            none(),
            vec![
                pod("a", "10.0.0.1", true),
                leaving(pod("b", "10.0.0.2", true)),
            ],
            &["8080: a@10.0.0.1+rs b@10.0.0.2+st"],
            "10.0.0.1 | ",
        ),
        (
            "without an address",
            none(),
            vec![pod("a", "", false)],
            &["8080: "],
            " | ",
        ),
        (
            "one that ended",
            none(),
            vec![with(
                "/status/phase",
                "Succeeded".into(),
                pod("a", "10.0.0.1", false),
            )],
            &["8080: "],
            " | ",
        ),
        (
            "somebody else's pod",
            none(),
            vec![with(
                "/metadata/labels",
                json!({"app": "x"}),
                pod("a", "10.0.0.1", true),
            )],
            &["8080: "],
            " | ",
        ),
        (
            "published before they are ready",
            json!({"publishNotReadyAddresses": true}),
            vec![
                pod("a", "10.0.0.1", false),
                leaving(pod("b", "10.0.0.2", true)),
            ],
            &["8080: a@10.0.0.1+r b@10.0.0.2+rst"],
            "10.0.0.1 10.0.0.2 | ",
        ),
        (
            "a port by its name is each pod's own",
            json!({"ports": [{"name": "http", "port": 80, "targetPort": "web"}]}),
            vec![
                named("a", "10.0.0.1", 1),
                named("b", "10.0.0.2", 2),
                named("c", "10.0.0.3", 1),
            ],
            &["1: a@10.0.0.1+rs c@10.0.0.3+rs", "2: b@10.0.0.2+rs"],
            "10.0.0.1 10.0.0.3 10.0.0.2 | ",
        ),
        (
            "a name that the pod does not know",
            json!({"ports": [{"name": "a", "port": 1, "targetPort": "x"}, {"name": "b", "port": 2}]}),
            vec![pod("a", "10.0.0.1", true)],
            &["2: a@10.0.0.1+rs"],
            "10.0.0.1 | ",
        ),
        (
            "a pod with a name of its own",
            none(),
            vec![
                with("/spec/hostname", "db-0".into(), {
                    with("/spec/subdomain", "web".into(), pod("a", "10.0.0.1", true))
                }),
                with("/spec/hostname", "db-0".into(), {
                    with(
                        "/spec/subdomain",
                        "other".into(),
                        pod("b", "10.0.0.2", true),
                    )
                }),
            ],
            &["8080: a@10.0.0.1+rs/db-0 b@10.0.0.2+rs"],
            "10.0.0.1 10.0.0.2 | ",
        ),
        (
            "headless, without a port",
            json!({"clusterIP": "None", "ports": []}),
            vec![pod("a", "10.0.0.1", true)],
            &[": a@10.0.0.1+rs"],
            "10.0.0.1 | ",
        ),
        (
            "an address of the other family",
            none(),
            vec![pod("a", "fd00::1", true)],
            &["8080: "],
            " | ",
        ),
    ];
    for (name, spec, pods, slices, endpoints) in cases {
        let mut world = World::new(1);
        world.put(service("web", spec));
        for pod in pods {
            world.put(pod);
        }
        plan_all(&mut world);
        assert_eq!(slices_of(&world), slices, "{name}");
        assert_eq!(endpoints_of(&world), endpoints, "{name}");
    }
}

#[test]
fn what_selects_nothing_is_left_alone() {
    let mut world = World::new(1);
    world.put(service("manual", json!({"selector": null})));
    world.put(service(
        "name",
        json!({"type": "ExternalName", "externalName": "x"}),
    ));
    let manual = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "manual-1", "namespace": "d", "labels": {SERVICE_NAME: "manual"}},
        "addressType": "IPv4", "ports": [], "endpoints": [{"addresses": ["192.0.2.1"]}]});
    let manual = world.put(manual);
    plan_all(&mut world);
    assert_eq!(world.list(Kind::Endpoints), []);
    let slices = world.list(Kind::EndpointSlice);
    assert!(slices.len() == 1 && slices.first().unwrap().same_content(&manual));
}

#[test]
fn a_slice_is_emptied_and_repaired_but_not_removed() {
    let mut world = World::new(1);
    let web = world.put(service("web", json!({})));
    let a = world.put(pod("a", "10.0.0.1", true));
    plan_all(&mut world);
    let first = world.list(Kind::EndpointSlice).remove(0);
    world.change(first.key(), |slice| {
        slice["metadata"]["labels"] = json!({});
        slice["endpoints"] = json!([]);
    });
    plan_all(&mut world);
    let repaired = world.list(Kind::EndpointSlice).remove(0);
    assert!(repaired.same_content(&first));
    assert_eq!(
        repaired.meta().labels.get("of"),
        Some("web"),
        "the service's own labels"
    );
    world.change(first.key(), |slice| {
        slice["metadata"]["ownerReferences"] = json!([])
    });
    world.change(web.key(), |web| {
        web["spec"]["ports"][0]["targetPort"] = 9090.into()
    });
    plan_all(&mut world);
    assert_eq!(
        slices_of(&world),
        ["9090: a@10.0.0.1+rs"],
        "the same slice, other ports"
    );
    world.apply(vec![crate::Write::remove(&a)]);
    plan_all(&mut world);
    assert_eq!(slices_of(&world), ["9090: "]);
    world.change(web.key(), |web| web["spec"]["selector"] = Value::Null);
    world.put(pod("b", "10.0.0.2", true));
    plan_all(&mut world);
    assert_eq!(
        slices_of(&world),
        ["9090: "],
        "nobody is behind it any more"
    );
    assert_eq!(world.list(Kind::EndpointSlice).remove(0).key(), first.key());
}

#[test]
fn slices_go_with_their_service_and_a_new_one_begins_anew() {
    let mut world = World::new(1);
    let web = world.put(service("web", json!({})));
    world.put(pod("a", "10.0.0.1", true));
    world.settle();
    let old = world.list(Kind::EndpointSlice).remove(0);
    world.apply(vec![crate::Write::remove(&web)]);
    world.put(service("web", json!({})));
    world.settle();
    let new = world.list(Kind::EndpointSlice);
    assert_eq!(new.len(), 1);
    assert_ne!(new.first().unwrap().key(), old.key());
    assert_eq!(world.list(Kind::Endpoints).len(), 1);
}

#[test]
fn only_what_matters_wakes_a_service() {
    let mut world = World::new(1);
    let web = world.put(service("web", json!({}))).key().clone();
    world.put(service("other", json!({"selector": {"app": "other"}})));
    world.put(pod("a", "10.0.0.1", true));
    plan_all(&mut world);
    let with = |pointer: &str, value: Value| {
        let mut pod = pod("a", "10.0.0.1", true);
        *pod.pointer_mut(pointer).unwrap() = value;
        pod
    };
    let cases = [
        (
            "its address",
            with("/status/podIP", "10.0.0.2".into()),
            true,
        ),
        ("not ready", pod("a", "10.0.0.1", false), true),
        ("leaving", leaving(pod("a", "10.0.0.1", true)), true),
        (
            "no longer selected",
            with("/metadata/labels/app", "x".into()),
            true,
        ),
        (
            "its image",
            with("/spec/containers/0/name", "x".into()),
            false,
        ),
    ];
    for (name, changed, expected) in cases {
        let was = Object::from_value(pod("a", "10.0.0.1", true)).unwrap();
        let change = Change {
            revision: skiff_api::Revision(9),
            was: Some(was),
            now: Some(Object::from_value(changed).unwrap()),
        };
        let woken = wakes(&world.state, &change);
        assert_eq!(
            woken,
            if expected { vec![web.clone()] } else { vec![] },
            "{name}"
        );
    }
    let slice = world.list(Kind::EndpointSlice).pop();
    let change = Change {
        revision: skiff_api::Revision(9),
        was: slice,
        now: None,
    };
    assert_eq!(wakes(&world.state, &change), [web]);
}

/// Where each endpoint is: the slice's name, by the pod's.
fn places(world: &World) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for slice in world.list(Kind::EndpointSlice) {
        let value = slice.to_value();
        let endpoints = value["endpoints"].as_array().unwrap();
        assert!(endpoints.len() <= SLICE_MAX);
        for endpoint in endpoints {
            let pod = endpoint["targetRef"]["name"].as_str().unwrap().to_owned();
            let twice = found.insert(pod, slice.key().name.to_string());
            assert_eq!(twice, None, "an endpoint is in one slice");
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    /// Pods come and go: every pod is in exactly one slice, and stays in it.
    #[test]
    fn endpoints_stay_where_they_are(steps in prop::collection::vec((0..260_u16, 0..3_u8), 1..6)) {
        let mut world = World::new(1);
        world.put(service("web", json!({})));
        for n in 0..120 {
            world.put(pod(&format!("p{n}"), "10.0.0.1", true));
        }
        plan_all(&mut world);
        for (n, step) in steps {
            let before = places(&world);
            for n in (n..260).take(40) {
                let name = format!("p{n}");
                let old = world.state.get(&Key::new(Kind::Pod, "d", &name)).cloned();
                match (step, old) {
                    (0, Some(old)) => world.apply(vec![crate::Write::remove(&old)]),
                    (1, Some(old)) if old.meta().deletion.is_none() => {
                        world.put(leaving(pod(&name, "10.0.0.1", true)));
                    }
                    (2, None) => {
                        world.put(pod(&name, "10.0.0.1", true));
                    }
                    _ => {}
                }
            }
            plan_all(&mut world);
            let after = places(&world);
            let pods: Vec<String> =
                world.list(Kind::Pod).iter().map(|pod| pod.key().name.to_string()).collect();
            prop_assert_eq!(after.keys().cloned().collect::<Vec<_>>(), {
                let mut pods = pods;
                pods.sort();
                pods
            });
            for (pod, slice) in &after {
                let moved = before.get(pod).is_some_and(|was| was != slice);
                prop_assert!(!moved, "{} moved", pod);
            }
            prop_assert!(world.list(Kind::EndpointSlice).len() <= 3);
        }
    }
}
