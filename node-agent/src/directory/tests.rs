//! What becomes of lists of servers, and a server that answers over a real socket.

use std::sync::Mutex;

use skiff_client::{ClientConfig, Trust};

use super::*;
use crate::fake;

fn servers(names: &str) -> Vec<Server> {
    names
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect()
}

fn words<'a>(servers: impl IntoIterator<Item = &'a Server>) -> String {
    let names = servers.into_iter().map(Server::host);
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn connections_are_wanted_to_every_server() {
    let cases = [
        // name, given, learned, connected, wanted
        ("nothing was learned", "a b", "", "", "a b"),
        ("the list is longer", "a", "a b c", "a b c", "a b c"),
        ("a given one has left", "a b", "b c", "b c", "b c"),
        ("a balancer, all connected", "lb", "a b", "a b", "a b"),
        (
            "a balancer, one is not connected",
            "lb",
            "a b",
            "a lb",
            "a b lb",
        ),
        (
            "the data directory knows more",
            "gone",
            "a b",
            "",
            "a b gone",
        ),
    ];
    for (name, given, learned, connected, wanted) in cases {
        let known = Known::new(servers(given), servers(learned));
        let connected = servers(connected).into_iter().collect();
        assert_eq!(words(&known.wanted(&connected)), wanted, "{name}");
    }
}

#[test]
fn both_kinds_are_asked() {
    let known = Known::new(servers("lb b"), servers("a b"));
    assert_eq!(words(&known.all()), "a b lb", "for requests");
    assert_eq!(words(&known.given_first()), "lb b a", "as the user said");
}

#[test]
fn answers_are_read() {
    let cases = [
        (
            r#"[{"id":1,"name":"a","address":"10.0.0.1:6443"}]"#,
            Ok("10.0.0.1"),
        ),
        (
            r#"[{"address":"[::1]:6443"},{"address":"b:1"}]"#,
            Ok("::1 b"),
        ),
        ("[]", Err("the servers name 0 servers: expected 1 to 64")),
        (r#"[{"address":"a b"}]"#, Err("read the cluster's servers")),
        (
            r#"[{"address":"http://a:1"}]"#,
            Err("read the cluster's servers"),
        ),
    ];
    for (list, expected) in cases {
        let answer = serde_json::from_str(&format!(r#"{{"servers":{list},"leader":1}}"#)).unwrap();
        let found = read(&answer).map(|s| words(&s)).map_err(|e| e.to_string());
        assert_eq!(found.as_deref().map_err(|e| &**e), expected, "{list}");
    }
}

#[tokio::test]
async fn a_list_is_learned_and_kept() {
    let answer = Arc::new(Mutex::new((0, String::new())));
    let said = Arc::clone(&answer);
    let (address, _task) = fake::server(move |_| said.lock().unwrap().clone()).await;
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let given = vec![address.clone()];
    let (known, told) = watch::channel(Arc::new(Known::new(given.clone(), Vec::new())));
    let client = Client::new(ClientConfig::new(given, Trust::Anything)).unwrap();
    let directory = Directory {
        client: client.clone(),
        home: home.clone(),
        known,
    };
    let list = |names: &str| {
        let named = names
            .split_whitespace()
            .map(|n| serde_json::json!({"address": n}));
        let named: Vec<_> = named.collect();
        let list = serde_json::json!({"servers": named, "leader": 1});
        (200, list.to_string())
    };
    let steps = [
        // name, answer, whether the pass succeeds, what is known afterwards
        ("an old server", (404, not_found()), true, ""),
        ("a first list", list("a:1 b:1"), true, "a b"),
        ("no list", (200, "{}".to_owned()), false, "a b"),
        (
            "a server of an older version is no news",
            (404, not_found()),
            true,
            "a b",
        ),
        ("a server has left", list("b:1"), true, "b"),
    ];
    for (name, said, succeeds, expected) in steps {
        *answer.lock().unwrap() = said;
        let passed = directory.pass().await;
        assert_eq!(passed.is_ok(), succeeds, "{name}: {passed:?}");
        assert_eq!(words(&home.servers().unwrap()), expected, "{name}: kept");
        assert_eq!(words(&told.borrow().learned), expected, "{name}: told");
        let asked = client.servers();
        assert_eq!(asked.last(), Some(&address), "{name}: still asked");
        assert_eq!(asked.len(), told.borrow().all().len(), "{name}");
    }
}

fn not_found() -> String {
    let status = Status::failure(skiff_api::Reason::NotFound, "nothing is there");
    serde_json::to_string(&status).unwrap()
}
