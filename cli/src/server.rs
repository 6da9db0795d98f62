//! `skiff server`: a server on this machine, until it is stopped.

use skiff_control_plane::joining::Invitation;
use skiff_control_plane::server::{Server, ServerConfig};
use skiff_node_agent::AgentConfig;

use crate::args::ServerArgs;
use crate::error::CliError;
use crate::{gateway, print, process};

/// Runs until it is stopped.
pub(crate) async fn run(args: ServerArgs) -> Result<(), CliError> {
    process::start_log(args.log_json, "info");
    let name = args.name.clone().unwrap_or_else(AgentConfig::default_name);
    let gateway = args.gateway.config(&name);
    let config = ServerConfig {
        advertise: args.advertise,
        name: args.name,
        invitation: Invitation {
            servers: args.join,
            token: args.token,
        },
        pod_cidr: args.pod_cidr,
        service_cidr: args.service_cidr,
        ..ServerConfig::new(args.data_dir, args.listen)
    };
    let server = Server::start(config)
        .await
        .map_err(|source| process::process("cannot start the server", source))?;
    print::line(&format!("The API is at {}", server.url))?;
    print::line(&format!(
        "  kubeconfig:       {}",
        server.kubeconfig.display()
    ))?;
    print::line(&format!(
        "  token of agents:  {}",
        server.agent_token.display()
    ))?;
    print::line(&format!(
        "  token of servers: {}",
        server.server_token.display()
    ))?;
    let gateway = match gateway {
        None => None,
        Some(gateway) => Some(gateway::start(gateway, &server).await?),
    };
    process::until_stopped().await?;
    if let Some(gateway) = gateway {
        gateway.stop().await;
    }
    server.stop().await;
    Ok(())
}
