//! What the network begins with: its settings, and the service that stands for the API servers.
//!
//! Nobody's plan looks after that service, since its endpoints are no pods: the leader brings it in
//! line with the list of servers whenever it looks. Pure: state in, writes out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};
use skiff_api::{Key, Kind};
use skiff_engine::network::{API_SERVICE, CONFIG_NAME, CONFIG_NAMESPACE, Settings};
use skiff_engine::{Draft, Stamper, State, Write};

use crate::ask::host_of;
use crate::members::{Members, write_format};

/// The port of the service.
const PORT: u16 = 443;
/// The port of a server that says none that could be read; the usual one.
const SERVER_PORT: u16 = 6443;
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Says that nobody is to make slices of these Endpoints.
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";

/// The settings that the cluster has, if it has any yet.
pub(crate) fn settings(state: &State) -> Option<Settings> {
    let key = Key::new(Kind::ConfigMap, CONFIG_NAMESPACE, CONFIG_NAME);
    state.get(&key).map(|_| Settings::read(state))
}

/// Everything that is missing or not as it should be.
pub(super) fn writes(
    state: &State,
    given: &Settings,
    members: &Members,
    stamper: &mut Stamper,
) -> Vec<Write> {
    let mut writes = Vec::new();
    let known = settings(state);
    if known.is_none() {
        writes.push(given.config_map(stamper).create());
    }
    let settings = known.as_ref().unwrap_or(given);
    let reached = reached(members);
    let first = reached.keys().next().copied().unwrap_or(SERVER_PORT);
    if state.get(&key(Kind::Service)).is_none() {
        writes.push(service(settings, first, stamper).create());
    }
    writes.extend(slices(state, &reached, first, stamper));
    writes.extend(endpoints(state, &reached, stamper).write());
    // While a cluster is upgraded some server may not know services yet.
    let written = write_format(members);
    writes.retain(|write| write.format() <= written);
    writes
}

/// The names that pods know the API servers by, and their address.
pub(crate) fn names(settings: &Settings) -> (Vec<String>, IpAddr) {
    let (namespace, name) = API_SERVICE;
    let short = format!("{name}.{namespace}");
    let dns = vec![
        name.to_owned(),
        format!("{short}.svc"),
        format!("{short}.svc.{}", settings.domain),
        short,
    ];
    (dns, settings.api_address().into())
}

fn key(kind: Kind) -> Key {
    Key::new(kind, API_SERVICE.0, API_SERVICE.1)
}

/// The addresses at which pods can reach servers, by port: no names, and not this machine's own.
fn reached(members: &Members) -> BTreeMap<u16, Vec<Ipv4Addr>> {
    let mut found: BTreeMap<u16, Vec<Ipv4Addr>> = BTreeMap::new();
    for member in members.values() {
        let port = member
            .address
            .rsplit_once(':')
            .map(|(_, port)| port.parse());
        let (Ok(ip), Some(Ok(port))) = (host_of(&member.address).parse::<Ipv4Addr>(), port) else {
            continue;
        };
        if !ip.is_loopback() && !ip.is_unspecified() {
            found.entry(port).or_default().push(ip);
        }
    }
    for ips in found.values_mut() {
        ips.sort();
        ips.dedup();
    }
    found
}

fn service(settings: &Settings, port: u16, stamper: &mut Stamper) -> Draft {
    let address = settings.api_address().to_string();
    let spec = json!({
        "type": "ClusterIP",
        "clusterIP": address,
        "clusterIPs": [address],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
        "sessionAffinity": "None",
        "ports": [{"name": "https", "port": PORT, "protocol": "TCP", "targetPort": port}],
    });
    Draft::new(Kind::Service, API_SERVICE.0, API_SERVICE.1, stamper)
        .with_meta(
            "labels",
            json!({"component": "apiserver", "provider": "kubernetes"}),
        )
        .with("spec", spec)
        .with("status", json!({"loadBalancer": {}}))
}

/// One slice for the servers at each port; the first one is there even if there is nobody.
fn slices(
    state: &State,
    reached: &BTreeMap<u16, Vec<Ipv4Addr>>,
    first: u16,
    stamper: &mut Stamper,
) -> Vec<Write> {
    let name = |port: u16| match port == first {
        true => API_SERVICE.1.to_owned(),
        false => format!("{}-{port}", API_SERVICE.1),
    };
    let mut wanted: BTreeMap<String, (u16, &[Ipv4Addr])> = reached
        .iter()
        .map(|(port, ips)| (name(*port), (*port, ips.as_slice())))
        .collect();
    wanted.entry(name(first)).or_insert((first, &[]));
    let mut writes = Vec::new();
    for slice in state.list(Kind::EndpointSlice, Some(API_SERVICE.0)) {
        let of = slice.meta().labels.get(SERVICE_NAME);
        if of == Some(API_SERVICE.1) && !wanted.contains_key(slice.key().name.as_ref()) {
            writes.push(Write::remove(slice));
        }
    }
    for (name, (port, ips)) in wanted {
        let key = Key::new(Kind::EndpointSlice, API_SERVICE.0, &name);
        let draft = match state.get(&key) {
            Some(old) => Draft::of(old),
            None => Draft::new(key.kind, &key.namespace, &name, stamper),
        };
        let ready = json!({"ready": true, "serving": true, "terminating": false});
        let endpoints: Vec<Value> = ips
            .iter()
            .map(|ip| json!({"addresses": [ip.to_string()], "conditions": ready}))
            .collect();
        let draft = draft
            .with_meta("labels", json!({SERVICE_NAME: API_SERVICE.1}))
            .with("addressType", "IPv4".into())
            .with("endpoints", endpoints.into())
            .with("ports", json!([port_of(port)]));
        writes.extend(draft.write());
    }
    writes
}

