//! What the command line says: one struct per verb, nothing decided yet.
//! Every flag of the long-running commands and of the connection is also a `SKIFF_*` variable.

mod backup;
mod cluster;
mod gateway;
mod process;
mod read;
mod servers;
mod sim;
mod write;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use skiff_client::Server;

pub(crate) use backup::{BackupArgs, RecoverArgs, RestoreArgs};
pub(crate) use cluster::ClusterCommand;
pub(crate) use gateway::{GatewayArgs, GatewayCommand, GatewayShowArgs};
pub(crate) use process::{AgentArgs, DevArgs, DnsArgs, ServerArgs};
pub(crate) use read::{
    DescribeArgs, EventsArgs, GetArgs, LogsArgs, OutputFormat, VersionArgs, VersionFormat, WaitArgs,
};
pub(crate) use servers::{AddArgs, ClusterStatusArgs, MemberArgs, TransferArgs};
pub(crate) use sim::SimArgs;
pub(crate) use write::{
    ApplyArgs, Cascade, ChangeArgs, CordonArgs, CreateArgs, DeleteArgs, DrainArgs, DryRun,
    EditArgs, ExposeArgs, Rollout, ScaleArgs, SetCommand, StatusArgs, UndoArgs,
};

/// Runs Kubernetes manifests on plain Docker hosts.
#[derive(Debug, Parser)]
#[command(
    name = "skiff",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// How to reach the cluster.
    #[command(flatten)]
    pub connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How to reach the cluster.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The kubeconfig file; else $KUBECONFIG, ~/.kube/config, or that of a running `skiff dev`
    #[arg(long, global = true, value_name = "FILE", env = "SKIFF_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig, if not the current one
    #[arg(long, global = true, value_name = "NAME", env = "SKIFF_CONTEXT")]
    pub context: Option<String>,
    /// The namespace, if not that of the context
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME",
        env = "SKIFF_NAMESPACE"
    )]
    pub namespace: Option<String>,
    /// The servers, https://HOST:PORT[,…], if not those of the kubeconfig
    #[arg(
        short,
        long,
        global = true,
        value_name = "URL",
        value_delimiter = ',',
        env = "SKIFF_SERVER"
    )]
    pub server: Vec<Server>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server and agents in one process, for trying and developing
    Dev(DevArgs),
    /// Run a server of the control plane
    Server(ServerArgs),
    /// Run the agent of a node
    Agent(AgentArgs),
    /// Answer the names of the cluster on a node; its agent starts this
    #[command(hide = true)]
    Dns(DnsArgs),
    /// Look after the control plane: its servers, who leads
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Look at the gateways: where they run, what they serve
    #[command(subcommand)]
    Gateway(GatewayCommand),
    #[command(flatten)]
    Ask(Ask),
    /// Show the versions of this program and of the server
    Version(VersionArgs),
    /// Simulate whole clusters in which things go wrong, and check that no promise is broken
    Sim(SimArgs),
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The verbs that ask a server.
#[derive(Debug, Subcommand)]
pub(crate) enum Ask {
    /// Bring objects to the state that manifests describe
    Apply(ApplyArgs),
    /// Create objects from manifests
    Create(CreateArgs),
    /// Replace objects by those in manifests
    Replace(CreateArgs),
    /// Show objects
    Get(GetArgs),
    /// Show all about objects, with their events
    Describe(DescribeArgs),
    /// Show what containers print
    Logs(LogsArgs),
    /// Set how many replicas a workload has
    Scale(ScaleArgs),
    /// Make a service in front of pods
    Expose(ExposeArgs),
    /// Change one thing of a workload
    #[command(subcommand)]
    Set(SetCommand),
    /// Watch and steer how a Deployment changes
    #[command(subcommand)]
    Rollout(Rollout),
    /// Delete objects
    Delete(DeleteArgs),
    /// Put no more pods on a node
    Cordon(CordonArgs),
    /// Put pods on a node again
    Uncordon(CordonArgs),
    /// Cordon a node and move its pods elsewhere
    Drain(DrainArgs),
    /// Show events, the oldest first
    Events(EventsArgs),
    /// Wait until objects are as you say
    Wait(WaitArgs),
    /// Set or remove labels
    Label(ChangeArgs),
    /// Set or remove annotations
    Annotate(ChangeArgs),
    /// Change an object in your editor
    Edit(EditArgs),
}

/// Which manifests.
#[derive(Clone, Debug, Args)]
pub(crate) struct Files {
    /// A file, a folder of *.yaml, *.yml and *.json, or - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// A length of time: `30s`, `5m`, `1h30m`, or plain seconds; `0` is none, `-1` without end.
pub(crate) fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    const FOREVER: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);
    let wrong = || format!("{text:?} is not a length of time; write 30s, 5m or 1h30m");
    if text.starts_with('-') {
        return Ok(FOREVER);
    }
    if let Ok(seconds) = text.parse() {
        return Ok(std::time::Duration::from_secs(seconds));
    }
    let mut total = std::time::Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let number: u32 = number.parse().map_err(|_| wrong())?;
        let end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let unit = match unit {
            "ms" => std::time::Duration::from_millis(1),
            "s" => std::time::Duration::from_secs(1),
            "m" => std::time::Duration::from_secs(60),
            "h" => std::time::Duration::from_secs(3600),
            _ => return Err(wrong()),
        };
        total = unit
            .checked_mul(number)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(wrong)?;
        rest = next;
    }
    if text.is_empty() {
        Err(wrong())
    } else {
        Ok(total)
    }
}

#[cfg(test)]
mod tests;
