//! What one service puts into the table: for each of its ports the addresses that lead to it, and
//! chains that choose an endpoint. Pure.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::NodeView;
use super::base::mark;
use super::table::Pieces;
use super::text::{self, HAIRPIN, NODE_PORTS, REFUSAL, SERVICES, UNSERVED, UNSERVED_NODE_PORTS};
use crate::catalog::{Backend, Catalog, Port, Reach, Service};

/// Clients that an endpoint with affinity remembers; later ones go anywhere until some are
/// forgotten.
const KEPT_MAX: u32 = 65_536;

/// What a service puts into the table of a node.
pub(super) fn pieces(catalog: &Catalog, node: &NodeView, service: &Service) -> Pieces {
    let mut pieces = Pieces::default();
    let Reach::ClusterIp(addresses) = &service.reach else {
        return pieces;
    };
    let words = [&service.key.namespace, &service.key.name];
    if !words.iter().all(|word| text::is_name(word)) {
        // The servers admit no such name; it must not become words of nftables in any case.
        tracing::error!(service = %service.key, "a service's name can't be used in rules");
        return pieces;
    }
    for port in &service.ports {
        let all = targets(&catalog.backends(&service.key, port));
        let local = targets(&catalog.backends_on(&node.name, &service.key, port));
        let at = At {
            node,
            service,
            port,
            name: format!("{}/{}/{}", service.key, port.protocol.word(), port.port),
            all: &all,
            local: &local,
        };
        at.inside(addresses, &mut pieces);
        at.outside(&mut pieces);
        at.endpoints(&mut pieces);
    }
    pieces
}

/// An address and port that packets are sent on to.
type Target = (Ipv4Addr, u16);

/// The table's family is IPv4; endpoints of another are for another table.
fn targets(backends: &[Backend]) -> Vec<Target> {
    let of = |backend: &Backend| Some((v4(backend.address)?, backend.port));
    backends.iter().filter_map(of).collect()
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

/// A port of a service, on a node.
struct At<'a> {
    node: &'a NodeView,
    service: &'a Service,
    port: &'a Port,
    name: String,
    /// Its endpoints anywhere.
    all: &'a [Target],
    /// Its endpoints on this node.
    local: &'a [Target],
}

