//! Servers in this process, on sockets of this machine: joining and its refusals, looking, leaving.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use skiff_api::Millis;
use skiff_engine::Stamper;
use tempfile::TempDir;

use crate::ask::{Ask, AskError};
use crate::joining::Invitation;
use crate::members::record::Record;
use crate::members::{FORMAT, Member, of, write_format};
use crate::pki::joining_tls;
use crate::server::{Server, ServerConfig, ServerError};
use crate::store::Store;
use crate::token::{Token, Usage};

/// What takes longer on a loaded machine than this will not happen at all.
const PATIENCE: Duration = Duration::from_secs(30);

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
        "formats": {"oldest": 1, "newest": FORMAT}})
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

/// Looks until something is so.
async fn until(is_so: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let seen = async {
        while !is_so() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founder_lists_itself_and_gives_tokens_for_both() {
    let a = founder().await;
    let members = of(&a.store().state());
    let expected = Member {
        id: 1,
        name: "a".into(),
        address: a.address(),
        format: FORMAT,
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
    // A newer version that can still write the cluster's format comes in, and holds to it.
    let newer = json!({"name": "c", "address": "127.0.0.1:7002",
        "formats": {"oldest": 1, "newest": FORMAT + 1}});
    assert_eq!(a.join(&token, newer).await.unwrap()["member"], 3);
    let members = of(&a.store().state());
    let formats = (members[&3].format, write_format(&members));
    assert_eq!(formats, (FORMAT + 1, FORMAT));
    // The same server with an empty data directory: a new id, and the old one is gone.
    let again = a.join(&token, applicant("b", 7001)).await.unwrap();
    assert_eq!(again["member"], 4);
    let mut learners = a.store().status().learners;
    learners.sort_unstable();
    assert_eq!(learners, [3, 4]);
    let ids: Vec<u64> = of(&a.store().state()).into_keys().collect();
    assert_eq!(ids, [1, 3, 4]);
    a.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_join_is_told_why() {
    let a = founder().await;
    let (agents, servers) = (a.token(Usage::Agent), a.token(Usage::Server));
    let past = Millis::from(jiff::Timestamp::now()).0 - 1;
    let late = a.make_token(Usage::Server, past).await;
    let hash = Token::parse(&servers).unwrap().ca_hash().to_owned();
    let unknown = Token::generate(&hash).text();
    let future = json!({"name": "b", "address": "127.0.0.1:7001",
        "formats": {"oldest": FORMAT + 1, "newest": FORMAT + 2}});
    let past = json!({"name": "b", "address": "127.0.0.1:7001",
        "formats": {"oldest": 0, "newest": 0}});
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
        (&servers, past, 409, "upgrade it"),
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
async fn only_administrators_and_servers_look_after_the_servers() {
    let a = founder().await;
    let address = a.address();
    let hash = Token::parse(&a.token(Usage::Server))
        .unwrap()
        .ca_hash()
        .to_owned();
    let tls = Arc::new(joining_tls(&hash).unwrap());
    for path in ["/skiff/v1/servers", "/skiff/v1/cluster/status"] {
        let nobody = Ask {
            address: &address,
            tls: tls.clone(),
            path,
            token: None,
        };
        refused(nobody.get().await, 401, "Unauthorized");
    }
    for path in [
        "cluster/remove",
        "cluster/transfer",
        "cluster/token",
        "servers/tokens",
    ] {
        let nobody = Ask {
            address: &address,
            tls: tls.clone(),
            path: &format!("/skiff/v1/{path}"),
            token: None,
        };
        let body = json!({"name": "a"});
        refused(nobody.post(&body).await, 401, "Unauthorized");
    }
    let announcement = json!({"id": 1, "name": "x", "address": "h:1", "format": FORMAT});
    let announced = a.ask("admin", super::ANNOUNCE, Some(announcement)).await;
    refused(announced, 403, "not a server");
    a.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_leave_and_the_last_one_stays() {
    let a = founder().await;
    let joined = a.join(&a.token(Usage::Server), applicant("b", 7001)).await;
    joined.unwrap();
    let post = |verb, body| {
        let path = format!("/skiff/v1/cluster/{verb}");
        let a = &a;
        async move { a.ask("admin", &path, Some(body)).await }
    };
    let forced = json!({"name": "a", "force": true});
    let cases = [
        ("remove", json!({"name": "a"}), 409, "is the last"),
        ("remove", forced, 409, "is the last"),
        ("remove", json!({"name": "c"}), 404, "the servers are a, b"),
        ("remove", json!({}), 400, "name the server"),
        ("promote", json!({"name": "b"}), 409, "has not caught up"),
        ("promote", json!({"name": "a"}), 409, "has a vote already"),
        ("transfer", json!({}), 409, "no other server"),
        ("transfer", json!({"to": "b"}), 409, "has no vote"),
    ];
    for (verb, body, code, words) in cases {
        refused(post(verb, body).await, code, words);
    }
    let removed = post("remove", json!({"id": 2})).await;
    assert_eq!(removed.unwrap(), json!({"id": 2, "name": "b"}));
    assert!(a.store().status().learners.is_empty());
    assert_eq!(of(&a.store().state()).len(), 1);
    let stays = post("transfer", json!({"to": "a"})).await;
    assert_eq!(stays.unwrap(), json!({"id": 1, "name": "a"}));
    a.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_server_cannot_announce_itself() {
    let a = founder().await;
    let announcement = json!({"id": 9, "name": "ghost", "address": "h:1", "format": FORMAT});
    let announced = a.ask("server", super::ANNOUNCE, Some(announcement)).await;
    refused(announced, 403, "was removed from the cluster");
    a.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_a_token_for_servers_with_an_end() {
    let a = founder().await;
    let late = a.make_token(Usage::Server, 1).await;
    let path = "/skiff/v1/cluster/token";
    let invitation = a.ask("admin", path, Some(json!({}))).await.unwrap();
    assert_eq!(invitation["servers"], json!([a.server.url]));
    let token = Token::parse(invitation["token"].as_str().unwrap()).unwrap();
    let (state, now) = (a.store().state(), Millis::from(jiff::Timestamp::now()));
    token.verify(Usage::Server, &state, now).unwrap();
    let day = Duration::from_secs(24 * 3600);
    let expired = token
        .verify(Usage::Server, &state, now.after(day))
        .unwrap_err();
    assert!(expired.message.contains("expired"));
    // Those that expired long ago are swept.
    assert!(state.get(&Token::parse(&late).unwrap().key()).is_none());
    a.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_moved_tells_the_list() {
    let a = founder().await;
    let Running { server, dir } = a;
    server.stop().await;
    let mut moved = config(dir.path(), "first");
    moved.advertise = Some("first.example.com:7443".into());
    let server = Server::start(moved).await.unwrap();
    let at = || of(&server.store().state()).remove(&1).unwrap();
    until(|| at().address == "first.example.com:7443").await;
    assert_eq!(at().name, "first");
    server.stop().await;
    // A restart without a name keeps the one that it has.
    let mut again = config(dir.path(), "");
    again.name = None;
    let server = Server::start(again).await.unwrap();
    let record = Record::load(dir.path()).unwrap().unwrap();
    assert_eq!((record.id, record.name.as_str()), (1, "first"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joined_server_knows_who_it_is_and_does_not_join_twice() {
    let a = founder().await;
    let dir = tempfile::tempdir().unwrap();
    let mut joining = config(dir.path(), "b");
    joining.invitation = a.invitation();
    let b = Server::start(joining.clone()).await.unwrap();
    until(|| b.store().status().member == 2).await;
    let record = Record::load(dir.path()).unwrap().unwrap();
    assert_eq!((record.id, record.founders), (2, vec![1]));
    for usage in [Usage::Agent, Usage::Server] {
        assert!(dir.path().join(usage.file()).exists());
    }
    let ca = |dir: &Path| std::fs::read_to_string(dir.join("pki/ca.crt")).unwrap();
    assert_eq!(ca(dir.path()), ca(a.dir.path()));
    b.stop().await;
    joining.invitation.token = Some("no token at all".into());
    let b = Server::start(joining).await.unwrap();
    until(|| b.store().status().member == 2).await;
    b.stop().await;
    a.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_join_says_what_to_do() {
    let (a, other) = (founder().await, founder().await);
    let right = a.invitation();
    let with = |change: &dyn Fn(&mut Invitation)| {
        let mut invitation = right.clone();
        change(&mut invitation);
        invitation
    };
    let foreign = other.token(Usage::Server);
    let agents = a.token(Usage::Agent);
    let cases = [
        (with(&|one| one.token = None), "server.token"),
        (
            with(&|one| one.token = Some("x".into())),
            "ID.SECRET.CA-HASH",
        ),
        (
            with(&|one| one.servers = vec!["http://first".into()]),
            "https://HOST:PORT",
        ),
        (
            with(&|one| one.token = Some(foreign.clone())),
            "has not the CA that the token was made for",
        ),
        (
            with(&|one| one.token = Some(agents.clone())),
            "a server cannot join",
        ),
    ];
    for (invitation, words) in cases {
        let dir = tempfile::tempdir().unwrap();
        let mut joining = config(dir.path(), "b");
        joining.invitation = invitation;
        match Server::start(joining).await {
            Err(ServerError::Join(err)) => {
                assert!(err.to_string().contains(words), "{err}: {words}");
            }
            Err(other) => panic!("{other} instead of {words:?}"),
            Ok(_) => panic!("joined in spite of {words:?}"),
        }
        assert_eq!(Record::load(dir.path()).unwrap(), None);
    }
    a.server.stop().await;
    other.server.stop().await;
}

async fn joined(name: &str, first: &Running) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let mut joining = config(dir.path(), name);
    joining.invitation = first.invitation();
    let server = Server::start(joining).await.unwrap();
    Running { server, dir }
}

/// Three servers with votes, the first of which leads. The third one joins by way of the second
/// one, with the token that is kept there.
async fn three() -> [Running; 3] {
    let a = founder().await;
    let b = joined("b", &a).await;
    until(|| b.store().status().leader.is_some()).await;
    let c = joined("c", &b).await;
    let all = [a, b, c];
    for one in &all {
        until(|| one.store().status().voters.len() == 3).await;
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_form_a_cluster_and_know_each_other() {
    let all = three().await;
    for one in &all {
        until(|| of(&one.store().state()).len() == 3).await;
        let kubeconfig = || std::fs::read_to_string(&one.server.kubeconfig).unwrap();
        for other in &all {
            let url = format!("- \"{}\"", other.server.url);
            until(|| kubeconfig().contains(&url)).await;
        }
        let recorded = || Record::load(one.dir.path()).unwrap().unwrap().members.len();
        until(|| recorded() == 3).await;
    }
    // Any of them says what only the leader knows.
    for one in &all {
        let status = one
            .ask("admin", "/skiff/v1/cluster/status", None)
            .await
            .unwrap();
        let members = status["members"].as_array().unwrap();
        let roles: Vec<_> = members.iter().map(|member| &member["role"]).collect();
        assert_eq!(roles, ["leader", "voter", "voter"]);
        assert!(
            members.iter().all(|member| member["lag"].is_u64()),
            "{status}"
        );
    }
    for one in all {
        one.server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leadership_moves_and_the_leader_can_be_removed() {
    let [a, b, c] = three().await;
    let moved = json!({"to": "b"});
    let moved = c
        .ask("admin", "/skiff/v1/cluster/transfer", Some(moved))
        .await;
    assert_eq!(moved.unwrap()["name"], "b");
    until(|| b.store().is_leader()).await;
    let gone = json!({"name": "b"});
    let gone = a.ask("admin", "/skiff/v1/cluster/remove", Some(gone)).await;
    assert_eq!(gone.unwrap(), json!({"id": 2, "name": "b"}));
    until(|| a.store().is_leader() || c.store().is_leader()).await;
    for one in [&a, &c] {
        until(|| one.store().status().voters.len() == 2).await;
        until(|| of(&one.store().state()).keys().copied().collect::<Vec<_>>() == [1, 3]).await;
    }
    for one in [a, b, c] {
        one.server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_hands_over_when_it_stops_and_comes_back_at_another_address() {
    let [a, b, c] = three().await;
    let Running { server, dir } = a;
    let before = server.address.to_string();
    let term = b.store().status().term;
    server.stop().await;
    until(|| b.store().is_leader() || c.store().is_leader()).await;
    // One election and no more: nobody waited for a silent leader.
    assert_eq!(
        b.store().status().term.max(c.store().status().term),
        term + 1
    );
    let server = Server::start(config(dir.path(), "a")).await.unwrap();
    assert_ne!(server.address.to_string(), before);
    let address = server.address.to_string();
    for one in [&b, &c] {
        until(|| of(&one.store().state())[&1].address == address).await;
    }
    until(|| of(&server.store().state())[&1].address == address).await;
    for one in [server, b.server, c.server] {
        one.stop().await;
    }
}
