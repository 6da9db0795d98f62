//! The node's object, and what is written when.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skiff_api::Millis;
use skiff_network::routes::Mode;

use super::*;
use crate::runtime::simulated::SimRuntime;

fn facts() -> Facts {
    Facts {
        name: "n1".into(),
        agent_id: "id".into(),
        ip: Some([10, 0, 0, 1].into()),
        hostname: "host".into(),
        labels: BTreeMap::from([("zone".into(), "a".into())]),
        network: crate::network::annotations(Mode::Auto, Some([10, 0, 0, 1].into())),
        engine: SimRuntime::machine(2, 1 << 30),
        cpu_millicores: 2000,
        memory_bytes: 1 << 30,
        pods: 110,
        disk_bytes: 10 << 30,
        machine_id: "m".into(),
        boot_id: "b".into(),
        data_dir: "/".into(),
    }
}

fn health(engine: Result<(), String>) -> Health {
    Health {
        engine: Some(engine),
        ..Health::default()
    }
}

/// Merges a patch as the servers do.
fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

#[test]
fn the_status_is_written_once_and_when_it_changes() {
    let up = health(Ok(()));
    let down = health(Err("list containers: the engine does not answer".to_owned()));
    let mut node = object(&facts());
    let first = status(&facts(), &up, &node, Millis(0)).expect("a new node has no status");
    merge(&mut node, &first);
    assert_eq!(node["status"]["capacity"]["cpu"], "2");
    assert_eq!(node["status"]["allocatable"]["memory"], "1048576Ki");
    assert_eq!(node["status"]["addresses"][0]["address"], "10.0.0.1");
    assert_eq!(
        status(&facts(), &up, &node, Millis(9000)),
        None,
        "nothing has changed"
    );

    let lost = status(&facts(), &down, &node, Millis(9000)).expect("the engine is away");
    merge(&mut node, &lost);
    let ready = node["status"]["conditions"][3].clone();
    assert_eq!(ready["status"], "False");
    assert_eq!(ready["lastTransitionTime"], "1970-01-01T00:00:09Z");
    assert_eq!(
        ready["message"],
        "container runtime is down: list containers: the engine does not answer"
    );
    let memory = &node["status"]["conditions"][0];
    assert_eq!(
        memory["lastTransitionTime"], "1970-01-01T00:00:00Z",
        "others stay as they were"
    );
}

#[test]
fn what_the_servers_say_of_a_silent_node_is_corrected() {
    let up = health(Ok(()));
    let mut node = object(&facts());
    let first = status(&facts(), &up, &node, Millis(0)).expect("new");
    merge(&mut node, &first);
    node["status"]["conditions"][3]["status"] = json!("Unknown");
    let again = status(&facts(), &up, &node, Millis(5000)).expect("wrong");
    assert_eq!(again["status"]["conditions"][3]["status"], "True");
}

#[test]
fn annotations_without_a_value_are_taken_away() {
    let mut node = object(&facts());
    let vtep = "network.skiff.io/vtep";
    assert_eq!(node["metadata"]["annotations"][vtep], "0a:5b:0a:00:00:01");
    let direct = Facts {
        network: crate::network::annotations(Mode::Direct, Some([10, 0, 0, 1].into())),
        ..facts()
    };
    let patch = changes(&direct, &node).expect("the mode differs");
    let expected = json!({vtep: null, "network.skiff.io/mode": "direct"});
    assert_eq!(patch["metadata"]["annotations"], expected);
    node["metadata"]["annotations"] = object(&direct)["metadata"]["annotations"].clone();
    assert_eq!(node["metadata"]["annotations"].get(vtep), None);
    assert_eq!(changes(&direct, &node), None);
}

#[test]
fn labels_of_others_stay() {
    let mut node = object(&facts());
    assert_eq!(changes(&facts(), &node), None);
    node["metadata"]["labels"]["team"] = json!("blue");
    node["metadata"]["labels"]["zone"] = json!("b");
    let patch = changes(&facts(), &node).expect("the zone differs");
    assert_eq!(patch["metadata"]["labels"], json!({"zone": "a"}));
}
