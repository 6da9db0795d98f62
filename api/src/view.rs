//! The small parsed summary that is kept beside an object's bytes: what the loops ask all the time.
//! Everything else is decoded from the bytes when it is needed.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::key::Uid;
use crate::kind::Kind;
use crate::labels::Labels;
use crate::quantity;
use crate::taint::Taint;
use crate::time::Millis;

/// The part of `metadata` that the loops need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The identity of this life of the object.
    pub uid: Uid,
    /// Counts the changes of `spec`.
    pub generation: i64,
    /// When it was created.
    pub created: Millis,
    /// Its labels.
    pub labels: Labels,
    /// The objects that it depends on.
    pub owners: Vec<Owner>,
    /// Who must agree before it may go.
    pub finalizers: Vec<Box<str>>,
    /// Set once somebody asked for its deletion.
    pub deletion: Option<Deletion>,
}

impl Meta {
    /// The owner that controls this object, if one does.
    #[must_use]
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }
}

/// An entry of `ownerReferences`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The owner's kind, as written: it may be one that is not served here.
    pub kind: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its uid.
    pub uid: Uid,
    /// Whether it manages this object.
    pub controller: bool,
    /// Whether foreground deletion of the owner waits for this object.
    pub blocks: bool,
}

/// A deletion under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// `deletionTimestamp`: when it is due, which is the request's time plus the grace.
    pub due: Millis,
    /// `deletionGracePeriodSeconds`.
    pub grace: Duration,
}

/// What else is remembered, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// Of a pod.
    Pod(PodView),
    /// Of a node.
    Node(NodeView),
    /// Of a service.
    Service(ServiceView),
    /// Nothing more.
    Other,
}

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "Kubernetes' own words")]
pub enum Phase {
    #[default]
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

impl Phase {
    /// Whether the pod's containers have ended for good.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }

    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }

    fn parse(word: &str) -> Self {
        match word {
            "Running" => Self::Running,
            "Succeeded" => Self::Succeeded,
            "Failed" => Self::Failed,
            "Unknown" => Self::Unknown,
            _ => Self::Pending,
        }
    }
}

/// What a pod asks of its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// CPU in thousandths of a core.
    pub cpu_millicores: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Ephemeral storage in bytes.
    pub storage_bytes: i64,
}

/// Summary of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// `spec.nodeName`.
    pub node: Option<Arc<str>>,
    /// `status.phase`.
    pub phase: Phase,
    /// The `Ready` condition.
    pub ready: bool,
    /// Since when the `Ready` condition has its value.
    pub ready_since: Option<Millis>,
    /// Effective requests: the larger of all containers together and any init container alone
    /// (sidecars count with the containers).
    pub requests: Requests,
    /// `spec.hostNetwork`: its address is its node's.
    pub host_network: bool,
    /// `status.podIP`.
    pub ip: Option<IpAddr>,
    /// Ports that have a name: name, number and protocol.
    pub named_ports: Vec<(Box<str>, u16, Box<str>)>,
    /// `spec.hostname` and `spec.subdomain`, if it has both: its own name below a service's.
    pub own_name: Option<(Box<str>, Box<str>)>,
    /// Ports taken on the node: number and protocol.
    pub host_ports: Vec<(u16, Box<str>)>,
}

/// Summary of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// The `Ready` condition is True.
    pub ready: bool,
    /// `spec.unschedulable`: cordoned.
    pub unschedulable: bool,
    /// `spec.taints`.
    pub taints: Vec<Taint>,
    /// `spec.podCIDR`.
    pub pod_cidr: Option<Box<str>>,
}

/// Summary of a service: what is taken by it, and which pods are behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    /// Its addresses inside the cluster; none for headless ones and other names.
    pub cluster_ips: Vec<IpAddr>,
    /// Its ports at every node's addresses.
    pub node_ports: Vec<u16>,
    /// `spec.selector`: the labels of the pods behind it. Without any, its endpoints are somebody
    /// else's business.
    pub selector: Labels,
}

impl Meta {
    pub(crate) fn read(object: &Value) -> Self {
        let meta = &object["metadata"];
        Self {
            uid: Uid::from(text(&meta["uid"])),
            generation: meta["generation"].as_i64().unwrap_or(0),
            created: time(&meta["creationTimestamp"]).unwrap_or_default(),
            labels: Labels::from_json(meta.get("labels")),
            owners: items(&meta["ownerReferences"]).map(Owner::read).collect(),
            finalizers: items(&meta["finalizers"])
                .filter_map(Value::as_str)
                .map(Into::into)
                .collect(),
            deletion: time(&meta["deletionTimestamp"]).map(|due| Deletion {
                due,
                grace: Duration::from_secs(
                    meta["deletionGracePeriodSeconds"].as_u64().unwrap_or(0),
                ),
            }),
        }
    }
}

impl Owner {
    fn read(owner: &Value) -> Self {
        Self {
            kind: text(&owner["kind"]).into(),
            name: text(&owner["name"]).into(),
            uid: Uid::from(text(&owner["uid"])),
            controller: owner["controller"].as_bool().unwrap_or(false),
            blocks: owner["blockOwnerDeletion"].as_bool().unwrap_or(false),
        }
    }
}

impl View {
    /// Whether objects of a kind have a summary.
    pub(crate) const fn is_of(kind: Kind) -> bool {
        matches!(kind, Kind::Pod | Kind::Node | Kind::Service)
    }

