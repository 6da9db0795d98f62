//! The client against several servers, some of which are dead, stopped, or without a leader.

use std::time::Duration;

use serde_json::{Value, json};
use skiff_api::{Key, Kind};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::client::*;
use crate::fake::{Answer, Fake, H2, OPEN, ok};
use crate::options::{ListOptions, WriteOptions};
use crate::watch::{Event, Watcher};

/// A stopped server is left within this: its pings, and a margin for a busy machine.
const LEFT_WITHIN: Duration = Duration::from_secs(7);

fn unready() -> Answer {
    let status = Status::failure(Reason::ServiceUnavailable, "no leader");
    (503, serde_json::to_string(&status).unwrap())
}

fn client(servers: &[&Server], writes: Writes) -> Client {
    let servers = servers.iter().map(|server| (*server).clone()).collect();
    let mut config = ClientConfig::new(servers, Trust::Anything);
    config.writes = writes;
    Client::new(config).unwrap()
}

async fn create(client: &Client) -> Result<Value, ClientError> {
    let options = WriteOptions::default();
    let namespace = Some("shop");
    client
        .create(Kind::Pod, namespace, &json!({}), &options)
        .await
}

/// A server that the kernel answers for and nobody else, like one that is stopped.
async fn mute() -> (TcpListener, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, format!("https://{address}").parse().unwrap())
}

