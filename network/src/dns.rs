//! The cluster's names: what pods ask the resolver of their node.
//!
//! | module | what |
//! |---|---|
//! | [`records`] | services and endpoints as far as names need them; nothing secret |
//! | [`answer`] | pure: records and a question in, an answer out, or "ask upstream" |
//! | [`wire`] | packets in, packets out: sizes, truncation, what cannot be read |
//! | [`resolv_conf`] | the file that says whom to ask |
//! | [`upstream`], [`cache`], `turns` | names that are not the cluster's; who may ask for them |
//! | [`server`] | the loops on the sockets |
//! | [`feed`], [`process`] | the process that answers, and what it is told by the agent |
//!
//! A name of the cluster is answered from memory and never asked upstream, whether it exists or not.

pub mod answer;
mod cache;
pub mod feed;
mod handover;
mod labels;
pub mod process;
pub mod records;
pub mod resolv_conf;
pub mod server;
mod sockets;
#[cfg(test)]
mod tests;
mod turns;
pub mod upstream;
pub mod wire;
mod zone;

use std::net::IpAddr;

use crate::catalog::Cidr;

/// How long an answer about the cluster may be kept, in seconds: an address that went away is
/// forgotten by everybody after this.
pub const TTL: u32 = 5;

/// What the answers depend on beside the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The cluster's domain in lower case, `cluster.local`.
    pub domain: String,
    /// The address that the resolver answers at; it is the address of the zone's name server.
    pub address: IpAddr,
    /// The ranges of services and pods: which addresses have no name is known here, not upstream.
    pub ranges: Vec<Cidr>,
}
