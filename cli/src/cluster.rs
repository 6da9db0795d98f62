//! `skiff cluster`: looking after the control plane itself.

mod add;
mod backup;
mod change;
mod recover;
mod restore;
mod status;

use crate::args::{ClusterCommand, Connection};
use crate::connect;
use crate::error::CliError;

/// Runs one of the verbs.
pub(crate) async fn run(connection: &Connection, verb: ClusterCommand) -> Result<(), CliError> {
    let cluster = || connect::connect(connection);
    match verb {
        ClusterCommand::Status(args) => status::run(&cluster()?, &args).await,
        ClusterCommand::Add(args) => add::run(&cluster()?, &args).await,
        ClusterCommand::Remove(args) => change::remove(&cluster()?, &args).await,
        ClusterCommand::Promote(args) => change::promote(&cluster()?, &args).await,
        ClusterCommand::Transfer(args) => change::transfer(&cluster()?, &args).await,
        ClusterCommand::Backup(args) => backup::run(&cluster()?, &args).await,
        ClusterCommand::Restore(args) => restore::run(&args),
        ClusterCommand::Recover(args) => recover::run(&args),
    }
}
