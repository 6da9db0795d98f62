//! What a gateway tells the leader of a canary that it serves.

use serde::{Deserialize, Serialize};

use super::{Counts, Step};

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
