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
//! | node | `engine`, the watch of its object | the node's object |
//! | renewal | the certificate's life | `identity` |
//!
//! Losing the servers stops none of the work on pods; losing the engine stops only that.

mod renew;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use skiff_client::{Client, ClientConfig, Server, Trust, Writes, tls};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::chain::Chain;
use crate::config::AgentConfig;
use crate::desired::{self, Desired};
use crate::directory::{Directory, Known};
use crate::events;
use crate::fields::Place;
use crate::identity::{Home, Identity, IdentityError, wall_clock};
use crate::join::{self, JoinError};
use crate::memory::Failures;
use crate::node::{Facts, NodeKeeper};
use crate::probe::Probes;
use crate::reconcile::{EngineState, Reconciler, View};
use crate::runtime::{EngineInfo, Runtime};
use crate::servers::Servers;
use crate::statuses::Statuses;
use crate::token::{JoinToken, sha256_hex};
use crate::tunnel::Tunnel;
use crate::volumes::Volumes;
use crate::work::Tools;

/// An engine that comes up after the agent is found within this.
const ENGINE_RETRY: Duration = Duration::from_secs(1);

/// Images pulled at once: more of them share the same wire.
const PULLS_MAX: usize = 3;

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
    let client = client(servers.all(), &identity)?;
    let facts = Facts::read(&config, agent_id, engine);
    tracing::info!(node = facts.name, ip = ?facts.ip, "agent begins");
    let mut agent = Agent {
        config,
        runtime,
        client,
        facts,
        tasks: JoinSet::new(),
    };
    let (known, identity) = watch::channel(Arc::new(identity));
    agent.start(identity, servers, &home, &shutdown);
    let renewal = renew::Renewal {
        client: agent.client.clone(),
        home,
        known,
    };
    let node = agent.config.name.clone();
    agent.tasks.spawn(async move { renewal.run(&node).await });
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        Some(ended) = agent.tasks.join_next() => Err(AgentError::Ended(match ended {
            Ok(()) => "a task returned".into(),
            Err(error) => error.to_string(),
        })),
    }
}

/// The name that this cluster's containers have on an Engine that several clusters may share:
/// from the CA that the agent joined, or that its token names.
///
/// # Errors
/// [`AgentError`] if the agent has neither, or the data directory cannot be read.
pub fn instance(config: &AgentConfig) -> Result<String, AgentError> {
    /// Hex digits of the CA's hash: enough for the clusters that ever meet on one Engine.
    const DIGITS: usize = 6;
    config.check()?;
    let hash = match Home::open(&config.data_dir)?.identity(&config.name)? {
        Some(identity) => {
            let chain = tls::certificates("CA", identity.ca.as_bytes()).map_err(AgentError::Tls)?;
            chain.first().map(|ca| sha256_hex(ca)).unwrap_or_default()
        }
        None => token(config)?.ca_hash().to_owned(),
    };
    Ok(format!("skiff-{}", hash.get(..DIGITS).unwrap_or("")))
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

/// Waits for the engine, and makes ready what every pod needs.
async fn engine(runtime: &dyn Runtime) -> EngineInfo {
    let mut told = false;
    loop {
        let asked = async {
            let info = runtime.info().await?;
            runtime.prepare().await?;
            Ok::<_, crate::runtime::RuntimeError>(info)
        };
        match asked.await {
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

struct Agent {
    config: AgentConfig,
    runtime: Arc<dyn Runtime>,
    client: Client,
    facts: Facts,
    tasks: JoinSet<()>,
}

impl Agent {
    fn start(
        &mut self,
        identity: watch::Receiver<Arc<Identity>>,
        servers: Known,
        home: &Home,
        stop: &CancellationToken,
    ) {
        let wake = Arc::new(Notify::new());
        let (view, shown) = watch::channel(View::default());
        let (engine, engine_state) = watch::channel(EngineState::None);
        self.start_reconciler(&wake, view, engine, stop);
        let (connected, links) = watch::channel(BTreeSet::new());
        let tunnel = Arc::new(Tunnel {
            agent_id: self.facts.agent_id.clone(),
            identity,
            heartbeat: self.config.heartbeat,
            runtime: Arc::clone(&self.runtime),
            view: shown,
            connected,
        });
        let (known, servers) = watch::channel(Arc::new(servers));
        self.tasks.spawn(tunnel.keep_all(servers));
        let directory = Directory {
            client: self.client.clone(),
            home: home.clone(),
            known,
        };
        self.tasks.spawn(directory.run(links.clone()));
        let keeper = NodeKeeper {
            client: self.client.clone(),
            facts: self.facts.clone(),
            engine: engine_state,
        };
        let until = stop.clone();
        self.tasks
            .spawn(async move { keeper.run(links, until).await });
        self.tasks.spawn(listen(Arc::clone(&self.runtime), wake));
    }

    fn start_reconciler(
        &mut self,
        wake: &Arc<Notify>,
        view: watch::Sender<View>,
        engine: watch::Sender<EngineState>,
        stop: &CancellationToken,
    ) {
        let servers: Arc<dyn Servers> = Arc::new(self.client.clone());
        let (events, outbox) = events::channel();
        let (told, desired) = watch::channel(Desired::default());
        let statuses = Statuses::default();
        let cpus = usize::try_from(self.facts.engine.cpus).unwrap_or(1).max(1);
        let starts = self.config.starts_max.unwrap_or(cpus * 2).max(1);
        let tools = Tools {
            runtime: Arc::clone(&self.runtime),
            servers: Arc::clone(&servers),
            volumes: Volumes::new(&self.config.data_dir),
            events: events.clone(),
            starts: Semaphore::new(starts),
            pulls: Semaphore::new(PULLS_MAX),
            place: Place {
                node: self.facts.name.clone(),
                host_ip: self.facts.ip,
                pod_ip: None,
                cpu_millicores: self.facts.cpu_millicores,
                memory_bytes: self.facts.memory_bytes,
            },
            failures: Mutex::new(Failures::default()),
            clock: Arc::new(wall_clock),
        };
        let reconciler = Reconciler {
            tools: Arc::new(tools),
            desired,
            wake: Arc::clone(wake),
            probes: Probes::new(Arc::clone(&self.runtime), events, Arc::clone(wake)),
            statuses: statuses.clone(),
            scheme: self.facts.engine.runtime_name.clone(),
            view,
            engine,
        };
        self.tasks.spawn(reconciler.run(stop.clone()));
        let sender = Arc::clone(&servers);
        self.tasks.spawn(async move { statuses.send(sender).await });
        let node = self.facts.name.clone();
        self.tasks
            .spawn(async move { events::send(outbox, servers, &node).await });
        let (client, node) = (self.client.clone(), self.facts.name.clone());
        self.tasks
            .spawn(async move { desired::follow(client, &node, &told).await });
    }
}

/// Turns what the engine reports into wake-ups; an engine that comes back is one as well.
async fn listen(runtime: Arc<dyn Runtime>, wake: Arc<Notify>) {
    loop {
        let mut events = runtime.events();
        while let Some(Ok(_)) = events.next().await {
            wake.notify_one();
        }
        tokio::time::sleep(ENGINE_RETRY).await;
        wake.notify_one();
    }
}
