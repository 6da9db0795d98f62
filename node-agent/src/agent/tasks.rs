//! The tasks of an agent and the channels between them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use skiff_api::Revision;
use skiff_client::Client;
use skiff_network::Catalog;
use skiff_network::routes::Overlay;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ENGINE_RETRY;
use crate::config::AgentConfig;
use crate::desired::{self, Desired};
use crate::directory::{Directory, Known};
use crate::fields::Place;
use crate::identity::{Home, Identity, wall_clock};
use crate::memory::Failures;
use crate::network::{Isolation, Network, NetworkState};
use crate::node::{Facts, NodeKeeper};
use crate::probe::{Endings, Probes};
use crate::reconcile::{EngineState, Reconciler, View};
use crate::work::{Names, Tools};
use crate::{events, resolver, runtime::Runtime, servers::Servers};
use crate::{statuses::Statuses, tunnel::Tunnel, volumes::Volumes};

/// Images pulled at once: more of them share the same wire.
const PULLS_MAX: usize = 3;

/// An agent that knows who it is.
pub(super) struct Agent {
    pub(super) config: AgentConfig,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) client: Client,
    pub(super) home: Home,
    pub(super) facts: Facts,
    pub(super) overlay: Overlay,
    pub(super) identity: watch::Receiver<Arc<Identity>>,
    /// The servers, those included that they have named.
    pub(super) servers: watch::Sender<Arc<Known>>,
    /// Nodes, services, endpoints.
    pub(super) catalog: watch::Receiver<Arc<Catalog>>,
    /// The revision whose endpoints the node's gateway uses, if it runs one.
    pub(super) gateway: Option<watch::Receiver<Revision>>,
    /// All that begins anew when the facts are others.
    pub(super) tasks: JoinSet<()>,
}

/// What the reconciler hears from others.
struct Hears {
    wake: Arc<Notify>,
    network: watch::Receiver<NetworkState>,
    isolation: Isolation,
}

impl Agent {
    /// Starts the tasks that rest on the facts.
    pub(super) fn start(&mut self, stop: &CancellationToken) {
        let wake = Arc::new(Notify::new());
        let (view, shown) = watch::channel(View::default());
        let (engine, engine_state) = watch::channel(EngineState::None);
        let (network, rules, isolation) = self.start_network(&wake);
        let applied = match self.gateway.clone() {
            Some(gateway) => self.both(rules, gateway),
            None => rules,
        };
        let hears = Hears {
            wake: Arc::clone(&wake),
            network: network.clone(),
            isolation,
        };
        self.start_reconciler(hears, view, engine, stop);
        let (connected, links) = watch::channel(BTreeSet::new());
        let tunnel = Arc::new(Tunnel {
            agent_id: self.facts.agent_id.clone(),
            identity: self.identity.clone(),
            heartbeat: self.config.heartbeat,
            runtime: Arc::clone(&self.runtime),
            view: shown,
            applied,
            connected,
        });
        self.tasks.spawn(tunnel.keep_all(self.servers.subscribe()));
        let directory = Directory {
            client: self.client.clone(),
            home: self.home.clone(),
            known: self.servers.clone(),
        };
        self.tasks.spawn(directory.run(links.clone()));
        let keeper = NodeKeeper {
            client: self.client.clone(),
            facts: self.facts.clone(),
            engine: engine_state,
            network,
        };
        let until = stop.clone();
        self.tasks
            .spawn(async move { keeper.run(links, until).await });
    }

    /// Says how the network is, and up to which revision the catalog is in effect here.
    fn start_network(
        &mut self,
        wake: &Arc<Notify>,
    ) -> (
        watch::Receiver<NetworkState>,
        watch::Receiver<Revision>,
        Isolation,
    ) {
        let (isolation, enforcement) = Isolation::new();
        let (state, network) = watch::channel(NetworkState::default());
        let (applied, in_effect) = watch::channel(Revision(0));
        let task = Network {
            client: self.client.clone(),
            runtime: Arc::clone(&self.runtime),
            node: self.facts.name.as_str().into(),
            address: self.facts.ip,
            mode: self.config.network,
            overlay: self.overlay,
            catalog: self.catalog.clone(),
            state,
            applied,
            enforcement,
            wake: Arc::clone(wake),
        };
        self.tasks.spawn(task.run());
        (network, in_effect, isolation)
    }

    fn start_reconciler(
        &mut self,
        hears: Hears,
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
        let (runtime, wake) = (&self.runtime, &hears.wake);
        let probes = Probes::new(Arc::clone(runtime), events.clone(), Arc::clone(wake));
        let listen = listen(Arc::clone(runtime), probes.endings(), Arc::clone(wake));
        self.tasks.spawn(listen);
        let tools = Tools {
            runtime: Arc::clone(&self.runtime),
            servers: Arc::clone(&servers),
            volumes: Volumes::new(&self.config.data_dir),
            events,
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
            hooks: probes.hooks(),
            names: self.start_resolver(),
            catalog: self.catalog.clone(),
            clock: Arc::new(wall_clock),
            network: hears.network,
            isolation: hears.isolation,
        };
        let reconciler = Reconciler {
            tools: Arc::new(tools),
            desired,
            wake: hears.wake,
            probes,
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

impl Agent {
    /// Keeps the node's resolver; pods are told of it as soon as it has an address.
    fn start_resolver(&mut self) -> Names {
        let (shown, cluster) = watch::channel(None);
        let data_dir = &self.config.data_dir;
        let keeper = resolver::Keeper {
            client: self.client.clone(),
            node: self.facts.name.clone(),
            program: self.config.program.clone(),
            dir: std::path::absolute(data_dir)
                .unwrap_or_else(|_| data_dir.clone())
                .join("dns"),
            resolv_conf: self.config.resolv_conf.clone(),
            catalog: self.catalog.clone(),
            shown,
        };
        self.tasks.spawn(keeper.run());
        Names {
            cluster,
            host_file: self.config.resolv_conf.clone(),
        }
    }
}

/// Turns what the engine reports into wake-ups; an engine that comes back is one as well.
async fn listen(runtime: Arc<dyn Runtime>, endings: Endings, wake: Arc<Notify>) {
    loop {
        let mut events = runtime.events();
        while let Some(Ok(event)) = events.next().await {
            if let Some(id) = event.ended {
                endings.note(id);
            }
            wake.notify_one();
        }
        tokio::time::sleep(ENGINE_RETRY).await;
        wake.notify_one();
    }
}