/// Carries bytes to a server and back until it is shut: then it keeps all connections and carries
/// nothing more, as a server that is stopped in the midst of them.
struct Valve {
    server: Server,
    open: tokio::sync::watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Valve {
    async fn before(server: &Server) -> Self {
        let (listener, own) = mute().await;
        let (open, opened) = tokio::sync::watch::channel(true);
        let to = server.authority();
        let task = tokio::spawn(async move {
            let mut carried = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let (mut opened, to) = (opened.clone(), to.clone());
                carried.spawn(async move {
                    let mut far = TcpStream::connect(to).await.unwrap();
                    let shut = opened.wait_for(|open| !open);
                    let copy = tokio::io::copy_bidirectional(&mut near, &mut far);
                    let is_shut = tokio::select! {
                        _ = copy => false,
                        _ = shut => true,
                    };
                    if is_shut {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        let server = own;
        Self { server, open, task }
    }

    fn shut(&self) {
        self.open.send_replace(false);
    }
}

impl Drop for Valve {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn one_bad_server_costs_a_moment_and_only_once() {
    let dead = Fake::start(H2, |_| ok("{}")).await;
    dead.stop().await;
    let (_mute, mute) = mute().await;
    let leaderless = Fake::start(H2, |_| unready()).await;
    let cases = [
        ("dead", &dead.server, 1),
        ("stopped", &mute, 3),
        ("without a leader", &leaderless.server, 1),
    ];
    for (name, bad, seconds) in cases {
        let live = Fake::start(H2, |_| ok("{}")).await;
        let third = Fake::start(H2, |_| ok("{}")).await;
        let client = client(&[bad, &live.server, &third.server], Writes::Once);
        let began = Instant::now();
        // Requests that come together do not wait one after another.
        let (one, two, three) = tokio::join!(create(&client), create(&client), create(&client));
        for made in [one, two, three] {
            made.unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(seconds), "{name}");
        let again = Instant::now();
        create(&client).await.unwrap();
        assert!(again.elapsed() < Duration::from_secs(1), "{name}: it stays");
        assert_eq!(live.lines().len(), 4, "{name}");
    }
}

#[tokio::test]
async fn an_election_is_waited_out() {
    let (_stopped, stopped) = mute().await;
    let follower = || {
        let mut refusals = 3;
        Fake::start(H2, move |_| {
            if refusals == 0 {
                return ok("{}");
            }
            refusals -= 1;
            unready()
        })
    };
    let (second, third) = (follower().await, follower().await);
    let servers = [&stopped, &second.server, &third.server];
    let client = client(&servers, Writes::Once);
    let began = Instant::now();
    create(&client).await.unwrap();
    let asked = second.lines().len() + third.lines().len();
    assert!((4..=7).contains(&asked), "{asked}");
    // To dial the stopped one again and again would take longer.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn what_a_lost_leader_may_have_done_is_not_done_again() {
    let status = Status::failure(Reason::Timeout, "the leader was lost");
    let lost = (504, serde_json::to_string(&status).unwrap());
    for (writes, expected) in [(Writes::Once, 0), (Writes::Repeatable, 1)] {
        let lost = lost.clone();
        let first = Fake::start(H2, move |_| lost.clone()).await;
        let second = Fake::start(H2, |_| ok("{}")).await;
        let client = client(&[&first.server, &second.server], writes);
        assert_eq!(create(&client).await.is_ok(), expected == 1, "{writes:?}");
        assert_eq!(first.lines().len(), 1, "{writes:?}");
        assert_eq!(second.lines().len(), expected, "{writes:?}");
    }
}

#[tokio::test]
async fn what_is_under_way_leaves_a_stopped_server() {
    let silent = Fake::start(H2, |_| (OPEN, String::new())).await;
    let live = Fake::start(H2, |_| ok(r#"{"from":"live"}"#)).await;
    let valve = Valve::before(&silent.server).await;
    let servers = [&valve.server, &live.server];
    let (once, repeatable) = (
        client(&servers, Writes::Once),
        client(&servers, Writes::Repeatable),
    );
    let key = Key::cluster(Kind::Node, "n1");
    let shut = async {
        while silent.lines().len() < 3 {
            tokio::task::yield_now().await;
        }
        valve.shut();
        Instant::now()
    };
    let (read, write, repeated, shut_at) = tokio::join!(
        once.get::<Value>(&key),
        create(&once),
        create(&repeatable),
        shut
    );
    let expected = json!({"from": "live"});
    assert_eq!(read.unwrap(), expected, "a read is asked elsewhere");
    assert_eq!(repeated.unwrap(), expected, "so is a repeatable write");
    write.unwrap_err();
    assert!(shut_at.elapsed() < LEFT_WITHIN, "{:?}", shut_at.elapsed());
    let mut lines = live.lines();
    lines.sort();
    assert_eq!(
        lines,
        ["GET /api/v1/nodes/n1", "POST /api/v1/namespaces/shop/pods"],
        "the write that is none of both was sent once"
    );
}

#[tokio::test]
async fn a_watch_leaves_a_stopped_server_and_lists_nothing_again() {
    let line = |revision: &str| {
        let object = json!({"metadata": {"resourceVersion": revision}});
        format!("{}\n", json!({"type": "ADDED", "object": object}))
    };
    let (eleven, twelve) = (line("11"), line("12"));
    let first = Fake::start(H2, move |asked| match asked.contains("watch=true") {
        true => (OPEN, eleven.clone()),
        false => ok(r#"{"metadata":{"resourceVersion":"10"},"items":[]}"#),
    })
    .await;
    let second = Fake::start(H2, move |_| (OPEN, twelve.clone())).await;
    let valve = Valve::before(&first.server).await;
    let client = client(&[&valve.server, &second.server], Writes::Once);
    let mut watcher = Watcher::new(client, Kind::Pod, None, ListOptions::default());
    assert_eq!(watcher.next().await.unwrap(), Event::Restarted(vec![]));
    assert!(matches!(watcher.next().await.unwrap(), Event::Applied(_)));
    valve.shut();
    let shut_at = Instant::now();
    watcher.next().await.unwrap_err();
    let Event::Applied(object) = watcher.next().await.unwrap() else {
        panic!("the watch goes on")
    };
    assert_eq!(object["metadata"]["resourceVersion"], "12");
    assert!(shut_at.elapsed() < LEFT_WITHIN, "{:?}", shut_at.elapsed());
    let lines = second.lines();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("resourceVersion=11"), "{lines:?}");
}

#[tokio::test]
async fn servers_that_are_behind_are_passed_over() {
    let mut status = Status::failure(Reason::Timeout, "Too large resource version");
    let cause = skiff_api::Cause {
        reason: "ResourceVersionTooLarge".into(),
        ..skiff_api::Cause::default()
    };
    status.details.get_or_insert_default().causes.push(cause);
    let behind = (504, serde_json::to_string(&status).unwrap());
    let late = Fake::start(H2, move |_| behind.clone()).await;
    let live = Fake::start(H2, |_| ok(r#"{"from":"live"}"#)).await;
    let client = client(&[&late.server, &live.server], Writes::Once);
    let found: Value = client.get(&Key::cluster(Kind::Node, "n1")).await.unwrap();
    assert_eq!(found, json!({"from": "live"}));
}

#[tokio::test]
async fn servers_come_and_go() {
    let first = Fake::start(H2, |_| ok("{}")).await;
    let second = Fake::start(H2, |_| ok("{}")).await;
    let client = client(&[&first.server], Writes::Once);
    create(&client).await.unwrap();
    client.set_servers(vec![second.server.clone(), first.server.clone()]);
    create(&client).await.unwrap();
    assert_eq!(first.lines().len(), 2, "the one that answered is asked");
    assert_eq!(first.connections(), 1, "its connection is kept");
    client.set_servers(vec![second.server.clone()]);
    create(&client).await.unwrap();
    assert_eq!(second.lines().len(), 1);
    client.set_servers(Vec::new());
    assert_eq!(client.servers().len(), 1, "never none");
}
