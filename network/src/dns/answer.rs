//! Decides what a question is answered with, after Kubernetes' specification of DNS. Pure: records
//! and a question in, an answer out; chance comes as an argument.

use std::net::IpAddr;

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::rdata::{CNAME, NS, PTR, SRV, TXT};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::labels::{self, Asked};
use super::records::{Entry, Leads, Port, Records};
use super::zone::{Zone, address_data, address_record};
use super::{Settings, TTL};

/// Names of services that lead to names of services: more than this in a row is a circle.
const CHAIN_MAX: usize = 8;

/// The version of Kubernetes' schema of names that is followed.
const SCHEMA: &str = "1.1.0";

/// The weight of a port's place: all places are alike.
const WEIGHT: u16 = 100;

/// What a question is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the name exists, or why nothing can be said.
    pub code: ResponseCode,
    /// Something is missing that did not fit on its way to us.
    pub truncated: bool,
    /// What was asked for.
    pub answers: Vec<Record>,
    /// Who says that there is nothing, and for how long.
    pub authorities: Vec<Record>,
    /// What will be asked for next.
    pub additionals: Vec<Record>,
}

/// Who answers a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// We do.
    Answer(Answer),
    /// We begin, and whoever knows this name goes on.
    Continue(Answer, Name),
    /// Others do.
    Forward,
}

/// Decides what a question is answered with. `turn` says who comes first where several addresses
/// are equally good.
#[must_use]
pub fn answer(records: &Records, settings: &Settings, query: &Query, turn: usize) -> Decision {
    let asked = labels::read(query.name(), settings);
    if asked == Asked::Elsewhere {
        return Decision::Forward;
    }
    let kind = query.query_type();
    if query.query_class() != DNSClass::IN || is_transfer(kind) {
        return Decision::Answer(Answer::code(ResponseCode::Refused));
    }
    let Some(zone) = Zone::new(settings) else {
        return Decision::Answer(Answer::code(ResponseCode::ServFail));
    };
    let asker = Asker {
        records,
        settings,
        zone,
        owner: query.name().clone(),
        kind,
        turn,
        links: 0,
    };
    asker.decide(asked)
}

const fn is_transfer(kind: RecordType) -> bool {
    matches!(kind, RecordType::AXFR | RecordType::IXFR)
}

impl Answer {
    /// An answer that is no more than a code.
    #[must_use]
    pub const fn code(code: ResponseCode) -> Self {
        Self {
            code,
            truncated: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
        }
    }
}

/// One question on its way.
struct Asker<'a> {
    records: &'a Records,
    settings: &'a Settings,
    zone: Zone,
    owner: Name,
    kind: RecordType,
    turn: usize,
    links: usize,
}

