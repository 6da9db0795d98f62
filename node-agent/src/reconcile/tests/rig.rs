//! An agent's loop between a simulated engine and servers that are a map.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use skiff_api::k8s_openapi::api::core::v1::Pod;
use skiff_api::{Key, Millis, Reason, Revision, Status};
use skiff_client::ClientError;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::desired::Desired;
use crate::fields::Place;
use crate::memory::Failures;
use crate::network::{Enforcement, Isolation, NetworkState};
use crate::pod::DesiredPod;
use crate::probe::Probes;
use crate::reconcile::{EngineState, Reconciler, View};
use crate::resolver::ClusterDns;
use crate::runtime::simulated::{Images, SimRuntime};
use crate::runtime::{NodeNetwork, PodRef, Runtime};
use crate::servers::{Answer, Presence, Servers};
use crate::sight::is_running;
use crate::statuses::Statuses;
use crate::volumes::Volumes;
use crate::work::Tools;

/// Longer than anything here takes, on the clock of the test.
const PATIENCE: Duration = Duration::from_secs(600);

/// A pod in namespace `shop`.
pub(super) fn pod(name: &str, containers: Value) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name, "uid": format!("uid-{name}")},
        "spec": {"terminationGracePeriodSeconds": 5, "containers": containers},
    })
}

/// The servers: pods by name, other objects by key, events as they came.
#[derive(Default)]
pub(super) struct FakeServers {
    pods: Mutex<BTreeMap<String, Value>>,
    objects: Mutex<BTreeMap<String, Value>>,
    events: Mutex<Vec<(String, String)>>,
    desired: watch::Sender<Desired>,
    away: AtomicBool,
}

impl FakeServers {
    pub(super) fn put(&self, key: &str, object: Value) {
        self.objects.lock().unwrap().insert(key.to_owned(), object);
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.pods.lock().unwrap().contains_key(name)
    }

    pub(super) fn forget(&self, name: &str) {
        self.pods.lock().unwrap().remove(name);
    }

    pub(super) fn go_away(&self) {
        self.away.store(true, Ordering::Relaxed);
    }

    pub(super) fn come_back(&self) {
        self.away.store(false, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), ClientError> {
        if self.away.load(Ordering::Relaxed) {
            let status = Status::failure(Reason::ServiceUnavailable, "away");
            return Err(ClientError::Status(Box::new(status)));
        }
        Ok(())
    }

    /// Tells the agent, as the watch does.
    fn publish(&self) {
        let pods = self.pods.lock().unwrap();
        let read = |wire: &Value| {
            let wire: Pod = serde_json::from_value(wire.clone()).unwrap();
            let pod = DesiredPod::read(wire).unwrap();
            (Arc::clone(&pod.pod.uid), Arc::new(pod))
        };
        let pods = pods.values().map(read).collect();
        self.desired.send_replace(Desired { synced: true, pods });
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Value)) -> Presence {
        let mut pods = self.pods.lock().unwrap();
        let Some(pod) = pods.get_mut(name) else {
            return Presence::Gone;
        };
        change(pod);
        drop(pods);
        self.publish();
        Presence::Known
    }
}

impl Servers for FakeServers {
    fn read<'a>(&'a self, key: &'a Key) -> Answer<'a, Option<Value>> {
        Box::pin(async move {
            self.check()?;
            Ok(self.objects.lock().unwrap().get(&key.to_string()).cloned())
        })
    }

    fn report<'a>(&'a self, pod: &'a PodRef, patch: Value) -> Answer<'a, Presence> {
        Box::pin(async move {
            self.check()?;
            assert_eq!(patch["metadata"]["uid"], *pod.uid);
            Ok(self.change(&pod.name, |pod| {
                let Value::Object(fields) = &patch["status"] else {
                    panic!("a map")
                };
                for (field, value) in fields {
                    pod["status"][field] = value.clone();
                }
            }))
        })
    }

    fn confirm<'a>(&'a self, pod: &'a PodRef) -> Answer<'a, ()> {
        Box::pin(async move {
            self.check()?;
            self.forget(&pod.name);
            self.publish();
            Ok(())
        })
    }

