//! Requests through a gateway: routes, headers, bodies, limits, with real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::rig::{Rig, SOON, Upstream, ask, full, get, get_request, ingress, ingress_at};
use ::http::{Request, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

#[tokio::test]
async fn requests_go_where_their_host_and_path_lead() {
    let (cart, users) = (
        Upstream::saying("cart").await,
        Upstream::saying("users").await,
    );
    let mut rig = Rig::start().await;
    rig.objects(
        &[
            ingress_at("a", Some("shop.example"), "/cart", "cart", json!({})),
            ingress_at("b", None, "/users", "users", json!({})),
            ingress_at("c", None, "/nothing", "missing", json!({})),
            ingress_at("d", None, "/empty", "empty", json!({})),
        ],
        &[],
    );
    rig.services(&[
        ("cart", None, &[cart.address]),
        ("users", None, &[users.address]),
        ("empty", None, &[]),
    ])
    .await;
    let cases = [
        ("shop.example", "/cart", 200, "cart"),
        ("SHOP.example:80", "/cart/7?a=b", 200, "cart"),
        ("other.example", "/cart", 404, "No Ingress"),
        ("shop.example", "/users", 200, "users"),
        ("shop.example", "/cartoon", 404, "No Ingress"),
        ("any", "/nothing", 503, "there is no such service"),
        ("any", "/empty", 503, "no pod of the service is ready"),
        ("bad\"host", "/users", 400, "no valid host"),
    ];
    for (host, path, code, text) in cases {
        let answer = get(rig.http, host, path).await;
        assert_eq!(answer.code, code, "{host}{path}: {}", answer.text);
        assert!(answer.text.contains(text), "{host}{path}: {}", answer.text);
        let has_reason = answer.headers.contains_key("x-skiff-reason");
        assert_eq!(has_reason, code != 200, "{host}{path}");
    }
    rig.end().await;
}

/// An upstream that answers with the head of the request.
async fn mirror() -> Upstream {
    Upstream::start(|request| async move {
        let mut text = format!("{} {}\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            text += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        let mut response = Response::new(full(text));
        let headers = response.headers_mut();
        headers.insert("connection", "x-secret".parse().unwrap());
        headers.insert("x-secret", "hop".parse().unwrap());
        headers.insert("keep-alive", "timeout=5".parse().unwrap());
        response
    })
    .await
}

#[tokio::test]
async fn headers_say_who_asks_and_end_what_is_between_neighbours() {
    let mirror = mirror().await;
    let mut rig = Rig::start().await;
    rig.objects(&[ingress("a", "web", json!({}))], &[]);
    rig.services(&[("web", None, &[mirror.address])]).await;
    let request = Request::get("/x?y=z")
        .header("host", "shop.example")
        .header("x-forwarded-for", "9.9.9.9")
        .header("forwarded", "for=9.9.9.9")
        .header("x-forwarded-proto", "https")
        .header("x-request-id", "abc-1")
        .header("connection", "x-hop, close")
        .header("x-hop", "1")
        .header("te", "gzip")
        .body(Full::default())
        .unwrap();
    let answer = ask(rig.http, request).await;
    for expected in [
        "GET /x?y=z\n",
        "host: shop.example\n",
        "x-forwarded-for: 127.0.0.1\n",
        "forwarded: for=127.0.0.1;proto=http;host=\"shop.example\"\n",
        "x-forwarded-proto: http\n",
        "x-forwarded-host: shop.example\n",
        "x-request-id: abc-1\n",
    ] {
        assert!(
            answer.text.contains(expected),
            "{expected}: {}",
            answer.text
        );
    }
    for gone in ["x-hop", "te: ", "connection", "9.9.9.9"] {
        assert!(!answer.text.contains(gone), "{gone}: {}", answer.text);
    }
    assert!(!answer.headers.contains_key("x-secret") && !answer.headers.contains_key("keep-alive"));
    let made = get(rig.http, "h", "/").await.text;
    let id = made
        .lines()
        .find_map(|line| line.strip_prefix("x-request-id: "));
    assert_eq!(id.map(str::len), Some(32), "{made}");
    rig.end().await;
}

#[tokio::test]
async fn bodies_stream_both_ways_at_once() {
    let echo = Upstream::start(|request| async move {
        let frames = request.into_body().into_data_stream();
        let frames = frames.map(|data| Ok(Frame::data(data.unwrap())));
        Response::new(StreamBody::new(frames).boxed_unsync())
    });
    let echo = echo.await;
    let mut rig = Rig::start().await;
    rig.objects(&[ingress("a", "echo", json!({}))], &[]);
    rig.services(&[("echo", None, &[echo.address])]).await;
    let stream = TcpStream::connect(rig.http).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let (send, mut receive) = mpsc::channel::<Bytes>(1);
    let body = futures_util::stream::poll_fn(move |context| receive.poll_recv(context));
    let body =
        StreamBody::new(body.map(|data| Ok::<_, std::convert::Infallible>(Frame::data(data))));
    send.send("first".into()).await.unwrap();
    let request = Request::post("/").header("host", "h").body(body).unwrap();
    let mut response = sender.send_request(request).await.unwrap();
    for word in ["first", "second", "third"] {
        let frame = tokio::time::timeout(SOON, response.frame()).await.unwrap();
        assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), word);
        if word != "third" {
            let next = if word == "first" { "second" } else { "third" };
            send.send(next.into()).await.unwrap();
        }
    }
    drop(send);
    assert!(response.frame().await.is_none());
    rig.end().await;
}

