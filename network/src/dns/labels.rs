//! What a name asks for, by its labels. Pure.

use std::net::IpAddr;

use hickory_proto::rr::Name;

use super::Settings;

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The cluster's domain itself.
    Apex,
    /// The version of the schema that names follow.
    Version,
    /// The zone's name server.
    NameServer,
    /// A name that only has others below it.
    Between,
    /// All services of a namespace.
    Namespace(String),
    /// A service.
    Service(String, String),
    /// Something below a service: one of its endpoints, or a transport on the way to its ports.
    Below(String, String, String),
    /// A port of a service, by name and transport.
    Port {
        namespace: String,
        service: String,
        protocol: String,
        port: String,
    },
    /// A pod by its address.
    Pod(IpAddr),
    /// Nothing that is ever there.
    Nothing,
    /// The names of an address.
    Reverse(IpAddr),
    /// A name that others know.
    Elsewhere,
}

/// What a name stands for, in the cluster of these settings.
pub(super) fn read(name: &Name, settings: &Settings) -> Asked {
    let labels: Vec<String> = name
        .iter()
        .map(|label| String::from_utf8_lossy(label).to_lowercase())
        .collect();
    let domain: Vec<&str> = settings.domain.split('.').collect();
    let mut rest: Vec<&str> = labels.iter().map(String::as_str).collect();
    if rest.ends_with(&domain) {
        rest.truncate(rest.len() - domain.len());
        rest.reverse();
        return inside(&rest);
    }
    match name.parse_arpa_name() {
        Ok(net) if net.prefix_len() == net.max_prefix_len() => Asked::Reverse(net.addr()),
        Ok(_) | Err(_) => Asked::Elsewhere,
    }
}

/// A name of the cluster, without the domain, from the right.
fn inside(labels: &[&str]) -> Asked {
    let own = |text: &str| text.to_owned();
    match *labels {
        [] => Asked::Apex,
        ["dns-version"] => Asked::Version,
        ["dns", "ns"] => Asked::NameServer,
        ["dns" | "svc" | "pod"] | ["pod", _] => Asked::Between,
        ["svc", namespace] => Asked::Namespace(own(namespace)),
        ["svc", namespace, service] => Asked::Service(own(namespace), own(service)),
        ["svc", namespace, service, below] => {
            Asked::Below(own(namespace), own(service), own(below))
        }
        ["svc", namespace, service, protocol, port] => {
            let word = |label: &str| label.strip_prefix('_').map(str::to_owned);
            match (word(protocol), word(port)) {
                (Some(protocol), Some(port)) => Asked::Port {
                    namespace: own(namespace),
                    service: own(service),
                    protocol,
                    port,
                },
                (None, _) | (_, None) => Asked::Nothing,
            }
        }
        ["pod", _, address] => undashed(address).map_or(Asked::Nothing, Asked::Pod),
        _ => Asked::Nothing,
    }
}

/// The address that a label writes with dashes.
pub(super) fn undashed(label: &str) -> Option<IpAddr> {
    let as_v4 = label.replace('-', ".").parse().ok().map(IpAddr::V4);
    as_v4.or_else(|| label.replace('-', ":").parse().ok().map(IpAddr::V6))
}