    fn applied<'a>(&'a self, _revision: Revision, _wait: Duration) -> Answer<'a, bool> {
        Box::pin(async move { self.check().map(|()| true) })
    }

    fn create_event<'a>(&'a self, _namespace: &'a str, event: Value) -> Answer<'a, ()> {
        Box::pin(async move {
            self.check()?;
            let text = |field: &str| event[field].as_str().unwrap().to_owned();
            self.events
                .lock()
                .unwrap()
                .push((text("reason"), text("message")));
            Ok(())
        })
    }

    fn patch_event<'a>(&'a self, _key: &'a Key, _patch: Value) -> Answer<'a, Presence> {
        Box::pin(async { Ok(Presence::Known) })
    }
}

/// A pod network that is ready: the one that the simulated engine begins with.
pub(super) fn network() -> NetworkState {
    let subnet = "10.244.0.0/16".parse().unwrap();
    NetworkState {
        range: Some(subnet),
        network: Some(NodeNetwork {
            name: "skiff-n1".into(),
            bridge: "sk-n1".into(),
            subnet,
            mtu: 1500,
        }),
        ..NetworkState::default()
    }
}

/// The node's resolver on that network.
pub(super) fn resolver() -> ClusterDns {
    ClusterDns {
        address: [10, 42, 0, 1].into(),
        domain: "cluster.local".into(),
    }
}

/// All of it.
pub(super) struct Rig {
    pub(super) sim: Arc<SimRuntime>,
    pub(super) servers: Arc<FakeServers>,
    dir: tempfile::TempDir,
    clock: crate::work::Clock,
    pub(super) network: watch::Sender<NetworkState>,
    pub(super) resolver: watch::Sender<Option<ClusterDns>>,
    isolation: Isolation,
    /// What the keeper of the packet rules would do.
    pub(super) enforcement: Enforcement,
    engine: watch::Receiver<EngineState>,
    agent: JoinSet<()>,
}

impl Rig {
    pub(super) fn new(images: Images) -> Self {
        let began = Instant::now();
        let clock = move || Millis(1_700_000_000_000).after(began.elapsed());
        let info = Arc::new(SimRuntime::machine(2, 1 << 30));
        let sim = Arc::new(SimRuntime::new("n1", info, images, clock));
        let (isolation, enforcement) = Isolation::new();
        enforcement.policies.send_replace(Arc::default());
        let mut rig = Self {
            sim,
            servers: Arc::default(),
            dir: tempfile::tempdir().unwrap(),
            clock: Arc::new(clock),
            network: watch::Sender::new(network()),
            resolver: watch::Sender::new(Some(resolver())),
            isolation,
            enforcement,
            engine: watch::channel(None).1,
            agent: JoinSet::new(),
        };
        rig.servers.publish();
        rig.start_agent();
        rig
    }

    fn start_agent(&mut self) {
        let runtime: Arc<dyn Runtime> = self.sim.clone();
        let servers: Arc<dyn Servers> = self.servers.clone();
        let (events, outbox) = crate::events::channel();
        let wake = Arc::new(Notify::new());
        let statuses = Statuses::default();
        let (engine, shown) = watch::channel(None);
        self.engine = shown;
        let place = Place {
            host_ip: Some([10, 0, 0, 1].into()),
            ..Place::default()
        };
        let mut synced = skiff_network::Catalog::default();
        synced.synced = true;
        let probes = Probes::new(Arc::clone(&runtime), events.clone(), Arc::clone(&wake));
        let tools = Tools {
            runtime: Arc::clone(&runtime),
            servers: Arc::clone(&servers),
            volumes: Volumes::new(self.dir.path()),
            events,
            starts: Semaphore::new(4),
            pulls: Semaphore::new(3),
            place,
            failures: Mutex::new(Failures::default()),
            hooks: probes.hooks(),
            catalog: watch::channel(Arc::new(synced)).1,
            names: crate::work::Names {
                cluster: self.resolver.subscribe(),
                host_file: self.dir.path().join("resolv.conf"),
            },
            clock: Arc::clone(&self.clock),
            network: self.network.subscribe(),
            isolation: self.isolation.clone(),
        };
        let reconciler = Reconciler {
            tools: Arc::new(tools),
            desired: self.servers.desired.subscribe(),
            wake: Arc::clone(&wake),
            probes,
            statuses: statuses.clone(),
            scheme: "simulated".into(),
            view: watch::channel(View::default()).0,
            engine,
        };
        let sender = Arc::clone(&servers);
        self.agent.spawn(async move { statuses.send(sender).await });
        self.agent
            .spawn(async move { crate::events::send(outbox, servers, "n1").await });
        self.agent.spawn(reconciler.run(CancellationToken::new()));
    }

