//! Gives each node a range of the cluster's addresses for its pods.
//!
//! There is one key for all nodes: two nodes planned by themselves on one snapshot would get the
//! same range. A range is never taken back, and is free again when its node is gone.

use std::collections::BTreeSet;

use serde_json::json;
use skiff_api::{Key, Kind, Object};

use super::{Controller, Plan};
use crate::apply::Change;
use crate::draft::Draft;
use crate::event::{self, Note, Severity};
use crate::network::{Range, Settings};
use crate::stamp::Stamper;
use crate::state::State;

/// The controller's name in events, as in Kubernetes.
const SOURCE: &str = "cidrAllocator";

/// Nodes written by one command; the next pass does the rest.
const BURST: usize = 500;

pub(super) const CONTROLLER: Controller = Controller {
    name: "node_cidr",
    wakes,
    resync: |_| vec![all_nodes()],
    plan,
};

/// The one key: no node has this name.
fn all_nodes() -> Key {
    Key::cluster(Kind::Node, "")
}

fn wakes(_state: &State, change: &Change) -> Vec<Key> {
    if change.key().kind != Kind::Node {
        return Vec::new();
    }
    // A node that goes may leave its range to one that has none.
    let concerned = change.now.as_ref().is_none_or(lacks);
    concerned.then(all_nodes).into_iter().collect()
}

fn range(node: &Object) -> Option<&str> {
    node.node()?.pod_cidr.as_deref()
}

fn lacks(node: &Object) -> bool {
    range(node).is_none() && node.meta().deletion.is_none()
}

fn plan(state: &State, _key: &Key, stamper: &mut Stamper) -> Plan {
    let mut plan = Plan::default();
    let nodes = || state.list(Kind::Node, None);
    let mut lacking = nodes().filter(|node| lacks(node)).peekable();
    if lacking.peek().is_none() {
        return plan;
    }
    let settings = Settings::read(state);
    let taken = nodes().filter_map(|node| range(node)?.parse().ok());
    let (taken, odd): (BTreeSet<Range>, BTreeSet<Range>) =
        taken.partition(|range: &Range| range.prefix() == settings.node_prefix);
    let ranges = settings.pods.split(settings.node_prefix);
    // Ranges of other sizes were written by hand, and are few.
    let mut free = ranges
        .filter(|range| !taken.contains(range) && !odd.iter().any(|other| other.overlaps(*range)));
    for node in lacking {
        if plan.writes.len() == BURST {
            plan.look_again(stamper.at());
            break;
        }
        match free.next() {
            Some(range) => {
                let mut draft = Draft::of(node);
                let text = range.to_string();
                draft.value["spec"]["podCIDR"] = text.as_str().into();
                draft.value["spec"]["podCIDRs"] = json!([text]);
                plan.change(draft);
            }
            None => tell(state, node, &settings, stamper, &mut plan),
        }
    }
    plan
}

/// Says that there is no range left, for as long as the event lasts.
fn tell(state: &State, node: &Object, settings: &Settings, stamper: &mut Stamper, plan: &mut Plan) {
    let message = format!(
        "Node {} has no addresses for its pods: every /{} range of {} is in use",
        node.key().name,
        settings.node_prefix,
        settings.pods
    );
    let note = Note {
        about: node,
        severity: Severity::Warning,
        reason: "CIDRNotAvailable",
        message: &message,
        source: SOURCE,
    };
    if event::last_recorded(state, &note).is_none() {
        plan.note(state, &note, stamper);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::world::World;

    /// `node=range` of each node.
    fn ranges(world: &World) -> Vec<String> {
        let nodes = world.state.list(Kind::Node, None);
        nodes
            .map(|node| format!("{}={}", node.key().name, range(node).unwrap_or("-")))
            .collect()
    }

    fn node(world: &mut World, name: &str, cidr: Option<&str>) {
        let mut value = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        if let Some(cidr) = cidr {
            value["spec"] = json!({"podCIDR": cidr, "podCIDRs": [cidr]});
        }
        world.put(value);
    }

    #[test]
    fn each_node_gets_a_range_of_its_own() {
        let mut world = World::new(1);
        world.put(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "skiff-network", "namespace": "kube-system"},
            "data": {"podCIDR": "10.9.0.0/22"}}));
        node(&mut world, "n2", Some("10.9.1.0/24"));
        node(&mut world, "n3", None);
        world.step(&CONTROLLER, &all_nodes());
        let three = ["n1=10.9.0.0/24", "n2=10.9.1.0/24", "n3=10.9.2.0/24"];
        assert_eq!(ranges(&world), three);
        node(&mut world, "n4", None);
        node(&mut world, "n5", None);
        world.step(&CONTROLLER, &all_nodes());
        assert_eq!(ranges(&world).last().unwrap(), "n5=-");
        let events = || world.state.list(Kind::Event, Some("default"));
        let told: Vec<_> = events()
            .map(|event| event.to_value()["message"].clone())
            .collect();
        assert_eq!(
            told,
            ["Node n5 has no addresses for its pods: every /24 range of 10.9.0.0/22 is in use"]
        );
        let n2 = world
            .state
            .get(&Key::cluster(Kind::Node, "n2"))
            .unwrap()
            .clone();
        world.apply(vec![crate::Write::remove(&n2)]);
        world.step(&CONTROLLER, &all_nodes());
        assert_eq!(
            ranges(&world).last().unwrap(),
            "n5=10.9.1.0/24",
            "left by n2"
        );
    }

    #[test]
    fn ranges_written_by_hand_are_kept_clear_of() {
        let mut world = World::new(1);
        node(&mut world, "n2", Some("10.42.0.0/23"));
        node(&mut world, "n3", Some("10.42.2.128/25"));
        node(&mut world, "n4", Some("somewhere"));
        world.step(&CONTROLLER, &all_nodes());
        assert_eq!(ranges(&world).first().unwrap(), "n1=10.42.3.0/24");
    }
}
