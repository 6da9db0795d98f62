//! Servers in this process, on sockets of this machine: joining and its refusals, looking, leaving.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use skiff_api::{Kind, Millis};
use skiff_engine::Stamper;
use tempfile::TempDir;

use crate::ask::{Ask, AskError};
use crate::joining::Invitation;
use crate::members::record::Record;
use crate::members::{List, Member, of};
use crate::pki::joining_tls;
use crate::server::{Server, ServerConfig, ServerError};
use crate::store::Store;
use crate::token::{Token, Usage};

/// A server with a data directory of its own.
struct Running {
    server: Server,
    dir: TempDir,
}

fn config(dir: &Path, name: &str) -> ServerConfig {
    let mut config = ServerConfig::new(dir.to_owned(), "127.0.0.1:0".parse().unwrap());
    config.name = Some(name.to_owned());
    config
}

async fn founder() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(config(dir.path(), "a")).await.unwrap();
    Running { server, dir }
}

impl Running {
    fn store(&self) -> &Store {
        self.server.store()
    }

    fn address(&self) -> String {
        self.server.address.to_string()
    }

    fn token(&self, usage: Usage) -> String {
        let text = std::fs::read_to_string(self.dir.path().join(usage.file())).unwrap();
        text.trim().to_owned()
    }

    fn invitation(&self) -> Invitation {
        Invitation {
            servers: vec![self.server.url.clone()],
            token: Some(self.token(Usage::Server)),
        }
    }

    /// Asks with one of the certificates in the data directory: `admin` or `server`.
    async fn ask(&self, who: &str, path: &str, body: Option<Value>) -> Result<Value, AskError> {
        let tls = Arc::new(tls(self.dir.path(), who));
        let address = self.address();
        let ask = Ask {
            address: &address,
            tls,
            path,
            token: None,
        };
        match body {
            Some(body) => ask.post(&body).await,
            None => ask.get().await,
        }
    }

    /// Asks to join with a token.
    async fn join(&self, token: &str, body: Value) -> Result<Value, AskError> {
        let hash = Token::parse(token).unwrap().ca_hash().to_owned();
        let address = self.address();
        let ask = Ask {
            address: &address,
            tls: Arc::new(joining_tls(&hash).unwrap()),
            path: super::JOIN,
            token: Some(token),
        };
        ask.post(&body).await
    }

    /// Makes a token known that was made at some other time.
    async fn make_token(&self, usage: Usage, expires: i64) -> String {
        let hash = Token::parse(&self.token(usage))
            .unwrap()
            .ca_hash()
            .to_owned();
        let token = Token::generate(&hash);
        let draft = token.draft(usage, Millis(expires), &mut Stamper::new(Millis(0), 3));
        self.store().propose(vec![draft.create()]).await.unwrap();
        token.text()
    }
}

fn tls(dir: &Path, who: &str) -> rustls::ClientConfig {
    let read = |name: String| std::fs::read(dir.join("pki").join(name)).unwrap();
    let cert = |name: &str| CertificateDer::from_pem_slice(&read(format!("{name}.crt"))).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert("ca")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read(format!("{who}.key"))).unwrap();
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![cert(who)], key)
        .unwrap()
}

fn applicant(name: &str, port: u16) -> Value {
    json!({"name": name, "address": format!("127.0.0.1:{port}"),
        "formats": {"oldest": 1, "newest": 1}})
}