    pub(crate) fn read(kind: Kind, object: &Value) -> Self {
        match kind {
            Kind::Pod => Self::Pod(PodView::read(object)),
            Kind::Node => Self::Node(NodeView {
                ready: condition(object, "Ready").is_some_and(is_true),
                unschedulable: field(object, "spec", "unschedulable")
                    .as_bool()
                    .unwrap_or(false),
                taints: items(field(object, "spec", "taints"))
                    .filter_map(Taint::read)
                    .collect(),
                pod_cidr: some_text(field(object, "spec", "podCIDR")),
            }),
            Kind::Service => Self::Service(ServiceView::read(&object["spec"])),
            Kind::Namespace
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
            | Kind::NetworkPolicy => Self::Other,
        }
    }
}

impl ServiceView {
    fn read(spec: &Value) -> Self {
        let named = text(&spec["type"]) == "ExternalName";
        let selector = (!named).then(|| Labels::from_json(spec.get("selector")));
        let first = std::iter::once(&spec["clusterIP"]);
        let mut cluster_ips: Vec<IpAddr> = first
            .chain(items(&spec["clusterIPs"]))
            .filter_map(|ip| text(ip).parse().ok())
            .collect();
        cluster_ips.sort();
        cluster_ips.dedup();
        let node_ports = items(&spec["ports"])
            .filter_map(|port| u16::try_from(port["nodePort"].as_u64()?).ok())
            .filter(|port| *port != 0);
        Self {
            cluster_ips,
            node_ports: node_ports.collect(),
            selector: selector.unwrap_or_default(),
        }
    }

    /// Whether the pods behind it are found by their labels, and these are among them.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        !self.selector.is_empty() && labels.contains(&self.selector)
    }
}

impl PodView {
    fn read(pod: &Value) -> Self {
        let ready = condition(pod, "Ready");
        let node = text(field(pod, "spec", "nodeName"));
        Self {
            node: (!node.is_empty()).then(|| node.into()),
            phase: Phase::parse(text(field(pod, "status", "phase"))),
            ready: ready.is_some_and(is_true),
            ready_since: ready.and_then(|condition| time(&condition["lastTransitionTime"])),
            requests: Requests::of_pod(&pod["spec"]),
            host_network: field(pod, "spec", "hostNetwork").as_bool().unwrap_or(false),
            ip: text(field(pod, "status", "podIP")).parse().ok(),
            named_ports: named_ports(&pod["spec"]),
            own_name: some_text(field(pod, "spec", "hostname")).zip(some_text(field(
                pod,
                "spec",
                "subdomain",
            ))),
            host_ports: host_ports(&pod["spec"]),
        }
    }
}

impl Requests {
    /// Kubernetes' rule for the effective requests of a pod spec.
    fn of_pod(spec: &Value) -> Self {
        let mut running = items(&spec["containers"])
            .map(Self::of_container)
            .fold(Self::default(), Self::plus);
        let mut peak = Self::default();
        for init in items(&spec["initContainers"]) {
            let request = Self::of_container(init);
            if text(&init["restartPolicy"]) == "Always" {
                running = running.plus(request);
            } else {
                peak = peak.max(request);
            }
        }
        running.max(peak)
    }

    fn of_container(container: &Value) -> Self {
        let requests = field(container, "resources", "requests");
        let units = |name| quantity::units(&amount(&requests[name])).unwrap_or(0);
        Self {
            cpu_millicores: quantity::millicores(&amount(&requests["cpu"])).unwrap_or(0),
            memory_bytes: units("memory"),
            storage_bytes: units("ephemeral-storage"),
        }
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            cpu_millicores: self.cpu_millicores.saturating_add(other.cpu_millicores),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            storage_bytes: self.storage_bytes.saturating_add(other.storage_bytes),
        }
    }

    fn max(self, other: Self) -> Self {
        Self {
            cpu_millicores: self.cpu_millicores.max(other.cpu_millicores),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            storage_bytes: self.storage_bytes.max(other.storage_bytes),
        }
    }
}

fn host_ports(spec: &Value) -> Vec<(u16, Box<str>)> {
    items(&spec["containers"])
        .flat_map(|container| items(&container["ports"]))
        .filter_map(|port| {
            let number = u16::try_from(port["hostPort"].as_u64()?).ok()?;
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            (number != 0).then(|| (number, protocol.into()))
        })
        .collect()
}

/// Init containers that go on running serve as well.
fn named_ports(spec: &Value) -> Vec<(Box<str>, u16, Box<str>)> {
    let sidecars = items(&spec["initContainers"])
        .filter(|container| text(&container["restartPolicy"]) == "Always");
    items(&spec["containers"])
        .chain(sidecars)
        .flat_map(|container| items(&container["ports"]))
        .filter_map(|port| {
            let number = u16::try_from(port["containerPort"].as_u64()?).ok()?;
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            Some((some_text(&port["name"])?, number, protocol.into()))
        })
        .collect()
}

fn condition<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    items(field(object, "status", "conditions")).find(|condition| text(&condition["type"]) == name)
}

fn is_true(condition: &Value) -> bool {
    text(&condition["status"]) == "True"
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// `value.outer.inner`, null if either is missing.
fn field<'a>(value: &'a Value, outer: &str, inner: &str) -> &'a Value {
    value
        .get(outer)
        .and_then(|outer| outer.get(inner))
        .unwrap_or(&Value::Null)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// A text that is there and not empty.
fn some_text(value: &Value) -> Option<Box<str>> {
    let text = text(value);
    (!text.is_empty()).then(|| text.into())
}

/// A quantity may be written as a number.
fn amount(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

fn time(value: &Value) -> Option<Millis> {
    value.as_str().and_then(Millis::parse)
}
