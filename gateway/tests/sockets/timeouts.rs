//! How long the gateway waits for a pod: for a connection, for an answer, for more of it, and for
//! somebody to speak through a tunnel. With real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::protocols::{WEBSOCKET, echo, head, http2, upgrade_request};
use crate::rig::{Answer, Body, Rig, SOON, Upstream, ask, get, get_request, ingress, ingress_at};
use ::http::{Request, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// An answer that comes soon, whoever is waited for in between.
async fn soon(to: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    timeout(SOON, ask(to, request)).await.unwrap()
}

fn grpc_request(path: &str) -> Request<Full<Bytes>> {
    let request = Request::post(path).header("host", "h");
    let request = request.header("content-type", "application/grpc");
    request.body(Full::default()).unwrap()
}

#[tokio::test]
async fn a_pod_that_does_not_answer_in_time_is_given_up_and_no_other_is_asked() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let silent = Upstream::start(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Response<Body>>()
    });
    let silent = silent.await;
    let mut rig = Rig::start().await;
    let brief = |what: &str| json!({format!("gateway.skiff.io/{what}"): "100ms"});
    let all = [
        ingress_at("a", None, "/answer", "web", brief("response-timeout")),
        ingress_at("b", None, "/call", "web", brief("idle-timeout")),
    ];
    rig.objects(&all, &[]);
    let h2c = Some("kubernetes.io/h2c");
    for (name, protocol, request) in [
        ("HTTP/1.1", None, get_request("h", "/answer")),
        ("HTTP/2", h2c, get_request("h", "/answer")),
        ("a WebSocket", None, upgrade_request("/answer")),
        ("gRPC", h2c, grpc_request("/call")),
    ] {
        rig.services(&[("web", protocol, &[silent.address])]).await;
        let answer = soon(rig.http, request).await;
        assert_eq!(answer.code, 504, "{name}: {}", answer.text);
        assert_eq!(answer.headers["x-skiff-reason"], "endpoint-timeout");
        assert_eq!(asked.swap(0, Ordering::SeqCst), 1, "{name}");
    }
    rig.end().await;
}

/// Where connections are neither taken nor refused: the only place in the queue is taken.
struct Stuck {
    address: SocketAddr,
    _listener: TcpListener,
    _queued: TcpStream,
}

async fn stuck() -> Stuck {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    Stuck {
        address,
        _queued: TcpStream::connect(address).await.unwrap(),
        _listener: listener,
    }
}

