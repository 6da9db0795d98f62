//! `skiff cluster backup`, `restore`, `recover`: the way back after a disaster.

use std::path::PathBuf;

use clap::Args;
use skiff_control_plane::recovery::REVISION_MARGIN;

/// `skiff cluster backup`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to write; - for standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Put the key of the cluster's CA into the file, too: whoever has it can be anybody
    #[arg(long)]
    pub with_keys: bool,
}

/// `skiff cluster restore`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup; - for standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where the new server keeps its state; empty, or not there yet
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The new server's name; the host's name if absent
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// A folder with the ca.crt and ca.key of the cluster, if the backup holds no keys
    #[arg(long, value_name = "DIR", conflicts_with = "new_ca")]
    pub pki: Option<PathBuf>,
    /// Go on with a new CA: every agent must join anew, every kubeconfig must be replaced
    #[arg(long)]
    pub new_ca: bool,
    /// How far resourceVersions move on, beyond all that were seen since the backup
    #[arg(long, value_name = "N", default_value_t = REVISION_MARGIN,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub bump_revision: u64,
}

/// `skiff cluster recover`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RecoverArgs {
    /// The data directory of the stopped server that is to go on; those of others that are left,
    /// to be compared with it, may follow
    #[arg(long, value_name = "DIR", required = true)]
    pub data_dir: Vec<PathBuf>,
    /// A report of a server on another machine, made there with --report; may be repeated
    #[arg(long, value_name = "FILE")]
    pub survivor: Vec<PathBuf>,
    /// Only print what the server has, as JSON, for --survivor elsewhere
    #[arg(long, conflicts_with_all = ["survivor", "yes", "force"])]
    pub report: bool,
    /// Do it; otherwise it is only said what would be done and what may be lost
    #[arg(long)]
    pub yes: bool,
    /// Do it although something better can be done
    #[arg(long, requires = "yes")]
    pub force: bool,
    /// How far resourceVersions move on, beyond all that lost servers may have shown
    #[arg(long, value_name = "N", default_value_t = REVISION_MARGIN,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub bump_revision: u64,
}
