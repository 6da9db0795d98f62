//! Takes in what the servers tell of policies, namespaces and pods. What can't be understood is
//! left out and told in the log: one odd object must not stop the others.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use skiff_api::k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort,
};
use skiff_api::k8s_openapi::apimachinery::pkg::apis::meta::v1;
use skiff_api::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use skiff_api::{Kind, LabelSelector, Labels};
use skiff_client::Event;

use super::{Peer, Pod, Policies, Policy, Ports, Rule};
use crate::catalog::{Cidr, Protocol, ServiceKey};

/// A line of the servers' list of pods.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "UPPERCASE")]
pub(super) enum Line {
    /// A pod is there, or is different now.
    Put(Told),
    /// A pod is gone.
    Delete { namespace: String, name: String },
    /// All that there are were told.
    Synced,
}

/// What is told of a pod.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    namespace: String,
    name: String,
    #[serde(default)]
    labels: Value,
    ip: Option<String>,
    node: Option<Arc<str>>,
    #[serde(default)]
    ports: Vec<ToldPort>,
}

#[derive(Debug, Deserialize)]
struct ToldPort {
    name: Arc<str>,
    protocol: String,
    port: u16,
}

impl Policies {
    /// Before anything has been heard.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            known: false,
            ..Self::default()
        }
    }

    /// Whether there is no policy.
    pub(in crate::rules) fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// Takes in what a watch tells of policies or namespaces.
    pub fn apply(&mut self, kind: Kind, event: Event) {
        if kind == Kind::NetworkPolicy {
            self.take_policies(event);
        } else if kind == Kind::Namespace {
            self.take_namespaces(event);
        }
    }

    /// Takes in a line of the servers' list of pods.
    ///
    /// # Errors
    /// If it is none.
    pub fn apply_line(&mut self, line: &[u8]) -> Result<(), serde_json::Error> {
        self.take_pod(serde_json::from_slice(line)?);
        Ok(())
    }

    pub(super) fn take_policies(&mut self, event: Event) {
        match event {
            Event::Restarted(all) => self.policies = all.into_iter().filter_map(policy).collect(),
            Event::Applied(value) => {
                let key = key(&value);
                match policy(value) {
                    Some((key, policy)) => self.policies.insert(key, policy),
                    None => self.policies.remove(&key),
                };
            }
            Event::Deleted(value) => {
                self.policies.remove(&key(&value));
            }
        }
    }

    pub(super) fn take_namespaces(&mut self, event: Event) {
        match event {
            Event::Restarted(all) => self.namespaces = all.iter().map(namespace).collect(),
            Event::Applied(value) => {
                let (name, labels) = namespace(&value);
                self.namespaces.insert(name, labels);
            }
            Event::Deleted(value) => {
                self.namespaces.remove(&namespace(&value).0);
            }
        }
    }

    /// Takes in a line about a pod.
    pub(super) fn take_pod(&mut self, line: Line) {
        match line {
            Line::Put(told) => {
                let key = ServiceKey::new(&told.namespace, &told.name);
                self.pods.insert(key, Arc::new(pod(told)));
            }
            Line::Delete { namespace, name } => {
                self.pods.remove(&ServiceKey::new(&namespace, &name));
            }
            Line::Synced => {}
        }
    }

    /// Takes in all pods there are; those known before that are not among them are gone.
    pub(super) fn take_all_pods(&mut self, lines: Vec<Line>) {
        self.pods = imbl::OrdMap::new();
        for line in lines {
            self.take_pod(line);
        }
    }

    /// Forgets what matters only while there is a policy.
    pub(super) fn forget_the_rest(&mut self) {
        self.pods = imbl::OrdMap::new();
        self.namespaces = imbl::OrdMap::new();
        self.own = imbl::OrdMap::new();
    }
}

fn key(value: &Value) -> ServiceKey {
    let at = |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    ServiceKey::new(at("/metadata/namespace"), at("/metadata/name"))
}

fn namespace(value: &Value) -> (Arc<str>, Arc<Labels>) {
    let labels = Labels::from_json(value.pointer("/metadata/labels"));
    (key(value).name, Arc::new(labels))
}

