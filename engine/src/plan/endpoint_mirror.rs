//! Mirrors Endpoints that somebody wrote for a service without a selector into EndpointSlices, which
//! is what nodes and gateways send by. Follows Kubernetes' EndpointSlice mirroring controller.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::{Value, json};
use skiff_api::{Key, Kind, Object};

use super::endpoint_slice::{MANAGED_BY, Port, SERVICE_NAME, SLICE_MAX, name};
use super::{Controller, Plan, all, is_open};
use crate::apply::Change;
use crate::command::Write;
use crate::draft::Draft;
use crate::stamp::Stamper;
use crate::state::State;

/// What the label of a mirrored slice says; Kubernetes' word, which other tools know.
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// The label of Endpoints that are not to be mirrored.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// The annotation of Endpoints that are a lock, not addresses.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";

pub(super) const CONTROLLER: Controller = Controller {
    name: "endpoint_mirror",
    wakes,
    resync: |state| all(state, Kind::Endpoints),
    plan,
};

fn wakes(_state: &State, change: &Change) -> Vec<Key> {
    let key = change.key();
    match key.kind {
        Kind::Endpoints => vec![key.clone()],
        Kind::Service => vec![Key::new(Kind::Endpoints, &key.namespace, &key.name)],
        Kind::EndpointSlice => {
            let sides = [&change.was, &change.now].into_iter().flatten();
            sides.filter_map(mirrored).collect()
        }
        Kind::Namespace
        | Kind::Node
        | Kind::Pod
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::Event
        | Kind::ServiceAccount
        | Kind::Deployment
        | Kind::ReplicaSet
        | Kind::Lease
        | Kind::Ingress
        | Kind::IngressClass
        | Kind::NetworkPolicy => Vec::new(),
    }
}

/// The Endpoints that a slice mirrors.
fn mirrored(slice: &Object) -> Option<Key> {
    let labels = &slice.meta().labels;
    let ours = labels.get(MANAGED_BY) == Some(MANAGER);
    let name = labels.get(SERVICE_NAME).filter(|_| ours)?;
    Some(Key::new(Kind::Endpoints, &slice.key().namespace, name))
}

fn plan(state: &State, key: &Key, stamper: &mut Stamper) -> Plan {
    let mut plan = Plan::default();
    let Some(endpoints) = state.get(key) else {
        // Its slices go with it.
        return plan;
    };
    let mut old = slices(state, endpoints);
    let contents = if is_to_be_mirrored(state, endpoints) {
        contents(&endpoints.to_value())
    } else {
        Vec::new()
    };
    let mut names = BTreeSet::new();
    for content in contents {
        let draft = match take_fitting(&mut old, &content) {
            Some(slice) => Draft::of(slice),
            None if is_open(state, &key.namespace) => {
                let name = name(state, endpoints, &mut names);
                Draft::new(Kind::EndpointSlice, &key.namespace, &name, stamper)
                    .with_meta("generateName", format!("{}-", key.name).into())
                    .owned_by(endpoints)
            }
            None => continue,
        };
        plan.change(write(draft, endpoints, content));
    }
    plan.writes.extend(old.into_iter().map(Write::remove));
    plan
}

fn is_to_be_mirrored(state: &State, endpoints: &Object) -> bool {
    let key = endpoints.key();
    let service = state.get(&Key::new(Kind::Service, &key.namespace, &key.name));
    let unselected = service
        .and_then(Object::service)
        .is_some_and(|view| view.selector.is_empty());
    let is_lock = || endpoints.to_value()["metadata"]["annotations"][LEADER].is_string();
    unselected && endpoints.meta().labels.get(SKIP) != Some("true") && !is_lock()
}

/// The slices that mirror these Endpoints, by name.
fn slices<'a>(state: &'a State, endpoints: &Object) -> Vec<&'a Object> {
    let all = state.list(Kind::EndpointSlice, Some(&endpoints.key().namespace));
    let owner = &endpoints.meta().uid;
    let is_owner = |slice: &&Object| slice.meta().controller().is_some_and(|of| of.uid == *owner);
    all.filter(is_owner).collect()
}

/// What one slice is to hold.
struct Content {
    family: &'static str,
    ports: Vec<Port>,
    endpoints: Vec<Value>,
}

