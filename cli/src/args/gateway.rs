//! The gateway: flags of the commands that may run one, and the verbs about it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use skiff_gateway::{Config, Listen};

use super::VersionFormat;

/// Flags of `dev`, `server` and `agent`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct GatewayArgs {
    /// Serve Ingresses at HTTP_ADDR[,HTTPS_ADDR]; at 0.0.0.0:80,0.0.0.0:443 if none is named
    #[arg(long, help_heading = "Gateway", value_name = "ADDR", num_args = 0..=1, require_equals = true,
        default_missing_value = "", env = "SKIFF_GATEWAY")]
    pub gateway: Option<Listen>,
    /// Where the gateway shows /metrics and /status, to this host only
    #[arg(
        long,
        help_heading = "Gateway",
        value_name = "ADDR:PORT",
        requires = "gateway",
        env = "SKIFF_GATEWAY_ADMIN"
    )]
    pub gateway_admin: Option<SocketAddr>,
    /// Write each request of the gateway as a line of JSON to this file; - is standard output
    #[arg(
        long,
        help_heading = "Gateway",
        value_name = "FILE",
        requires = "gateway",
        env = "SKIFF_GATEWAY_ACCESS_LOG"
    )]
    pub gateway_access_log: Option<PathBuf>,
}

impl GatewayArgs {
    /// The gateway that is wanted, if any, on the host of this name.
    pub(crate) fn config(&self, name: &str) -> Option<Config> {
        let mut config = Config::new(name.to_owned(), self.gateway?);
        config.admin = self.gateway_admin;
        config.access_log.clone_from(&self.gateway_access_log);
        Some(config)
    }
}

/// The verbs about gateways.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum GatewayCommand {
    /// Show which gateways run
    Status(GatewayShowArgs),
    /// Show which path leads to which service, and what is wrong with Ingresses
    Routes(GatewayShowArgs),
}

/// How it is shown.
#[derive(Clone, Debug, Args)]
pub(crate) struct GatewayShowArgs {
    /// Print it in another form than a table
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<VersionFormat>,
}
