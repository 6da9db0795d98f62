//! Why a node does not fit a pod: as data, and in the words that users of kubectl
//! know.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// One reason for which a node does not fit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unfit {
    /// It is cordoned.
    Unschedulable,
    /// It has a taint that the pod does not tolerate.
    Taint {
        /// The taint's key.
        key: Box<str>,
        /// The taint's value.
        value: Box<str>,
    },
    /// It is not what the pod's node selector or required node affinity asks for.
    Affinity,
    /// Another pod has a host port that the pod needs.
    Ports,
    /// Too little of a resource is left.
    Insufficient {
        /// `cpu`, `memory`, `ephemeral-storage`.
        resource: &'static str,
        /// What the pod asks for: millicores or bytes.
        wanted: i64,
        /// What the node has left.
        free: i64,
    },
    /// It runs as many pods as it may.
    TooManyPods,
}

/// Kubernetes' words, which come behind the number of nodes.
impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unschedulable => f.write_str("node(s) were unschedulable"),
            Self::Taint { key, value } => {
                write!(f, "node(s) had untolerated taint {{{key}: {value}}}")
            }
            Self::Affinity => f.write_str("node(s) didn't match Pod's node affinity/selector"),
            Self::Ports => {
                f.write_str("node(s) didn't have free ports for the requested pod ports")
            }
            Self::Insufficient { resource, .. } => write!(f, "Insufficient {resource}"),
            Self::TooManyPods => f.write_str("Too many pods"),
        }
    }
}

/// What a node says to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The node's name.
    pub node: Arc<str>,
    /// Why it does not fit; empty if it does.
    pub unfit: Vec<Unfit>,
}

/// `0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu.`
#[must_use]
pub fn unavailable(verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() {
        return "no nodes available to schedule pods".to_owned();
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for unfit in verdicts.iter().flat_map(|verdict| &verdict.unfit) {
        *reasons.entry(unfit.to_string()).or_default() += 1;
    }
    let fitting = verdicts
        .iter()
        .filter(|verdict| verdict.unfit.is_empty())
        .count();
    let mut reasons: Vec<String> = reasons
        .into_iter()
        .map(|(reason, nodes)| format!("{nodes} {reason}"))
        .collect();
    reasons.sort();
    let all = verdicts.len();
    format!(
        "{fitting}/{all} nodes are available: {}.",
        reasons.join(", ")
    )
}
