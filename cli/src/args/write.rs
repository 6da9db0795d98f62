//! The verbs that change something.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::read::Selection;
use super::{Files, parse_duration};

/// Whether and where a write is only tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// It is made
    #[default]
    None,
    /// Nothing is sent
    Client,
    /// The server checks it and stores nothing
    Server,
}

impl DryRun {
    /// What is printed behind the outcome.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}

/// `skiff apply`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub files: Files,
    /// Change nothing: only show what would happen
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    pub dry_run: DryRun,
    /// Wait until the workloads are ready; exits with 2 if one failed and 3 if the time is over
    #[arg(long)]
    pub wait: bool,
    /// How long to wait at most
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    pub timeout: Duration,
}

/// `skiff create` and `skiff replace`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pub files: Files,
    /// Change nothing: only show what would happen
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    pub dry_run: DryRun,
}

/// `skiff scale`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScaleArgs {
    /// TYPE NAME… or TYPE/NAME…
    #[arg(required = true, value_name = "TYPE/NAME")]
    pub resources: Vec<String>,
    /// How many replicas
    #[arg(long, value_name = "N")]
    pub replicas: u32,
    /// Only if there are this many now
    #[arg(long, value_name = "N")]
    pub current_replicas: Option<u32>,
}

/// `skiff expose`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExposeArgs {
    /// TYPE NAME… or TYPE/NAME… of a deployment, a replicaset, a pod or a service
    #[arg(required = true, value_name = "TYPE/NAME")]
    pub resources: Vec<String>,
    /// The service's port; otherwise those that the containers name
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// The containers' port, by number or by name, if it is another one
    #[arg(long, value_name = "PORT")]
    pub target_port: Option<String>,
    /// The service's name, if not that of what is exposed
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// ClusterIP, NodePort or LoadBalancer
    #[arg(long = "type", value_name = "TYPE")]
    pub service_type: Option<String>,
    /// TCP or UDP
    #[arg(long, value_name = "PROTOCOL", default_value = "TCP")]
    pub protocol: String,
    /// An address of your choice, or None for names alone
    #[arg(long, value_name = "IP")]
    pub cluster_ip: Option<String>,
    /// Change nothing: only show what would happen
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    pub dry_run: DryRun,
}

/// `skiff set …`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SetCommand {
    /// Set the images of containers
    Image {
        /// TYPE/NAME… and CONTAINER=IMAGE…; `*` is every container
        #[arg(required = true, value_name = "TYPE/NAME CONTAINER=IMAGE")]
        items: Vec<String>,
    },
}

/// Deployments to steer.
#[derive(Clone, Debug, Args)]
pub(crate) struct RolloutTarget {
    /// deployment/NAME…
    #[arg(required = true, value_name = "TYPE/NAME")]
    pub resources: Vec<String>,
}

/// `skiff rollout …`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Rollout {
    /// Follow a rollout to its end
    Status(StatusArgs),
    /// Show the revisions that can be gone back to
    History(UndoArgs),
    /// Go back to the previous revision, or to a given one
    Undo(UndoArgs),
    /// Replace all pods, one after another
    Restart(RolloutTarget),
    /// Let changes gather without rolling them out
    Pause(RolloutTarget),
    /// Roll out what has gathered
    Resume(RolloutTarget),
}

/// `skiff rollout status`.
#[derive(Clone, Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub target: RolloutTarget,
    /// Follow to the end; `false` looks once
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub watch: bool,
    /// How long to follow at most; 0 is without end
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
    pub timeout: Duration,
}

/// `skiff rollout history` and `undo`.
#[derive(Clone, Debug, Args)]
pub(crate) struct UndoArgs {
    #[command(flatten)]
    pub target: RolloutTarget,
    /// The revision; for undo the previous one if absent
    #[arg(long, alias = "revision", value_name = "N")]
    pub to_revision: Option<u64>,
}

/// `skiff delete`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DeleteArgs {
    /// TYPE NAME… or TYPE/NAME…
    #[arg(
        value_name = "TYPE",
        required_unless_present = "files",
        conflicts_with = "files"
    )]
    pub resources: Vec<String>,
    /// The objects in a file, a folder, or - for standard input; may be repeated
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub files: Vec<std::path::PathBuf>,
    /// Objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// All objects of the types
    #[arg(long, conflicts_with = "selector")]
    pub all: bool,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Seconds that pods have to end; their own if absent
    #[arg(long, value_name = "SECONDS")]
    pub grace_period: Option<u32>,
    /// With --grace-period=0 (the default then): do not wait for the node's word
    #[arg(long)]
    pub force: bool,
    /// What becomes of the objects that the deleted ones own
    #[arg(long, value_enum, default_value = "background", value_name = "HOW")]
    pub cascade: Cascade,
    /// Wait until the objects are gone; `false` does not
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub wait: bool,
    /// How long to wait at most; 0 is without end
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// No error if an object does not exist
    #[arg(long)]
    pub ignore_not_found: bool,
    /// Change nothing: only show what would happen
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    pub dry_run: DryRun,
}

/// What becomes of the objects that the deleted ones own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Cascade {
    /// They are deleted afterwards
    Background,
    /// They are deleted first
    Foreground,
    /// They stay
    Orphan,
}

/// `skiff cordon` and `skiff uncordon`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CordonArgs {
    /// The nodes
    #[arg(required = true, value_name = "NODE")]
    pub nodes: Vec<String>,
}

/// `skiff drain`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DrainArgs {
    /// The nodes
    #[arg(required = true, value_name = "NODE")]
    pub nodes: Vec<String>,
    /// Also pods that no controller will replace
    #[arg(long)]
    pub force: bool,
    /// Also pods with emptyDir volumes, whose content is lost
    #[arg(long)]
    pub delete_emptydir_data: bool,
    /// Leave pods of DaemonSets where they are
    #[arg(long)]
    pub ignore_daemonsets: bool,
    /// Seconds that pods have to end; their own if absent
    #[arg(long, value_name = "SECONDS")]
    pub grace_period: Option<u32>,
    /// How long to wait at most; 0 is without end
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Change nothing: only show what would happen
    #[arg(long, value_enum, default_value_t, value_name = "WHERE")]
    pub dry_run: DryRun,
}

/// `skiff label` and `skiff annotate`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ChangeArgs {
    /// TYPE NAME… or TYPE/NAME…, then KEY=VALUE to set and KEY- to remove
    #[arg(
        required = true,
        value_name = "TYPE/NAME KEY=VALUE",
        allow_hyphen_values = false
    )]
    pub items: Vec<String>,
    /// Objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
    /// All objects of the type
    #[arg(long, conflicts_with = "selector")]
    pub all: bool,
    /// Also change keys that have another value now
    #[arg(long)]
    pub overwrite: bool,
}

/// `skiff edit`.
#[derive(Clone, Debug, Args)]
pub(crate) struct EditArgs {
    #[command(flatten)]
    pub selection: Selection,
}
