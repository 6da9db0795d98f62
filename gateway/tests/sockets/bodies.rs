//! Where a request ends and the next one begins, and who is waited for in between, with real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::rig::{Rig, SOON, Upstream, full, get, ingress};
use ::http::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Sends these bytes and reads the head of the answer.
async fn say(to: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(SOON, stream.read_u8()).await.unwrap();
        answer.push(byte.unwrap());
    }
    String::from_utf8(answer).unwrap()
}

/// Answers with the method, the body, and how its length was told.
async fn mirror() -> Upstream {
    let answer = |request: ::http::Request<hyper::body::Incoming>| async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let count = |name| head.headers.get_all(name).iter().count();
        let lengths = (count("content-length"), count("transfer-encoding"));
        let seen = format!(
            "{} {:?} {lengths:?}",
            head.method,
            String::from_utf8_lossy(&body)
        );
        let mut response = Response::new(full(""));
        response
            .headers_mut()
            .insert("x-seen", seen.parse().unwrap());
        response
    };
    Upstream::start(answer).await
}

/// What comes back for each of these requests: its method, what follows the host, and the answer.
async fn check(cases: &[(&str, &str, &str)]) {
    let mirror = mirror().await;
    let mut rig = Rig::start().await;
    rig.objects(&[ingress("a", "web", json!({}))], &[]);
    rig.services(&[("web", None, &[mirror.address])]).await;
    for (method, rest, expected) in cases {
        let head = format!("{method} / HTTP/1.1\r\nhost: h\r\n");
        // A chunk of five bytes and the end.
        let rest = rest.replace(
            "CHUNKED",
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        );
        let rest = rest.replace("UPGRADE", "connection: upgrade\r\nupgrade: websocket\r\n");
        let rest = rest.replace("LENGTH", "content-length");
        let answer = say(rig.http, &(head + &rest)).await;
        assert!(answer.contains(expected), "{method} {rest:?}: {answer}");
    }
    rig.end().await;
}

#[tokio::test]
async fn a_body_is_passed_on_as_what_it_was_read_as() {
    check(&[
        ("GET", "CHUNKED", "GET \"hello\" (0, 1)"),
        ("POST", "CHUNKED", "POST \"hello\" (0, 1)"),
        ("POST", "LENGTH: 5\r\n\r\nhello", "POST \"hello\" (1, 0)"),
        ("GET", "LENGTH: 5\r\n\r\nhello", "GET \"hello\" (1, 0)"),
        ("GET", "\r\n", "GET \"\" (0, 0)"),
        ("POST", "LENGTH: 0\r\n\r\n", "POST \"\" (1, 0)"),
        (
            "POST",
            "LENGTH: 5\r\nLENGTH: 5\r\n\r\nhello",
            "POST \"hello\" (1, 0)",
        ),
        ("POST", "LENGTH: 3\r\nCHUNKED", "POST \"hello\" (0, 1)"),
        (
            "POST",
            "expect: 100-continue\r\nLENGTH: 5\r\n\r\nhello",
            "100 Continue",
        ),
        ("GET", "UPGRADELENGTH: 0\r\n\r\n", "GET \"\" (1, 0)"),
    ])
    .await;
}

#[tokio::test]
async fn a_request_whose_end_is_doubtful_is_refused() {
    check(&[
        (
            "POST",
            "LENGTH: 5\r\nLENGTH: 3\r\n\r\nhello",
            "400 Bad Request",
        ),
        (
            "POST",
            "transfer-encoding: gzip\r\nLENGTH: 5\r\n\r\nhello",
            "400 Bad Request",
        ),
        ("GET", "UPGRADELENGTH: 5\r\n\r\nhello", "upgrade-with-body"),
        ("GET", "UPGRADECHUNKED", "upgrade-with-body"),
    ])
    .await;
}

#[tokio::test]
async fn a_connection_on_which_an_upgrade_was_refused_serves_no_other_request() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            open.spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.unwrap_or(0) > 0 {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    stream.write_all(answer).await.unwrap();
                }
            });
        }
    });
    let mut rig = Rig::with(|config| config.workers = Some(1)).await;
    rig.objects(&[ingress("a", "web", json!({}))], &[]);
    rig.services(&[("web", None, &[address])]).await;
    let upgrade = "GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
    for (name, upgrades, expected) in [
        ("an upgrade has a connection of its own", true, 1),
        ("a request has another one", false, 2),
        ("and so has the next upgrade", true, 3),
        ("the next request uses the one before", false, 3),
    ] {
        if upgrades {
            assert!(say(rig.http, upgrade).await.starts_with("HTTP/1.1 200"));
        } else {
            assert_eq!(get(rig.http, "h", "/").await.code, 200);
        }
        assert_eq!(connections.load(Ordering::SeqCst), expected, "{name}");
    }
    task.abort();
    rig.end().await;
}

#[tokio::test]
async fn a_client_that_owes_its_body_is_to_blame_and_no_pod_is() {
    let (one, other) = (mirror().await, mirror().await);
    let mut rig = Rig::start().await;
    let brief = json!({"gateway.skiff.io/response-timeout": "1s"});
    rig.objects(&[ingress("a", "web", brief)], &[]);
    rig.services(&[("web", None, &[one.address, other.address])])
        .await;
    let stall = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhel";
    let stalls = (0..12).map(|_| say(rig.http, stall));
    for answer in futures_util::future::join_all(stalls).await {
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    let status = get(rig.admin, "h", "/status").await.text;
    let status: Value = serde_json::from_str(&status).unwrap();
    for endpoint in status["upstreams"][0]["endpoints"].as_array().unwrap() {
        assert_eq!(endpoint["ejected"], false, "{status}");
    }
    rig.end().await;
}

#[tokio::test]
async fn only_a_service_that_speaks_grpc_has_calls_of_any_size() {
    let mirror = mirror().await;
    let mut rig = Rig::start().await;
    let limit = json!({"gateway.skiff.io/body-limit": "1Ki"});
    rig.objects(&[ingress("a", "web", limit)], &[]);
    let cases = [
        (None, "application/grpc", 413),
        (None, "application/grpc-x", 413),
        (Some("kubernetes.io/h2c"), "application/grpc-x", 413),
        (Some("kubernetes.io/h2c"), "application/grpc+proto", 200),
    ];
    for (protocol, kind, code) in cases {
        rig.services(&[("web", protocol, &[mirror.address])]).await;
        for length in [
            "content-length: 1280\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n500\r\n",
        ] {
            let body = "x".repeat(1280);
            let end = if length.starts_with('t') {
                "\r\n0\r\n\r\n"
            } else {
                ""
            };
            let head = format!("POST / HTTP/1.1\r\nhost: h\r\ncontent-type: {kind}\r\n");
            // The mirror shows the body in a header.
            let answer = say(rig.http, &format!("{head}{length}{body}{end}")).await;
            let expected = format!("HTTP/1.1 {code}");
            assert!(
                answer.starts_with(&expected),
                "{protocol:?} {kind} {length}: {answer}"
            );
        }
    }
    rig.end().await;
}
