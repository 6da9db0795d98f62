//! Gives a service what it lacks: an address inside the cluster, and ports at the nodes.
//!
//! Where the search for a free one begins follows from the service's name. So a service that is
//! made again tends to get what it had, one that is new seldom gets what another has just given up
//! (somebody may still send packets there), and replays of a plan agree.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};
use skiff_api::{Cause, Key, Kind, Malformed, Object, Reason, ServiceView, Status};

use super::{API_SERVICE, Settings, ports};
use crate::stamp::digest;
use crate::state::State;

/// The first so many addresses of a range are given only when all others are in use: they are for
/// people who ask for a certain one. Kubernetes' bounds.
const ASKED_FOR_MIN: u64 = 16;
const ASKED_FOR_MAX: u64 = 256;
/// The share of the range that this is.
const ASKED_FOR_SHARE: u64 = 16;

/// Completes a service that was admitted: `spec.clusterIP`, `spec.clusterIPs` and the `nodePort` of
/// each port, as its type needs them. What it has already, or asks for, is checked and kept.
///
/// Two services that are completed on the same state may get the same; whoever calls sees to it
/// that the first is in the state before the second comes.
///
/// # Errors
/// 422 in Kubernetes' words for what is asked for and cannot be had, 500 if nothing is left.
pub fn allocate(state: &State, service: Object) -> Result<Object, Status> {
    let mut value = service.to_value();
    let settings = Settings::read(state);
    let others = Others::of(state, service.key());
    let mut causes = Vec::new();
    if value["spec"]["clusterIP"] == "None" {
        value["spec"]["clusterIPs"] = json!(["None"]);
    } else if value["spec"]["type"] != "ExternalName" {
        address(&mut value, &service, &settings, &others, &mut causes)?;
    }
    ports::allocate(&mut value, service.key(), &settings, &others, &mut causes)?;
    if !causes.is_empty() {
        return Err(Status::invalid(Kind::Service, &service.key().name, causes));
    }
    Object::from_value(value).map_err(|err: Malformed| broken(&err.to_string()))
}

/// What all other services have.
pub(super) struct Others<'a> {
    views: Vec<&'a ServiceView>,
}

impl<'a> Others<'a> {
    fn of(state: &'a State, but: &Key) -> Self {
        let services = state.list(Kind::Service, None);
        let others = services.filter(|service| service.key() != but);
        Self {
            views: others.filter_map(Object::service).collect(),
        }
    }

    fn addresses(&self) -> BTreeSet<Ipv4Addr> {
        let all = self.views.iter().flat_map(|view| &view.cluster_ips);
        all.filter_map(|ip| match ip {
            IpAddr::V4(ip) => Some(*ip),
            IpAddr::V6(_) => None,
        })
        .collect()
    }

    pub(super) fn ports(&self) -> BTreeSet<u16> {
        let all = self.views.iter().flat_map(|view| &view.node_ports);
        all.copied().collect()
    }
}

fn address(
    value: &mut Value,
    service: &Object,
    settings: &Settings,
    others: &Others<'_>,
    causes: &mut Vec<Cause>,
) -> Result<(), Status> {
    let spec = &mut value["spec"];
    let asked = [&spec["clusterIPs"][0], &spec["clusterIP"]]
        .into_iter()
        .filter_map(Value::as_str)
        .find(|ip| !ip.is_empty())
        .map(str::to_owned);
    let taken = others.addresses();
    let key = service.key();
    let ip = match asked {
        Some(asked) => {
            if let Err(why) = check(&asked, key, settings, &taken) {
                causes.push(Cause {
                    reason: "FieldValueInvalid".into(),
                    message: format!(
                        "Invalid value: {}: failed to allocate IP {asked}: {why}",
                        json!([asked])
                    ),
                    field: "spec.clusterIPs".into(),
                });
            }
            asked
        }
        None => free(key, settings, &taken)
            .ok_or_else(|| exhausted("a serviceIP"))?
            .to_string(),
    };
    spec["clusterIP"] = ip.as_str().into();
    if spec["clusterIPs"]
        .as_array()
        .is_none_or(|all| all.len() <= 1)
    {
        spec["clusterIPs"] = json!([ip]);
    }
    Ok(())
}

/// Whether an address that is asked for can be had.
fn check(
    asked: &str,
    key: &Key,
    settings: &Settings,
    taken: &BTreeSet<Ipv4Addr>,
) -> Result<(), String> {
    let range = settings.services;
    let usable = |ip: &Ipv4Addr| {
        range.contains(*ip) && *ip != range.nth(0) && *ip != range.nth(range.len() - 1)
    };
    let ip = asked.parse().ok().filter(usable).ok_or_else(|| {
        format!(
            "the provided IP ({asked}) is not in the valid range. The range of valid IPs is {range}"
        )
    })?;
    let reserved = ip == settings.api_address() && !is_api(key);
    if reserved || taken.contains(&ip) {
        return Err("provided IP is already allocated".to_owned());
    }
    Ok(())
}

/// The service that stands for the API servers has an address of its own.
fn is_api(key: &Key) -> bool {
    (key.namespace.as_ref(), key.name.as_ref()) == API_SERVICE
}

/// A free address, not one of those that people ask for while there is another.
fn free(key: &Key, settings: &Settings, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let range = settings.services;
    let api = settings.api_address();
    if is_api(key) && !taken.contains(&api) {
        return Some(api);
    }
    // Behind the range's own first address and that of the API servers, before its last.
    let (first, end) = (2, range.len().saturating_sub(1));
    let asked_for = range.len() / ASKED_FOR_SHARE;
    let asked_for = asked_for.clamp(ASKED_FOR_MIN, ASKED_FOR_MAX);
    let low = (first + asked_for).min(end);
    let name = [key.namespace.as_bytes(), key.name.as_bytes()];
    let numbers = around(low, end, digest(name)).chain(first..low);
    numbers.map(|n| range.nth(n)).find(|ip| !taken.contains(ip))
}

/// All numbers of a range, from one that a hash chooses on.
pub(super) fn around(first: u64, end: u64, hash: u64) -> impl Iterator<Item = u64> {
    let len = end.saturating_sub(first);
    let start = first + hash.checked_rem(len).unwrap_or(0);
    (start..end).chain(first..start)
}

/// Nothing is left to give.
pub(super) fn exhausted(what: &str) -> Status {
    broken(&format!("failed to allocate {what}: range is full"))
}

fn broken(why: &str) -> Status {
    Status::failure(
        Reason::InternalError,
        format!("Internal error occurred: {why}"),
    )
}