/// Subsets with the same ports are one; a slice holds addresses of one family.
fn contents(endpoints: &Value) -> Vec<Content> {
    let mut groups: BTreeMap<(&str, Vec<Port>), Vec<Value>> = BTreeMap::new();
    for subset in endpoints["subsets"].as_array().into_iter().flatten() {
        let ports = Port::all(&subset["ports"]);
        for (field, ready) in [("addresses", true), ("notReadyAddresses", false)] {
            for address in subset[field].as_array().into_iter().flatten() {
                if let Some(family) = family(address) {
                    let group = groups.entry((family, ports.clone())).or_default();
                    group.push(endpoint(address, ready));
                }
            }
        }
    }
    let mut contents = Vec::new();
    for ((family, ports), endpoints) in groups {
        let chunks = endpoints.chunks(SLICE_MAX).map(|chunk| Content {
            family,
            ports: ports.clone(),
            endpoints: chunk.to_vec(),
        });
        contents.extend(chunks);
    }
    contents
}

fn family(address: &Value) -> Option<&'static str> {
    match address["ip"].as_str()?.parse().ok()? {
        IpAddr::V4(_) => Some("IPv4"),
        IpAddr::V6(_) => Some("IPv6"),
    }
}

fn endpoint(address: &Value, ready: bool) -> Value {
    let mut endpoint = json!({
        "addresses": [address["ip"]],
        "conditions": {"ready": ready},
    });
    for field in ["hostname", "nodeName", "targetRef"] {
        if !address[field].is_null() {
            endpoint[field] = address[field].clone();
        }
    }
    endpoint
}

/// Takes the slice that changes least by holding this: of its family, with the same ports rather than
/// others, and with the most of its addresses.
fn take_fitting<'a>(slices: &mut Vec<&'a Object>, content: &Content) -> Option<&'a Object> {
    let wanted: BTreeSet<&str> = content.endpoints.iter().filter_map(ip).collect();
    let fitness = |value: &Value| {
        let endpoints = value["endpoints"].as_array().into_iter().flatten();
        let kept = endpoints.filter_map(ip).filter(|ip| wanted.contains(ip));
        (Port::all(&value["ports"]) == content.ports, kept.count())
    };
    let values = slices.iter().map(|slice| slice.to_value()).enumerate();
    let can = values.filter(|(_, value)| value["addressType"] == content.family);
    let ranked = can.map(|(index, value)| (fitness(&value), std::cmp::Reverse(index)));
    let (_, std::cmp::Reverse(index)) = ranked.max()?;
    Some(slices.remove(index))
}

fn ip(endpoint: &Value) -> Option<&str> {
    endpoint["addresses"][0].as_str()
}

fn write(draft: Draft, endpoints: &Object, content: Content) -> Draft {
    let mut labels = endpoints.to_value()["metadata"]["labels"].clone();
    if !labels.is_object() {
        labels = json!({});
    }
    labels[SERVICE_NAME] = endpoints.key().name.as_ref().into();
    labels[MANAGED_BY] = MANAGER.into();
    let ports: Vec<Value> = content.ports.iter().map(Port::wire).collect();
    draft
        .with_meta("labels", labels)
        .with("addressType", content.family.into())
        .with("endpoints", content.endpoints.into())
        .with("ports", ports.into())
}

#[cfg(test)]
mod tests {
    use skiff_api::Revision;

    use super::*;
    use crate::plan::world::World;

