//! Which pods are behind a service, and at which ports. Pods that resolve the name of a port to
//! different numbers are in different groups.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};
use skiff_api::{Kind, Object, PodView, ServiceView};

use crate::state::State;

/// A port of endpoints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Port {
    /// The name of the service's port.
    pub(in super::super) name: String,
    /// The number at the pods.
    pub(in super::super) number: u16,
    pub(in super::super) protocol: String,
    pub(in super::super) app_protocol: Option<String>,
}

impl Port {
    /// As in an EndpointSlice, and in Endpoints.
    pub(in super::super) fn wire(&self) -> Value {
        let mut wire = json!({"name": self.name, "port": self.number, "protocol": self.protocol});
        if let Some(word) = &self.app_protocol {
            wire["appProtocol"] = word.as_str().into();
        }
        wire
    }

    /// The ports of an EndpointSlice, or of a subset of Endpoints.
    pub(in super::super) fn all(wire: &Value) -> Vec<Self> {
        let ports = wire.as_array().into_iter().flatten();
        ports
            .map(|port| Self {
                name: port["name"].as_str().unwrap_or("").to_owned(),
                number: u16::try_from(port["port"].as_u64().unwrap_or(0)).unwrap_or(0),
                protocol: port["protocol"].as_str().unwrap_or("TCP").to_owned(),
                app_protocol: port["appProtocol"].as_str().map(str::to_owned),
            })
            .collect()
    }
}

/// A pod behind a service.
#[derive(Clone, Debug)]
pub(in super::super) struct Member<'a> {
    pub(in super::super) pod: &'a Object,
    pub(in super::super) ip: IpAddr,
    pub(in super::super) node: Option<&'a str>,
    /// Its name below the service's.
    pub(in super::super) hostname: Option<&'a str>,
    pub(in super::super) ready: bool,
    pub(in super::super) serving: bool,
    pub(in super::super) terminating: bool,
}

/// The pods behind a service that have the same ports.
pub(in super::super) type Group<'a> = (Vec<Port>, Vec<Member<'a>>);

/// The pods behind a service, by their ports, each group in the order of names. A service that
/// selects nothing has one group with nobody in it.
pub(in super::super) fn groups<'a>(
    state: &'a State,
    service: &'a Object,
    spec: &Value,
) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<Vec<Port>, Vec<Member<'a>>> = BTreeMap::new();
    let publish = spec["publishNotReadyAddresses"] == true;
    if let Some(view) = service.service() {
        for (pod, seen, ip) in selected(state, service, view) {
            let member = member(service, pod, seen, ip, publish);
            groups
                .entry(ports(spec, Some(seen)))
                .or_default()
                .push(member);
        }
    }
    if groups.is_empty() {
        groups.insert(ports(spec, None), Vec::new());
    }
    groups.into_iter().collect()
}

fn selected<'a>(
    state: &'a State,
    service: &Object,
    view: &'a ServiceView,
) -> impl Iterator<Item = (&'a Object, &'a PodView, IpAddr)> {
    let nobody = view.selector.is_empty();
    let pods = (!nobody).then(|| state.list(Kind::Pod, Some(&service.key().namespace)));
    let chosen = pods
        .into_iter()
        .flatten()
        .filter(|pod| view.selects(&pod.meta().labels));
    chosen.filter_map(|pod| {
        let seen = pod.pod().filter(|seen| !seen.phase.is_terminal())?;
        // The cluster's network is one of IPv4 addresses.
        let ip = seen.ip.filter(IpAddr::is_ipv4)?;
        Some((pod, seen, ip))
    })
}

fn member<'a>(
    service: &Object,
    pod: &'a Object,
    seen: &'a PodView,
    ip: IpAddr,
    publish: bool,
) -> Member<'a> {
    let terminating = pod.meta().deletion.is_some();
    let named = seen
        .own_name
        .as_ref()
        .filter(|(_, subdomain)| **subdomain == *service.key().name);
    Member {
        pod,
        ip,
        node: seen.node.as_deref(),
        hostname: named.map(|(hostname, _)| &**hostname),
        ready: publish || (seen.ready && !terminating),
        serving: seen.ready,
        terminating,
    }
}

/// The ports of a service as a pod has them; a name that it does not know leads nowhere.
fn ports(spec: &Value, pod: Option<&PodView>) -> Vec<Port> {
    let ports = spec["ports"].as_array().into_iter().flatten();
    ports.filter_map(|port| resolve(port, pod)).collect()
}

fn resolve(port: &Value, pod: Option<&PodView>) -> Option<Port> {
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    let number = |value: &Value| u16::try_from(value.as_u64()?).ok().filter(|n| *n != 0);
    let number = match port["targetPort"].as_str() {
        Some(name) if !name.is_empty() => {
            let named = pod.into_iter().flat_map(|pod| &pod.named_ports);
            let mut found = named.filter(|one| *one.0 == *name && *one.2 == *protocol);
            Some(found.next()?.1)
        }
        Some(_) | None => number(&port["targetPort"]).or_else(|| number(&port["port"])),
    };
    Some(Port {
        name: port["name"].as_str().unwrap_or("").to_owned(),
        number: number?,
        protocol: protocol.to_owned(),
        app_protocol: port["appProtocol"].as_str().map(str::to_owned),
    })
}
