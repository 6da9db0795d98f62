//! Puts the agent together: identity, then the tasks and the channels between them.
//!
//! | task | in | out |
//! |---|---|---|
//! | desired | the servers' watch | `desired` |
//! | reconciler | `desired`, the runtime's list, `wake` | work, statuses, `view`, `engine` |
//! | runtime events | the engine | `wake` |
//! | statuses, events | their queues | the servers |
//! | directory | the servers' list of themselves | `known` |
//! | tunnels | `known`, requests of the servers | `connected`, answers from `view` and the runtime |
//! | catalog | the servers' watches of nodes, services, endpoints | `catalog` |
//! | network | `catalog`, the engine, the kernel | bridge, routes, `network` |
//! | node | `engine`, `network`, the watch of its object | the node's object |
//! | renewal | the certificate's life | `identity` |
//! | gateway | Ingresses, the catalog; threads of its own | requests to pods |
//!
//! Losing the servers stops none of the work on pods; losing the engine stops only that. When the
//! machine's address has become another one, all tasks but those of the catalog, the renewal and the
//! gateway begin anew with it.

mod gateway;
mod renew;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use skiff_client::{Client, ClientConfig, Server, Trust, Writes, tls};
use skiff_network::routes::Overlay;
use skiff_network::{Catalog, follow};
use tokio::sync::watch;
use tokio::task::{self, JoinSet};
use tokio_util::sync::CancellationToken;

use self::tasks::Agent;
use crate::chain::Chain;
use crate::config::AgentConfig;
use crate::directory::Known;
use crate::identity::{Home, Identity, IdentityError};
use crate::join::{self, JoinError};
use crate::node::{self, Facts};
use crate::runtime::{EngineInfo, Runtime};
use crate::token::{JoinToken, sha256_hex};

/// An engine that comes up after the agent is found within this.
const ENGINE_RETRY: Duration = Duration::from_secs(1);