    fn service(name: &str, selector: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "d"},
            "spec": {"selector": selector, "clusterIP": "10.43.0.9", "ports": [{"port": 80}]}})
    }

    fn endpoints(name: &str, subsets: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"name": name, "namespace": "d", "labels": {"of": "db"}},
            "subsets": subsets})
    }

    fn subset(ready: &[&str], not_ready: &[&str], port: u16) -> Value {
        let of = |ips: &[&str]| ips.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>();
        json!({"addresses": of(ready), "notReadyAddresses": of(not_ready),
            "ports": [{"name": "db", "port": port}]})
    }

    fn settle(world: &mut World) {
        for key in (CONTROLLER.resync)(&world.state) {
            world.step(&CONTROLLER, &key);
        }
    }

    /// Each slice as `family port: address address`, with `-` after those that are not ready.
    fn slices(world: &World) -> Vec<String> {
        let spell = |slice: &Object| {
            let value = slice.to_value();
            skiff_api::check(Kind::EndpointSlice, &value).unwrap();
            let endpoints = value["endpoints"].as_array().unwrap().iter();
            let addresses: Vec<String> = endpoints
                .map(|one| {
                    let ready = one["conditions"]["ready"] == true;
                    let mark = if ready { "" } else { "-" };
                    format!("{}{mark}", one["addresses"][0].as_str().unwrap())
                })
                .collect();
            let family = value["addressType"].as_str().unwrap();
            let port = &value["ports"][0]["port"];
            format!("{family} {port}: {}", addresses.join(" "))
        };
        let mut all: Vec<String> = world.list(Kind::EndpointSlice).iter().map(spell).collect();
        all.sort();
        all
    }

    #[test]
    fn what_somebody_wrote_is_mirrored_while_it_is_to_be() {
        let key = Key::new(Kind::Endpoints, "d", "db");
        let mut world = World::new(1);
        world.put(service("db", json!({})));
        world.put(endpoints(
            "db",
            json!([
                subset(&["10.0.0.1"], &["10.0.0.2"], 5432),
                subset(&["10.0.0.3", "fd00::3"], &[], 5432),
                subset(&["10.0.0.1"], &[], 9187),
            ]),
        ));
        settle(&mut world);
        let first = [
            "IPv4 5432: 10.0.0.1 10.0.0.2- 10.0.0.3",
            "IPv4 9187: 10.0.0.1",
            "IPv6 5432: fd00::3",
        ];
        assert_eq!(slices(&world), first);
        let made = world.list(Kind::EndpointSlice);
        let value = made.first().unwrap().to_value();
        let labels = &value["metadata"]["labels"];
        assert_eq!(
            *labels,
            json!({"of": "db", SERVICE_NAME: "db", MANAGED_BY: MANAGER})
        );
        assert_eq!(value["metadata"]["ownerReferences"][0]["kind"], "Endpoints");

        world.change(&key, |value| {
            value["subsets"] = json!([subset(&["10.0.0.4"], &[], 5432)]);
        });
        settle(&mut world);
        assert_eq!(slices(&world), ["IPv4 5432: 10.0.0.4"]);
        let kept = world.list(Kind::EndpointSlice).remove(0);
        assert!(made.iter().any(|old| old.meta().uid == kept.meta().uid));

        for (skip, expected) in [("true", 0), ("false", 1)] {
            world.change(&key, |value| {
                value["metadata"]["labels"][SKIP] = skip.into();
            });
            settle(&mut world);
            assert_eq!(slices(&world).len(), expected);
        }
        world.change(&Key::new(Kind::Service, "d", "db"), |value| {
            value["spec"]["selector"] = json!({"app": "db"});
        });
        settle(&mut world);
        assert_eq!(slices(&world), [""; 0], "the service selects pods now");
    }

    #[test]
    fn a_lock_and_an_orphan_are_left_alone_and_many_are_cut() {
        let mut world = World::new(1);
        world.put(endpoints("nobody", json!([subset(&["10.0.0.1"], &[], 80)])));
        world.put(service("lock", json!({})));
        let mut lock = endpoints("lock", json!([subset(&["10.0.0.1"], &[], 80)]));
        lock["metadata"]["annotations"] = json!({LEADER: "{}"});
        world.put(lock);
        settle(&mut world);
        assert_eq!(slices(&world), [""; 0]);
        world.put(service("many", json!({})));
        let ips: Vec<String> = (1..=250).map(|n| format!("10.0.0.{n}")).collect();
        let ips: Vec<&str> = ips.iter().map(String::as_str).collect();
        world.put(endpoints("many", json!([subset(&ips, &[], 80)])));
        settle(&mut world);
        let sizes = world.list(Kind::EndpointSlice);
        let sizes = sizes
            .iter()
            .map(|slice| slice.to_value()["endpoints"].as_array().unwrap().len());
        let mut sizes: Vec<usize> = sizes.collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [50, 100, 100]);
    }

    #[test]
    fn a_change_of_any_part_is_looked_at() {
        let mut world = World::new(1);
        world.put(service("db", json!({})));
        world.put(endpoints("db", json!([subset(&["10.0.0.1"], &[], 80)])));
        settle(&mut world);
        let slice = world.list(Kind::EndpointSlice).remove(0);
        let service = world.list(Kind::Service).remove(0);
        let endpoints = world.list(Kind::Endpoints).remove(0);
        for object in [slice, service, endpoints] {
            let change = Change {
                revision: Revision::default(),
                was: Some(object),
                now: None,
            };
            let keys = wakes(&world.state, &change);
            assert_eq!(keys, [Key::new(Kind::Endpoints, "d", "db")]);
        }
    }
}
