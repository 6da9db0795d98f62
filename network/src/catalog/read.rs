//! From objects on the wire to the catalog's own words.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node as WireNode, Service as WireService, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint as WireEndpoint, EndpointPort, EndpointSlice};
use serde_json::Value;
use skiff_api::{Kind, Revision, WireType};
use skiff_client::Event;

use super::{
    ANNOTATION_PREFIX, Catalog, Cidr, Endpoint, Node, Port, Protocol, Reach, Service, ServiceKey,
    Slice, SlicePort,
};

/// The label that names a slice's service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Kubernetes' default of `sessionAffinityConfig.clientIP.timeoutSeconds`.
const AFFINITY_DEFAULT_SECONDS: i32 = 10_800;

pub(super) fn apply(catalog: &mut Catalog, kind: Kind, event: Event) {
    match event {
        Event::Restarted(all) => {
            forget_all(catalog, kind);
            for value in all {
                put(catalog, kind, value);
            }
        }
        Event::Applied(value) => put(catalog, kind, value),
        Event::Deleted(value) => remove(catalog, kind, &value),
    }
}

fn forget_all(catalog: &mut Catalog, kind: Kind) {
    if kind == Kind::Service {
        catalog.services.clear();
    } else if kind == Kind::EndpointSlice {
        catalog.slices.clear();
    } else if kind == Kind::Node {
        catalog.nodes.clear();
    }
}

fn put(catalog: &mut Catalog, kind: Kind, value: Value) {
    if kind == Kind::Service {
        if let Some(read) = typed::<WireService>(&value).and_then(service) {
            catalog.services.insert(read.key.clone(), Arc::new(read));
        }
    } else if kind == Kind::EndpointSlice {
        note(catalog, &value);
        // Its service may be another one than before.
        remove(catalog, kind, &value);
        if let Some(read) = typed::<EndpointSlice>(&value).and_then(slice) {
            let key = (read.service.clone(), Arc::clone(&read.key.name));
            catalog.slices.insert(key, Arc::new(read));
        }
    } else if kind == Kind::Node
        && let Some(read) = typed::<WireNode>(&value).and_then(node)
    {
        catalog.nodes.insert(Arc::clone(&read.name), Arc::new(read));
    }
}

fn remove(catalog: &mut Catalog, kind: Kind, value: &Value) {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    if kind == Kind::Service {
        catalog.services.remove(&ServiceKey::new(namespace, name));
    } else if kind == Kind::EndpointSlice {
        note(catalog, value);
        let all = catalog
            .slices
            .range((ServiceKey::new(namespace, ""), Arc::from(""))..);
        let found = all
            .take_while(|((of, _), _)| &*of.namespace == namespace)
            .find(|((_, slice), _)| &**slice == name)
            .map(|(key, _)| key.clone());
        if let Some(key) = found {
            catalog.slices.remove(&key);
        }
    } else if kind == Kind::Node {
        catalog.nodes.remove(name);
    }
}

/// The catalog is as new as the newest slice that it has heard of.
fn note(catalog: &mut Catalog, slice: &Value) {
    let revision = slice.pointer("/metadata/resourceVersion");
    let revision = revision
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok());
    catalog.revision = catalog.revision.max(Revision(revision.unwrap_or(0)));
}

fn typed<T: WireType>(value: &Value) -> Option<T> {
    skiff_api::typed(value)
        .inspect_err(|error| tracing::error!(%error, "an object cannot be read; it is left out"))
        .ok()
}

fn service(wire: WireService) -> Option<Service> {
    let spec = wire.spec.unwrap_or_default();
    let of_type = spec.type_.as_deref().unwrap_or("ClusterIP");
    let addresses: Vec<IpAddr> = match &spec.cluster_ips {
        Some(all) if !all.is_empty() => parse_all(all),
        _ => parse_all(spec.cluster_ip.as_slice()),
    };
    let reach = match of_type {
        "ExternalName" => Reach::Name(spec.external_name.as_deref()?.into()),
        _ if spec.cluster_ip.as_deref() == Some("None") => Reach::Endpoints,
        _ => Reach::ClusterIp(addresses),
    };
    let balancers = wire.status.and_then(|status| status.load_balancer);
    let ingress = balancers
        .and_then(|status| status.ingress)
        .unwrap_or_default();
    let mut external_ips = parse_all(spec.external_ips.as_deref().unwrap_or_default());
    external_ips.extend(
        ingress
            .iter()
            .filter_map(|at| at.ip.as_ref()?.parse::<IpAddr>().ok()),
    );
    let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let config = spec
            .session_affinity_config
            .and_then(|config| config.client_ip);
        let seconds = config.and_then(|config| config.timeout_seconds);
        let seconds = seconds.unwrap_or(AFFINITY_DEFAULT_SECONDS);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    });
    Some(Service {
        key: ServiceKey::new(
            wire.metadata.namespace.as_deref()?,
            wire.metadata.name.as_deref()?,
        ),
        reach,
        external_ips,
        ports: spec.ports.iter().flatten().filter_map(port).collect(),
        affinity,
        internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
        publish_not_ready: spec.publish_not_ready_addresses == Some(true),
    })
}

