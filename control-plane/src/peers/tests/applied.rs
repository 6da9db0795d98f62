//! Who is waited for until they follow newer endpoints: nodes, this server's own gateway, and those of
//! the other servers, which are asked.

use std::path::Path;

use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use skiff_api::Millis;
use skiff_engine::Stamper;

use super::*;
use crate::checkpoint::MemoryCheckpoints;
use crate::disk::MemoryDisk;
use crate::members::List;
use crate::network::{self, applied::Applied};
use crate::nodes::tests::agent;
use crate::store::{Store, StoreConfig};
use crate::watch::WatchHub;

/// What is asked of all gateways, and of one server's alone.
const ALL: &str = "/skiff/v1/network/applied";
const OWN: &str = "/skiff/v1/network/gateway";

/// Longer than any answer takes that waits for nobody.
const LONG: Duration = Duration::from_secs(10);

/// A store of this server alone, whose list has both.
async fn store(id: u64) -> Store {
    let config = StoreConfig {
        disk: Arc::new(MemoryDisk::new(id)),
        checkpoints: Box::new(MemoryCheckpoints::default()),
        ..StoreConfig::new(Path::new("/store"), id)
    };
    let opened = tokio::task::spawn_blocking(move || Store::open(config, Box::new(|_, _| ())));
    let store = opened.await.unwrap().unwrap();
    let both = [1, 2].map(|id| member(id, "127.0.0.1:1".parse().unwrap()));
    let list = List::default().replace_by(&both.into(), &mut Stamper::new(Millis(0), 7));
    store.propose(list.into_iter().collect()).await.unwrap();
    store
}

fn router(store: &Store, applied: &Applied) -> Router {
    let hub = WatchHub::new(Revision(0), 1 << 20);
    network::router(store.clone(), hub, applied.clone())
}

/// Server 1, which is asked, server 2, and how far their gateways are.
struct Town {
    one: Half,
    two: Half,
    nodes: Nodes,
    stores: [Store; 2],
    router: Router,
    gateways: [watch::Sender<Revision>; 2],
}

impl Town {
    async fn start() -> Self {
        let stores = [store(1).await, store(2).await];
        let tls = Arc::new(tls_config(&pki()).unwrap());
        // Whom server 2 could ask does not matter: nobody asks it for others.
        let nobody = Peers::new(2, tls, watch::channel(Arc::default()).1);
        let asked = Applied::new(stores[1].clone(), Nodes::default(), nobody);
        let (one, two) = two(router(&stores[1], &asked)).await;
        until_heard(&one, &two, 1).await;
        let nodes = Nodes::default();
        let applied = Applied::new(stores[0].clone(), nodes.clone(), one.peers.clone());
        Self {
            router: router(&stores[0], &applied),
            gateways: [applied.gateway(), asked.gateway()],
            one,
            two,
            nodes,
            stores,
        }
    }

    fn at(&self, revisions: [u64; 2]) {
        for (gateway, revision) in self.gateways.iter().zip(revisions) {
            gateway.send_replace(Revision(revision));
        }
    }

    /// How many questions wait for each gateway.
    fn waiting(&self) -> [usize; 2] {
        self.gateways.each_ref().map(watch::Sender::receiver_count)
    }

    /// Asks server 1 who has yet to follow revision 5.
    fn ask(&self, path: &str, longest: Duration) -> impl Future<Output = Vec<String>> + use<> {
        let millis = longest.as_millis();
        let uri = format!("{path}?revision=5&timeoutMillis={millis}");
        let asked = call(self.router.clone(), uri, Some(("admin", "system:masters")));
        async move {
            let (code, answer) = asked.await;
            assert_eq!((code, &answer["revision"]), (200, &json!(5)), "{answer}");
            serde_json::from_value(answer["waitingFor"].clone()).unwrap()
        }
    }

    async fn end(self) {
        drop(self.router);
        self.one.end().await;
        self.two.end().await;
        for store in self.stores {
            store.shutdown().await;
        }
    }
}

