use serde_json::{Value, json};
use skiff_api::Key;
use skiff_api::canary::bucket;

use super::super::world::World;
use super::*;

const PREFIX: &str = "gateway.skiff.io/";

/// An Ingress `web` whose canary `web-2` judges itself, and the endpoint of that.
fn world(annotations: &Value) -> (World, Key) {
    let mut world = World::new(1);
    world.put(
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "web-2-a", "namespace": "d",
            "labels": {"kubernetes.io/service-name": "web-2"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.42.0.9"], "conditions": {"ready": true}}]}),
    );
    let mut all = json!({"gateway.skiff.io/canary-auto": "true",
        "gateway.skiff.io/canary-service": "web-2"});
    for (name, value) in annotations.as_object().unwrap() {
        all[format!("{PREFIX}{name}")] = value.clone();
    }
    let ingress = world.put(
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "web", "namespace": "d", "annotations": all}, "spec": {}}),
    );
    (world, ingress.key().clone())
}

fn counts(errors: u64, requests: u64) -> Counts {
    Counts {
        errors,
        latency: [(bucket(5_000), requests)].into(),
    }
}

/// So old, with as many errors of 100 requests to the canary; the stable version is well.
fn memory(weight_percent: u8, seconds: u64, errors: u64) -> Memory {
    Memory {
        step: Step {
            service: "web-2".to_owned(),
            weight_percent,
        },
        age: Duration::from_secs(seconds),
        stable: counts(1, 900),
        canary: counts(errors, 100),
        told: false,
    }
}

fn annotation(world: &World, key: &Key, name: &str) -> String {
    let value = world.state.get(key).unwrap().to_value();
    let found = &value["metadata"]["annotations"][format!("{PREFIX}{name}")];
    found.as_str().unwrap_or("-").to_owned()
}

/// Decides, does it, and returns weight, status and what was said.
fn steer(world: &mut World, key: &Key, memory: &Memory) -> Option<[String; 3]> {
    let ingress = world.state.get(key).unwrap().clone();
    let mut stamper = world.stamper();
    let steering = canary(&world.state, &ingress, memory, &mut stamper)?;
    let Write::Put { object, .. } = &steering.said else {
        panic!("an Event is written");
    };
    let event = object.to_value();
    let said = ["reason", "message"].map(|field| event[field].as_str().unwrap().to_owned());
    world.apply(steering.write.into_iter().chain([steering.said]).collect());
    let [weight, status] =
        ["canary-weight", "canary-status"].map(|name| annotation(world, key, name));
    Some([weight, status, said.join(": ")])
}

fn strings(texts: [&str; 3]) -> Option<[String; 3]> {
    Some(texts.map(str::to_owned))
}

#[test]
fn a_good_canary_gets_more_and_more_until_it_gets_everything() {
    let (mut world, key) = world(&json!({"canary-auto-step": "50"}));
    let expected = [
        (
            0,
            "50",
            "progressing: web-2 since 2026-11-23T01:46:40Z",
            "CanaryStarted: web-2 gets 50 % of the requests; a step takes 1m and 50 requests at least",
        ),
        (
            50,
            "100",
            "progressing: web-2 since 2026-11-23T01:46:40Z",
            "CanaryAdvanced: web-2 gets 100 % of the requests: 0.0 % of its 100 requests failed (p99 \
             5 ms), 0.1 % of the stable version's 900 (p99 5 ms)",
        ),
        (
            100,
            "100",
            "promoted: web-2 at 2026-11-23T01:46:40Z",
            "CanaryPromoted: web-2 gets all requests and is judged no more: 0.0 % of its 100 requests \
             failed (p99 5 ms), 0.1 % of the stable version's 900 (p99 5 ms)",
        ),
    ];
    for (weight, next, status, said) in expected {
        let found = steer(&mut world, &key, &memory(weight, 60, 0));
        assert_eq!(found, strings([next, status, said]), "at {weight} %");
    }
    assert_eq!(
        steer(&mut world, &key, &memory(100, 600, 100)),
        None,
        "judged no more"
    );
}

