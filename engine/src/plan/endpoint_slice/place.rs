//! Which endpoint is in which slice. An endpoint stays where it is: every slice that changes is
//! sent to every node.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Group, Member, Port};
use crate::draft::Draft;

/// Endpoints in a slice: a change of one of them costs the bytes of all. Kubernetes' default.
pub(in super::super) const SLICE_MAX: usize = 100;

/// What a slice is to hold.
pub(super) struct Content {
    pub(super) ports: Vec<Port>,
    pub(super) endpoints: Vec<Value>,
}

/// The content of each slice that is there, by its index, and of those that are missing.
pub(super) fn place(slices: &[Draft], groups: Vec<Group<'_>>) -> Vec<(Option<usize>, Content)> {
    let mut free: BTreeSet<usize> = (0..slices.len()).collect();
    let homes: Vec<Vec<usize>> = groups
        .iter()
        .map(|(ports, _)| take_matching(slices, ports, &mut free))
        .collect();
    let mut placed = Vec::new();
    for ((ports, members), mut home) in groups.into_iter().zip(homes) {
        if home.is_empty() {
            // Ports that nobody has any more make room for new ones.
            home.extend(free.pop_first());
        }
        placed.extend(fill(slices, ports, &members, &home));
    }
    let unused = free.into_iter().filter_map(|index| {
        let ports = ports_of(slices.get(index)?);
        let endpoints = Vec::new();
        Some((Some(index), Content { ports, endpoints }))
    });
    placed.extend(unused);
    placed
}

fn take_matching(slices: &[Draft], ports: &[Port], free: &mut BTreeSet<usize>) -> Vec<usize> {
    let matching = |index: &usize| slices.get(*index).is_some_and(|one| ports_of(one) == ports);
    let found: Vec<usize> = free.iter().copied().filter(matching).collect();
    for index in &found {
        free.remove(index);
    }
    found
}

fn ports_of(slice: &Draft) -> Vec<Port> {
    Port::all(&slice.value["ports"])
}

/// Fills the slices of one group, and as many new ones as it takes.
fn fill(
    slices: &[Draft],
    ports: Vec<Port>,
    members: &[Member<'_>],
    home: &[usize],
) -> Vec<(Option<usize>, Content)> {
    let mut waiting: BTreeMap<&str, &Member<'_>> = members
        .iter()
        .map(|member| (member.pod.meta().uid.as_str(), member))
        .collect();
    let mut filled: Vec<(Option<usize>, Vec<Value>)> = Vec::new();
    for index in home {
        let old = slices.get(*index).map(|slice| &slice.value["endpoints"]);
        let old = old.and_then(Value::as_array).into_iter().flatten();
        let kept = old.filter_map(|endpoint| {
            let uid = endpoint["targetRef"]["uid"].as_str()?;
            waiting.remove(uid).map(wire)
        });
        filled.push((Some(*index), kept.take(SLICE_MAX).collect()));
    }
    // By name, as they came.
    let mut rest = members
        .iter()
        .filter(|member| waiting.contains_key(member.pod.meta().uid.as_str()))
        .map(wire)
        .peekable();
    for (_, endpoints) in &mut filled {
        let room = SLICE_MAX.saturating_sub(endpoints.len());
        endpoints.extend(rest.by_ref().take(room));
    }
    while rest.peek().is_some() || filled.is_empty() {
        filled.push((None, rest.by_ref().take(SLICE_MAX).collect()));
    }
    let content = |endpoints| Content {
        ports: ports.clone(),
        endpoints,
    };
    let filled = filled.into_iter();
    filled
        .map(|(index, endpoints)| (index, content(endpoints)))
        .collect()
}

fn wire(member: &Member<'_>) -> Value {
    let key = member.pod.key();
    let mut endpoint = json!({
        "addresses": [member.ip.to_string()],
        "conditions": {
            "ready": member.ready,
            "serving": member.serving,
            "terminating": member.terminating,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": key.namespace.as_ref(),
            "name": key.name.as_ref(),
            "uid": member.pod.meta().uid.as_str(),
        },
    });
    if let Some(node) = member.node {
        endpoint["nodeName"] = node.into();
    }
    if let Some(hostname) = member.hostname {
        endpoint["hostname"] = hostname.into();
    }
    endpoint
}
