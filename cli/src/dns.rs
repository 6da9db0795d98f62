//! `skiff dns`: a node's resolver as a process of its own. Agents start it; people need not.

use skiff_network::dns::process::{ProcessConfig, run as answer};

use crate::args::DnsArgs;
use crate::error::CliError;
use crate::process;

/// Answers until there is nobody left to answer to, or until it is stopped.
pub(crate) async fn run(args: DnsArgs) -> Result<(), CliError> {
    // Out of the agent's session: what ends the agent, or its terminal, does not end names. It fails
    // where a shell has made it the first of a group, and then there is nothing to leave.
    rustix::process::setsid().ok();
    process::start_log(args.log_json, "info");
    let config = ProcessConfig {
        listen: args.listen,
        dir: args.dir,
        domain: args.cluster_domain,
        ranges: args.range,
        resolv_conf: args.resolv_conf,
    };
    let doing = format!("cannot answer names at {}", config.listen);
    tokio::select! {
        ended = answer(config) => ended.map_err(|source| process::process(doing, source)),
        stopped = process::until_stopped() => stopped,
    }
}
