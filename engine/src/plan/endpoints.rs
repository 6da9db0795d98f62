//! Mirrors each service's endpoints as an Endpoints object, for clients that know nothing newer.
//!
//! Pods on their way out are left out, as Kubernetes does. Services without a selector are
//! somebody else's.

use serde_json::{Map, Value, json};
use skiff_api::{Key, Kind, Object};

use super::endpoint_slice::{Group, HEADLESS, Member, Port, concerned, groups};
use super::{Controller, Plan, all, is_open};
use crate::apply::Change;
use crate::draft::Draft;
use crate::stamp::Stamper;
use crate::state::State;

/// Addresses in one object; what is more is in the slices only. Kubernetes' bound.
const ADDRESSES_MAX: usize = 1000;
/// The annotation that says that there are more.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// The label that says whose it is.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// What it says of ours.
const MANAGER: &str = "endpoint-controller";

pub(super) const CONTROLLER: Controller = Controller {
    name: "endpoints",
    wakes,
    resync: |state| all(state, Kind::Service),
    plan,
};

fn wakes(state: &State, change: &Change) -> Vec<Key> {
    let key = change.key();
    if key.kind == Kind::Endpoints {
        return vec![Key::new(Kind::Service, &key.namespace, &key.name)];
    }
    concerned(state, change)
}

fn plan(state: &State, key: &Key, stamper: &mut Stamper) -> Plan {
    let mut plan = Plan::default();
    let Some(service) = state.get(key) else {
        // It goes with the service.
        return plan;
    };
    let selects = |service: &Object| service.service().is_some_and(|s| !s.selector.is_empty());
    if !selects(service) {
        return plan;
    }
    let own = Key::new(Kind::Endpoints, &key.namespace, &key.name);
    let draft = match state.get(&own) {
        Some(old) => Draft::of(old),
        None if !is_open(state, &key.namespace) => return plan,
        None => Draft::new(Kind::Endpoints, &key.namespace, &key.name, stamper),
    };
    let value = service.to_value();
    let groups = groups(state, service, &value["spec"]);
    let publish = value["spec"]["publishNotReadyAddresses"] == true;
    plan.change(write(draft, service, &value, &groups, publish));
    plan
}

fn write(
    draft: Draft,
    service: &Object,
    value: &Value,
    groups: &[Group<'_>],
    publish: bool,
) -> Draft {
    let mut labels = value["metadata"]["labels"].clone();
    if !labels.is_object() {
        labels = json!({});
    }
    labels[MANAGED_BY] = MANAGER.into();
    if value["spec"]["clusterIP"] == "None" {
        labels[HEADLESS] = "".into();
    }
    let mut room = ADDRESSES_MAX;
    let listed = |member: &&Member<'_>| publish || !member.terminating;
    let all: usize = groups
        .iter()
        .map(|(_, members)| members.iter().filter(listed).count())
        .sum();
    let subsets: Vec<Value> = groups
        .iter()
        .filter_map(|(ports, members)| {
            let members: Vec<_> = members.iter().filter(listed).take(room).collect();
            room -= members.len();
            (!members.is_empty()).then(|| subset(ports, &members))
        })
        .collect();
    let owned = draft.value["metadata"]["ownerReferences"].is_array();
    let mut draft = if owned {
        draft
    } else {
        draft.owned_by(service)
    };
    let had = draft.value["metadata"]["annotations"][OVER_CAPACITY].is_string();
    if had || all > ADDRESSES_MAX {
        draft.annotate(OVER_CAPACITY, (all > ADDRESSES_MAX).then_some("truncated"));
    }
    let mut draft = draft.with_meta("labels", labels);
    if let Value::Object(fields) = &mut draft.value {
        if subsets.is_empty() {
            fields.remove("subsets");
        } else {
            fields.insert("subsets".into(), subsets.into());
        }
    }
    draft
}

fn subset(ports: &[Port], members: &[&Member<'_>]) -> Value {
    let mut subset = Map::new();
    for (field, ready) in [("addresses", true), ("notReadyAddresses", false)] {
        let of = members.iter().filter(|member| member.ready == ready);
        let addresses: Vec<Value> = of.map(|member| address(member)).collect();
        if !addresses.is_empty() {
            subset.insert(field.into(), addresses.into());
        }
    }
    if !ports.is_empty() {
        let ports: Vec<Value> = ports.iter().map(Port::wire).collect();
        subset.insert("ports".into(), ports.into());
    }
    subset.into()
}

fn address(member: &Member<'_>) -> Value {
    let key = member.pod.key();
    let mut address = json!({
        "ip": member.ip.to_string(),
        "targetRef": {
            "kind": "Pod",
            "namespace": key.namespace.as_ref(),
            "name": key.name.as_ref(),
            "uid": member.pod.meta().uid.as_str(),
        },
    });
    if let Some(node) = member.node {
        address["nodeName"] = node.into();
    }
    if let Some(hostname) = member.hostname {
        address["hostname"] = hostname.into();
    }
    address
}