async fn call(router: Router, uri: String, who: Option<(&str, &str)>) -> (u16, Value) {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri.parse().unwrap();
    if let Some((user, group)) = who {
        request.extensions_mut().insert(Identity {
            user: user.to_owned(),
            groups: vec![group.to_owned()],
        });
    }
    let response = TowerToHyperService::new(router)
        .call(request)
        .await
        .unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_behind_is_named() {
    let town = Town::start().await;
    let brief = Duration::from_millis(100);
    let cases: [(&str, &str, _, _, &[&str]); 8] = [
        ("neither has a gateway", ALL, [0, 0], LONG, &[]),
        ("both follow", ALL, [5, 5], LONG, &[]),
        ("both are ahead", ALL, [6, 9], LONG, &[]),
        ("the other has none", ALL, [5, 0], LONG, &[]),
        ("the other is behind", ALL, [5, 4], brief, &["server s2"]),
        (
            "both are behind",
            ALL,
            [4, 4],
            brief,
            &["server s1", "server s2"],
        ),
        ("it is behind itself", OWN, [4, 5], brief, &["server s1"]),
        ("of others nothing is said there", OWN, [5, 4], LONG, &[]),
    ];
    for (name, path, revisions, longest, expected) in cases {
        town.at(revisions);
        assert_eq!(town.ask(path, longest).await, expected, "{name}");
    }
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_waited_for_until_it_has_caught_up() {
    let town = Town::start().await;
    for (name, first, behind) in [
        ("this server's first", [5, 4], [0, 1]),
        ("the other's first", [4, 5], [1, 0]),
    ] {
        town.at([4, 4]);
        let asked = tokio::spawn(town.ask(ALL, LONG));
        until("both are waited for", || town.waiting() == [1, 1]).await;
        town.at(first);
        until("one is waited for", || town.waiting() == behind).await;
        assert!(!asked.is_finished(), "{name}");
        town.at([5, 5]);
        assert_eq!(asked.await.unwrap(), [""; 0], "{name}");
    }
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_not_waited_for_and_one_that_is_silent_is() {
    let town = Town::start().await;
    town.at([5, 5]);
    town.two.gate.freeze(true);
    let silent = town.ask(ALL, Duration::from_millis(200)).await;
    assert_eq!(silent, ["server s2"], "nothing is known of it");
    town.two.gate.freeze(false);
    town.at([5, 4]);
    town.two.gate.shut();
    assert_eq!(town.ask(ALL, LONG).await, [""; 0]);
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_behind_is_waited_for_as_well() {
    let town = Town::start().await;
    let (server, client) = tokio::io::duplex(1 << 16);
    let beats = agent(client, "a");
    let nodes = town.nodes.clone();
    let serving = tokio::spawn(async move { nodes.serve("n1", server).await });
    let beat = "{\"agentId\":\"a\",\"applied\":4}\n";
    beats.send(beat).await.unwrap();
    until("word of the node", || {
        !town.nodes.lagging(Revision(5)).is_empty()
    })
    .await;
    // A node that falls silent is not waited for, however slow this machine is.
    let beating = tokio::spawn({
        let beats = beats.clone();
        async move {
            let mut pace = tokio::time::interval(Duration::from_millis(100));
            while beats.send(beat).await.is_ok() {
                pace.tick().await;
            }
        }
    });
    let brief = Duration::from_millis(100);
    assert_eq!(town.ask(ALL, brief).await, ["n1"]);
    assert_eq!(town.ask(OWN, LONG).await, [""; 0]);
    beating.abort();
    let asked = tokio::spawn(town.ask(ALL, LONG));
    beats
        .send("{\"agentId\":\"a\",\"applied\":5}\n")
        .await
        .unwrap();
    assert_eq!(asked.await.unwrap(), [""; 0]);
    serving.abort();
    town.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_servers_and_administrators_may_ask() {
    let town = Town::start().await;
    let cases = [
        (None, 401),
        (Some(("eve", "friends")), 403),
        (Some(("system:node:n1", "system:nodes")), 200),
        (Some(("skiff-server", "system:servers")), 200),
    ];
    for (who, expected) in cases {
        for path in [ALL, OWN] {
            let asked = call(town.router.clone(), format!("{path}?revision=5"), who);
            assert_eq!(asked.await.0, expected, "{who:?} {path}");
        }
    }
    town.end().await;
}
