//! `skiff cluster restore`: makes the data directory of a new server out of a backup, offline.

use skiff_control_plane::backup::{Backup, Keys};
use skiff_control_plane::recovery::{self, Restored};

use super::backup;
use crate::args::RestoreArgs;
use crate::error::CliError;
use crate::{print, process};

/// Runs the verb.
pub(crate) fn run(args: &RestoreArgs) -> Result<(), CliError> {
    process::start_log(false, "warn");
    let failed = |source| process::process("cannot restore the backup", source);
    let backup = backup::read(&args.file)?;
    let keys = keys(&backup, args)?;
    let name = args.name.as_deref();
    let head = format!(
        "Restored the backup of {} at revision {} into {}",
        backup.header.time,
        backup.at.mark.revision,
        args.data_dir.display()
    );
    let margin = args.bump_revision;
    let restored = recovery::restore_into(&args.data_dir, backup, keys.as_ref(), name, margin)
        .map_err(failed)?;
    print::line(&head)?;
    print::line(&next_steps(args, &restored, keys.is_some()))
}

/// The CA to go on with; nothing only if a new one is wanted.
fn keys(backup: &Backup, args: &RestoreArgs) -> Result<Option<Keys>, CliError> {
    if args.new_ca {
        return Ok(None);
    }
    if let Some(dir) = &args.pki {
        let keys = Keys::read(dir);
        return keys
            .map(Some)
            .map_err(|source| process::process("cannot use the CA", source));
    }
    if backup.keys.is_none() {
        return Err(CliError::Usage(
            "the backup holds no keys: name the folder with the cluster's ca.crt and ca.key with \
             --pki, or go on with a new CA with --new-ca; then every agent must join anew and \
             every kubeconfig must be replaced"
                .into(),
        ));
    }
    Ok(backup.keys.clone())
}

fn next_steps(args: &RestoreArgs, restored: &Restored, same_ca: bool) -> String {
    let dir = args.data_dir.display();
    let Restored {
        member,
        revision,
        objects,
    } = restored;
    let ca = if same_ca {
        "The CA is the old one: agents and kubeconfigs go on working if the server has an address \
         that they know."
    } else {
        "The first start makes a new CA: every agent must join anew, every kubeconfig must be \
         replaced."
    };
    format!(
        "{objects} objects; the server is member {member}, resourceVersions go on at {revision}\n\
         {ca}\n\
         No server of the old cluster may run any more. Start the new one:\n  \
         skiff server --data-dir {dir} --advertise HOST:PORT\n\
         Let other servers join it with empty data directories; on it, `skiff cluster add` prints the \
         command."
    )
}
