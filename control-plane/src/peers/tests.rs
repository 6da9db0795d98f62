//! The way between servers over real sockets and certificates: with small stand-ins for the stores
//! here, with real ones in `servers`.

mod applied;
mod gate;
mod lane;
mod servers;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Extension;
use axum::routing::{get, post};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use raft::eraftpb::Snapshot;
use serde_json::json;
use skiff_api::{Object, Revision};
use skiff_engine::State;
use tokio::net::TcpListener;

use super::*;
use crate::auth::Identity;
use crate::checkpoint::Mark;
use crate::forward::headers::Forwarded;
use crate::listener;
use crate::members::Member;
use crate::nodes::Nodes;
use crate::pki::{Pki, ServerNames};
use crate::raft::RaftStatus;
use crate::snapshot::StateAt;
use gate::Gate;

/// Waits for a fact.
async fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !fact() {
            looks.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "never came: {what}");
}

fn pki() -> Pki {
    let dir = tempfile::tempdir().unwrap();
    let names = ServerNames {
        dns: vec!["localhost".into()],
        ips: vec!["127.0.0.1".parse().unwrap()],
    };
    Pki::open(dir.path(), &names).unwrap()
}

fn member(id: u64, address: SocketAddr) -> (u64, Member) {
    let member = Member {
        id,
        name: format!("s{id}"),
        address: address.to_string(),
        format: 1,
    };
    (id, member)
}

/// Stands in for a store: notes what it is told.
#[derive(Default)]
struct Fake {
    status: Mutex<RaftStatus>,
    received: Mutex<Vec<Message>>,
    kept: Mutex<BTreeMap<u64, StateAt>>,
    installed: Mutex<Vec<StateAt>>,
    unreachable: AtomicUsize,
    reported: Mutex<Vec<(u64, bool)>>,
}

impl Group for Arc<Fake> {
    fn status(&self) -> RaftStatus {
        lock(&self.status).clone()
    }

    fn receive(&self, message: Message) {
        lock(&self.received).push(message);
    }

    fn snapshot_at(&self, index: u64) -> Option<StateAt> {
        lock(&self.kept).get(&index).cloned()
    }

    fn install(&self, _: Message, snapshot: StateAt) -> BoxFuture<'_, Result<(), String>> {
        lock(&self.installed).push(snapshot);
        Box::pin(std::future::ready(Ok(())))
    }

    fn report_unreachable(&self, _: u64) {
        self.unreachable.fetch_add(1, Ordering::SeqCst);
    }

    fn report_snapshot(&self, member: u64, arrived: bool) {
        lock(&self.reported).push((member, arrived));
    }
}

/// A server without a store: its part of the port, and a gate in front of it.
struct Half {
    fake: Arc<Fake>,
    peers: Peers,
    listed: watch::Sender<Arc<Members>>,
    gate: Gate,
    stop: CancellationToken,
}

