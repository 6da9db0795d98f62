//! What is desired against what is, once the faults have stopped: from the users' objects down to
//! the containers, without asking anybody in between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use skiff_api::{Kind, Object, Uid};
use skiff_engine::State;
use skiff_node_agent::sight::{Sights, is_running};

use super::Judgement;

/// The sentence.
pub const SENTENCE: &str =
    "within 45 s after the last fault the cluster is what is desired, and nothing else";

/// How long healing may take.
pub const WITHIN: Duration = Duration::from_secs(45);

/// A server as seen from outside.
#[derive(Debug)]
pub struct ServerSeen {
    /// Whether it believes to lead.
    pub leads: bool,
    /// How far it has applied the log.
    pub applied: u64,
    /// How long its log is.
    pub last_index: u64,
    /// Its state.
    pub state: State,
}

/// A node as seen from outside.
#[derive(Debug)]
pub struct NodeSeen {
    /// Its name.
    pub name: String,
    /// Whether its machine is on.
    pub is_on: bool,
    /// What exists there.
    pub sights: Sights,
}

/// Says what is not as it should be.
pub(crate) fn check(servers: &[Option<ServerSeen>], nodes: &[NodeSeen]) -> Judgement {
    let state = servers_agree(servers)?;
    let live: BTreeSet<&str> = nodes
        .iter()
        .filter(|node| node.is_on)
        .map(|node| node.name.as_str())
        .collect();
    let wanted = deployments(state).map_err(|why| format!("{why}; pods:{}", pods(state)))?;
    let mut bound: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut counts: BTreeMap<Uid, u64> = BTreeMap::new();
    for pod in state.list(Kind::Pod, None) {
        if let Some(node) = settled(pod, &live)? {
            bound
                .entry(node)
                .or_default()
                .insert(pod.meta().uid.as_str());
            let deployment = grandparent(state, pod)?;
            *counts.entry(deployment).or_default() += 1;
        }
    }
    if counts != wanted {
        return Err(format!(
            "pods per Deployment are {counts:?}, not {wanted:?}"
        ));
    }
    for node in nodes.iter().filter(|node| node.is_on) {
        runs_exactly(node, bound.get(node.name.as_str()))?;
    }
    Ok(())
}

fn servers_agree(servers: &[Option<ServerSeen>]) -> Result<&State, String> {
    let mut all = Vec::new();
    for (index, server) in servers.iter().enumerate() {
        match server {
            Some(server) => all.push(server),
            None => return Err(format!("s{} is down", index + 1)),
        }
    }
    let leaders = all.iter().filter(|server| server.leads).count();
    if leaders != 1 {
        return Err(format!("there are {leaders} leaders"));
    }
    let ends: BTreeSet<(u64, u64)> = all
        .iter()
        .map(|one| (one.applied, one.last_index))
        .collect();
    match (ends.len(), all.first()) {
        (1, Some(first)) => Ok(&first.state),
        _ => Err(format!("the servers stand at different indexes: {ends:?}")),
    }
}

/// The Deployments and how many pods each should have; all of them must say that they have them.
fn deployments(state: &State) -> Result<BTreeMap<Uid, u64>, String> {
    let mut wanted = BTreeMap::new();
    for deployment in state.list(Kind::Deployment, None) {
        let value = deployment.to_value();
        let number = |path: &str| value.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        let replicas = number("/spec/replicas");
        let told = [
            "/status/replicas",
            "/status/readyReplicas",
            "/status/updatedReplicas",
            "/status/availableReplicas",
        ];
        for path in told {
            if number(path) != replicas {
                let found = number(path);
                return Err(format!(
                    "{} wants {replicas} replicas, {path} is {found}",
                    deployment.key()
                ));
            }
        }
        if number("/status/observedGeneration") != number("/metadata/generation") {
            return Err(format!("{} was not looked at yet", deployment.key()));
        }
        if replicas > 0 {
            wanted.insert(deployment.meta().uid.clone(), replicas);
        }
    }
    Ok(wanted)
}

/// All pods in a few words each.
fn pods(state: &State) -> String {
    let words = state.list(Kind::Pod, None).map(|pod| {
        let view = pod.pod().cloned().unwrap_or_default();
        format!(
            "\n  {} on {}, {:?}, {}{}, as of revision {}",
            pod.key(),
            view.node.as_deref().unwrap_or("no node"),
            view.phase,
            if view.ready { "ready" } else { "not ready" },
            if pod.meta().deletion.is_some() {
                ", being deleted"
            } else {
                ""
            },
            pod.revision()
        )
    });
    words.collect()
}

/// The node on which a pod is at rest; none for one that waits for a dead node to come back.
fn settled<'a>(pod: &'a Object, live: &BTreeSet<&str>) -> Result<Option<&'a str>, String> {
    let key = pod.key();
    let view = pod.pod().ok_or_else(|| format!("{key} is no pod"))?;
    let node = view.node.as_deref();
    let node = node.ok_or_else(|| format!("{key} is bound to no node"))?;
    let leaving = pod.meta().deletion.is_some();
    if !live.contains(node) {
        return if leaving {
            Ok(None)
        } else {
            Err(format!("{key} is on {node}, which is dead"))
        };
    }
    if leaving {
        return Err(format!("{key} is still being deleted"));
    }
    if !view.ready {
        return Err(format!("{key} is not ready"));
    }
    Ok(Some(node))
}

/// The Deployment that a pod is for.
fn grandparent(state: &State, pod: &Object) -> Result<Uid, String> {
    let nobody = || format!("{} belongs to nobody", pod.key());
    let owner = pod.meta().controller().ok_or_else(nobody)?;
    let sets = state.list(Kind::ReplicaSet, Some(&pod.key().namespace));
    let mut sets = sets.filter(|set| set.meta().uid == owner.uid);
    let set = sets.next().ok_or_else(nobody)?;
    let above = set.meta().controller().ok_or_else(nobody)?;
    Ok(above.uid.clone())
}

/// Whether exactly the pods run that are bound to a node.
fn runs_exactly(node: &NodeSeen, bound: Option<&BTreeSet<&str>>) -> Judgement {
    let none = BTreeSet::new();
    let bound = bound.unwrap_or(&none);
    let running: BTreeSet<&str> = node
        .sights
        .iter()
        .filter(|(_, sight)| sight.all().any(is_running))
        .map(|(uid, _)| &**uid)
        .collect();
    let name = &node.name;
    if let Some(extra) = running.difference(bound).next() {
        return Err(format!("{name} still runs pod {extra}"));
    }
    if let Some(missing) = bound.difference(&running).next() {
        return Err(format!("{name} does not run pod {missing}"));
    }
    let twice = node.sights.iter().find(|(_, sight)| {
        let each = sight.containers.values();
        each.into_iter()
            .any(|attempts| attempts.iter().filter(|one| is_running(one)).count() > 1)
    });
    match twice {
        Some((uid, _)) => Err(format!("{name} runs a container of pod {uid} twice")),
        None => Ok(()),
    }
}
