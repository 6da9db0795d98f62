//! What the access log says of requests, with real sockets and a real file.

use std::net::SocketAddr;
use std::path::Path;

use crate::protocols::{WEBSOCKET, echo, head};
use crate::rig::{Rig, SOON, Upstream, get_request, ingress_at};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The lines of a log as soon as there are so many.
async fn lines(log: &Path, count: usize) -> Vec<Value> {
    let reading = async {
        loop {
            let text = std::fs::read_to_string(log).unwrap();
            // What has no end yet is no line.
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            if whole.lines().count() >= count {
                let lines = whole
                    .lines()
                    .map(|line| serde_json::from_str(line).unwrap());
                return lines.collect();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, reading).await.unwrap()
}

/// Hangs up on the first request, and says this to all others, and then nothing.
async fn second_time(said: &'static str) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        head(&mut first).await;
        drop(first);
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            head(&mut stream).await;
            stream.write_all(said.as_bytes()).await.unwrap();
            open.push(stream);
        }
    });
    (address, task)
}

/// Sends a request and reads what comes back, as far as it comes: so many bytes of a body.
async fn exchange(to: SocketAddr, method: &str, target: &str) -> usize {
    let mut request = get_request("shop.example", target);
    *request.method_mut() = method.parse().unwrap();
    let headers = request.headers_mut();
    headers.insert("x-request-id", "abc-1".parse().unwrap());
    headers.insert("user-agent", "tests".parse().unwrap());
    let stream = TcpStream::connect(to).await.unwrap();
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    tokio::spawn(connection);
    let mut answer = sender.send_request(request).await.unwrap();
    let mut bytes = 0;
    while let Some(Ok(frame)) = answer.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
    }
    bytes
}

/// What a line should say: method and target, status, route, endpoint, tries and reason.
type Expected = (&'static str, u16, Value, Value, u32, Value);

fn line(of: &Expected, bytes: usize) -> Value {
    let (asked, status, route, endpoint, tries, reason) = of;
    let (method, target) = asked.split_once(' ').unwrap();
    let mut line = json!({
        "client": "127.0.0.1", "method": method, "host": "shop.example",
        "path": target.split('?').next(), "protocol": "HTTP/1.1", "tls": false,
        "requestId": "abc-1", "userAgent": "tests", "status": status, "bytes": bytes,
        "canary": false, "tries": tries,
    });
    // What there is nothing of is left out.
    for (name, value) in [("route", route), ("endpoint", endpoint), ("reason", reason)] {
        if !value.is_null() {
            line[name] = value.clone();
        }
    }
    line
}

#[tokio::test]
async fn each_request_is_a_line_that_says_what_became_of_it() {
    let web = Upstream::saying("hello").await;
    let whole = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond";
    let part = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart";
    let ((again, first), (broken, second)) = (second_time(whole).await, second_time(part).await);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let mut rig = Rig::with(|config| config.access_log = Some(log.clone())).await;
    let names = ["web", "again", "broken", "empty", "missing"];
    let brief = json!({"gateway.skiff.io/idle-timeout": "200ms"});
    let at = |name| ingress_at(name, None, &format!("/{name}"), name, brief.clone());
    rig.objects(&names.map(at), &[]);
    rig.services(&[
        ("web", None, &[web.address]),
        ("again", None, &[again]),
        ("broken", None, &[broken]),
        ("empty", None, &[]),
    ])
    .await;
    let (text, none) = (|text: &str| json!(text), Value::Null);
    let to = |address: SocketAddr| json!(address.to_string());
    let good =
        |asked, route, endpoint, tries| (asked, 200, text(route), endpoint, tries, none.clone());
    let own = |asked, code, route, reason| (asked, code, route, none.clone(), 0, text(reason));
    let cases: [Expected; 8] = [
        good("GET /web/1?key=secret", "d/web", to(web.address), 1),
        good("HEAD /web", "d/web", to(web.address), 1),
        good("DELETE /again", "d/again", to(again), 2),
        (
            "GET /broken",
            200,
            text("d/broken"),
            to(broken),
            2,
            text("answer-broke-off"),
        ),
        own("POST /nowhere", 404, none.clone(), "no-route"),
        own("HEAD /nowhere", 404, none.clone(), "no-route"),
        own("GET /empty", 503, text("d/empty"), "no-endpoints"),
        own("GET /missing", 503, text("d/missing"), "service-not-found"),
    ];
    for (number, case) in cases.iter().enumerate() {
        let (method, target) = case.0.split_once(' ').unwrap();
        let bytes = exchange(rig.http, method, target).await;
        assert_eq!(bytes == 0, method == "HEAD", "{}", case.0);
        let mut found = lines(&log, number + 1).await.remove(number);
        let fields = found.as_object_mut().unwrap();
        let (time, millis) = (fields.remove("time"), fields.remove("millis"));
        assert!(time.unwrap().as_str().unwrap().ends_with('Z'), "{}", case.0);
        assert!(millis.unwrap().is_u64(), "{}", case.0);
        assert_eq!(found, line(case, bytes), "{}", case.0);
    }
    first.abort();
    second.abort();
    rig.end().await;
}

#[tokio::test]
async fn a_tunnel_is_a_line_when_it_ends_with_what_came_through_it() {
    let (chat, task) = echo().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let mut rig = Rig::with(|config| config.access_log = Some(log.clone())).await;
    let brief = json!({"gateway.skiff.io/idle-timeout": "500ms"});
    let all = [
        ingress_at("a", None, "/silent", "chat", brief),
        ingress_at("b", None, "/ended", "chat", json!({})),
    ];
    rig.objects(&all, &[]);
    rig.services(&[("chat", None, &[chat])]).await;
    for (number, path) in ["/silent", "/ended"].into_iter().enumerate() {
        let mut client = TcpStream::connect(rig.http).await.unwrap();
        let wish = WEBSOCKET.replace("/chat", path);
        client.write_all(wish.as_bytes()).await.unwrap();
        head(&mut client).await;
        client.write_all(b"world").await.unwrap();
        let mut heard = [0; 10];
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"helloworld");
        if path == "/ended" {
            client.shutdown().await.unwrap();
        }
        let line = lines(&log, number + 1).await.remove(number);
        assert_eq!((&line["status"], &line["bytes"]), (&json!(101), &json!(10)));
        assert_eq!((&line["path"], &line["tries"]), (&json!(path), &json!(1)));
    }
    task.abort();
    rig.end().await;
}