fn pod(told: Told) -> Pod {
    let ports = told.ports.into_iter();
    let ports = ports.filter_map(|port| Some((port.name, protocol(&port.protocol)?, port.port)));
    Pod {
        labels: Labels::from_json(Some(&told.labels)),
        address: told.ip.and_then(|ip| ip.parse::<Ipv4Addr>().ok()),
        node: told.node,
        ports: ports.collect(),
    }
}

fn policy(value: Value) -> Option<(ServiceKey, Arc<Policy>)> {
    let key = key(&value);
    match understood(value) {
        Ok(policy) => Some((key, Arc::new(policy))),
        Err(why) => {
            tracing::error!(policy = %key, %why, "a network policy can't be read; it is left out");
            None
        }
    }
}

fn understood(value: Value) -> Result<Policy, String> {
    let wire: NetworkPolicy = skiff_api::typed(&value)?;
    let spec = wire.spec.ok_or("it has no spec")?;
    let types = spec.policy_types.unwrap_or_default();
    let egress = spec.egress.unwrap_or_default();
    // As admission fills it in, for policies from before that.
    let about = |of: &str, otherwise: bool| match types.is_empty() {
        true => otherwise,
        false => types.iter().any(|one| one == of),
    };
    let (comes, goes) = (about("Ingress", true), about("Egress", !egress.is_empty()));
    let ingress = spec.ingress.unwrap_or_default().into_iter();
    let ingress = ingress.map(|one| rule(one.from, one.ports)).collect();
    let egress = egress.into_iter();
    let egress = egress.map(|one| rule(one.to, one.ports)).collect();
    let (ingress, egress): (Result<_, String>, Result<_, String>) = (ingress, egress);
    Ok(Policy {
        selects: selector(Some(&spec.pod_selector.unwrap_or_default()))?,
        ingress: comes.then_some(ingress?),
        egress: goes.then_some(egress?),
    })
}

fn rule(
    peers: Option<Vec<NetworkPolicyPeer>>,
    ports: Option<Vec<NetworkPolicyPort>>,
) -> Result<Rule, String> {
    let peers = peers.unwrap_or_default();
    let ports = ports.unwrap_or_default();
    let all: Result<Vec<Peer>, String> = peers.iter().map(peer).collect();
    let all = all?;
    Ok(Rule {
        peers: (!all.is_empty()).then_some(all),
        ports: ports.iter().map(some_ports).collect::<Result<_, _>>()?,
    })
}

fn peer(wire: &NetworkPolicyPeer) -> Result<Peer, String> {
    if let Some(IPBlock { cidr, except }) = &wire.ip_block {
        let range = |text: &String| text.parse::<Cidr>().map_err(|error| error.to_string());
        let except = except.iter().flatten().map(range);
        return Ok(Peer::Block {
            range: range(cidr)?,
            except: except.collect::<Result<_, _>>()?,
        });
    }
    let of = wire.namespace_selector.as_ref();
    Ok(Peer::Pods {
        namespaces: of.map(|of| selector(Some(of))).transpose()?,
        pods: selector(wire.pod_selector.as_ref())?,
    })
}

fn selector(wire: Option<&v1::LabelSelector>) -> Result<LabelSelector, String> {
    let value = serde_json::to_value(wire).map_err(|error| error.to_string())?;
    LabelSelector::from_json(&value).map_err(|error| error.to_string())
}

fn some_ports(wire: &NetworkPolicyPort) -> Result<Ports, String> {
    let word = wire.protocol.as_deref().unwrap_or("TCP");
    let of = protocol(word).ok_or_else(|| format!("unknown protocol {word:?}"))?;
    let number = |port: i32| u16::try_from(port).map_err(|_| format!("no port: {port}"));
    Ok(match &wire.port {
        None => Ports::All(of),
        Some(IntOrString::String(name)) => Ports::Named(of, name.as_str().into()),
        Some(IntOrString::Int(first)) => {
            let first = number(*first)?;
            let last = wire.end_port.map_or(Ok(first), number)?;
            Ports::Range(of, first, last.max(first))
        }
    })
}

fn protocol(word: &str) -> Option<Protocol> {
    match word {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}
