use http_body_util::{Full, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use tokio::sync::mpsc;

use super::*;

/// An agent on the other end of a pipe: beats when told, answers every other request with its path.
pub(crate) fn agent(
    stream: tokio::io::DuplexStream,
    id: &'static str,
) -> mpsc::Sender<&'static str> {
    let (beats, received) = mpsc::channel::<&'static str>(8);
    let received = Arc::new(Mutex::new(Some(received)));
    let service = service_fn(move |request: Request<Incoming>| {
        let received = received.clone();
        async move {
            let path = request.uri().path().to_owned();
            let taken = received
                .lock()
                .unwrap()
                .take()
                .filter(|_| path == "/heartbeats");
            let body = match taken {
                Some(received) => {
                    let lines = futures_util::stream::unfold(received, |mut lines| async {
                        let line = lines.recv().await?;
                        Some((Ok::<_, hyper::Error>(Frame::data(Bytes::from(line))), lines))
                    });
                    StreamBody::new(lines).boxed()
                }
                None if path == "/endless" => {
                    let more =
                        || Ok::<_, hyper::Error>(Frame::data(Bytes::from(vec![0; 16 << 10])));
                    let body = futures_util::stream::repeat_with(more);
                    StreamBody::new(body).boxed()
                }
                None => Full::new(Bytes::from(path))
                    .map_err(|never| match never {})
                    .boxed(),
            };
            Ok::<_, hyper::Error>(Response::new(body))
        }
    });
    tokio::spawn(async move {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await
    });
    let first = match id {
        "a" => "{\"agentId\":\"a\",\"seq\":1}\n",
        _ => "{\"agentId\":\"b\",\"seq\":1}\n",
    };
    beats.try_send(first).unwrap();
    beats
}

async fn until(mut fact: impl FnMut() -> bool) {
    while !fact() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_agent_is_heard_and_answers_requests() {
    let nodes = Nodes::default();
    let (server, client) = tokio::io::duplex(1 << 16);
    let _beats = agent(client, "a");
    let serving = tokio::spawn({
        let nodes = nodes.clone();
        async move { nodes.serve("n1", server).await }
    });
    until(|| nodes.heartbeats().silent.contains_key("n1")).await;
    let answer = nodes.get("n1", "/pods/d/p/u/log").await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "/pods/d/p/u/log");
    assert_eq!(nodes.leases().len(), 1);
    assert!(nodes.taken_by_another("n1", "b") && !nodes.taken_by_another("n1", "a"));
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn logs_that_nobody_reads_on_do_not_stop_the_heartbeats() {
    let nodes = Nodes::default();
    let (server, client) = tokio::io::duplex(1 << 16);
    let beats = agent(client, "a");
    let serving = tokio::spawn({
        let nodes = nodes.clone();
        async move { nodes.serve("n1", server).await }
    });
    until(|| nodes.heartbeats().silent.contains_key("n1")).await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        let mut answer = nodes.get("n1", "/endless").await.unwrap();
        answer.body_mut().frame().await.unwrap().unwrap();
        unread.push(answer);
    }
    let mut news = nodes.applied_news();
    for beat in [
        "{\"agentId\":\"a\",\"applied\":7}\n",
        "{\"agentId\":\"a\",\"applied\":8}\n",
    ] {
        beats.send(beat).await.unwrap();
        let heard = tokio::time::timeout(Duration::from_secs(5), news.changed()).await;
        heard.unwrap().unwrap();
    }
    serving.abort();
}

#[tokio::test]
async fn a_second_agent_cannot_speak_for_a_live_node() {
    let nodes = Nodes::default();
    let (server, client) = tokio::io::duplex(1 << 16);
    let _beats = agent(client, "a");
    let first = tokio::spawn({
        let nodes = nodes.clone();
        async move { nodes.serve("n1", server).await }
    });
    until(|| nodes.heartbeats().silent.contains_key("n1")).await;
    let (server, client) = tokio::io::duplex(1 << 16);
    let _beats = agent(client, "b");
    let refused = nodes.serve("n1", server).await;
    assert!(
        matches!(refused, Err(TunnelError::Taken { .. })),
        "{refused:?}"
    );
    first.abort();
}

#[tokio::test]
async fn garbage_and_absent_agents_are_told_apart() {
    let nodes = Nodes::default();
    let (server, client) = tokio::io::duplex(1 << 16);
    let beats = agent(client, "a");
    beats.try_send("hello\n").unwrap();
    let garbled = nodes.serve("n1", server).await;
    assert!(
        matches!(garbled, Err(TunnelError::Garbled { .. })),
        "{garbled:?}"
    );
    let status = nodes.get("n1", "/").await.unwrap_err();
    assert_eq!(status.code, 503);
    assert!(
        status.message.contains("not connected"),
        "{}",
        status.message
    );
}

#[tokio::test]
async fn it_is_known_how_far_a_node_follows_the_endpoints() {
    let nodes = Nodes::default();
    let (server, client) = tokio::io::duplex(1 << 16);
    let beats = agent(client, "a");
    let serving = tokio::spawn({
        let nodes = nodes.clone();
        async move { nodes.serve("n1", server).await }
    });
    until(|| nodes.heartbeats().silent.contains_key("n1")).await;
    assert!(nodes.lagging(Revision(9)).is_empty(), "it sends to nobody");
    let mut news = nodes.applied_news();
    beats
        .try_send("{\"agentId\":\"a\",\"applied\":7}\n")
        .unwrap();
    news.changed().await.unwrap();
    assert!(nodes.lagging(Revision(7)).is_empty());
    assert_eq!(nodes.lagging(Revision(9)), ["n1"]);
    beats.try_send("{\"agentId\":\"a\",\"seq\":1}\n").unwrap();
    beats
        .try_send("{\"agentId\":\"a\",\"applied\":9}\n")
        .unwrap();
    news.changed().await.unwrap();
    assert!(
        nodes.lagging(Revision(9)).is_empty(),
        "the line without it changed nothing"
    );
    serving.abort();
}