#[track_caller]
fn refused(answer: Result<Value, AskError>, code: u16, words: &str) {
    match answer {
        Err(AskError::Refused(status)) => {
            assert_eq!(status.code, code, "{}", status.message);
            assert!(
                status.message.contains(words),
                "{:?} does not say {words:?}",
                status.message
            );
        }
        other => panic!("{other:?} instead of {code} {words:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_lists_itself_and_gives_tokens_for_both() {
    let a = founder().await;
    let members = of(&a.store().state());
    let expected = Member {
        id: 1,
        name: "a".into(),
        address: a.address(),
        format: 1,
    };
    assert_eq!(members.into_values().collect::<Vec<_>>(), [expected]);
    let listed = a.ask("admin", "/skiff/v1/servers", None).await.unwrap();
    let servers = json!([{"id": 1, "name": "a", "address": a.address()}]);
    assert_eq!(listed, json!({"servers": servers, "leader": 1}));
    let status = a
        .ask("admin", "/skiff/v1/cluster/status", None)
        .await
        .unwrap();
    assert_eq!(status["members"][0]["role"], "leader");
    assert_eq!(status["members"][0]["lag"], 0);
    assert_ne!(a.token(Usage::Agent), a.token(Usage::Server));
    a.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_answers_with_all_that_a_server_needs() {
    let a = founder().await;
    let token = a.token(Usage::Server);
    let answer = a.join(&token, applicant("b", 7001)).await.unwrap();
    assert_eq!(
        (&answer["member"], &answer["founders"]),
        (&json!(2), &json!([1]))
    );
    let names = answer["members"].as_array().unwrap().iter();
    let names: Vec<_> = names
        .map(|member| member["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a", "b"]);
    let cert = answer["ca"]["cert"].as_str().unwrap();
    assert_eq!(
        cert,
        std::fs::read_to_string(a.dir.path().join("pki/ca.crt")).unwrap()
    );
    let now = jiff::Timestamp::now().into();
    let state = a.store().state();
    for (field, usage) in [("agent", Usage::Agent), ("server", Usage::Server)] {
        let token = Token::parse(answer["tokens"][field].as_str().unwrap()).unwrap();
        token.verify(usage, &state, now).unwrap();
    }
    assert_eq!(a.store().status().learners, [2]);
    // The same server with an empty data directory: a new id, and the old one is gone.
    let again = a.join(&token, applicant("b", 7001)).await.unwrap();
    assert_eq!(again["member"], 3);
    assert_eq!(a.store().status().learners, [3]);
    let ids: Vec<u64> = of(&a.store().state()).into_keys().collect();
    assert_eq!(ids, [1, 3]);
    a.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_join_is_told_why() {
    let a = founder().await;
    let (agents, servers) = (a.token(Usage::Agent), a.token(Usage::Server));
    let late = a.make_token(Usage::Server, 1).await;
    let hash = Token::parse(&servers).unwrap().ca_hash().to_owned();
    let unknown = Token::generate(&hash).text();
    let future = json!({"name": "b", "address": "127.0.0.1:7001",
        "formats": {"oldest": 2, "newest": 3}});
    let cases = [
        (&agents, applicant("b", 7001), 401, "a server cannot join"),
        (&late, applicant("b", 7001), 401, "expired"),
        (&unknown, applicant("b", 7001), 401, "not known"),
        (
            &servers,
            applicant("a", 7001),
            409,
            "the name \"a\" belongs",
        ),
        (&servers, applicant("B!", 7001), 400, "server name"),
        (
            &servers,
            json!({"name": "b", "address": "here"}),
            409,
            "HOST:PORT",
        ),
        (&servers, json!({"name": "b"}), 400, "address"),
        (&servers, future, 409, "upgrade the other servers first"),
    ];
    for (token, body, code, words) in cases {
        refused(a.join(token, body).await, code, words);
    }
    assert_eq!(of(&a.store().state()).len(), 1);
    // And the other way round: a server's token makes no node.
    let request = json!({"node": "n", "agentId": "x", "csr": ""});
    let address = a.address();
    let ask = Ask {
        address: &address,
        tls: Arc::new(joining_tls(&hash).unwrap()),
        path: "/skiff/v1/join",
        token: Some(&servers),
    };
    refused(ask.post(&request).await, 401, "an agent cannot join");
    a.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_a_newer_format_refuses_an_old_server() {
    let a = founder().await;
    let list = List::read(&a.store().state());
    let mut members = list.members.clone();
    members.values_mut().for_each(|member| member.format = 2);
    let write = list.replace_by(&members, &mut Stamper::new(Millis(0), 1));
    // Its own entry is put right again at its next look, so the answer is either.
    a.store()
        .propose(write.into_iter().collect())
        .await
        .unwrap();
    let answer = a.join(&a.token(Usage::Server), applicant("b", 7001)).await;
    if of(&a.store().state())
        .values()
        .all(|member| member.format == 2)
    {
        refused(answer, 409, "upgrade it");
    }
    a.server.stop().await;
}
