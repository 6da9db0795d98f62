//! `skiff cluster` for the servers: who they are, who comes, who goes, who leads.

use std::path::PathBuf;

use clap::Args;

use super::VersionFormat;

/// `skiff cluster status`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ClusterStatusArgs {
    /// json or yaml, instead of a table
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<VersionFormat>,
}

/// `skiff cluster add`.
#[derive(Clone, Debug, Args)]
pub(crate) struct AddArgs {
    /// The new server's name; its host's name if absent
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Where the new server keeps its state
    #[arg(long, value_name = "DIR", default_value = "/var/lib/skiff")]
    pub data_dir: PathBuf,
    /// The address that others reach the new server at; its own address if absent
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Option<String>,
}

/// `skiff cluster remove` and `skiff cluster promote`.
#[derive(Clone, Debug, Args)]
pub(crate) struct MemberArgs {
    /// The server's name or id, as `skiff cluster status` shows them
    #[arg(value_name = "SERVER")]
    pub member: String,
    /// Do it even if writes may have to wait afterwards
    #[arg(long)]
    pub force: bool,
}

/// `skiff cluster transfer`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TransferArgs {
    /// The server that is to lead, by name or id; the one that is furthest if absent
    #[arg(long, value_name = "SERVER")]
    pub to: Option<String>,
}
