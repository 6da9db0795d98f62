//! What network policies put into the table. Pure.

use super::NodeView;
use super::table::Pieces;

/// The network policies of the cluster, and the pods that they are about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {}

/// What the policies put into the table of a node.
pub(super) fn pieces(_node: &NodeView, _policies: &Policies) -> Pieces {
    Pieces::default()
}
