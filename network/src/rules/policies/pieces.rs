//! What the policies put into a node's table: for each of its pods that a policy restricts a chain
//! that returns what may pass and drops the rest, and sets of the pods that it may talk to. Pure.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::net::IpAddr;

use skiff_api::LabelSelector;

use super::own::Seen;
use super::{Peer, Policies, Policy, Ports, Rule};
use crate::catalog::{Cidr, Protocol, ServiceKey};
use crate::rules::NodeView;
use crate::rules::table::Pieces;
use crate::rules::text::{EGRESS, INGRESS, is_name};

/// Longest part of a set's name that is a policy's; nftables allows 255 for the whole.
const NAME_MAX: usize = 150;

/// What the policies put into the table of a node.
pub(in crate::rules) fn pieces(node: &NodeView, policies: &Policies) -> Pieces {
    let mut pieces = Pieces::default();
    let everyone = policies.everyone(&node.name);
    for pod in everyone.iter().filter(|pod| pod.here) {
        let address = pod.address;
        for way in [Way::In, Way::Out] {
            let mut rules = vec![
                // Nobody can be kept from itself.
                format!("{} {address} return", way.peer()),
            ];
            let mut restricted = false;
            for (name, policy) in policies.selecting(&pod.key.namespace, pod.labels) {
                let Some(allowed) = way.rules(policy) else {
                    continue;
                };
                restricted = true;
                for (number, rule) in allowed.iter().enumerate() {
                    let at = At {
                        policies,
                        everyone: &everyone,
                        way,
                        of: name,
                        set: format!("{}/{}/{number}", way.word(), short(name)),
                        pod,
                    };
                    at.rule(rule, &mut rules, &mut pieces);
                }
            }
            if restricted {
                rules.push("drop".to_owned());
                let chain = format!("{}/{address}", way.word());
                pieces.element(way.map(), address.to_string(), format!("jump {chain}"));
                pieces.chains.insert(chain, rules);
            }
        }
    }
    pieces
}

/// A policy's namespace and name, or what stands for them in names of sets.
fn short(key: &ServiceKey) -> String {
    let whole = key.to_string();
    if whole.len() <= NAME_MAX && is_name(&key.namespace) && is_name(&key.name) {
        return whole;
    }
    let mut hasher = DefaultHasher::new();
    whole.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// What a rule is about, seen from the pod that it restricts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }

    /// Where a packet says who the other one is.
    fn peer(self) -> &'static str {
        match self {
            Self::In => "ip saddr",
            Self::Out => "ip daddr",
        }
    }

    fn map(self) -> &'static str {
        match self {
            Self::In => INGRESS,
            Self::Out => EGRESS,
        }
    }

    fn rules(self, policy: &Policy) -> Option<&Vec<Rule>> {
        match self {
            Self::In => policy.ingress.as_ref(),
            Self::Out => policy.egress.as_ref(),
        }
    }
}

/// A rule of a policy, for a pod that it restricts.
struct At<'a> {
    policies: &'a Policies,
    everyone: &'a [Seen<'a>],
    way: Way,
    of: &'a ServiceKey,
    /// The set of the pods that it is about.
    set: String,
    pod: &'a Seen<'a>,
}

