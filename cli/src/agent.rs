//! `skiff agent`: this machine as a node, until it is stopped. Its containers go on without it.

use std::sync::Arc;

use skiff_node_agent::runtime::docker::{DockerConfig, DockerRuntime};
use skiff_node_agent::{AgentConfig, instance};
use tokio_util::sync::CancellationToken;

use crate::args::AgentArgs;
use crate::error::CliError;
use crate::process;

/// Runs until it is stopped.
pub(crate) async fn run(args: AgentArgs) -> Result<(), CliError> {
    process::start_log(args.log_json, "info");
    let name = args.name.unwrap_or_else(AgentConfig::default_name);
    let gateway = args.gateway.config(&name);
    let mut config = AgentConfig::new(args.server, args.data_dir, name);
    config.gateway = gateway;
    config.token = args.token;
    config.node_ip = args.node_ip;
    config.resolv_conf = args.resolv_conf;
    config.network = args.network;
    config.labels = args.labels.into_iter().collect();
    let stop = CancellationToken::new();
    let mut node = Box::pin(run_node(config, &args.docker_host, stop.clone()));
    tokio::select! {
        ended = &mut node => return ended,
        stopped = process::until_stopped() => stopped?,
    }
    stop.cancel();
    // Requests that the gateway has taken in come to their end.
    node.await
}

/// Runs a node on a Docker Engine until `stop`.
pub(crate) async fn run_node(
    config: AgentConfig,
    docker_host: &str,
    stop: CancellationToken,
) -> Result<(), CliError> {
    let doing = format!("cannot run node {}", config.name);
    let failed = |source| process::process(doing.as_str(), source);
    let engine = DockerConfig {
        host: docker_host.to_owned(),
        instance: instance(&config).map_err(failed)?,
        ..DockerConfig::new(config.name.clone())
    };
    let runtime = DockerRuntime::connect(engine).map_err(|source| {
        process::process(
            format!("cannot find the Docker Engine at {docker_host}; is it installed and started?"),
            source,
        )
    })?;
    let running = skiff_node_agent::run(config, Arc::new(runtime), stop);
    Box::pin(running).await.map_err(failed)
}