fn port(wire: &ServicePort) -> Option<Port> {
    Some(Port {
        name: wire.name.as_deref().unwrap_or("").into(),
        protocol: protocol(wire.protocol.as_deref()),
        port: number(wire.port)?,
        node_port: wire.node_port.and_then(number),
        app_protocol: wire.app_protocol.as_deref().map(Into::into),
    })
}

fn slice(wire: EndpointSlice) -> Option<Slice> {
    let namespace = wire.metadata.namespace.as_deref()?;
    let labels = wire.metadata.labels.unwrap_or_default();
    let service = labels.get(SERVICE_NAME)?;
    let revision = wire.metadata.resource_version.as_deref();
    Some(Slice {
        key: ServiceKey::new(namespace, wire.metadata.name.as_deref()?),
        service: ServiceKey::new(namespace, service),
        ports: wire.ports.iter().flatten().filter_map(slice_port).collect(),
        endpoints: wire.endpoints.iter().filter_map(endpoint).collect(),
        revision: Revision(revision.and_then(|text| text.parse().ok()).unwrap_or(0)),
    })
}

fn slice_port(wire: &EndpointPort) -> Option<SlicePort> {
    Some(SlicePort {
        name: wire.name.as_deref().unwrap_or("").into(),
        protocol: protocol(wire.protocol.as_deref()),
        port: number(wire.port?)?,
    })
}

fn endpoint(wire: &WireEndpoint) -> Option<Endpoint> {
    let conditions = wire.conditions.clone().unwrap_or_default();
    // What is not said counts as ready: slices made by hand often say nothing.
    let ready = conditions.ready.unwrap_or(true);
    let target = wire.target_ref.as_ref();
    let pod = target.filter(|target| target.kind.as_deref() == Some("Pod"));
    let text = |text: Option<&String>| text.map(|text| Arc::from(text.as_str()));
    Some(Endpoint {
        // All addresses of an endpoint lead to the same place; Kubernetes reads only the first.
        address: wire.addresses.first()?.parse().ok()?,
        ready,
        serving: conditions.serving.unwrap_or(ready),
        terminating: conditions.terminating.unwrap_or(false),
        node: text(wire.node_name.as_ref()),
        hostname: text(wire.hostname.as_ref()),
        pod_uid: text(pod.and_then(|pod| pod.uid.as_ref())),
        pod_name: text(pod.and_then(|pod| pod.name.as_ref())),
    })
}

fn node(wire: WireNode) -> Option<Node> {
    let status = wire.status.unwrap_or_default();
    let addresses = status.addresses.unwrap_or_default();
    let internal = addresses
        .iter()
        .find(|address| address.type_ == "InternalIP");
    let annotations = wire.metadata.annotations.unwrap_or_default();
    let ours = annotations.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix(ANNOTATION_PREFIX)?;
        Some((name.into(), value.as_str().into()))
    });
    Some(Node {
        name: wire.metadata.name?.into(),
        address: internal.and_then(|address| address.address.parse().ok()),
        pod_cidr: wire.spec.and_then(|spec| spec.pod_cidr?.parse().ok()),
        annotations: ours.collect(),
    })
}

fn protocol(word: Option<&str>) -> Protocol {
    match word {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

fn parse_all(texts: &[String]) -> Vec<IpAddr> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// Why a text is not a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range of addresses; expected one as 10.42.0.0/16")]
pub struct NotCidr(String);

impl std::str::FromStr for Cidr {
    type Err = NotCidr;

    fn from_str(text: &str) -> Result<Self, NotCidr> {
        let refuse = || NotCidr(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(refuse)?;
        let address: IpAddr = address.parse().map_err(|_| refuse())?;
        let prefix: u8 = prefix.parse().map_err(|_| refuse())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        if prefix > bits {
            return Err(refuse());
        }
        Ok(Self { address, prefix }.truncated())
    }
}

impl Cidr {
    /// The range of that many leading bits in which an address lies.
    #[must_use]
    pub fn new(address: IpAddr, prefix: u8) -> Self {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.min(bits);
        Self { address, prefix }.truncated()
    }

    /// With the bits behind the prefix cleared.
    fn truncated(self) -> Self {
        let cleared = |bits: u32, value: u128| {
            let behind = bits - u32::from(self.prefix);
            let mask = u128::MAX.checked_shl(behind).unwrap_or(0);
            value & mask
        };
        let address = match self.address {
            IpAddr::V4(v4) => {
                let value = cleared(32, u128::from(v4.to_bits()));
                IpAddr::V4(u32::try_from(value).unwrap_or(0).into())
            }
            IpAddr::V6(v6) => IpAddr::V6(cleared(128, v6.to_bits()).into()),
        };
        Self { address, ..self }
    }

    /// Whether an address lies in the range.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let same_family = address.is_ipv4() == self.address.is_ipv4();
        let of = Self {
            address,
            prefix: self.prefix,
        };
        same_family && of.truncated().address == self.address
    }

    /// The first address that a host may have: the node's own address on its bridge.
    #[must_use]
    pub fn gateway(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(v4) => IpAddr::V4(v4.to_bits().saturating_add(1).into()),
            IpAddr::V6(v6) => IpAddr::V6(v6.to_bits().saturating_add(1).into()),
        }
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}
