//! Small writes on their way to the leader: all of them are answered, or surely had no effect, or
//! are said to be lost.

use std::convert::Infallible;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::*;

const WRITE: &str = "/api/v1/namespaces/a/configmaps";
const NEVER: &str = "/api/v1/namespaces/never/configmaps";

fn write(path: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    let mut request = request(path);
    *request.body_mut() = body.into();
    request
}

/// Answers with who asked for what, and notes that somebody waits for the answer that never comes.
fn router(arrived: &Arc<tokio::sync::Notify>) -> Router {
    let stuck = arrived.clone();
    let echo = |Extension(who): Extension<Identity>,
                forwarded: Option<Extension<Forwarded>>,
                method: Method,
                body: String| async move {
        let text = format!("{method} {} {} {body}", who.user, forwarded.is_some());
        (StatusCode::CREATED, [("warning", "299 - \"a\"")], text)
    };
    let never = move || async move {
        stuck.notify_one();
        std::future::pending::<()>().await;
    };
    Router::new()
        .route(WRITE, post(echo).patch(echo))
        .route(NEVER, post(never))
}

async fn text_of(response: Response) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn has_lane(one: &Half) -> bool {
    let link = lock(&one.peers.0.links).get(&2).cloned();
    link.is_some_and(|link| link.lane.is_open())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writes_at_once_are_each_answered() {
    let (one, two) = two(router(&Arc::default())).await;
    until_heard(&one, &two, 1).await;
    let asked = (0..500).map(|number| {
        let len = if number % 50 == 0 { 70_000 } else { number };
        let body = format!("{number}:{}", "x".repeat(len));
        let sent = one.peers.forward(2, write(WRITE, body.clone()));
        async move { (sent.await.unwrap(), body) }
    });
    for (response, body) in join_all(asked).await {
        assert_eq!(response.status(), StatusCode::CREATED);
        assert_eq!(response.headers()["warning"], "299 - \"a\"");
        assert_eq!(text_of(response).await, format!("POST eve true {body}"));
    }
    assert!(has_lane(&one));
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_too_large_for_a_lane_goes_by_itself() {
    let (one, two) = two(router(&Arc::default())).await;
    until_heard(&one, &two, 1).await;
    let mut request = write(WRITE, "body");
    let long = "x".repeat(140 << 10);
    request
        .headers_mut()
        .insert("x-long", long.parse().unwrap());
    let response = one.peers.forward(2, request).await.unwrap();
    assert_eq!(text_of(response).await, "POST eve true body");
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_on_a_lane_that_breaks_is_lost_and_the_next_one_works() {
    let arrived = Arc::new(tokio::sync::Notify::new());
    let (one, two) = two(router(&arrived)).await;
    until_heard(&one, &two, 1).await;
    let target = two.gate.target();
    let cut = async {
        arrived.notified().await;
        two.gate.shut();
    };
    let (lost, ()) = tokio::join!(one.peers.forward(2, write(NEVER, "")), cut);
    assert!(matches!(lost, Err(ForwardError::Lost { member: 2, .. })));
    let unsent = one.peers.forward(2, write(WRITE, "")).await;
    let unreachable = matches!(unsent, Err(ForwardError::Unreachable { member: 2, .. }));
    assert!(unreachable, "{unsent:?}");
    two.gate.open(target);
    until_answered(&one).await;
    one.end().await;
    two.end().await;
}

/// Waits until the second server answers writes.
async fn until_answered(one: &Half) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let ask = async {
        while one.peers.forward(2, write(WRITE, "")).await.is_err() {
            looks.tick().await;
        }
    };
    let asked = tokio::time::timeout(Duration::from_secs(30), ask).await;
    assert!(asked.is_ok(), "no answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_nobody_waits_for_is_forgotten() {
    let arrived = Arc::new(tokio::sync::Notify::new());
    let (one, two) = two(router(&arrived)).await;
    until_heard(&one, &two, 1).await;
    let asked = one.peers.forward(2, write(NEVER, ""));
    tokio::select! {
        _ = asked => panic!("it never answers"),
        () = arrived.notified() => {}
    }
    let link = lock(&one.peers.0.links).get(&2).cloned().unwrap();
    assert_eq!(link.lane.waiting(), 0);
    until_answered(&one).await;
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_answers_what_it_took() {
    let arrived = Arc::new(tokio::sync::Notify::new());
    let (told, slow) = (arrived.clone(), Arc::new(tokio::sync::Notify::new()));
    let done = slow.clone();
    let router = router(&Arc::default()).route(
        "/api/v1/namespaces/slow/configmaps",
        post(move || async move {
            told.notify_one();
            done.notified().await;
            "done"
        }),
    );
    let (one, two) = two(router).await;
    until_heard(&one, &two, 1).await;
    let asked = one
        .peers
        .forward(2, write("/api/v1/namespaces/slow/configmaps", ""));
    let late = async {
        arrived.notified().await;
        two.peers.0.stop.cancel();
        let late = one.peers.forward(2, write(WRITE, ""));
        let (late, ()) = tokio::join!(late, async { slow.notify_one() });
        late
    };
    let (answered, late) = tokio::join!(asked, late);
    assert_eq!(text_of(answered.unwrap()).await, "done");
    let lost = matches!(late, Err(ForwardError::Lost { .. }));
    assert!(!lost, "{late:?}");
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_server_s_writes_have_no_effect() {
    let (one, two) = two(router(&Arc::default())).await;
    lock(&two.fake.status).leader = Some(2);
    until_heard(&one, &two, 1).await;
    until_answered(&one).await;
    two.listed.send_replace(list(&[(2, &two)]));
    until("the end of the lane", || !has_lane(&one)).await;
    let refused = one.peers.forward(2, write(WRITE, "")).await;
    let unreachable = matches!(refused, Err(ForwardError::Unreachable { member: 2, .. }));
    assert!(unreachable, "{refused:?}");
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_not_answered_when_its_server_stopped_is_lost() {
    let arrived = Arc::new(tokio::sync::Notify::new());
    let (one, two) = two(router(&arrived)).await;
    until_heard(&one, &two, 1).await;
    let stop = async {
        arrived.notified().await;
        two.peers.stop().await;
    };
    let (lost, ()) = tokio::join!(one.peers.forward(2, write(NEVER, "")), stop);
    let is_lost = matches!(lost, Err(ForwardError::Lost { member: 2, .. }));
    assert!(is_lost, "{lost:?}");
    one.end().await;
    two.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_handler_broke_down_is_never_said_to_have_had_no_effect() {
    let arrived = Arc::new(tokio::sync::Notify::new());
    let told = arrived.clone();
    let router = Router::new().route(
        WRITE,
        post(move || {
            told.notify_one();
            std::future::poll_fn(|_| -> std::task::Poll<()> {
                panic!("as a fault in the program would")
            })
        }),
    );
    let (one, two) = two(router).await;
    until_heard(&one, &two, 1).await;
    let stop = async {
        arrived.notified().await;
        two.peers.stop().await;
    };
    let (lost, ()) = tokio::join!(one.peers.forward(2, write(WRITE, "")), stop);
    let is_lost = matches!(lost, Err(ForwardError::Lost { member: 2, .. }));
    assert!(is_lost, "{lost:?}");
    one.end().await;
    two.end().await;
}

/// A server of an older version: it answers forwarded requests one by one and nothing else.
async fn old_server(pki: &Pki) -> SocketAddr {
    let tls = listener::tls_config(pki).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let answer = |request: Request<Incoming>| async move {
        let old = request.headers().contains_key("skiff-forwarded");
        let status = if old {
            StatusCode::CREATED
        } else {
            StatusCode::NOT_FOUND
        };
        let answer = Response::builder().status(status).body(Body::from("old"));
        Ok::<_, Infallible>(answer.unwrap())
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                let server = http2::Builder::new(TokioExecutor::new());
                // It ends when the other side hangs up.
                drop(server.serve_connection(stream, service_fn(answer)).await);
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_no_lanes_is_asked_one_by_one() {
    let pki = pki();
    let one = Half::start(1, &pki, Router::new()).await;
    let old = old_server(&pki).await;
    let members: Members = [member(1, one.gate.address), member(2, old)].into();
    one.listed.send_replace(Arc::new(members));
    until("a link", || !lock(&one.peers.0.links).is_empty()).await;
    let first = one.peers.forward(2, write(WRITE, "body")).await;
    let unreachable = matches!(first, Err(ForwardError::Unreachable { member: 2, .. }));
    assert!(unreachable, "it had no effect: {first:?}");
    let second = one.peers.forward(2, write(WRITE, "body")).await.unwrap();
    assert_eq!(text_of(second).await, "old");
    assert!(!has_lane(&one));
    one.end().await;
}