/// How long a server that lives may take to answer; another one is asked after this.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The data directory.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Joining the cluster.
    #[error(transparent)]
    Join(Box<JoinError>),
    /// The node's certificate is of no use.
    #[error("use the node's certificate")]
    Tls(#[source] skiff_client::TlsError),
    /// The client cannot be made.
    #[error("set up the connection to the servers")]
    Client(#[source] skiff_client::ConfigError),
    /// The node's gateway cannot begin.
    #[error("start the gateway")]
    Gateway(#[source] skiff_gateway::GatewayError),
    /// A part of the agent ended, which none should.
    #[error("a part of the agent ended: {0}")]
    Ended(String),
}

impl From<JoinError> for AgentError {
    fn from(error: JoinError) -> Self {
        Self::Join(Box::new(error))
    }
}

/// Runs an agent until `shutdown`; the containers go on without it.
///
/// # Errors
/// [`AgentError`] if it cannot begin. Once it runs, lost servers and engines are waited for.
pub async fn run(
    mut config: AgentConfig,
    runtime: Arc<dyn Runtime>,
    shutdown: CancellationToken,
) -> Result<(), AgentError> {
    config.check()?;
    // Before anything else: a port that is taken must be noticed at once.
    let gateway = gateway::open(&config).await?;
    let home = Home::open(&config.data_dir)?;
    let servers = Known::new(config.servers.clone(), home.servers()?);
    config.servers = servers.given_first();
    let begin = async {
        let agent_id = home.agent_id()?;
        let identity = identity(&config, &home, &agent_id).await?;
        let engine = engine(&*runtime).await;
        Ok::<_, AgentError>((agent_id, identity, engine))
    };
    let (agent_id, identity, engine) = tokio::select! {
        begun = begin => begun?,
        () = shutdown.cancelled() => return Ok(()),
    };
    let overlay = Overlay::of(&instance_of(&identity)?);
    let client = client(servers.all(), &identity)?;
    let facts = Facts::read(&config, agent_id, engine, node::address(&config));
    let (known, identity) = watch::channel(Arc::new(identity));
    let renewal = renew::Renewal {
        client: client.clone(),
        home: home.clone(),
        known,
    };
    let name = config.name.clone();
    let (shown, catalog) = watch::channel(Arc::new(Catalog::default()));
    let mut lasting = JoinSet::new();
    lasting.spawn(follow::follow(client.clone(), shown));
    lasting.spawn(async move { renewal.run(&name).await });
    let gateway = gateway.map(|opened| gateway::start(opened, client.clone(), catalog.clone()));
    let mut agent = Agent {
        config,
        runtime,
        client,
        home,
        facts,
        overlay,
        identity,
        servers: watch::Sender::new(Arc::new(servers)),
        catalog,
        gateway: gateway.as_ref().map(|running| running.applied.clone()),
        tasks: JoinSet::new(),
    };
    let ended = keep(&mut agent, &mut lasting, &shutdown).await;
    if let Some(gateway) = gateway {
        gateway.stop().await;
    }
    ended
}

/// Runs an agent until `shutdown`: begins anew whenever the machine has another address, as a new
/// agent on this machine would. The containers are adopted, and no client of the gateway is cut off.
async fn keep(
    agent: &mut Agent,
    lasting: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) -> Result<(), AgentError> {
    let servers = agent.servers.subscribe();
    loop {
        tracing::info!(node = agent.facts.name, ip = ?agent.facts.ip, "agent begins");
        agent.start(shutdown);
        let address = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            Some(ended) = agent.tasks.join_next() => return Err(early(ended)),
            Some(ended) = lasting.join_next() => return Err(early(ended)),
            address = node::other_address(&agent.config, &servers, agent.facts.ip) => address,
        };
        tracing::warn!(
            old = ?agent.facts.ip,
            new = %address,
            "this machine has another address; beginning anew with it"
        );
        agent.tasks.shutdown().await;
        let Facts {
            agent_id, engine, ..
        } = agent.facts.clone();
        agent.facts = Facts::read(&agent.config, agent_id, engine, Some(address));
    }
}

/// A part that should have gone on.
fn early(ended: Result<(), task::JoinError>) -> AgentError {
    AgentError::Ended(match ended {
        Ok(()) => "a task returned".into(),
        Err(error) => error.to_string(),
    })
}

/// The name that this cluster's containers have on an Engine that several clusters may share:
/// from the CA that the agent joined, or that its token names.
///
/// # Errors
/// [`AgentError`] if the agent has neither, or the data directory cannot be read.
pub fn instance(config: &AgentConfig) -> Result<String, AgentError> {
    config.check()?;
    match Home::open(&config.data_dir)?.identity(&config.name)? {
        Some(identity) => instance_of(&identity),
        None => Ok(named_after(token(config)?.ca_hash())),
    }
}

/// The same from an identity that is there.
fn instance_of(identity: &Identity) -> Result<String, AgentError> {
    let chain = tls::certificates("CA", identity.ca.as_bytes()).map_err(AgentError::Tls)?;
    let hash = chain.first().map(|ca| sha256_hex(ca)).unwrap_or_default();
    Ok(named_after(&hash))
}

fn named_after(ca_hash: &str) -> String {
    /// Hex digits of the CA's hash: enough for the clusters that ever meet on one Engine, and
    /// just what the number of a VXLAN network can hold.
    const DIGITS: usize = 6;
    format!("skiff-{}", ca_hash.get(..DIGITS).unwrap_or(""))
}

fn token(config: &AgentConfig) -> Result<JoinToken, JoinError> {
    let text = config.token.as_deref().ok_or(JoinError::NoToken)?;
    text.parse().map_err(JoinError::BadToken)
}

/// The identity of an earlier start, or a new one by the token.
async fn identity(
    config: &AgentConfig,
    home: &Home,
    agent_id: &str,
) -> Result<Identity, AgentError> {
    if let Some(identity) = home.identity(&config.name)? {
        return Ok(identity);
    }
    let token = token(config)?;
    let identity = join::join(&config.servers, &token, &config.name, agent_id).await?;
    home.keep(&identity)?;
    tracing::info!(node = config.name, "joined the cluster");
    Ok(identity)
}

/// Waits for the engine.
async fn engine(runtime: &dyn Runtime) -> EngineInfo {
    let mut told = false;
    loop {
        match runtime.info().await {
            Ok(info) => return info,
            Err(error) if told => tracing::debug!(error = %Chain(&error), "still no engine"),
            Err(error) => {
                told = true;
                tracing::error!(error = %Chain(&error), "no container engine; waiting for it");
            }
        }
        tokio::time::sleep(ENGINE_RETRY).await;
    }
}

fn client(servers: Vec<Server>, identity: &Identity) -> Result<Client, AgentError> {
    let trust = Trust::from_pem(identity.ca.as_bytes()).map_err(AgentError::Tls)?;
    let pair = identity.pair.as_bytes();
    let own = skiff_client::Identity::from_pem(pair, pair).map_err(AgentError::Tls)?;
    let mut client = ClientConfig::new(servers, trust);
    client.identity = Some(own);
    // All that an agent writes is guarded by a uid, or has a name of its own, or says what is and
    // not what has changed.
    client.writes = Writes::Repeatable;
    client.reply_timeout = ANSWER_MAX;
    client.user_agent = concat!("skiff-agent/", env!("CARGO_PKG_VERSION")).to_owned();
    Client::new(client).map_err(AgentError::Client)
}