fn endpoints(
    state: &State,
    reached: &BTreeMap<u16, Vec<Ipv4Addr>>,
    stamper: &mut Stamper,
) -> Draft {
    let key = key(Kind::Endpoints);
    let mut draft = match state.get(&key) {
        Some(old) => Draft::of(old),
        None => Draft::new(key.kind, &key.namespace, &key.name, stamper),
    };
    let subsets: Vec<Value> = reached
        .iter()
        .map(|(port, ips)| {
            let ips: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip.to_string()})).collect();
            json!({"addresses": ips, "ports": [port_of(*port)]})
        })
        .collect();
    // Its slices are kept beside it.
    draft = draft.with_meta("labels", json!({SKIP_MIRROR: "true"}));
    if let Value::Object(fields) = &mut draft.value {
        match subsets.is_empty() {
            true => fields.remove("subsets"),
            false => fields.insert("subsets".into(), subsets.into()),
        };
    }
    draft
}

fn port_of(port: u16) -> Value {
    json!({"name": "https", "port": port, "protocol": "TCP"})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::Member;
    use skiff_api::Millis;
    use skiff_engine::Command;

    fn members(addresses: &[&str]) -> Members {
        let member = |(id, address): (u64, &&str)| {
            let member = Member {
                id,
                name: format!("s{id}"),
                address: (*address).to_owned(),
                format: crate::members::FORMAT,
            };
            (id, member)
        };
        (1..).zip(addresses).map(member).collect()
    }

    /// Applies what is written until nothing more is; the slices as `name:port address …`.
    fn settle(state: &mut State, addresses: &[&str]) -> Vec<String> {
        let members = members(addresses);
        let mut stamper = Stamper::new(Millis(0), 1);
        let writes = writes(state, &Settings::default(), &members, &mut stamper);
        state.apply(&Command {
            term: 1,
            at: Millis(0),
            writes,
        });
        let second = super::writes(state, &Settings::default(), &members, &mut stamper);
        assert_eq!(second, [], "a second look finds nothing to do");
        let slices = state.list(Kind::EndpointSlice, Some("default"));
        let spelled = slices.map(|slice| {
            let value = slice.to_value();
            skiff_api::check(Kind::EndpointSlice, &value).unwrap();
            let all = value["endpoints"].as_array().unwrap().iter();
            let ips =
                all.map(|endpoint| format!(" {}", endpoint["addresses"][0].as_str().unwrap()));
            let port = &value["ports"][0]["port"];
            format!("{}:{port}{}", slice.key().name, ips.collect::<String>())
        });
        spelled.collect()
    }

    #[test]
    fn beside_an_older_server_only_the_settings_are_written() {
        let mut members = members(&["10.0.0.1:6443", "10.0.0.2:6443"]);
        members.entry(2).and_modify(|member| member.format = 1);
        let mut stamper = Stamper::new(Millis(0), 1);
        let (state, given) = (State::default(), Settings::default());
        let written = writes(&state, &given, &members, &mut stamper);
        let kinds: Vec<Kind> = written.iter().map(|write| write.key().kind).collect();
        assert_eq!(kinds, [Kind::ConfigMap]);
    }

    #[test]
    fn the_api_service_follows_the_list_of_servers() {
        let mut state = State::default();
        let cases: [(&str, &[&str], &[&str]); 5] = [
            (
                "alone, on this machine",
                &["127.0.0.1:6443"],
                &["kubernetes:6443"],
            ),
            (
                "three of them",
                &["10.0.0.3:6443", "10.0.0.1:6443", "10.0.0.2:6443"],
                &["kubernetes:6443 10.0.0.1 10.0.0.2 10.0.0.3"],
            ),
            (
                "one at another port, one by name",
                &["10.0.0.1:6443", "10.0.0.2:7443", "third:6443"],
                &["kubernetes:6443 10.0.0.1", "kubernetes-7443:7443 10.0.0.2"],
            ),
            (
                "of the other family",
                &["[fd00::1]:6443"],
                &["kubernetes:6443"],
            ),
            ("moved", &["10.0.0.1:7000"], &["kubernetes:7000 10.0.0.1"]),
        ];
        for (name, addresses, expected) in cases {
            assert_eq!(settle(&mut state, addresses), expected, "{name}");
        }
        let service = state.get(&key(Kind::Service)).unwrap().to_value();
        skiff_api::check(Kind::Service, &service).unwrap();
        assert_eq!(service["spec"]["clusterIP"], "10.43.0.1");
        let endpoints = state.get(&key(Kind::Endpoints)).unwrap().to_value();
        skiff_api::check(Kind::Endpoints, &endpoints).unwrap();
        assert_eq!(endpoints["subsets"][0]["addresses"][0]["ip"], "10.0.0.1");
    }
}
