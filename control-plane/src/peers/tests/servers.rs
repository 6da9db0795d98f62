//! Three real stores in one process, connected as servers are.

use std::path::Path;

use http::Method;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use skiff_engine::Write;
use tokio::task::JoinHandle;

use super::*;
use crate::checkpoint::MemoryCheckpoints;
use crate::disk::MemoryDisk;
use crate::forward;
use crate::http::{self as api, Api};
use crate::store::{News, Store, StoreConfig};
use crate::watch::WatchHub;

/// What outlives a server's process.
struct Machine {
    member: u64,
    disk: MemoryDisk,
    checkpoints: MemoryCheckpoints,
    gate: Gate,
}

struct Server {
    store: Store,
    peers: Peers,
    router: Router,
    /// How often a snapshot took the place of its state.
    restored: Arc<AtomicUsize>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

struct Cluster {
    pki: Pki,
    listed: watch::Sender<Arc<Members>>,
    machines: Vec<Machine>,
    servers: BTreeMap<u64, Server>,
}

impl Cluster {
    async fn start() -> Self {
        let mut machines = Vec::new();
        for id in 1..=3 {
            let nowhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
            machines.push(Machine {
                member: id,
                disk: MemoryDisk::new(id),
                checkpoints: MemoryCheckpoints::default(),
                gate: Gate::before(nowhere).await,
            });
        }
        let members = machines.iter();
        let members = members.map(|machine| member(machine.member, machine.gate.address));
        let listed = watch::Sender::new(Arc::new(members.collect()));
        let mut cluster = Self {
            pki: pki(),
            listed,
            machines,
            servers: BTreeMap::new(),
        };
        for id in 1..=3 {
            cluster.boot(id).await;
        }
        cluster
    }

    fn machine(&self, id: u64) -> &Machine {
        self.machines
            .iter()
            .find(|machine| machine.member == id)
            .unwrap()
    }

    async fn boot(&mut self, id: u64) {
        let machine = self.machine(id);
        let tls = Arc::new(tls_config(&self.pki).unwrap());
        let peers = Peers::new(id, tls, self.listed.subscribe());
        let hub = WatchHub::new(Revision(0), 1 << 20);
        let publisher = hub.clone();
        let restored = Arc::new(AtomicUsize::new(0));
        let seen = restored.clone();
        let on_applied = Box::new(move |state: &State, news: News<'_>| {
            if matches!(news, News::Restored) {
                seen.fetch_add(1, Ordering::SeqCst);
            }
            publisher.take(state, news);
        });
        let config = StoreConfig {
            founders: vec![1, 2, 3],
            disk: Arc::new(machine.disk.clone()),
            checkpoints: Box::new(machine.checkpoints.clone()),
            checkpoint_bytes: 100_000,
            outbound: Arc::new(peers.clone()),
            ..StoreConfig::new(Path::new("/store"), id)
        };
        let store = tokio::task::spawn_blocking(move || Store::open(config, on_applied));
        let store = store.await.unwrap().unwrap();
        hub.begin_at(store.state().revision());
        peers.attach(store.clone());
        let api = Arc::new(Api::new(store.clone(), hub, Nodes::default()));
        let router = forward::layer(api::router(api), store.clone(), peers.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        machine.gate.open(listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let tls = listener::tls_config(&self.pki).unwrap();
        let (nodes, stopping) = (Nodes::default(), stop.clone());
        let serving = listener::serve(
            listener,
            tls,
            router.clone(),
            nodes,
            peers.clone(),
            stopping,
        );
        let server = Server {
            store,
            peers,
            router,
            restored,
            stop,
            serving: tokio::spawn(serving),
        };
        self.servers.insert(id, server);
    }

    /// Ends a server as a lost machine would: nobody hears of it.
    async fn lose(&mut self, id: u64) {
        self.machine(id).gate.shut();
        let server = self.servers.remove(&id).unwrap();
        server.end().await;
        self.machine(id).disk.crash();
    }

    async fn leader(&self) -> u64 {
        let mut found = 0;
        until("a leader", || {
            let leading = self
                .servers
                .iter()
                .find(|(_, server)| server.store.is_leader());
            found = leading.map_or(0, |(id, _)| *id);
            found != 0
        })
        .await;
        found
    }

    async fn end(self) {
        for server in self.servers.into_values() {
            server.end().await;
        }
    }
}

impl Server {
    async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
        self.store.shutdown().await;
        self.peers.stop().await;
    }

