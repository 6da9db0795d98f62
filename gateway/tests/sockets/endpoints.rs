//! Endpoints that come, fail and go while requests run, with real sockets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::protocols::upgrade_request;
use crate::rig::{Rig, SOON, Upstream, ask, full, get, ingress};
use ::http::{Request, Response};
use bytes::Bytes;
use http_body_util::Full;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

/// An address at which nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_dead_endpoint_costs_no_request_not_even_a_post() {
    let web = Upstream::saying("web").await;
    let dead = nobody().await;
    let mut rig = Rig::start().await;
    rig.objects(&[ingress("a", "web", json!({}))], &[]);
    rig.services(&[("web", None, &[web.address, dead])]).await;
    for _ in 0..40 {
        let request = Request::post("/")
            .header("host", "h")
            .body(Full::from("x"))
            .unwrap();
        assert_eq!(ask(rig.http, request).await.text, "web");
    }
    rig.end().await;
}

/// Takes each request and hangs up without an answer.
async fn hangs_up(count: Arc<AtomicUsize>) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 4096];
            if stream.read(&mut buffer).await.unwrap_or(0) > 0 {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (address, task)
}

#[tokio::test]
async fn what_broke_is_tried_again_only_if_that_does_no_harm() {
    let seen = Arc::new(AtomicUsize::new(0));
    let (address, task) = hangs_up(Arc::clone(&seen)).await;
    let mut rig = Rig::start().await;
    rig.objects(
        &[ingress(
            "a",
            "web",
            json!({"gateway.skiff.io/retries": "1"}),
        )],
        &[],
    );
    rig.services(&[("web", None, &[address])]).await;
    let post = Request::post("/")
        .header("host", "h")
        .body(Full::<Bytes>::default())
        .unwrap();
    let answer = ask(rig.http, post).await;
    assert_eq!((answer.code, seen.swap(0, Ordering::SeqCst)), (502, 1));
    assert_eq!(answer.headers["x-skiff-reason"], "endpoint-unreachable");
    assert_eq!(get(rig.http, "h", "/").await.code, 502);
    assert_eq!(seen.load(Ordering::SeqCst), 2, "a GET is tried twice");
    task.abort();
    rig.end().await;
}

#[tokio::test]
async fn a_websocket_is_tried_again_out_of_the_same_budget() {
    let dead = nobody().await;
    let mut rig = Rig::start().await;
    let often = json!({"gateway.skiff.io/retries": "10"});
    rig.objects(&[ingress("a", "web", often)], &[]);
    rig.services(&[("web", None, &[dead])]).await;
    // Ten are there at first, and three requests do not earn another one.
    for retries in [10, 10, 10] {
        let answer = ask(rig.http, upgrade_request("/")).await;
        assert_eq!(answer.code, 502, "{}", answer.text);
        let metrics = get(rig.admin, "h", "/metrics").await.text;
        let found = metrics
            .lines()
            .filter(|line| line.starts_with("skiff_gateway_retries_total{"))
            .filter_map(|line| line.rsplit_once(' '));
        let found: u32 = found.map(|(_, count)| count.parse::<u32>().unwrap()).sum();
        assert_eq!(found, retries, "{metrics}");
    }
    rig.end().await;
}

#[tokio::test]
async fn an_endpoint_that_says_503_again_and_again_is_left_out() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let broken = Upstream::start(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut response = Response::new(full("broken"));
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            response
        }
    });
    let (broken, good) = (broken.await, Upstream::saying("good").await);
    let mut rig = Rig::start().await;
    rig.objects(&[ingress("a", "web", json!({}))], &[]);
    rig.services(&[("web", None, &[broken.address, good.address])])
        .await;
    let mut bad = 0;
    for _ in 0..60 {
        bad += usize::from(get(rig.http, "h", "/").await.code == 503);
    }
    assert_eq!(
        (bad, asked.load(Ordering::SeqCst)),
        (3, 3),
        "three in a row are enough"
    );
    rig.end().await;
}

#[tokio::test]
async fn no_request_goes_to_an_endpoint_after_it_was_said_to_be_gone() {
    let (leaving, staying) = (
        Upstream::saying("leaving").await,
        Upstream::saying("staying").await,
    );
    let mut rig = Rig::start().await;
    rig.objects(&[ingress("a", "web", json!({}))], &[]);
    rig.services(&[("web", None, &[leaving.address, staying.address])])
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let (to, stop) = (rig.http, Arc::clone(&stop));
            tokio::spawn(async move {
                let mut answered = 0;
                while !stop.load(Ordering::SeqCst) {
                    let answer = get(to, "h", "/").await;
                    assert_eq!(answer.code, 200, "{}", answer.text);
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    crate::rig::until(rig.http, ("h", "/"), |answer| answer.text == "leaving").await;
    rig.services(&[("web", None, &[staying.address])]).await;
    for _ in 0..200 {
        assert_eq!(get(rig.http, "h", "/").await.text, "staying");
    }
    stop.store(true, Ordering::SeqCst);
    for task in asking {
        assert!(tokio::time::timeout(SOON, task).await.unwrap().unwrap() > 0);
    }
    rig.end().await;
}

#[tokio::test]
async fn what_it_counts_can_be_read() {
    let web = Upstream::saying("web").await;
    let mut rig = Rig::start().await;
    rig.objects(&[ingress("a", "web", json!({}))], &[]);
    rig.services(&[("web", None, &[web.address])]).await;
    assert_eq!(get(rig.http, "h", "/").await.code, 200);
    let metrics = get(rig.admin, "h", "/metrics").await.text;
    let line = "skiff_gateway_requests_total{ingress=\"d/a\",host=\"*\",path=\"/\",\
        kind=\"Prefix\",service=\"d/web:80\",version=\"stable\",code=\"2xx\"} 1";
    assert!(metrics.contains(line), "{metrics}");
    let status = get(rig.admin, "h", "/status").await.text;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["routes"][0]["requests"], 1);
    assert_eq!(status["upstreams"][0]["endpoints"][0]["ejected"], false);
    rig.end().await;
}