    pub(super) fn stop_agent(&mut self) {
        self.agent = JoinSet::new();
    }

    pub(super) fn restart_agent(&mut self) {
        self.stop_agent();
        self.start_agent();
    }

    pub(super) fn start_agent_unsynced(&mut self) {
        self.servers.desired.send_replace(Desired::default());
        self.start_agent();
    }

    pub(super) fn sync(&self) {
        self.servers.publish();
    }

    pub(super) fn apply(&self, pod: Value) {
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        self.servers.pods.lock().unwrap().insert(name, pod);
        self.servers.publish();
    }

    pub(super) fn delete(&self, name: &str) {
        self.servers.change(name, |pod| {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(5);
        });
    }

    pub(super) fn status(&self, name: &str) -> Value {
        self.servers.pods.lock().unwrap()[name]["status"].clone()
    }

    pub(super) fn engine_is_up(&self) -> Option<bool> {
        self.engine.borrow().as_ref().map(Result::is_ok)
    }

    /// Ends the running container of that name.
    pub(super) async fn kill(&self, name: &str, code: i64) {
        let all = self.sim.list().await.unwrap().containers;
        let found = all
            .into_iter()
            .find(|c| *c.container.name == *name && is_running(c));
        self.sim.exit(&found.unwrap().id, code, false);
    }

    pub(super) async fn kill_sandbox(&self) {
        let all = self.sim.list().await.unwrap().sandboxes;
        self.sim.kill_sandbox(&all.first().unwrap().id);
    }

    /// Waits for a fact, on the clock of the test.
    pub(super) async fn until(&self, fact: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            let events = self.servers.events.lock().unwrap().clone();
            let pods = self.servers.pods.lock().unwrap().clone();
            assert!(
                Instant::now() < deadline,
                "never: {fact}; {events:#?} {pods:#?}"
            );
            self.after(Duration::from_millis(20)).await;
        }
    }

    /// Lets time pass.
    pub(super) async fn after(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    pub(super) async fn until_status(
        &self,
        name: &str,
        phase: &str,
        holds: impl Fn(&Value) -> bool,
    ) {
        self.until(&format!("{name} is {phase}"), || {
            let status = self.status(name);
            status["phase"] == phase && holds(&status)
        })
        .await;
    }

    pub(super) async fn until_event(&self, reason: &str, words: &str) {
        self.until(&format!("event {reason} with {words:?}"), || {
            let events = self.servers.events.lock().unwrap();
            events
                .iter()
                .any(|(found, message)| found == reason && message.contains(words))
        })
        .await;
    }

    /// The files with the last messages of a pod's containers.
    pub(super) fn message_files(&self, name: &str) -> Vec<String> {
        let dir = Volumes::new(self.dir.path()).message_file(&format!("uid-{name}"), "a", 0);
        let files = std::fs::read_dir(dir.parent().unwrap()).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    pub(super) fn has_event(&self, reason: &str) -> bool {
        let events = self.servers.events.lock().unwrap();
        events.iter().any(|(found, _)| found == reason)
    }

    pub(super) async fn until_nothing_exists(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let all = self.sim.list().await.unwrap();
            if all.containers.is_empty() && all.sandboxes.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "something is left: {all:#?}");
            self.after(Duration::from_millis(20)).await;
        }
    }
}
