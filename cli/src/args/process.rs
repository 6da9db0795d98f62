//! The commands that run until they are stopped: `dev`, `server`, `agent`, and `dns`, which agents
//! start.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use skiff_client::Server;
use skiff_control_plane::network::Range;
use skiff_network::catalog::Cidr;
use skiff_node_agent::config::RESOLV_CONF;

use super::GatewayArgs;
use skiff_network::routes::Mode;

/// `skiff dev`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DevArgs {
    /// How many nodes to run on this machine's Docker Engine
    #[arg(long, default_value_t = 1, value_name = "N", env = "SKIFF_NODES",
        value_parser = clap::value_parser!(u16).range(1..=64))]
    pub nodes: u16,
    /// Where the state is kept; ./.skiff if it exists, else ~/.skiff
    #[arg(long, value_name = "DIR", env = "SKIFF_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// The address of the API
    #[arg(
        long,
        default_value = "127.0.0.1:6443",
        value_name = "ADDR:PORT",
        env = "SKIFF_LISTEN"
    )]
    pub listen: SocketAddr,
    /// The Docker Engine that runs the containers
    #[arg(long, default_value = DOCKER_HOST, value_name = "URL", env = "SKIFF_DOCKER_HOST")]
    pub docker_host: String,
    /// How pods reach those of other nodes: auto, direct (routes) or vxlan
    #[arg(long, default_value_t = Mode::Auto, value_name = "MODE", env = "SKIFF_NETWORK")]
    pub network: Mode,
    /// Manifests to apply once the API is up; may be repeated
    #[arg(long, value_name = "FILE", num_args = 1.., env = "SKIFF_APPLY", value_delimiter = ',')]
    pub apply: Vec<PathBuf>,
    /// The gateway, if it runs one.
    #[command(flatten)]
    pub gateway: GatewayArgs,
    /// The addresses of pods; decided when the cluster is made [default: 10.42.0.0/16]
    #[arg(long, value_name = "CIDR", env = "SKIFF_POD_CIDR")]
    pub pod_cidr: Option<Range>,
    /// The addresses of services; decided when the cluster is made [default: 10.43.0.0/16]
    #[arg(long, value_name = "CIDR", env = "SKIFF_SERVICE_CIDR")]
    pub service_cidr: Option<Range>,
    /// Log as JSON, one object per line
    #[arg(long, env = "SKIFF_LOG_JSON")]
    pub log_json: bool,
}

/// Where Docker listens unless told otherwise.
const DOCKER_HOST: &str = "unix:///var/run/docker.sock";

/// `skiff server`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    /// Where the state and the keys are kept
    #[arg(long, value_name = "DIR", env = "SKIFF_DATA_DIR")]
    pub data_dir: PathBuf,
    /// The address to listen on
    #[arg(
        long,
        default_value = "0.0.0.0:6443",
        value_name = "ADDR:PORT",
        env = "SKIFF_LISTEN"
    )]
    pub listen: SocketAddr,
    /// The address that others reach this server at, HOST:PORT
    #[arg(long, value_name = "HOST:PORT", env = "SKIFF_ADVERTISE")]
    pub advertise: Option<String>,
    /// Its name among the servers; the host's name if absent
    #[arg(long, value_name = "NAME", env = "SKIFF_NAME")]
    pub name: Option<String>,
    /// A server of the cluster to join, https://HOST:PORT[,…]; not needed again after the first start
    #[arg(long, value_name = "URL", value_delimiter = ',', env = "SKIFF_JOIN")]
    pub join: Vec<String>,
    /// The token for joining: server.token of a running server, or from `skiff cluster add`
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SKIFF_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// The gateway, if it runs one.
    #[command(flatten)]
    pub gateway: GatewayArgs,
    /// The addresses of pods; decided when the cluster is made [default: 10.42.0.0/16]
    #[arg(long, value_name = "CIDR", env = "SKIFF_POD_CIDR")]
    pub pod_cidr: Option<Range>,
    /// The addresses of services; decided when the cluster is made [default: 10.43.0.0/16]
    #[arg(long, value_name = "CIDR", env = "SKIFF_SERVICE_CIDR")]
    pub service_cidr: Option<Range>,
    /// Log as JSON, one object per line
    #[arg(long, env = "SKIFF_LOG_JSON")]
    pub log_json: bool,
}

/// `skiff agent`. The servers are `--server` of the connection.
#[derive(Clone, Debug, Args)]
pub(crate) struct AgentArgs {
    /// The servers, https://HOST:PORT[,…]
    #[arg(
        long,
        required = true,
        value_name = "URL",
        value_delimiter = ',',
        env = "SKIFF_SERVER"
    )]
    pub server: Vec<Server>,
    /// The token for joining: agent.token of a server; not needed again after the first start
    #[arg(
        long,
        value_name = "TOKEN",
        env = "SKIFF_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// Where the node's certificate and the pods' files are kept
    #[arg(long, value_name = "DIR", env = "SKIFF_DATA_DIR")]
    pub data_dir: PathBuf,
    /// The node's name; the host's name if absent
    #[arg(long, value_name = "NODE", env = "SKIFF_NAME")]
    pub name: Option<String>,
    /// The node's address; that of the route to the servers if absent
    #[arg(long, value_name = "IP", env = "SKIFF_NODE_IP")]
    pub node_ip: Option<IpAddr>,
    /// The Docker Engine that runs the containers
    #[arg(long, default_value = DOCKER_HOST, value_name = "URL", env = "SKIFF_DOCKER_HOST")]
    pub docker_host: String,
    /// The file that names the servers for names outside the cluster
    #[arg(
        long,
        default_value = RESOLV_CONF,
        value_name = "FILE",
        env = "SKIFF_RESOLV_CONF"
    )]
    pub resolv_conf: PathBuf,
    /// How pods reach those of other nodes: auto, direct (routes) or vxlan
    #[arg(long, default_value_t = Mode::Auto, value_name = "MODE", env = "SKIFF_NETWORK")]
    pub network: Mode,
    /// Labels of the node, KEY=VALUE; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", env = "SKIFF_LABEL", value_delimiter = ',',
        value_parser = parse_label)]
    pub labels: Vec<(String, String)>,
    /// The gateway, if it runs one.
    #[command(flatten)]
    pub gateway: GatewayArgs,
    /// Log as JSON, one object per line
    #[arg(long, env = "SKIFF_LOG_JSON")]
    pub log_json: bool,
}

/// `skiff dns`, which agents start.
#[derive(Clone, Debug, Args)]
pub(crate) struct DnsArgs {
    /// The address to answer at
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: SocketAddr,
    /// Where the agent finds this process
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The cluster's domain
    #[arg(long, value_name = "DOMAIN")]
    pub cluster_domain: String,
    /// A range of addresses of services or pods; may be repeated
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub range: Vec<Cidr>,
    /// The file that names the servers for all other names
    #[arg(long, value_name = "FILE")]
    pub resolv_conf: PathBuf,
    /// Log as JSON, one object per line
    #[arg(long)]
    pub log_json: bool,
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not a label; write KEY=VALUE")),
    }
}