impl At<'_> {
    fn chain(&self, kind: &str) -> String {
        format!("{kind}/{}", self.name)
    }

    /// `tcp . 80`
    fn protocol_and(&self, port: u16) -> String {
        format!("{} . {port}", self.port.protocol.word())
    }

    fn has_outside(&self) -> bool {
        let external = self.service.external_ips.iter();
        self.port.node_port.is_some() || external.copied().any(|ip| v4(ip).is_some())
    }

    /// The way in from pods and from the node itself.
    fn inside(&self, addresses: &[IpAddr], pieces: &mut Pieces) {
        let local_only = self.service.internal_local;
        let served = if local_only { self.local } else { self.all };
        for address in addresses.iter().copied().filter_map(v4) {
            let key = format!("{address} . {}", self.protocol_and(self.port.port));
            if served.is_empty() {
                pieces.element(UNSERVED, key, self.without_endpoint());
            } else {
                let chain = self.chain(if local_only { "loc" } else { "all" });
                pieces.element(SERVICES, key, format!("goto {chain}"));
            }
        }
    }

    /// The ways in from outside: the node's own port, and addresses outside.
    fn outside(&self, pieces: &mut Pieces) {
        if !self.has_outside() {
            return;
        }
        let mut lead = |served: &str, unserved: &str, key: String| {
            if !self.all.is_empty() {
                let chain = self.chain("ext");
                pieces.element(served, key.clone(), format!("goto {chain}"));
            }
            let from_outside = match self.service.external_local {
                true => self.local,
                false => self.all,
            };
            if from_outside.is_empty() {
                pieces.element(unserved, key, self.without_endpoint());
            }
        };
        for address in self.service.external_ips.iter().copied().filter_map(v4) {
            let key = format!("{address} . {}", self.protocol_and(self.port.port));
            lead(SERVICES, UNSERVED, key);
        }
        if let Some(port) = self.port.node_port {
            lead(NODE_PORTS, UNSERVED_NODE_PORTS, self.protocol_and(port));
        }
        if !self.all.is_empty() {
            pieces
                .chains
                .insert(self.chain("ext"), self.outside_rules());
        }
    }

    /// A service that has endpoints, but none that this traffic may go to, is silent as Kubernetes
    /// has it: another node may serve. One without any is refused.
    fn without_endpoint(&self) -> String {
        if self.all.is_empty() {
            format!("goto {REFUSAL}")
        } else {
            "drop".to_owned()
        }
    }

    /// The rules for what comes by a node's port or by an address outside.
    fn outside_rules(&self) -> Vec<String> {
        let all = self.chain("all");
        let (mine, cluster) = (self.node.pod_cidr, self.node.cluster_cidr);
        let mark = mark();
        if !self.service.external_local {
            // Answers must come back this way. To this node's own pods they do in any case.
            return vec![format!("ip saddr != {mine} {mark}"), format!("goto {all}")];
        }
        // The policy is about clients outside. Pods and the node itself go to any endpoint.
        let mut rules = vec![
            format!("ip saddr {mine} goto {all}"),
            format!("ip saddr {cluster} {mark} goto {all}"),
            format!("fib saddr type local {mark} goto {all}"),
        ];
        if !self.local.is_empty() {
            rules.push(format!("goto {}", self.chain("loc")));
        }
        rules
    }

    /// The chains that choose an endpoint, as far as something leads to them.
    fn endpoints(&self, pieces: &mut Pieces) {
        let all = !self.service.internal_local || self.has_outside();
        let of_outside = self.service.external_local && self.has_outside();
        let local = self.service.internal_local || of_outside;
        for (wanted, kind, targets) in [(all, "all", self.all), (local, "loc", self.local)] {
            if !wanted || targets.is_empty() {
                continue;
            }
            let rules = match self.service.affinity {
                Some(time) => self.kept(time, targets, pieces),
                None => vec![self.choose(targets)],
            };
            pieces.chains.insert(self.chain(kind), rules);
            for (address, _) in targets {
                if self.node.pod_cidr.contains(IpAddr::V4(*address)) {
                    let key = format!("{address} . {address}");
                    pieces.element(HAIRPIN, key, String::new());
                }
            }
        }
    }

    /// Any of them, by chance.
    fn choose(&self, targets: &[Target]) -> String {
        let protocol = self.port.protocol.word();
        if let [(address, port)] = targets {
            return format!("meta l4proto {protocol} dnat to {address}:{port}");
        }
        let map = text::numbered(targets, |(address, port)| format!("{address} . {port}"));
        format!(
            "meta l4proto {protocol} dnat ip addr . port to numgen random mod {} map {map}",
            targets.len()
        )
    }

    /// The one that the client was sent to before, or else any; and that is remembered.
    fn kept(&self, time: Duration, targets: &[Target], pieces: &mut Pieces) -> Vec<String> {
        let seconds = time.as_secs();
        let mut rules = Vec::new();
        let end = |(address, port): &Target| format!("end/{}/{address}/{port}", self.name);
        for target in targets {
            let (address, port) = target;
            // The time is in the name: another time is another set.
            let set = format!("kept/{seconds}/{}/{address}/{port}", self.name);
            let of = format!(
                "type ipv4_addr; flags dynamic, timeout; timeout {seconds}s; size {KEPT_MAX};"
            );
            // Two rules: a full set must not keep the packet from its endpoint.
            let remember = format!("update @{set} {{ ip saddr }}");
            let chain = vec![remember, self.choose(&[*target])];
            rules.push(format!("ip saddr @{set} goto {}", end(target)));
            pieces.sets.insert(set, of);
            pieces.chains.insert(end(target), chain);
        }
        let count = targets.len();
        let map = text::numbered(targets, |target| format!("goto {}", end(target)));
        rules.push(format!("numgen random mod {count} vmap {map}"));
        rules
    }
}