#[tokio::test]
async fn large_bodies_and_heads_are_refused() {
    let drain = Upstream::start(|request| async move {
        let read = request.into_body().collect().await;
        Response::new(full(format!(
            "{}",
            read.map_or(0, |all| all.to_bytes().len())
        )))
    });
    let drain = drain.await;
    let mut rig = Rig::start().await;
    let limit = json!({"gateway.skiff.io/body-limit": "1Ki"});
    rig.objects(&[ingress("a", "web", limit)], &[]);
    rig.services(&[("web", None, &[drain.address])]).await;
    let post = |size: usize| {
        let body = Full::from(vec![b'x'; size]);
        Request::post("/").header("host", "h").body(body).unwrap()
    };
    assert_eq!(ask(rig.http, post(1024)).await.text, "1024");
    let answer = ask(rig.http, post(1025)).await;
    assert_eq!(
        (
            answer.code,
            answer.headers["x-skiff-reason"].to_str().unwrap()
        ),
        (413, "body-too-large")
    );
    // Without a length it is found while it streams.
    let mut raw = TcpStream::connect(rig.http).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n800\r\n";
    raw.write_all(head.as_bytes()).await.unwrap();
    raw.write_all(&[b'x'; 0x800]).await.unwrap();
    assert!(read_head(&mut raw).await.starts_with("HTTP/1.1 413"));
    let long = "x".repeat(40 * 1024);
    for line in [
        format!("GET / HTTP/1.1\r\nhost: h\r\nx-long: {long}\r\n\r\n"),
        format!(
            "GET / HTTP/1.1\r\nhost: h\r\n{}\r\n",
            "a: b\r\n".repeat(200)
        ),
    ] {
        let mut raw = TcpStream::connect(rig.http).await.unwrap();
        raw.write_all(line.as_bytes()).await.unwrap();
        assert!(read_head(&mut raw).await.starts_with("HTTP/1.1 431"));
    }
    rig.end().await;
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.windows(4).any(|window| window == b"\r\n\r\n") {
        let mut buffer = [0; 1024];
        let count = tokio::time::timeout(SOON, stream.read(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        assert!(
            count > 0,
            "closed after {:?}",
            String::from_utf8_lossy(&text)
        );
        text.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_back() {
    let web = Upstream::saying("web").await;
    let mut rig = Rig::start().await;
    let limit =
        json!({"gateway.skiff.io/rate-limit": "2/h", "gateway.skiff.io/rate-limit-burst": "2"});
    rig.objects(&[ingress("a", "web", limit)], &[]);
    rig.services(&[("web", None, &[web.address])]).await;
    assert_eq!(get(rig.http, "h", "/").await.code, 200);
    assert_eq!(get(rig.http, "h", "/").await.code, 200);
    let answer = get(rig.http, "h", "/").await;
    assert_eq!(answer.code, 429);
    let wait: u64 = answer.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1700..=1800).contains(&wait), "{wait}");
    rig.end().await;
}

#[tokio::test]
async fn canaries_get_their_share_and_those_who_ask_for_them() {
    let (old, new) = (Upstream::saying("old").await, Upstream::saying("new").await);
    let mut rig = Rig::start().await;
    let canary = json!({"gateway.skiff.io/canary-service": "new",
        "gateway.skiff.io/canary-weight": "30", "gateway.skiff.io/canary-header": "x-try",
        "gateway.skiff.io/canary-header-value": "new"});
    rig.objects(&[ingress("a", "old", canary)], &[]);
    rig.services(&[("old", None, &[old.address]), ("new", None, &[new.address])])
        .await;
    let mut of_new = 0;
    for _ in 0..300 {
        of_new += usize::from(get(rig.http, "h", "/").await.text == "new");
    }
    assert!(
        (45..=140).contains(&of_new),
        "{of_new} of 300 went to the canary of 30 %"
    );
    for (value, expected) in [("new", "new"), ("never", "old")] {
        for _ in 0..20 {
            let mut request = get_request("h", "/");
            request
                .headers_mut()
                .insert("x-try", value.parse().unwrap());
            assert_eq!(ask(rig.http, request).await.text, expected);
        }
    }
    rig.end().await;
}

#[tokio::test]
async fn a_client_that_drips_its_head_is_cut_off_and_others_are_not() {
    // The limit itself is looked at in the table of `activity`; here: others go on.
    let web = Upstream::saying("web").await;
    let mut rig = Rig::with(|config| config.workers = Some(1)).await;
    rig.objects(&[ingress("a", "web", json!({}))], &[]);
    rig.services(&[("web", None, &[web.address])]).await;
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(rig.http).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nho").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(get(rig.http, "h", "/").await.code, 200);
    let mut first = slow.swap_remove(0);
    let mut buffer = [0; 16];
    let closed = tokio::time::timeout(Duration::from_secs(40), first.read(&mut buffer)).await;
    assert_eq!(closed.unwrap().unwrap_or(0), 0, "it is closed");
    rig.end().await;
}

#[tokio::test]
async fn a_thousand_idle_connections_hold_up_nobody_and_can_still_be_used() {
    let web = Upstream::saying("web").await;
    let mut rig = Rig::start().await;
    rig.objects(&[ingress("a", "web", json!({}))], &[]);
    rig.services(&[("web", None, &[web.address])]).await;
    let mut idle = Vec::new();
    for _ in 0..1000 {
        let mut stream = TcpStream::connect(rig.http).await.unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
            .await
            .unwrap();
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 200"));
        idle.push(stream);
    }
    // Long enough for each to have been put to rest.
    tokio::time::timeout(Duration::from_millis(2500), std::future::pending::<()>())
        .await
        .unwrap_err();
    for stream in &mut idle {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
            .await
            .unwrap();
        assert!(read_head(stream).await.starts_with("HTTP/1.1 200"));
    }
    rig.end().await;
}

#[tokio::test]
async fn what_is_under_way_ends_well_when_the_gateway_ends() {
    let begun = Arc::new(AtomicUsize::new(0));
    let (go, gone) = tokio::sync::watch::channel(false);
    let count = Arc::clone(&begun);
    let slow = Upstream::start(move |_| {
        let (mut gone, count) = (gone.clone(), Arc::clone(&count));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            gone.wait_for(|gone| *gone).await.unwrap();
            Response::new(full("late"))
        }
    });
    let slow = slow.await;
    let mut rig = Rig::start().await;
    rig.objects(&[ingress("a", "slow", json!({}))], &[]);
    rig.services(&[("slow", None, &[slow.address])]).await;
    let http = rig.http;
    let asking = tokio::spawn(async move { get(http, "h", "/").await.text });
    while begun.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    rig.stop.cancel();
    while TcpStream::connect(http).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go.send_replace(true);
    assert_eq!(asking.await.unwrap(), "late");
    rig.end().await;
}
