//! What a gateway tells the leader of the canaries that it serves, again and again.

use serde::{Deserialize, Serialize};

use super::{Counts, Step};

/// Where reports go.
pub const PATH: &str = "/skiff/v1/network/canary";

/// All canaries of one gateway that are being judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The node or server that it runs on.
    pub gateway: String,
    /// Drawn when it starts: another one has counted from zero.
    pub instance: String,
    /// Its canaries.
    pub canaries: Vec<Observed>,
}

/// What was counted of an Ingress' canary, and beside it, since the gateway first served it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    /// The Ingress' namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The step that the gateway has in effect.
    pub step: Step,
    /// Of the requests that the canary could have got and did not.
    pub stable: Counts,
    /// Of those that it got.
    pub canary: Counts,
}