impl Half {
    async fn start(member: u64, pki: &Pki, router: Router) -> Self {
        let (listed, members) = watch::channel(Arc::default());
        let peers = Peers::new(member, Arc::new(tls_config(pki).unwrap()), members);
        let fake = Arc::new(Fake::default());
        peers.attach(fake.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate = Gate::before(listener.local_addr().unwrap()).await;
        let tls = listener::tls_config(pki).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(listener::serve(
            listener,
            tls,
            router,
            Nodes::default(),
            peers.clone(),
            stop.clone(),
        ));
        Self {
            fake,
            peers,
            listed,
            gate,
            stop,
        }
    }

    fn received(&self) -> Vec<u64> {
        lock(&self.fake.received)
            .iter()
            .map(|message| message.index)
            .collect()
    }

    async fn end(self) {
        self.stop.cancel();
        self.peers.stop().await;
        until("letting go of the store", || {
            Arc::strong_count(&self.fake) == 1
        })
        .await;
    }
}

fn list(halves: &[(u64, &Half)]) -> Arc<Members> {
    let members = halves.iter();
    Arc::new(
        members
            .map(|(id, half)| member(*id, half.gate.address))
            .collect(),
    )
}

/// Servers 1 and 2 that know each other.
async fn two(router: Router) -> (Half, Half) {
    let pki = pki();
    let one = Half::start(1, &pki, router.clone()).await;
    let two = Half::start(2, &pki, router).await;
    let both = list(&[(1, &one), (2, &two)]);
    one.listed.send_replace(both.clone());
    two.listed.send_replace(both);
    (one, two)
}

fn append(to: u64, index: u64) -> Message {
    Message {
        from: 1,
        to,
        index,
        ..Message::default()
    }
}

/// Sends until one arrives: what is sent while there is no connection may be dropped.
async fn until_heard(from: &Half, to: &Half, index: u64) {
    until("a message", || {
        from.peers.send(vec![append(2, index)]);
        to.received().contains(&index)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_arrive_in_order_and_a_broken_connection_heals() {
    let (one, two) = two(Router::new()).await;
    until_heard(&one, &two, 1).await;
    let before = two.received().len();
    one.peers
        .send((100..200).map(|index| append(2, index)).collect());
    until("all of them", || two.received().ends_with(&[198, 199])).await;
    let received: Vec<u64> = two.received()[before..].to_vec();
    let received: Vec<u64> = received.into_iter().filter(|index| *index >= 100).collect();
    assert_eq!(received, (100..200).collect::<Vec<_>>());

    let lost = one.fake.unreachable.load(Ordering::SeqCst);
    two.gate.cut();
    until("a report", || {
        one.fake.unreachable.load(Ordering::SeqCst) > lost
    })
    .await;
    until_heard(&one, &two, 300).await;
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_died_in_silence_is_noticed() {
    let (one, two) = two(Router::new()).await;
    until_heard(&one, &two, 1).await;
    let lost = one.fake.unreachable.load(Ordering::SeqCst);
    two.gate.freeze(true);
    let begun = tokio::time::Instant::now();
    until("a report", || {
        one.fake.unreachable.load(Ordering::SeqCst) > lost
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(5));
    two.gate.freeze(false);
    until_heard(&one, &two, 2).await;
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_moved_is_found_and_one_that_vanished_is_left() {
    let (one, two) = two(Router::new()).await;
    until_heard(&one, &two, 1).await;
    let elsewhere = Gate::before(two.gate.target()).await;
    two.gate.shut();
    let moved: Members = [member(1, one.gate.address), member(2, elsewhere.address)].into();
    one.listed.send_replace(Arc::new(moved));
    until_heard(&one, &two, 2).await;
    one.listed.send_replace(list(&[(1, &one)]));
    until("the end of the link", || {
        lock(&one.peers.0.links).is_empty()
    })
    .await;
    let announced = announcement(7, &StateAt::default());
    one.peers.send(vec![announced]);
    until("word of a snapshot for nobody", || {
        *lock(&one.fake.reported) == [(2, false)]
    })
    .await;
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_server_is_turned_away_and_a_new_one_let_in() {
    let (one, two) = two(Router::new()).await;
    lock(&two.fake.status).leader = Some(2);
    until_heard(&one, &two, 1).await;
    two.listed.send_replace(list(&[(2, &two)]));
    let lost = one.fake.unreachable.load(Ordering::SeqCst);
    until("two refusals", || {
        one.fake.unreachable.load(Ordering::SeqCst) >= lost + 2
    })
    .await;
    let before = two.received().len();
    one.peers.send(vec![append(2, 2)]);
    let forwarded = one.peers.forward(2, request("/")).await.unwrap();
    assert!(forwarded.headers().contains_key("skiff-not-leader"));
    assert_eq!(two.received().len(), before, "nothing of it is heard");
    two.listed.send_replace(list(&[(1, &one), (2, &two)]));
    until_heard(&one, &two, 3).await;
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_servers_certificates_are_let_in() {
    let pki = pki();
    let receiver = Half::start(2, &pki, Router::new()).await;
    let (listed, members) = watch::channel(Arc::default());
    let agent = Peers::new(1, Arc::new(agent_tls(&pki)), members);
    let fake = Arc::new(Fake::default());
    agent.attach(fake.clone());
    listed.send_replace(list(&[(2, &receiver)]));
    until("two failures", || {
        agent.send(vec![append(2, 1)]);
        fake.unreachable.load(Ordering::SeqCst) >= 2
    })
    .await;
    assert!(receiver.received().is_empty());
    agent.stop().await;
    receiver.end().await;
}

/// What an agent would dial with.
fn agent_tls(pki: &Pki) -> rustls::ClientConfig {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let key = rcgen::KeyPair::generate().unwrap();
    let wish = rcgen::CertificateParams::new(vec!["n1".to_owned()]).unwrap();
    let csr = wish.serialize_request(&key).unwrap().pem().unwrap();
    let cert = pki.sign_node(&csr, "n1").unwrap();
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(pki.ca_pem().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![cert], key)
        .unwrap()
}

fn state(objects: usize, len: usize) -> StateAt {
    let object = |at: usize| {
        let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("c{at}"), "namespace": "d"}, "data": {"k": "x".repeat(len)}});
        Object::from_value(value)
            .unwrap()
            .with_revision(Revision(at as u64 + 1))
    };
    let revision = Revision(objects as u64);
    StateAt {
        mark: Mark {
            index: 7,
            term: 1,
            revision: revision.0,
            ..Mark::default()
        },
        state: State::restore(revision, (0..objects).map(object)),
    }
}

fn announcement(index: u64, of: &StateAt) -> Message {
    let mut snapshot = Snapshot::default();
    snapshot.mut_metadata().index = index;
    snapshot.mut_metadata().term = of.mark.term;
    let mut message = append(2, 0);
    message.msg_type = MessageType::MsgSnapshot;
    message.set_snapshot(snapshot);
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_goes_on_where_its_stream_broke() {
    let (one, two) = two(Router::new()).await;
    let sent = state(3000, 4000);
    let bytes: u64 = sent.frames().map(|frame| frame.len() as u64).sum();
    lock(&one.fake.kept).insert(7, sent.clone());
    until_heard(&one, &two, 1).await;
    let before = two.gate.passed();
    two.gate.cut_after(bytes * 2 / 3);
    one.peers.send(vec![announcement(7, &sent)]);
    until("word of the snapshot", || {
        !lock(&one.fake.reported).is_empty()
    })
    .await;
    assert_eq!(*lock(&one.fake.reported), [(2, true)]);
    let passed = two.gate.passed() - before;
    assert!(two.gate.cuts() > 0, "the stream was broken");
    assert!(
        passed < bytes * 3 / 2,
        "{passed} bytes passed for a snapshot of {bytes}: it went on, and did not begin again"
    );
    let installed = lock(&two.fake.installed).pop().unwrap();
    assert_eq!(installed.mark, sent.mark);
    assert!(installed.state.objects().eq(sent.state.objects()));
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_snapshot_has_its_word() {
    let (one, two) = two(Router::new()).await;
    let small = state(1, 1);
    let word = |expected| {
        let fake = one.fake.clone();
        async move {
            until("word of it", || !lock(&fake.reported).is_empty()).await;
            assert_eq!(std::mem::take(&mut *lock(&fake.reported)), [(2, expected)]);
        }
    };
    one.peers.send(vec![announcement(7, &small)]);
    word(false).await;
    lock(&one.fake.kept).insert(7, small.clone());
    one.peers.send(vec![announcement(7, &small)]);
    word(true).await;
    lock(&two.fake.status).applied = 7;
    one.peers.send(vec![announcement(7, &small)]);
    word(true).await;
    assert_eq!(
        lock(&two.fake.installed).len(),
        1,
        "what is there is not sent"
    );
    one.end().await;
    two.end().await;
}

fn request(path: &str) -> Request<Bytes> {
    Request::post(path)
        .header("skiff-forwarded", "1")
        .header("skiff-user", "eve")
        .header("skiff-group", "system:masters")
        .body(Bytes::from("body"))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forwarded_request_is_answered_or_surely_not_sent_or_lost() {
    let arrived = Arc::new(tokio::sync::Notify::new());
    let stuck = arrived.clone();
    let echo =
        |Extension(who): Extension<Identity>,
         forwarded: Option<Extension<Forwarded>>,
         body: String| async move { format!("{} {} {body}", who.user, forwarded.is_some()) };
    let router = Router::new()
        .route("/echo", post(echo))
        .route("/raft/messages", post(|| async { "a client's" }))
        .route(
            "/never",
            post(move || async move {
                stuck.notify_one();
                std::future::pending::<()>().await;
            }),
        )
        .route("/", get(|| async {}));
    let (one, two) = two(router).await;
    until_heard(&one, &two, 1).await;
    for (path, expected) in [
        ("/echo?a=b", "eve true body"),
        ("/raft/messages", "a client's"),
    ] {
        let response = one.peers.forward(2, request(path)).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, expected, "{path}");
    }
    let unknown = one.peers.forward(9, request("/echo")).await;
    assert!(matches!(
        unknown,
        Err(ForwardError::Unreachable { member: 9, .. })
    ));
    let cut = async {
        arrived.notified().await;
        two.gate.shut();
    };
    let (lost, ()) = tokio::join!(one.peers.forward(2, request("/never")), cut);
    assert!(matches!(lost, Err(ForwardError::Lost { member: 2, .. })));
    let unsent = one.peers.forward(2, request("/echo")).await;
    assert!(
        matches!(unsent, Err(ForwardError::Unreachable { member: 2, .. })),
        "{unsent:?}"
    );
    one.end().await;
    two.end().await;
}