/// What the gateway tells of the endpoints of a backend.
async fn endpoints(rig: &Rig, backend: &str) -> Vec<Value> {
    let status = get(rig.admin, "h", "/status").await.text;
    let status: Value = serde_json::from_str(&status).unwrap();
    let upstreams = status["upstreams"].as_array().unwrap();
    let found = upstreams
        .iter()
        .find(|upstream| upstream["backend"] == backend);
    found.unwrap()["endpoints"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_pod_that_takes_no_connection_costs_no_request_and_is_left_out() {
    let (stuck, good) = (stuck().await, Upstream::saying("good").await);
    let mut rig = Rig::start().await;
    let brief = json!({"gateway.skiff.io/connect-timeout": "50ms"});
    rig.objects(&[ingress("a", "web", brief)], &[]);
    rig.services(&[("web", None, &[stuck.address, good.address])])
        .await;
    let left_out = async {
        loop {
            let request = Request::post("/").header("host", "h");
            let answer = ask(rig.http, request.body(Full::from("x")).unwrap()).await;
            assert_eq!(answer.text, "good");
            let all = endpoints(&rig, "d/web:80").await;
            let out = all.iter().find(|one| one["ejected"] == true);
            if let Some(out) = out {
                return out["address"].clone();
            }
        }
    };
    let left_out = timeout(SOON, left_out).await.unwrap();
    assert_eq!(left_out, stuck.address.to_string());
    rig.end().await;
}

#[tokio::test]
async fn it_can_be_said_how_long_a_connection_may_take() {
    let stuck = stuck().await;
    let mut rig = Rig::start().await;
    // Each try at the patient one ends when the kernel gives up: all of them take far longer than
    // all tries at the brief one.
    let after = |time: &str| json!({"gateway.skiff.io/connect-timeout": time, "gateway.skiff.io/retries": "10"});
    let all = [
        ingress_at("a", None, "/patient", "patient", after("1h")),
        ingress_at("b", None, "/brief", "brief", after("20ms")),
    ];
    rig.objects(&all, &[]);
    rig.services(&[
        ("patient", None, &[stuck.address]),
        ("brief", None, &[stuck.address]),
    ])
    .await;
    let http = rig.http;
    let patient = tokio::spawn(async move { get(http, "h", "/patient").await.code });
    let under_way = async {
        while endpoints(&rig, "d/patient:80").await[0]["open"] != 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, under_way).await.unwrap();
    for request in [get_request("h", "/brief"), upgrade_request("/brief")] {
        let answer = soon(rig.http, request).await;
        assert_eq!(answer.code, 502, "{}", answer.text);
        assert_eq!(answer.headers["x-skiff-reason"], "endpoint-unreachable");
    }
    assert!(!patient.is_finished(), "it waits for its first connections");
    patient.abort();
    rig.end().await;
}

/// Asks by HTTP/1.1 or HTTP/2.
async fn begin(to: SocketAddr, is_http2: bool, path: &str) -> Response<Incoming> {
    let stream = TcpStream::connect(to).await.unwrap();
    if is_http2 {
        let request = Request::get(format!("http://h{path}"));
        let request = request.body(Full::default()).unwrap();
        return http2(stream).await.send_request(request).await.unwrap();
    }
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let request = get_request("h", path);
    sender.send_request(request).await.unwrap()
}

#[tokio::test]
async fn an_answer_that_stops_in_its_middle_is_broken_off_and_does_not_look_whole() {
    let (held, mut holds) = mpsc::unbounded_channel();
    let stalling = Upstream::start(move |request| {
        let (send, mut receive) = mpsc::channel::<Bytes>(1);
        send.try_send("hello".into()).unwrap();
        held.send(send).unwrap();
        let body = futures_util::stream::poll_fn(move |context| receive.poll_recv(context));
        let body = StreamBody::new(body.map(|data| Ok(Frame::data(data))));
        let mut response = Response::new(body.boxed_unsync());
        if request.uri().path() == "/length" {
            let length = "10".parse().unwrap();
            response.headers_mut().insert("content-length", length);
        }
        std::future::ready(response)
    });
    let stalling = stalling.await;
    let mut rig = Rig::start().await;
    let brief = json!({"gateway.skiff.io/idle-timeout": "100ms"});
    rig.objects(&[ingress("a", "web", brief)], &[]);
    for protocol in [None, Some("kubernetes.io/h2c")] {
        rig.services(&[("web", protocol, &[stalling.address])])
            .await;
        for (path, is_http2) in [
            ("/", false),
            ("/length", false),
            ("/", true),
            ("/length", true),
        ] {
            let name = format!("{protocol:?} {path} HTTP/2: {is_http2}");
            let mut answer = begin(rig.http, is_http2, path).await;
            assert_eq!(answer.status(), 200, "{name}");
            let first = timeout(SOON, answer.frame()).await.unwrap();
            assert_eq!(first.unwrap().unwrap().into_data().unwrap(), "hello");
            let end = timeout(SOON, answer.frame()).await.expect(&name);
            assert!(matches!(end, Some(Err(_))), "{name}: {end:?}");
            let sender = holds.recv().await.unwrap();
            timeout(SOON, sender.closed()).await.expect(&name);
        }
    }
    rig.end().await;
}

#[tokio::test]
async fn a_tunnel_is_open_for_as_long_as_somebody_speaks() {
    const PAUSE_MAX: Duration = Duration::from_millis(500);
    let (address, task) = echo().await;
    let mut rig = Rig::start().await;
    let idle = format!("{}ms", PAUSE_MAX.as_millis());
    let brief = json!({"gateway.skiff.io/idle-timeout": idle});
    rig.objects(&[ingress("a", "chat", brief)], &[]);
    rig.services(&[("chat", None, &[address])]).await;
    // The pod serves one after the other: the second is answered if the first is over for it too.
    for spoken in [PAUSE_MAX * 3, Duration::ZERO] {
        let mut client = TcpStream::connect(rig.http).await.unwrap();
        client.write_all(WEBSOCKET.as_bytes()).await.unwrap();
        let answer = head(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        let mut word = *b"hello";
        client.read_exact(&mut word).await.unwrap();
        let begun = Instant::now();
        while begun.elapsed() < spoken {
            client.write_all(&word).await.unwrap();
            client.read_exact(&mut word).await.unwrap();
        }
        let end = timeout(SOON, client.read(&mut word)).await.unwrap();
        assert_eq!(end.unwrap_or(0), 0, "nobody said anything");
    }
    task.abort();
    rig.end().await;
}