    /// Asks as a client of this server would.
    async fn ask(
        &self,
        who: Option<&str>,
        method: Method,
        path: &str,
        body: Value,
    ) -> (u16, Value) {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("skiff-user", "eve")
            .header("skiff-group", "system:masters")
            .header("skiff-forwarded", "1")
            .body(Body::from(body))
            .unwrap();
        if let Some(group) = who {
            request.extensions_mut().insert(Identity {
                user: "somebody".into(),
                groups: vec![group.into()],
            });
        }
        let service = TowerToHyperService::new(self.router.clone());
        let response = service.call(request).await.unwrap();
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn create(&self, name: &str) -> (u16, Value) {
        self.ask(Some(ADMIN), Method::POST, MAPS, config_map(name, 10))
            .await
    }
}

const ADMIN: &str = "system:masters";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn config_map(name: &str, len: usize) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"}, "data": {"k": "x".repeat(len)}})
}

fn write(value: Value) -> Write {
    Write::create(Object::from_value(value).unwrap())
}

/// The namespace that the rest lives in.
fn namespace() -> Write {
    write(
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn any_server_takes_writes_and_reads_what_another_took() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let first = &cluster.servers[&leader];
    first.store.propose(vec![namespace()]).await.unwrap();
    for (id, server) in &cluster.servers {
        let name = format!("by-{id}");
        let (code, made) = server.create(&name).await;
        assert_eq!(code, 201, "{made}");
        let revision = made["metadata"]["resourceVersion"].as_str().unwrap();
        for other in cluster.servers.values() {
            let path = format!("{MAPS}/{name}?resourceVersion={revision}");
            let (code, found) = other
                .ask(Some(ADMIN), Method::GET, &path, Value::Null)
                .await;
            assert_eq!((code, &found), (200, &made), "as fresh as it asks");
        }
        let (code, refused) = server.create(&name).await;
        assert_eq!(code, 409, "{refused}");
        let (code, refused) = server
            .ask(None, Method::POST, MAPS, config_map("x", 1))
            .await;
        assert_eq!(code, 401, "nobody may say who it is: {refused}");
        let nobody = server
            .ask(Some("nobody"), Method::POST, MAPS, config_map("x", 1))
            .await;
        assert_eq!(nobody.0, 403, "the leader learns who asks: {}", nobody.1);
        let path = format!("{MAPS}?resourceVersion=1000000");
        let (code, future) = server
            .ask(Some(ADMIN), Method::GET, &path, Value::Null)
            .await;
        assert_eq!(code, 504, "{future}");
        let (code, _) = server.ask(None, Method::GET, "/readyz", Value::Null).await;
        assert_eq!(code, 200);
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_connections_heal_without_an_election() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let first = &cluster.servers[&leader].store;
    first.propose(vec![namespace()]).await.unwrap();
    let term = first.status().term;
    for turn in 0..3 {
        for machine in &cluster.machines {
            machine.gate.cut();
        }
        let object = config_map(&format!("c{turn}"), 10);
        first.propose(vec![write(object)]).await.unwrap();
    }
    for server in cluster.servers.values() {
        assert_eq!(server.store.read().await.unwrap().len(), 4);
    }
    assert_eq!(first.status().term, term);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_waits_for_the_next_leader_and_says_so_if_none_comes() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let first = &cluster.servers[&leader];
    first.store.propose(vec![namespace()]).await.unwrap();
    assert_eq!(first.create("before").await.0, 201);
    cluster.lose(leader).await;
    let begun = tokio::time::Instant::now();
    let left: Vec<u64> = cluster.servers.keys().copied().collect();
    for id in &left {
        let (code, made) = cluster.servers[id].create(&format!("after-{id}")).await;
        assert_eq!(code, 201, "{made}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    let path = format!("{MAPS}/before");
    let found = cluster.servers[&left[0]].ask(Some(ADMIN), Method::GET, &path, Value::Null);
    assert_eq!(found.await.0, 200);

    cluster.lose(left[0]).await;
    let last = &cluster.servers[&left[1]];
    until("the end of its leadership", || {
        last.store.status().leader.is_none()
    })
    .await;
    let (code, refused) = last.create("alone").await;
    assert_eq!(code, 503, "{refused}");
    assert_eq!(refused["details"]["retryAfterSeconds"], 1);
    without_a_leader(last).await;
    cluster.end().await;
}

/// What a server that hears no other still answers.
async fn without_a_leader(server: &Server) {
    let get = |path: &'static str| server.ask(Some(ADMIN), Method::GET, path, Value::Null);
    let (any, unseen, watch, latest, ready) = tokio::join!(
        get("/api/v1/namespaces/default/configmaps?resourceVersion=0"),
        get("/api/v1/namespaces/default/configmaps?resourceVersion=1000000"),
        get("/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=1000000"),
        get("/api/v1/namespaces/default/configmaps"),
        get("/readyz"),
    );
    assert_eq!(any.0, 200, "what it has, it shows");
    let (code, refused) = unseen;
    assert_eq!(code, 504, "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.starts_with("Too large resource version: 1000000"),
        "{message}"
    );
    let cause = &refused["details"]["causes"][0]["reason"];
    assert_eq!(cause, "ResourceVersionTooLarge");
    assert_eq!(
        (watch.0, latest.0, ready.0),
        (503, 503, 503),
        "nothing would come of them"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_on_elsewhere_while_nothing_changed() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let [first, second] = [leader, leader % 3 + 1].map(|id| &cluster.servers[&id]);
    first.store.propose(vec![namespace()]).await.unwrap();
    for name in ["a", "b", "c"] {
        assert_eq!(second.create(name).await.0, 201);
    }
    let page = format!("{MAPS}?limit=1");
    let (_, page) = first
        .ask(Some(ADMIN), Method::GET, &page, Value::Null)
        .await;
    let token = page["metadata"]["continue"].as_str().unwrap();
    let next = format!("{MAPS}?limit=1&continue={token}");
    let (code, found) = second
        .ask(Some(ADMIN), Method::GET, &next, Value::Null)
        .await;
    assert_eq!(
        (code, &found["items"][0]["metadata"]["name"]),
        (200, &json!("b"))
    );
    assert_eq!(second.create("d").await.0, 201);
    let (code, expired) = cluster.servers[&((leader + 1) % 3 + 1)]
        .ask(Some(ADMIN), Method::GET, &next, Value::Null)
        .await;
    assert_eq!((code, &expired["reason"]), (410, &json!("Expired")));
    let token = expired["metadata"]["continue"].as_str().unwrap();
    let onward = format!("{MAPS}?continue={token}");
    let (code, rest) = second
        .ask(Some(ADMIN), Method::GET, &onward, Value::Null)
        .await;
    assert_eq!((code, rest["items"].as_array().unwrap().len()), (200, 3));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_for_long_gets_a_snapshot() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let away = leader % 3 + 1;
    cluster.lose(away).await;
    let first = cluster.servers[&leader].store.clone();
    for batch in 0..40 {
        let object = |at| write(config_map(&format!("c{batch}-{at}"), 5000));
        first.propose((0..10).map(object).collect()).await.unwrap();
    }
    until("a cut log", || {
        cluster.machine(leader).checkpoints.indexes().len() > 1
    })
    .await;
    cluster.boot(away).await;
    let back = cluster.servers[&away].store.clone();
    until("the whole state", || back.state().len() == 400).await;
    assert!(cluster.servers[&away].restored.load(Ordering::SeqCst) > 0);
    assert!(back.state().objects().eq(first.state().objects()));
    first.propose(vec![namespace()]).await.unwrap();
    assert_eq!(back.read().await.unwrap().len(), 401);
    cluster.end().await;
}
