//! Gateways, in words: what one tells the servers of itself, again and again, what they tell of all
//! of them, and whose an Ingress is.

mod class;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::canary::Observed;

pub use class::{CLASS, CONTROLLER, Class, DEFAULT_CLASS, OLD_CLASS, default_class, is_ours};

/// Where a gateway's [`Report`] goes, and where the [`Heard`] of all of them is read.
pub const PATH: &str = "/skiff/v1/network/gateways";

/// A gateway, as it sees itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// The node or server that it runs on.
    pub name: String,
    /// Where it listens without TLS.
    pub http: SocketAddr,
    /// Where it listens with TLS, if at all.
    pub https: Option<SocketAddr>,
    /// Connections of clients that are open.
    pub connections: u64,
    /// Requests that it has answered since it started.
    pub requests: u64,
    /// Of these, the ones with 5xx.
    pub errors: u64,
}

/// What a gateway tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Drawn when it starts: another one has counted from zero.
    pub instance: String,
    /// Itself.
    pub gateway: Gateway,
    /// What it counts of the canaries that are being judged.
    pub canaries: Vec<Observed>,
}

impl Report {
    /// The report of a gateway that has not begun.
    #[must_use]
    pub fn new(name: &str, http: SocketAddr, https: Option<SocketAddr>) -> Self {
        Self {
            instance: String::new(),
            gateway: Gateway {
                name: name.to_owned(),
                http,
                https,
                connections: 0,
                requests: 0,
                errors: 0,
            },
            canaries: Vec::new(),
        }
    }
}

/// A gateway that the leader hears of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// What it told last.
    #[serde(flatten)]
    pub gateway: Gateway,
    /// `node` or `server`: where it runs.
    pub host: Host,
    /// Where clients reach it: an address, or the name of its server.
    pub address: Option<String>,
    /// How long ago that was, in milliseconds.
    pub heard_millis_ago: u64,
}

/// What a gateway runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Host {
    /// A node, by its agent.
    Node,
    /// A server.
    Server,
}

/// All gateways that the leader hears of, by host and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heard {
    /// Them.
    pub gateways: Vec<Known>,
}
