//! `skiff dev`: a server and some nodes on this machine's Docker Engine, in one process.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use skiff_control_plane::server::{Server, ServerConfig};
use skiff_node_agent::AgentConfig;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::args::{ApplyArgs, Connection, DevArgs, DryRun, Files};
use crate::error::CliError;
use crate::{agent, apply, connect, gateway, print, process};

/// The log of the parts goes to people who look at pods, not at the parts.
const LOG: &str = "warn";

/// Runs until it is stopped; the containers go on, and are adopted at the next start.
pub(crate) async fn run(args: DevArgs) -> Result<(), CliError> {
    process::start_log(args.log_json, LOG);
    let data_dir = connect::data_dir(args.data_dir.as_deref());
    let config = ServerConfig {
        pod_cidr: args.pod_cidr,
        service_cidr: args.service_cidr,
        ..ServerConfig::new(data_dir.clone(), args.listen)
    };
    let server = Server::start(config)
        .await
        .map_err(|source| process::process("cannot start the server", source))?;
    let stop = CancellationToken::new();
    let mut nodes = start_nodes(&args, &data_dir, &server, &stop).await?;
    let gateway = match args.gateway.config("dev") {
        None => None,
        Some(gateway) => Some(gateway::start(gateway, &server).await?),
    };
    greet(&server, args.nodes)?;
    let kubeconfig = server.kubeconfig.clone();
    let work = async {
        apply_all(&kubeconfig, args.apply).await?;
        process::until_stopped().await
    };
    let ended = tokio::select! {
        ended = Box::pin(work) => ended,
        Some(node) = nodes.join_next() => {
            node.unwrap_or_else(|source| Err(process::process("a node's task failed", source)))
        }
    };
    if let Some(gateway) = gateway {
        gateway.stop().await;
    }
    stop.cancel();
    while nodes.join_next().await.is_some() {}
    server.stop().await;
    ended
}

async fn start_nodes(
    args: &DevArgs,
    data_dir: &Path,
    server: &Server,
    stop: &CancellationToken,
) -> Result<JoinSet<Result<(), CliError>>, CliError> {
    let path = server.agent_token.clone();
    let token = tokio::fs::read_to_string(&path)
        .await
        .map_err(|source| CliError::File {
            doing: "read",
            path,
            source,
        })?;
    let address = server
        .url
        .parse()
        .map_err(|source| process::process("cannot use the server's address", source))?;
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    // The Engine takes about two starts a processor at once, whoever asks.
    let starts_max = (2 * processors / usize::from(args.nodes)).max(1);
    let mut nodes = JoinSet::new();
    for number in 1..=args.nodes {
        let name = format!("node-{number}");
        let dir = data_dir.join("agents").join(&name);
        let mut config = AgentConfig::new(vec![Clone::clone(&address)], dir, name);
        config.token = Some(token.clone());
        config.starts_max = Some(starts_max);
        config.network = args.network;
        let (host, stop) = (args.docker_host.clone(), stop.clone());
        nodes.spawn(async move { agent::run_node(config, &host, stop).await });
    }
    Ok(nodes)
}

fn greet(server: &Server, nodes: u16) -> Result<(), CliError> {
    let kubeconfig = server.kubeconfig.display();
    let nodes = if nodes == 1 {
        "1 node".to_owned()
    } else {
        format!("{nodes} nodes")
    };
    print::text(&format!(
        "Skiff is running at {} with {nodes}.\n\n  export KUBECONFIG={kubeconfig}\n  \
         kubectl get nodes\n  kubectl apply -f manifests/\n\n\
         `skiff get nodes` works as well. Ctrl-C stops the server; containers go on.\n",
        server.url
    ))
}

async fn apply_all(kubeconfig: &Path, files: Vec<PathBuf>) -> Result<(), CliError> {
    if files.is_empty() {
        return Ok(());
    }
    let connection = Connection {
        kubeconfig: Some(kubeconfig.to_owned()),
        ..Connection::default()
    };
    let cluster = connect::connect(&connection)?;
    let apply = ApplyArgs {
        files: Files { files },
        dry_run: DryRun::None,
        wait: false,
        timeout: Duration::ZERO,
    };
    apply::run(&cluster, &apply).await
}
