//! The client against servers in this process: protocols, errors, fail-over, paging.

mod failover;

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use skiff_api::{Key, Kind};

use super::*;
use crate::error::ClientError;
use crate::fake::{Fake, H2, Speak, ok};
use crate::options::{DeleteOptions, ListOptions, Patch, Propagation, WriteOptions};

fn pod() -> Key {
    Key::new(Kind::Pod, "shop", "front")
}

fn status(reason: Reason) -> (u16, String) {
    let status = Status::failure(reason, "said the fake");
    (reason.code(), serde_json::to_string(&status).unwrap())
}

#[tokio::test]
async fn each_protocol_carries_requests_over_one_connection() {
    let cases = [
        ("plain", Speak::Plain, http::Version::HTTP_11),
        (
            "TLS with HTTP/1.1",
            Speak::Tls(&[b"http/1.1"]),
            http::Version::HTTP_11,
        ),
        ("TLS with HTTP/2", H2, http::Version::HTTP_2),
    ];
    for (name, speak, version) in cases {
        let fake = Fake::start(speak, |_| ok(r#"{"kind":"Pod"}"#)).await;
        let mut config = fake.config();
        config.token = Some(Token::new("secret"));
        let client = Client::new(config).unwrap();
        for _ in 0..3 {
            let found: Value = client.get(&pod()).await.unwrap();
            assert_eq!(found, json!({"kind": "Pod"}), "{name}");
        }
        for asked in fake.asked() {
            assert_eq!(
                asked.line, "GET /api/v1/namespaces/shop/pods/front",
                "{name}"
            );
            assert_eq!(asked.version, version, "{name}");
            assert_eq!(asked.token.as_deref(), Some("Bearer secret"), "{name}");
        }
        assert_eq!(fake.connections(), 1, "{name}");
    }
}

#[tokio::test]
async fn errors_say_what_happened() {
    let fake = Fake::start(H2, |line| match line {
        "GET /api/v1/namespaces/shop/pods/front" => status(Reason::NotFound),
        "GET /api/v1/nodes/n1" => (502, "bad gateway".into()),
        _ => ok("not JSON"),
    })
    .await;
    let client = Client::new(fake.config()).unwrap();
    assert_eq!(client.get_opt::<Value>(&pod()).await.unwrap(), None);
    let error = client.get::<Value>(&pod()).await.unwrap_err();
    assert_eq!(error.to_string(), "said the fake");
    let error = client
        .get::<Value>(&Key::cluster(Kind::Node, "n1"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server answered 502 Bad Gateway: bad gateway"
    );
    let error = client
        .get::<Value>(&Key::cluster(Kind::Node, "n2"))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Decode(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_shows_a_foreign_certificate_is_not_believed() {
    let fake = Fake::start(H2, |_| ok("{}")).await;
    let other = Fake::start(H2, |_| ok("{}")).await;
    let config = ClientConfig::new(vec![fake.server.clone()], other.trust.clone());
    let error = Client::new(config)
        .unwrap()
        .get::<Value>(&pod())
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Handshake { .. }), "{error:?}");
    assert_eq!(fake.lines(), Vec::<String>::new(), "nothing was sent");

    let config = ClientConfig::new(vec![fake.server.clone()], Trust::Anything);
    Client::new(config)
        .unwrap()
        .get::<Value>(&pod())
        .await
        .unwrap();
    let chain = tls::fetch_peer_chain(&fake.server).await.unwrap();
    let Trust::Roots(roots) = &fake.trust else {
        panic!("the fake has a certificate")
    };
    assert_eq!(&chain, roots);
}

#[tokio::test]
async fn a_dead_server_is_passed_over() {
    let dead = Fake::start(H2, |_| ok("{}")).await;
    let live = Fake::start(H2, |_| ok("{}")).await;
    let servers = vec![dead.server.clone(), live.server.clone()];
    let client = Client::new(ClientConfig::new(servers, Trust::Anything)).unwrap();
    dead.stop().await;
    for _ in 0..2 {
        let options = WriteOptions::default();
        let made: Value = client
            .create(Kind::Pod, Some("shop"), &json!({}), &options)
            .await
            .unwrap();
        assert_eq!(made, json!({}));
    }
    assert_eq!(live.lines(), ["POST /api/v1/namespaces/shop/pods"; 2]);

    live.stop().await;
    let error = client.get::<Value>(&pod()).await.unwrap_err();
    assert!(
        matches!(error, ClientError::Unreachable { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_lost_write_is_not_repeated_and_a_lost_read_is() {
    let first = Fake::start(Speak::Plain, |_| (0, String::new())).await;
    let second = Fake::start(Speak::Plain, |_| ok("{}")).await;
    let servers = vec![first.server.clone(), second.server.clone()];
    let client = Client::new(ClientConfig::new(servers, Trust::Anything)).unwrap();
    let patch = Patch::Merge(json!({}));
    let write = client
        .patch::<Value>(&pod(), None, &patch, &WriteOptions::by("me"))
        .await;
    assert!(matches!(write, Err(ClientError::Lost { .. })), "{write:?}");
    assert_eq!(first.lines().len() + second.lines().len(), 1, "sent once");

    client.get::<Value>(&pod()).await.unwrap();
    assert_eq!(second.lines(), ["GET /api/v1/namespaces/shop/pods/front"]);
}

#[tokio::test]
async fn a_refused_write_is_sent_again() {
    for reason in [Reason::TooManyRequests, Reason::ServiceUnavailable] {
        let count = AtomicUsize::new(0);
        let fake = Fake::start(H2, move |_| {
            if count.fetch_add(1, Ordering::Relaxed) < 2 {
                status(reason)
            } else {
                ok("{}")
            }
        })
        .await;
        let client = Client::new(fake.config()).unwrap();
        let options = DeleteOptions {
            propagation: Some(Propagation::Orphan),
            ..DeleteOptions::default()
        };
        client.delete(&pod(), &options).await.unwrap();
        assert_eq!(
            fake.lines(),
            ["DELETE /api/v1/namespaces/shop/pods/front"; 3]
        );
        assert!(fake.asked()[2].body.contains("Orphan"));
    }
}

#[tokio::test]
async fn a_503_from_something_in_between_is_final_for_a_write() {
    let fake = Fake::start(H2, |_| (503, "<html>".into())).await;
    let client = Client::new(fake.config()).unwrap();
    client
        .delete(&pod(), &DeleteOptions::default())
        .await
        .unwrap_err();
    assert_eq!(fake.lines().len(), 1);
}

#[tokio::test]
async fn a_list_is_all_its_pages() {
    let fake = Fake::start(H2, |line| {
        if line.ends_with("continue=a%2Fb") {
            ok(r#"{"metadata":{"resourceVersion":"7"},"items":[{"n":2}]}"#)
        } else {
            ok(r#"{"metadata":{"resourceVersion":"7","continue":"a/b"},"items":[{"n":1}]}"#)
        }
    })
    .await;
    let client = Client::new(fake.config()).unwrap();
    let options = ListOptions {
        limit: Some(1),
        ..ListOptions::default()
    };
    let list: List = client.list(Kind::Pod, None, &options).await.unwrap();
    assert_eq!(list.items, [json!({"n": 1}), json!({"n": 2})]);
    assert_eq!(list.revision, "7");
}

#[tokio::test]
async fn a_stream_is_read_by_line_however_it_is_cut() {
    let fake = Fake::start(H2, |_| ok("one\n\ntwo\nthree")).await;
    let client = Client::new(fake.config()).unwrap();
    let mut lines = client.stream(Request::get("/log")).await.unwrap().lines();
    for expected in ["one", "", "two", "three"] {
        assert_eq!(lines.next().await.unwrap().unwrap(), expected);
    }
    assert_eq!(lines.next().await.unwrap(), None);
}
