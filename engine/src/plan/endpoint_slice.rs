//! Keeps the EndpointSlices of services: which addresses serve them, and how well.
//!
//! A pod that is on its way out stays an endpoint, marked so, until it is gone: everybody who sends
//! to it can see it leave. A slice is emptied but never removed while its service lives, so that
//! what it said last has a revision. Services without a selector are somebody else's.

mod members;
mod place;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use skiff_api::{Key, Kind, Object};

pub(super) use members::{Group, Member, Port, groups};
pub(super) use place::SLICE_MAX;

use super::{Controller, Plan, all, is_open};
use crate::apply::Change;
use crate::draft::Draft;
use crate::stamp::{Stamper, digest, letters};
use crate::state::State;

/// The label that names a slice's service.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label that says whose a slice is.
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// What it says of ours; Kubernetes' word, which other tools know.
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// The label of slices, and of Endpoints, of services without an address of their own.
pub(super) const HEADLESS: &str = "service.kubernetes.io/headless";

/// The longest part of a slice's name that is taken from its service.
const NAME_PREFIX_MAX: usize = 240;

pub(super) const CONTROLLER: Controller = Controller {
    name: "endpoint_slice",
    wakes,
    resync: |state| all(state, Kind::Service),
    plan,
};

fn wakes(state: &State, change: &Change) -> Vec<Key> {
    let mut keys = concerned(state, change);
    if change.key().kind == Kind::EndpointSlice {
        let sides = [&change.was, &change.now].into_iter().flatten();
        keys.extend(sides.filter(|slice| is_ours(slice)).filter_map(service_of));
    }
    keys
}

/// The services whose pods, or ways to them, may be others after a change.
pub(super) fn concerned(state: &State, change: &Change) -> Vec<Key> {
    match change.key().kind {
        Kind::Service => vec![change.key().clone()],
        Kind::Pod => {
            let sides = [change.was.as_ref(), change.now.as_ref()];
            if change.was.as_ref().map(facts) == change.now.as_ref().map(facts) {
                return Vec::new();
            }
            let services = state.list(Kind::Service, Some(&change.key().namespace));
            services
                .filter(|service| sides.iter().any(|side| selects(service, *side)))
                .map(|service| service.key().clone())
                .collect()
        }
        Kind::Namespace
        | Kind::Node
        | Kind::ConfigMap
        | Kind::Secret
        | Kind::Event
        | Kind::ServiceAccount
        | Kind::Deployment
        | Kind::ReplicaSet
        | Kind::Lease
        | Kind::Endpoints
        | Kind::EndpointSlice
        | Kind::Ingress
        | Kind::IngressClass
        | Kind::NetworkPolicy => Vec::new(),
    }
}

/// All of a pod that an endpoint is made of.
fn facts(pod: &Object) -> impl PartialEq + '_ {
    let meta = pod.meta();
    let view = pod.pod().map(|view| {
        let ended = view.phase.is_terminal();
        (view.ip, view.ready, ended, view.node.as_deref())
    });
    (&meta.uid, &meta.labels, meta.deletion.is_some(), view)
}

fn selects(service: &Object, pod: Option<&Object>) -> bool {
    let labels = pod.map(|pod| &pod.meta().labels);
    service
        .service()
        .zip(labels)
        .is_some_and(|(view, labels)| view.selects(labels))
}

fn is_ours(slice: &Object) -> bool {
    slice.meta().labels.get(MANAGED_BY) == Some(MANAGER)
}

fn service_of(slice: &Object) -> Option<Key> {
    let name = slice.meta().labels.get(SERVICE_NAME)?;
    Some(Key::new(Kind::Service, &slice.key().namespace, name))
}

fn plan(state: &State, key: &Key, stamper: &mut Stamper) -> Plan {
    let mut plan = Plan::default();
    let Some(service) = state.get(key) else {
        // Its slices go with it.
        return plan;
    };
    let slices = slices(state, service);
    let selected = service
        .service()
        .is_some_and(|view| !view.selector.is_empty());
    if !selected && slices.is_empty() {
        return plan;
    }
    let value = service.to_value();
    let groups = groups(state, service, &value["spec"]);
    let drafts: Vec<Draft> = slices.iter().map(|slice| Draft::of(slice)).collect();
    let mut names: BTreeSet<String> = BTreeSet::new();
    for (slice, content) in place::place(&drafts, groups) {
        let draft = match slice.and_then(|index| drafts.get(index)) {
            Some(draft) => draft.clone(),
            None if is_open(state, &key.namespace) => {
                let name = name(state, service, &mut names);
                Draft::new(Kind::EndpointSlice, &key.namespace, &name, stamper)
                    .with_meta("generateName", format!("{}-", key.name).into())
            }
            None => continue,
        };
        plan.change(write(draft, service, &value, &content));
    }
    plan
}

/// The slices of a service that are ours, by name; those that lost their owner or their labels to
/// somebody's edit among them.
fn slices<'a>(state: &'a State, service: &Object) -> Vec<&'a Object> {
    let (key, uid) = (service.key(), &service.meta().uid);
    let all = state.list(Kind::EndpointSlice, Some(&key.namespace));
    let ours = all.filter(|slice| match slice.meta().controller() {
        Some(owner) => owner.uid == *uid,
        None => is_ours(slice) && service_of(slice).as_ref() == Some(key),
    });
    ours.collect()
}

/// A name that follows from the slices' owner and what is there: a plan that runs twice on the same
/// sight, on whatever server, makes the same slices and not twice as many.
pub(super) fn name(state: &State, owner: &Object, made: &mut BTreeSet<String>) -> String {
    let key = owner.key();
    let prefix = key.name.get(..NAME_PREFIX_MAX).unwrap_or(&key.name);
    let uid = owner.meta().uid.as_str().as_bytes();
    let draw = |n: u64| {
        let seed = digest([uid, &n.to_le_bytes()]);
        format!("{prefix}-{}", letters(seed, 5))
    };
    let mut n = 0;
    loop {
        let name = draw(n);
        let taken = Key::new(Kind::EndpointSlice, &key.namespace, &name);
        if state.get(&taken).is_none() && made.insert(name.clone()) {
            return name;
        }
        n += 1;
    }
}

/// A slice with this content.
fn write(draft: Draft, service: &Object, value: &Value, content: &place::Content) -> Draft {
    let mut labels = value["metadata"]["labels"].clone();
    if !labels.is_object() {
        labels = json!({});
    }
    labels[SERVICE_NAME] = service.key().name.as_ref().into();
    labels[MANAGED_BY] = MANAGER.into();
    if value["spec"]["clusterIP"] == "None" {
        labels[HEADLESS] = "".into();
    }
    let owners = draft.value["metadata"]["ownerReferences"].as_array();
    let mut owners = owners.into_iter().flatten();
    let owned = owners.any(|owner| owner["controller"] == true);
    let draft = if owned {
        draft
    } else {
        draft.owned_by(service)
    };
    let ports: Vec<Value> = content.ports.iter().map(Port::wire).collect();
    draft
        .with_meta("labels", labels)
        .with("addressType", "IPv4".into())
        .with("endpoints", content.endpoints.clone().into())
        .with("ports", ports.into())
}
