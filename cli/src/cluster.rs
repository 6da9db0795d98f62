//! `skiff cluster`: looking after the control plane itself.

mod backup;
mod recover;
mod restore;

use crate::args::{ClusterCommand, Connection};
use crate::connect;
use crate::error::CliError;

/// Runs one of the verbs.
pub(crate) async fn run(connection: &Connection, verb: ClusterCommand) -> Result<(), CliError> {
    match verb {
        ClusterCommand::Backup(args) => backup::run(&connect::connect(connection)?, &args).await,
        ClusterCommand::Restore(args) => restore::run(&args),
        ClusterCommand::Recover(args) => recover::run(&args),
    }
}

/// How further servers come to a control plane that begins anew with one.
const OTHERS_JOIN: &str = "\
Let other servers join it with empty data directories:
  skiff server --data-dir DIR --join https://HOST:PORT --token TOKEN";
