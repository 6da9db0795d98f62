//! Connections to several servers over real sockets: this test is the servers' end.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::identity::Identity;
use crate::reconcile::View;
use crate::runtime::simulated::{Images, SimRuntime};
use crate::tunnel::ALPN;

/// What is waited for takes no longer; a redial's longest wait is a third of this.
const SOON: Duration = Duration::from_secs(6);

/// The end of one server, with the certificate that all of them share.
struct End {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl End {
    fn server(&self) -> Server {
        let port = self.listener.local_addr().unwrap().port();
        Server::at("127.0.0.1", port)
    }

    async fn accept(&self) -> TlsStream<TcpStream> {
        let accepted = async {
            loop {
                let (stream, _) = self.listener.accept().await.unwrap();
                // A dial that was given up is no connection.
                if let Ok(stream) = self.acceptor.accept(stream).await {
                    return stream;
                }
            }
        };
        tokio::time::timeout(SOON, accepted)
            .await
            .expect("a connection")
    }

    /// Accepts a connection and hears a heartbeat on it.
    async fn hear(&self) -> Heard {
        let stream = TokioIo::new(self.accept().await);
        let shake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
        let (mut sender, connection) = shake.await.unwrap();
        let mut task = JoinSet::new();
        task.spawn(connection);
        let request = Request::get("http://agent/heartbeats");
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let mut beats = sender.send_request(request).await.unwrap().into_body();
        let beat = beats.frame().await.unwrap().unwrap().into_data().unwrap();
        assert!(beat.ends_with(b"\n"));
        Heard {
            connection: task,
            _sender: sender,
            _beats: beats,
        }
    }
}

/// A connection, for as long as this is kept.
struct Heard {
    connection: JoinSet<Result<(), hyper::Error>>,
    _sender: hyper::client::conn::http2::SendRequest<Empty<Bytes>>,
    _beats: hyper::body::Incoming,
}

struct Rig {
    tunnel: Arc<Tunnel>,
    known: watch::Sender<Arc<Known>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An agent that was given the first servers, and as many ends as were asked for.
async fn rig(ends: usize, given: usize) -> (Rig, Vec<End>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let acceptor = acceptor(made.cert.der(), &made.signing_key.serialize_der());
    let mut all = Vec::new();
    for _ in 0..ends {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let acceptor = acceptor.clone();
        all.push(End { listener, acceptor });
    }
    let ca = made.cert.pem();
    let pair = format!("{ca}{}", made.signing_key.serialize_pem());
    let info = Arc::new(SimRuntime::machine(2, 1 << 30));
    let clock = || skiff_api::Millis(1000);
    let tunnel = Arc::new(Tunnel {
        agent_id: "id".into(),
        identity: watch::channel(Arc::new(Identity { pair, ca })).1,
        heartbeat: Duration::from_secs(1),
        runtime: Arc::new(SimRuntime::new("n1", info, Images::All, clock)),
        view: watch::channel(View::default()).1,
        applied: watch::channel(skiff_api::Revision(0)).1,
        connected: watch::channel(std::collections::BTreeSet::new()).0,
    });
    let servers = all.iter().take(given).map(End::server).collect();
    let (known, told) = watch::channel(Arc::new(Known::new(servers, Vec::new())));
    let task = tokio::spawn(Arc::clone(&tunnel).keep_all(told));
    (
        Rig {
            tunnel,
            known,
            task,
        },
        all,
    )
}

fn acceptor(certificate: &CertificateDer<'static>, key: &[u8]) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key.to_vec()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![ALPN.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

impl Rig {
    async fn until(
        &self,
        what: &str,
        fact: impl FnMut(&std::collections::BTreeSet<Server>) -> bool,
    ) {
        let mut connected = self.tunnel.connected.subscribe();
        let found = tokio::time::timeout(SOON, connected.wait_for(fact)).await;
        found.expect(what).unwrap();
    }
}

#[tokio::test]
async fn a_server_that_answers_nothing_holds_up_no_other() {
    // The first end accepts by its kernel only, as a stopped process does.
    let (rig, ends) = rig(3, 3).await;
    let [mute, second, third] = &ends[..] else {
        panic!("three ends")
    };
    let began = tokio::time::Instant::now();
    let (_second, _third) = tokio::join!(second.hear(), third.hear());
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    rig.until("two are connected", |all| all.len() == 2).await;
    let _mute = mute.hear().await;
    rig.until("it goes on, and is connected", |all| all.len() == 3)
        .await;
}

#[tokio::test]
async fn a_server_that_breaks_is_dialled_again_at_once() {
    let (_rig, ends) = rig(1, 1).await;
    let end = &ends[0];
    for _ in 0..3 {
        drop(end.hear().await);
        let began = tokio::time::Instant::now();
        let stream = end.accept().await;
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
        drop(stream);
    }
}

#[tokio::test]
async fn connections_follow_the_list() {
    let (rig, ends) = rig(3, 1).await;
    let servers: Vec<Server> = ends.iter().map(End::server).collect();
    let mut first = ends[0].hear().await;
    let learn = |learned: &[Server]| {
        let known = rig.known.borrow().with(learned.to_vec());
        rig.known.send_replace(Arc::new(known));
    };
    learn(&servers);
    let mut second = ends[1].hear().await;
    let _third = ends[2].hear().await;
    rig.until("all are connected", |all| all.len() == 3).await;
    learn(&servers[2..]);
    rig.until("one is left", |all| all.iter().eq(&servers[2..]))
        .await;
    for ended in [&mut first, &mut second] {
        let ended = tokio::time::timeout(SOON, ended.connection.join_next()).await;
        assert!(ended.is_ok(), "it was closed");
    }
}
