//! The names and records that the cluster's zone is made of. Pure.

use std::net::IpAddr;

use hickory_proto::rr::rdata::{A, AAAA, SOA};
use hickory_proto::rr::{Name, RData, Record};

use super::records::{Endpoint, Entry};
use super::{Settings, TTL};

/// The cluster's zone, whose names are made here.
pub(super) struct Zone {
    pub(super) domain: Name,
}

impl Zone {
    /// None if the domain is no name, which settings that were checked never have.
    pub(super) fn new(settings: &Settings) -> Option<Self> {
        let mut domain = Name::from_ascii(&settings.domain).ok()?;
        domain.set_fqdn(true);
        Some(Self { domain })
    }

    /// A name in the zone; none if it would be too long for a name.
    pub(super) fn name(&self, labels: &[&str]) -> Option<Name> {
        let bytes = labels.iter().map(|label| label.as_bytes());
        Name::from_labels(bytes)
            .ok()?
            .append_domain(&self.domain)
            .ok()
    }

    pub(super) fn service(&self, entry: &Entry) -> Option<Name> {
        self.name(&[&entry.name, &entry.namespace, "svc"])
    }

    pub(super) fn endpoint(&self, entry: &Entry, endpoint: &Endpoint) -> Option<Name> {
        let label = endpoint.label();
        self.name(&[&label, &entry.name, &entry.namespace, "svc"])
    }

    pub(super) fn soa(&self, owner: Name) -> Record {
        let server = self.name(&["ns", "dns"]).unwrap_or_default();
        let person = self.name(&["hostmaster"]).unwrap_or_default();
        let [refresh, retry, expire] = [7200, 1800, 86400];
        let soa = SOA::new(server, person, 1, refresh, retry, expire, TTL);
        Record::from_rdata(owner, TTL, RData::SOA(soa))
    }
}

pub(super) fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    }
}

pub(super) fn address_record(name: &Name, address: IpAddr) -> Record {
    Record::from_rdata(name.clone(), TTL, address_data(address))
}