impl Asker<'_> {
    fn decide(self, asked: Asked) -> Decision {
        let answer = match asked {
            Asked::Elsewhere => return Decision::Forward,
            Asked::Reverse(address) => return self.reverse(address),
            Asked::Apex => self.apex(),
            Asked::Version => {
                let version = RData::TXT(TXT::new(vec![SCHEMA.to_owned()]));
                self.give([version], Vec::new())
            }
            Asked::NameServer => self.addresses([self.settings.address]),
            Asked::Between => self.no_data(),
            Asked::Pod(address) => self.addresses([address]),
            Asked::Nothing => self.no_name(),
            Asked::Namespace(_) | Asked::Service(..) | Asked::Below(..) | Asked::Port { .. }
                if !self.records.complete =>
            {
                Answer::code(ResponseCode::ServFail)
            }
            Asked::Namespace(name) if self.records.has_namespace(&name) => self.no_data(),
            Asked::Namespace(_) => self.no_name(),
            Asked::Service(namespace, name) => return self.service(&namespace, &name),
            Asked::Below(namespace, name, below) => self.below(&namespace, &name, &below),
            Asked::Port {
                namespace,
                service,
                protocol,
                port,
            } => match self.records.service(&namespace, &service) {
                Some(entry) => self.port(entry, &protocol, &port),
                None => self.no_name(),
            },
        };
        Decision::Answer(answer)
    }

    fn apex(&self) -> Answer {
        let server = self.zone.name(&["ns", "dns"]).unwrap_or_default();
        if self.kind == RecordType::SOA {
            let soa = self.zone.soa(self.owner.clone());
            return Answer {
                answers: vec![soa],
                ..Answer::code(ResponseCode::NoError)
            };
        }
        let additional = address_record(&server, self.settings.address);
        self.give([RData::NS(NS(server))], vec![additional])
    }

    fn service(self, namespace: &str, name: &str) -> Decision {
        let Some(entry) = self.records.service(namespace, name) else {
            return Decision::Answer(self.no_name());
        };
        let answer = match &entry.leads {
            Leads::Addresses { ips, .. } => self.addresses(ips.iter().copied()),
            Leads::Endpoints => {
                let endpoints = entry.endpoints();
                if endpoints.is_empty() {
                    self.no_name()
                } else {
                    self.addresses(endpoints.into_iter().map(|endpoint| endpoint.ip))
                }
            }
            Leads::Name(target) => return self.alias(target),
        };
        Decision::Answer(answer)
    }

    /// Follows the name of another name.
    fn alias(mut self, target: &str) -> Decision {
        let Ok(mut target) = Name::from_ascii(target) else {
            return Decision::Answer(Answer::code(ResponseCode::ServFail));
        };
        target.set_fqdn(true);
        let cname = RData::CNAME(CNAME(target.clone()));
        let cname = Record::from_rdata(self.owner.clone(), TTL, cname);
        let begun = Answer {
            answers: vec![cname.clone()],
            ..Answer::code(ResponseCode::NoError)
        };
        if self.kind == RecordType::CNAME {
            return Decision::Answer(begun);
        }
        let asked = labels::read(&target, self.settings);
        if asked == Asked::Elsewhere {
            return Decision::Continue(begun, target);
        }
        self.links += 1;
        if self.links > CHAIN_MAX {
            return Decision::Answer(Answer::code(ResponseCode::ServFail));
        }
        self.owner = target.clone();
        match self.decide(asked) {
            Decision::Answer(failed) if failed.code == ResponseCode::ServFail => {
                Decision::Answer(failed)
            }
            Decision::Answer(mut rest) => {
                rest.answers.insert(0, cname);
                Decision::Answer(rest)
            }
            Decision::Continue(mut rest, last) => {
                rest.answers.insert(0, cname);
                Decision::Continue(rest, last)
            }
            Decision::Forward => Decision::Continue(begun, target),
        }
    }

    fn below(&self, namespace: &str, name: &str, below: &str) -> Answer {
        let Some(entry) = self.records.service(namespace, name) else {
            return self.no_name();
        };
        if let Some(protocol) = below.strip_prefix('_') {
            let mut ports = all_ports(entry);
            return if ports.any(|port| port.protocol == protocol) {
                self.no_data()
            } else {
                self.no_name()
            };
        }
        let address = labels::undashed(below);
        let endpoints = entry.endpoints();
        let mut found = endpoints
            .into_iter()
            .filter(|endpoint| endpoint.label() == below || address == Some(endpoint.ip))
            .map(|endpoint| endpoint.ip)
            .peekable();
        if found.peek().is_none() {
            return self.no_name();
        }
        self.addresses(found)
    }

    fn port(&self, entry: &Entry, protocol: &str, name: &str) -> Answer {
        let is_it = |port: &&Port| port.protocol == protocol && &*port.name == name;
        let mut found: Vec<(u16, Option<Name>, Vec<IpAddr>)> = Vec::new();
        match &entry.leads {
            Leads::Addresses { ips, ports } => {
                let target = || self.zone.service(entry);
                let places = ports.iter().filter(is_it);
                found.extend(places.map(|port| (port.port, target(), ips.clone())));
            }
            Leads::Endpoints => {
                for group in &entry.groups {
                    for port in group.ports.iter().filter(is_it) {
                        found.extend(group.endpoints.iter().map(|endpoint| {
                            let target = self.zone.endpoint(entry, endpoint);
                            (port.port, target, vec![endpoint.ip])
                        }));
                    }
                }
            }
            Leads::Name(_) => {}
        }
        if found.is_empty() {
            return self.no_name();
        }
        let mut places = Vec::new();
        let mut additionals = Vec::new();
        for (port, target, ips) in found {
            let Some(target) = target else { continue };
            additionals.extend(ips.into_iter().map(|ip| address_record(&target, ip)));
            places.push(RData::SRV(SRV::new(0, WEIGHT, port, target)));
        }
        self.give(places, additionals)
    }

    /// The names of an address: of a service that has it for its own, else those of endpoints.
    fn reverse(self, address: IpAddr) -> Decision {
        let ours = self
            .settings
            .ranges
            .iter()
            .find(|range| range.contains(address));
        let of_services = self.records.at(address).filter(
            |entry| matches!(&entry.leads, Leads::Addresses { ips, .. } if ips.contains(&address)),
        );
        let mut names: Vec<Name> = of_services
            .filter_map(|entry| self.zone.service(entry))
            .collect();
        if names.is_empty() {
            let endpoints = self.records.at(address).flat_map(|entry| {
                let all = entry.endpoints().into_iter();
                all.filter(|endpoint| endpoint.ip == address)
                    .filter_map(|endpoint| self.zone.endpoint(entry, endpoint))
            });
            names = endpoints.collect();
        }
        let Some(range) = ours else {
            if names.is_empty() {
                return Decision::Forward;
            }
            return Decision::Answer(self.point(names, 0));
        };
        let zone_labels = match range.address {
            IpAddr::V4(_) => range.prefix / 8,
            IpAddr::V6(_) => range.prefix / 4,
        };
        let depth = 2 + usize::from(zone_labels);
        if !names.is_empty() {
            return Decision::Answer(self.point(names, depth));
        }
        if !self.records.complete {
            return Decision::Answer(Answer::code(ResponseCode::ServFail));
        }
        let soa = self.zone.soa(self.owner.trim_to(depth));
        Decision::Answer(Answer {
            authorities: vec![soa],
            ..Answer::code(ResponseCode::NXDomain)
        })
    }

    fn point(&self, names: Vec<Name>, depth: usize) -> Answer {
        let mut answer = self.give(
            names.into_iter().map(|name| RData::PTR(PTR(name))),
            Vec::new(),
        );
        // The zone's own SOA would say nothing about names outside of it.
        for soa in &mut answer.authorities {
            soa.name = self.owner.trim_to(depth);
        }
        answer
    }

    /// The addresses of the family that was asked for.
    fn addresses(&self, all: impl IntoIterator<Item = IpAddr>) -> Answer {
        let mut all: Vec<IpAddr> = all.into_iter().collect();
        all.sort();
        all.dedup();
        let data = all.into_iter().map(address_data);
        self.give(data, Vec::new())
    }

    /// What there is at a name, as far as it was asked for.
    fn give(&self, data: impl IntoIterator<Item = RData>, additionals: Vec<Record>) -> Answer {
        let wanted = |data: &RData| self.kind == RecordType::ANY || data.record_type() == self.kind;
        let mut answers: Vec<Record> = data
            .into_iter()
            .filter(wanted)
            .map(|data| Record::from_rdata(self.owner.clone(), TTL, data))
            .collect();
        if answers.is_empty() {
            return self.no_data();
        }
        let first = self.turn % answers.len();
        answers.rotate_left(first);
        Answer {
            answers,
            additionals,
            ..Answer::code(ResponseCode::NoError)
        }
    }

    fn no_data(&self) -> Answer {
        Answer {
            authorities: vec![self.zone.soa(self.zone.domain.clone())],
            ..Answer::code(ResponseCode::NoError)
        }
    }

    fn no_name(&self) -> Answer {
        Answer {
            code: ResponseCode::NXDomain,
            ..self.no_data()
        }
    }
}

fn all_ports(entry: &Entry) -> impl Iterator<Item = &Port> {
    let (own, of_endpoints) = match &entry.leads {
        Leads::Addresses { ports, .. } => (ports.as_slice(), [].as_slice()),
        Leads::Endpoints => ([].as_slice(), entry.groups.as_slice()),
        Leads::Name(_) => ([].as_slice(), [].as_slice()),
    };
    own.iter()
        .chain(of_endpoints.iter().flat_map(|group| &group.ports))
}