#[test]
fn a_bad_canary_gets_nothing_until_it_is_another_or_its_verdict_is_removed() {
    let (mut world, key) = world(&json!({"canary-weight": "20"}));
    steer(&mut world, &key, &memory(20, 0, 0)).unwrap();
    let found = steer(&mut world, &key, &memory(20, 5, 12));
    let why = "12.0 % of its 100 requests failed, 0.1 % of the stable version's 900";
    assert_eq!(
        found,
        strings([
            "0",
            &format!("rolled back: web-2 at 2026-11-23T01:46:40Z: {why}"),
            &format!("CanaryRolledBack: web-2 gets no requests any more: {why}"),
        ])
    );
    assert_eq!(steer(&mut world, &key, &memory(0, 600, 0)), None);
    world.change(&key, |ingress| {
        ingress["metadata"]["annotations"]
            .as_object_mut()
            .unwrap()
            .remove(STATUS);
    });
    let again = steer(&mut world, &key, &memory(0, 0, 0)).unwrap();
    assert_eq!(again[0], "10");
}

#[test]
fn what_was_counted_of_another_step_decides_nothing() {
    let (mut world, key) = world(&json!({"canary-weight": "20"}));
    steer(&mut world, &key, &memory(20, 0, 0)).unwrap();
    let mut other = memory(20, 600, 100);
    other.step.service = "web-3".to_owned();
    for (name, memory) in [("weight", memory(10, 600, 100)), ("service", other)] {
        assert_eq!(steer(&mut world, &key, &memory), None, "another {name}");
    }
}

#[test]
fn a_change_by_hand_wins() {
    let (mut world, key) = world(&json!({"canary-weight": "20"}));
    steer(&mut world, &key, &memory(20, 0, 0)).unwrap();
    let ingress = world.state.get(&key).unwrap().clone();
    let mut stamper = world.stamper();
    let steering = canary(&world.state, &ingress, &memory(20, 60, 0), &mut stamper).unwrap();
    world.change(&key, |ingress| {
        ingress["metadata"]["annotations"][WEIGHT] = "0".into();
    });
    let applied = world.state.apply(&crate::Command {
        term: 1,
        at: world.now,
        writes: steering.write.into_iter().collect(),
    });
    assert!(matches!(
        applied.outcomes[..],
        [crate::Outcome::Conflict { .. }]
    ));
    assert_eq!(annotation(&world, &key, "canary-weight"), "0");
    assert_eq!(
        steer(&mut world, &key, &memory(0, 600, 0)),
        None,
        "it is paused"
    );
}

#[test]
fn what_it_waits_for_is_said_once() {
    let (mut world, key) = world(&json!({}));
    let slice = Key::new(Kind::EndpointSlice, "d", "web-2-a");
    world.change(&slice, |slice| {
        slice["endpoints"][0]["conditions"]["ready"] = false.into();
    });
    let mut memory = memory(0, 0, 0);
    let [weight, status, said] = steer(&mut world, &key, &memory).unwrap();
    assert_eq!((weight.as_str(), status.as_str()), ("-", "-"));
    assert_eq!(
        said,
        "CanaryWaiting: Service web-2 has no ready endpoint yet"
    );
    memory.told = true;
    assert_eq!(steer(&mut world, &key, &memory), None);
    world.change(&slice, |slice| {
        slice["endpoints"][0]["conditions"]["ready"] = true.into();
    });
    assert_eq!(steer(&mut world, &key, &memory).unwrap()[0], "10");
    memory.step.weight_percent = 10;
    memory.age = Duration::from_secs(120);
    memory.told = false;
    for (canary, expected) in [
        (
            counts(0, 3),
            "web-2 stays at 10 %: it has got fewer than 50 requests",
        ),
        (
            counts(2, 100),
            "web-2 stays at 10 %: 2.0 % of its 100 requests failed, 0.1 % of the stable version's 900, \
             which may be chance",
        ),
    ] {
        memory.canary = canary;
        let [.., said] = steer(&mut world, &key, &memory).unwrap();
        assert_eq!(said, format!("CanaryWaiting: {expected}"));
    }
}

#[test]
fn only_a_canary_that_is_asked_for_is_judged() {
    let cases = [
        (json!({"canary-auto": "false"}), false),
        (json!({"canary-service": ""}), false),
        (json!({"canary-status": "promoted: web-2 at noon"}), false),
        (json!({"canary-status": "promoted: web-1 at noon"}), true),
        (json!({"canary-status": "whatever"}), true),
        (json!({}), true),
    ];
    for (annotations, expected) in cases {
        let (world, key) = world(&annotations);
        let found = auto(world.state.get(&key).unwrap());
        assert_eq!(found.is_some(), expected, "{annotations}");
    }
}
