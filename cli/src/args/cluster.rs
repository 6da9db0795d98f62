//! `skiff cluster`: the control plane itself.

use clap::Subcommand;

use super::backup::{BackupArgs, RecoverArgs, RestoreArgs};
use super::servers::{AddArgs, ClusterStatusArgs, MemberArgs, TransferArgs};

/// The verbs about the control plane.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show the servers, who leads and how far each of them is
    Status(ClusterStatusArgs),
    /// Print the command that adds a server, to be run on its machine
    Add(AddArgs),
    /// Remove a server from the cluster; refused if it would cost the quorum
    Remove(MemberArgs),
    /// Give a joining server its vote now; it gets it by itself when it has caught up
    Promote(MemberArgs),
    /// Let another server lead
    Transfer(TransferArgs),
    /// Write all objects to a file, while the cluster goes on working
    Backup(BackupArgs),
    /// Make a new control plane out of a backup
    Restore(RestoreArgs),
    /// Go on with one server that is left, when most servers are lost for good
    Recover(RecoverArgs),
}
