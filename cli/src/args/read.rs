//! The verbs that change nothing.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::parse_duration;

/// Which objects of which kinds.
#[derive(Clone, Debug, Args)]
pub(crate) struct Selection {
    /// TYPE[,TYPE…] [NAME…], or TYPE/NAME…; `all` for the usual types
    #[arg(value_name = "TYPE", required = true)]
    pub resources: Vec<String>,
    /// Only objects with these labels: app=web,tier!=db,env in (a,b)
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,
}

/// `skiff get`.
#[derive(Clone, Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only objects with these field values: status.phase=Running,spec.nodeName!=n1
    #[arg(long, value_name = "FIELDS")]
    pub field_selector: Option<String>,
    /// json, yaml, wide, name or jsonpath={.items[*].metadata.name}
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<OutputFormat>,
    /// Go on showing changes
    #[arg(short, long)]
    pub watch: bool,
    /// Without the line of headings
    #[arg(long)]
    pub no_headers: bool,
    /// With the labels in a last column
    #[arg(long)]
    pub show_labels: bool,
    /// No error if an object named does not exist
    #[arg(long)]
    pub ignore_not_found: bool,
}

/// How objects are printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    Json,
    Yaml,
    Wide,
    Name,
    JsonPath(String),
}

impl std::str::FromStr for OutputFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "yaml" => Ok(Self::Yaml),
            "wide" => Ok(Self::Wide),
            "name" => Ok(Self::Name),
            _ => match text.strip_prefix("jsonpath=") {
                Some(path) => Ok(Self::JsonPath(path.to_owned())),
                None => Err(format!(
                    "no output format {text:?}; use json, yaml, wide, name or jsonpath=TEMPLATE"
                )),
            },
        }
    }
}

/// `skiff describe`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

/// `skiff logs`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogsArgs {
    /// POD, pod/POD, deploy/NAME or another TYPE/NAME that has pods; then perhaps a container
    #[arg(value_name = "POD", num_args = 0..=2, required_unless_present = "selector")]
    pub target: Vec<String>,
    /// Pods with these labels
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "target")]
    pub selector: Option<String>,
    /// The container; else the annotation kubectl.kubernetes.io/default-container, else the first
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// All containers of the pods
    #[arg(long, conflicts_with = "container")]
    pub all_containers: bool,
    /// Go on showing new lines
    #[arg(short, long)]
    pub follow: bool,
    /// Of the container's previous life
    #[arg(short, long)]
    pub previous: bool,
    /// Only this many lines at the end; all if absent, 10 with --selector
    #[arg(long, value_name = "LINES")]
    pub tail: Option<i64>,
    /// Only lines newer than this: 30s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub since: Option<Duration>,
    /// Each line with its time
    #[arg(long)]
    pub timestamps: bool,
    /// Each line with its pod and container
    #[arg(long)]
    pub prefix: bool,
}

/// `skiff events`.
#[derive(Clone, Debug, Args)]
pub(crate) struct EventsArgs {
    /// Of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Only about this object, TYPE/NAME
    #[arg(long = "for", value_name = "TYPE/NAME")]
    pub about: Option<String>,
    /// Only of these types: Normal, Warning
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    pub types: Vec<String>,
    /// Go on showing new events
    #[arg(short, long)]
    pub watch: bool,
}

/// `skiff wait`.
#[derive(Clone, Debug, Args)]
pub(crate) struct WaitArgs {
    #[command(flatten)]
    pub selection: Selection,
    /// condition=NAME[=VALUE], delete, or jsonpath=PATH[=VALUE]
    #[arg(long = "for", value_name = "FACT", required = true)]
    pub fact: String,
    /// All objects of the types
    #[arg(long, conflicts_with = "selector")]
    pub all: bool,
    /// How long to wait at most; 0 looks once, -1 waits without end
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration,
        allow_hyphen_values = true)]
    pub timeout: Duration,
}

/// `skiff version`.
#[derive(Clone, Debug, Args)]
pub(crate) struct VersionArgs {
    /// Only of this program; asks no server
    #[arg(long)]
    pub client: bool,
    /// json or yaml
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<VersionFormat>,
}

/// The forms of `skiff version -o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VersionFormat {
    Json,
    Yaml,
}