impl At<'_> {
    fn rule(&self, rule: &Rule, rules: &mut Vec<String>, pieces: &mut Pieces) {
        let peers = self.peers(rule, pieces);
        let mut ports = Vec::new();
        for (number, one) in rule.ports.iter().enumerate() {
            match one {
                Ports::All(of) => ports.push(format!("meta l4proto {} ", of.word())),
                Ports::Range(of, first, last) if first == last => {
                    ports.push(format!("{} dport {first} ", of.word()));
                }
                Ports::Range(of, first, last) => {
                    ports.push(format!("{} dport {first}-{last} ", of.word()));
                }
                Ports::Named(of, name) => match self.way {
                    Way::In => ports.extend(
                        numbers(self.pod, *of, name)
                            .map(|number| format!("{} dport {number} ", of.word())),
                    ),
                    Way::Out => {
                        let set = format!("{}/{number}", self.set);
                        rules.push(self.named_elsewhere(&set, rule, *of, name, pieces));
                    }
                },
            }
        }
        if rule.ports.is_empty() {
            ports.push(String::new());
        }
        let all = peers
            .iter()
            .flat_map(|peer| ports.iter().map(move |port| (peer, port)));
        rules.extend(all.map(|(peer, port)| format!("{peer}{port}return")));
    }

    /// What the other side must look like: one of these. Ends in a space, if it isn't empty.
    fn peers(&self, rule: &Rule, pieces: &mut Pieces) -> Vec<String> {
        let Some(peers) = &rule.peers else {
            return vec![String::new()];
        };
        let side = self.way.peer();
        let mut words = Vec::new();
        let mut pods = false;
        for peer in peers {
            match peer {
                Peer::Pods { .. } => pods = true,
                Peer::Block { range, except } => words.extend(block(side, range, except)),
            }
        }
        if pods {
            let set = &self.set;
            if add_set(pieces, set, "type ipv4_addr;") {
                for pod in self.selected(rule) {
                    pieces.element(set, pod.address.to_string(), String::new());
                }
            }
            words.push(format!("{side} @{set} "));
        }
        words
    }

    /// The pods that a rule's peers select.
    fn selected<'a>(&'a self, rule: &'a Rule) -> impl Iterator<Item = &'a Seen<'a>> {
        self.everyone.iter().filter(move |pod| match &rule.peers {
            None => true,
            Some(peers) => peers.iter().any(|peer| match peer {
                Peer::Block { .. } => false,
                Peer::Pods { namespaces, pods } => {
                    self.namespace(pod.key, namespaces.as_ref()) && pods.matches(pod.labels)
                }
            }),
        })
    }

    fn namespace(&self, pod: &ServiceKey, wanted: Option<&LabelSelector>) -> bool {
        match wanted {
            None => pod.namespace == self.of.namespace,
            Some(wanted) => {
                let labels = self.policies.namespaces.get(&pod.namespace);
                labels.is_some_and(|labels| wanted.matches(labels))
            }
        }
    }

    /// A port that goes by a name has another number at each receiver: a set of both.
    fn named_elsewhere(
        &self,
        set: &str,
        rule: &Rule,
        of: Protocol,
        name: &str,
        pieces: &mut Pieces,
    ) -> String {
        if add_set(pieces, set, "type ipv4_addr . inet_service;") {
            for pod in self.selected(rule) {
                for number in numbers(pod, of, name) {
                    let key = format!("{} . {number}", pod.address);
                    pieces.element(set, key, String::new());
                }
            }
        }
        format!("ip daddr . {} dport @{set} return", of.word())
    }
}

/// Adds a set; tells whether it is new and has to be filled. Every pod that a rule restricts asks the
/// same sets, and looking through all pods of the cluster once for each of them takes its time.
fn add_set(pieces: &mut Pieces, name: &str, of: &str) -> bool {
    if pieces.sets.contains_key(name) {
        return false;
    }
    pieces.sets.insert(name.to_owned(), of.to_owned());
    true
}

/// The numbers of a pod's ports of a name.
fn numbers<'a>(pod: &'a Seen<'_>, of: Protocol, name: &'a str) -> impl Iterator<Item = u16> + 'a {
    let ports = pod.ports.iter();
    ports
        .filter(move |(this, protocol, _)| &**this == name && *protocol == of)
        .map(|(_, _, number)| *number)
}

/// A range of addresses with holes; nothing for another family than the table's.
fn block(side: &str, range: &Cidr, except: &[Cidr]) -> Option<String> {
    let v4 = |range: &&Cidr| matches!(range.address, IpAddr::V4(_));
    if !v4(&range) {
        return None;
    }
    let holes: Vec<String> = except.iter().filter(v4).map(Cidr::to_string).collect();
    Some(match holes.is_empty() {
        true => format!("{side} {range} "),
        false => format!("{side} {range} {side} != {{ {} }} ", holes.join(", ")),
    })
}
