//! The ports of a service at the nodes' addresses.

use std::collections::BTreeSet;

use serde_json::Value;
use skiff_api::{Cause, Key, Status};

use super::Settings;
use super::allocate::{Others, around, exhausted};
use crate::stamp::digest;

/// The first so many ports are given only when all others are in use: they are for people who ask
/// for a certain one. Kubernetes' bounds.
const ASKED_FOR_MIN: u64 = 16;
const ASKED_FOR_MAX: u64 = 128;
/// The share of the range that this is.
const ASKED_FOR_SHARE: u64 = 32;

pub(super) fn allocate(
    value: &mut Value,
    key: &Key,
    settings: &Settings,
    others: &Others<'_>,
    causes: &mut Vec<Cause>,
) -> Result<(), Status> {
    let spec = &mut value["spec"];
    let missing_too = match spec["type"].as_str() {
        Some("NodePort") => true,
        Some("LoadBalancer") => spec["allocateLoadBalancerNodePorts"] != false,
        Some(_) | None => return Ok(()),
    };
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else {
        return Ok(());
    };
    let taken = others.ports();
    let mut own = Own::default();
    for (index, port) in ports.iter().enumerate() {
        let Some(asked) = asked(port) else { continue };
        let why = if !settings.node_ports.contains(&asked) {
            let (first, last) = (settings.node_ports.start(), settings.node_ports.end());
            format!(
                "provided port is not in the valid range. The range of valid ports is \
                 {first}-{last}"
            )
        } else if taken.contains(&asked) || !own.claim(port, asked) {
            "provided port is already allocated".to_owned()
        } else {
            continue;
        };
        causes.push(Cause {
            reason: "FieldValueInvalid".into(),
            message: format!("Invalid value: {asked}: {why}"),
            field: format!("spec.ports[{index}].nodePort"),
        });
    }
    let lacking = ports.iter_mut().filter(|port| asked(port).is_none());
    for port in lacking.filter(|_| missing_too) {
        let shared = own.shared(port);
        let found = shared.or_else(|| free(key, port, settings, &taken, &own));
        let found = found.ok_or_else(|| exhausted("a nodePort"))?;
        own.claim(port, found);
        port["nodePort"] = found.into();
    }
    Ok(())
}

/// The port that is given or asked for.
fn asked(port: &Value) -> Option<u16> {
    let number = port["nodePort"].as_u64().filter(|number| *number != 0)?;
    // Larger numbers are refused by admission; here they must not be taken for missing.
    Some(u16::try_from(number).unwrap_or(u16::MAX))
}

/// The service's own ports: number at the nodes, protocol, number at the service.
#[derive(Default)]
struct Own(BTreeSet<(u16, String, u64)>);

impl Own {
    /// Takes a number for a port; false if it has that number for the same protocol already.
    fn claim(&mut self, port: &Value, number: u16) -> bool {
        let protocol = protocol(port);
        let twice = self
            .0
            .iter()
            .any(|(n, p, _)| *n == number && *p == protocol);
        self.0
            .insert((number, protocol, port["port"].as_u64().unwrap_or(0)));
        !twice
    }

    /// The number of a port that has the same number at the service, for another protocol.
    fn shared(&self, port: &Value) -> Option<u16> {
        let (protocol, at) = (protocol(port), port["port"].as_u64().unwrap_or(0));
        let mut same = self.0.iter().filter(|(_, p, n)| *n == at && *p != protocol);
        let number = same.next()?.0;
        let free = !self
            .0
            .iter()
            .any(|(n, p, _)| *n == number && *p == protocol);
        free.then_some(number)
    }

    fn has(&self, number: u16) -> bool {
        self.0.iter().any(|(n, ..)| *n == number)
    }
}

fn protocol(port: &Value) -> String {
    port["protocol"].as_str().unwrap_or("TCP").to_owned()
}

fn free(
    key: &Key,
    port: &Value,
    settings: &Settings,
    taken: &BTreeSet<u16>,
    own: &Own,
) -> Option<u16> {
    let (first, last) = (settings.node_ports.start(), settings.node_ports.end());
    let (first, end) = (u64::from(*first), u64::from(*last) + 1);
    let asked_for = (end - first) / ASKED_FOR_SHARE;
    let low = (first + asked_for.clamp(ASKED_FOR_MIN, ASKED_FOR_MAX)).min(end);
    let name = port["name"].as_str().unwrap_or("");
    let at = [
        key.namespace.as_bytes(),
        key.name.as_bytes(),
        name.as_bytes(),
    ];
    let mut numbers = around(low, end, digest(at)).chain(first..low);
    numbers.find_map(|number| {
        let number = u16::try_from(number).ok()?;
        (!taken.contains(&number) && !own.has(number)).then_some(number)
    })
}
