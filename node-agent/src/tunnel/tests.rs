//! The reverse connection over a pipe: this test is the server's end.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::SendRequest;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::desired::Desired;
use crate::pod::DesiredPod;
use crate::runtime::simulated::{Images, SimRuntime};
use crate::runtime::{Container, ContainerSpec, LogStream, SandboxSpec};

/// An agent behind a pipe, with one pod that has written two lines.
async fn agent() -> SendRequest<Empty<Bytes>> {
    agent_that(watch::channel(Revision(0)).1).await
}

/// The same; it has put endpoints into effect.
async fn agent_that(applied: watch::Receiver<Revision>) -> SendRequest<Empty<Bytes>> {
    let info = Arc::new(SimRuntime::machine(2, 1 << 30));
    let sim = Arc::new(SimRuntime::new("n1", info, Images::All, || {
        skiff_api::Millis(1000)
    }));
    let wire = json!({
        "metadata": {"namespace": "shop", "name": "front", "uid": "u"},
        "spec": {"containers": [{"name": "web"}]},
    });
    let pod = DesiredPod::read(serde_json::from_value(wire).unwrap()).unwrap();
    let sandbox = sim
        .run_sandbox(&SandboxSpec::new(pod.pod.clone()))
        .await
        .unwrap();
    let container = Container {
        pod: pod.pod.clone(),
        name: "web".into(),
        attempt: 0,
    };
    let id = sim
        .create_container(&ContainerSpec::new(container, sandbox, "shop:1"))
        .await
        .unwrap();
    sim.start_container(&id).await.unwrap();
    sim.write(&id, LogStream::Stdout, "one\ntwo\n");
    let pods = [(Arc::clone(&pod.pod.uid), Arc::new(pod))].into();
    let sights = Arc::new(crate::sight::sort(sim.list().await.unwrap()));
    let view = View {
        desired: Desired { synced: true, pods },
        sights,
    };
    let identity = Identity {
        pair: String::new(),
        ca: String::new(),
    };
    let tunnel = Arc::new(Tunnel {
        agent_id: "id".into(),
        identity: watch::channel(Arc::new(identity)).1,
        heartbeat: Duration::from_secs(1),
        runtime: sim,
        view: watch::channel(view).1,
        applied,
        connected: watch::channel(BTreeSet::new()).0,
    });
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move { tunnel.serve(theirs).await });
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours))
            .await
            .unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(sender: &mut SendRequest<Empty<Bytes>>, method: Method, path: &str) -> (u16, String) {
    let uri = format!("http://agent{path}");
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .body(Empty::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn requests_are_answered() {
    let mut sender = agent().await;
    let log = "/pods/shop/front/u/log";
    let cases = [
        ("health", "/healthz".to_owned(), 200, "ok"),
        ("a log", log.to_owned(), 200, "one\ntwo\n"),
        ("its last line", format!("{log}?tailLines=1"), 200, "two\n"),
        (
            "its first bytes",
            format!("{log}?limitBytes=5"),
            200,
            "one\nt",
        ),
        (
            "another pod of the name",
            "/pods/shop/front/v/log".into(),
            404,
            "\"NotFound\"",
        ),
        (
            "an unknown container",
            format!("{log}?container=x"),
            400,
            "container x is not valid",
        ),
        ("nonsense", format!("{log}?tailLines=x"), 400, "tailLines"),
        ("nothing", "/nothing".into(), 404, "nothing is at /nothing"),
    ];
    for (name, path, code, words) in cases {
        let (found, body) = ask(&mut sender, Method::GET, &path).await;
        assert_eq!(found, code, "{name}: {body}");
        assert!(body.contains(words), "{name}: {body}");
    }
    let (code, body) = ask(&mut sender, Method::POST, "/healthz").await;
    let status: Value = serde_json::from_str(&body).expect("a Status");
    assert_eq!((code, &status["kind"]), (405, &json!("Status")));
}

#[tokio::test(start_paused = true)]
async fn the_heart_beats_at_once_and_every_second() {
    let mut sender = agent().await;
    let began = Instant::now();
    let request = Request::get("http://agent/heartbeats")
        .body(Empty::new())
        .unwrap();
    let mut body = sender.send_request(request).await.unwrap().into_body();
    for seq in 0..3_u32 {
        let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&line).unwrap(),
            json!({"agentId": "id", "seq": seq})
        );
        assert!(line.ends_with(b"\n"));
        assert_eq!(began.elapsed().as_secs(), u64::from(seq), "beat {seq}");
    }
}

#[tokio::test(start_paused = true)]
async fn newer_endpoints_are_told_at_once_but_not_all_of_them() {
    let (apply, applied) = watch::channel(Revision(0));
    let mut sender = agent_that(applied).await;
    let began = Instant::now();
    let request = Request::get("http://agent/heartbeats")
        .body(Empty::new())
        .unwrap();
    let mut body = sender.send_request(request).await.unwrap().into_body();
    let mut line = async || {
        let line = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let line: Value = serde_json::from_slice(&line).unwrap();
        (line["applied"].as_u64(), began.elapsed().as_millis())
    };
    assert_eq!(line().await, (None, 0), "nobody makes use of endpoints");
    apply.send_replace(Revision(7));
    assert_eq!(line().await, (Some(7), 50));
    apply.send_replace(Revision(8));
    apply.send_replace(Revision(9));
    assert_eq!(line().await, (Some(9), 100));
    assert_eq!(line().await, (Some(9), 1000), "the next beat");
    drop(apply);
    assert_eq!(line().await, (Some(9), 2000), "it goes on");
}
