//! The machine against a server that does what servers do to watches.

use std::collections::VecDeque;

use serde_json::json;

use super::*;
use crate::fake::{Answer, Fake, Speak, ok};

const LIST: &str = r#"{"metadata":{"resourceVersion":"10"},"items":[{"n":1}]}"#;
const BEHIND: &str = r#"{"kind":"Status","apiVersion":"v1","code":504,"reason":"Timeout",
    "message":"Too large resource version: 10; current: 9",
    "details":{"causes":[{"reason":"ResourceVersionTooLarge"}]}}"#;
const GONE: &str = r#"{"kind":"Status","apiVersion":"v1","code":410,"reason":"Expired"}"#;

fn object(revision: &str) -> Value {
    json!({"metadata": {"resourceVersion": revision}})
}

fn line(kind: &str, revision: &str) -> String {
    format!("{}\n", json!({"type": kind, "object": object(revision)}))
}

/// Plays a script of answers, then stays silent; returns the events and the revisions that were
/// watched from (`list` for a list).
async fn play(script: Vec<Answer>, events: usize) -> (Vec<String>, Vec<String>) {
    let mut script = VecDeque::from(script);
    let fake = Fake::start(Speak::Plain, move |_| {
        script.pop_front().unwrap_or((0, String::new()))
    });
    let fake = fake.await;
    let client = Client::new(fake.config()).unwrap();
    let options = ListOptions::field("spec.nodeName=n1");
    let mut watcher = Watcher::new(client, Kind::Pod, None, options);
    let mut told = Vec::new();
    while told.len() < events {
        told.push(match watcher.next().await {
            Ok(Event::Restarted(all)) => format!("restarted with {}", all.len()),
            Ok(Event::Applied(object)) => {
                format!("applied {}", object["metadata"]["resourceVersion"])
            }
            Ok(Event::Deleted(object)) => {
                format!("deleted {}", object["metadata"]["resourceVersion"])
            }
            Err(error) => format!("error: {error}"),
        });
    }
    let asked = fake.lines().into_iter().map(|line| {
        assert!(line.contains("fieldSelector=spec.nodeName%3Dn1"), "{line}");
        let revision = line.split("resourceVersion=").nth(1);
        revision.map_or("list".to_owned(), |rest| {
            rest.split('&').next().unwrap().to_owned()
        })
    });
    (told, asked.collect())
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one table of what servers do to watches"
)]
async fn a_watch_survives() {
    type Row = (&'static str, Vec<Answer>, &'static str, &'static str);
    let cases: Vec<Row> = vec![
        (
            "events follow the list",
            vec![
                ok(LIST),
                ok(&(line("ADDED", "11") + &line("MODIFIED", "12") + &line("DELETED", "13"))),
            ],
            "restarted with 1, applied \"11\", applied \"12\", deleted \"13\"",
            "list, 10",
        ),
        (
            "an ended watch goes on where it was",
            vec![ok(LIST), ok(&line("ADDED", "11")), ok(&line("ADDED", "12"))],
            "restarted with 1, applied \"11\", applied \"12\"",
            "list, 10, 11",
        ),
        (
            "a bookmark moves the revision on",
            vec![
                ok(LIST),
                ok(&line("BOOKMARK", "90")),
                ok(&line("ADDED", "91")),
            ],
            "restarted with 1, applied \"91\"",
            "list, 10, 90",
        ),
        (
            "410 as an answer begins afresh",
            vec![ok(LIST), (410, GONE.into()), ok(LIST)],
            "restarted with 1, restarted with 1",
            "list, 10, list",
        ),
        (
            "410 as an event begins afresh",
            vec![
                ok(LIST),
                ok(&format!("{{\"type\":\"ERROR\",\"object\":{GONE}}}\n")),
                ok(LIST),
            ],
            "restarted with 1, restarted with 1",
            "list, 10, list",
        ),
        (
            "a server that is behind is waited for",
            vec![
                ok(LIST),
                (504, BEHIND.into()),
                (504, BEHIND.into()),
                ok(&line("ADDED", "11")),
            ],
            "restarted with 1, applied \"11\"",
            "list, 10, 10, 10",
        ),
        (
            "also if it says so as an event",
            vec![
                ok(LIST),
                ok(&format!(
                    "{{\"type\":\"ERROR\",\"object\":{}}}\n",
                    BEHIND.replace('\n', "")
                )),
                ok(&line("ADDED", "11")),
            ],
            "restarted with 1, error: Too large resource version: 10; current: 9, applied \"11\"",
            "list, 10, 10",
        ),
        (
            "an error is told and then the watch goes on",
            vec![ok(LIST), (500, "oops".into()), ok(&line("ADDED", "11"))],
            "restarted with 1, error: the server answered 500 Internal Server Error: oops, applied \"11\"",
            "list, 10, 10",
        ),
        (
            "a line that is no event is told",
            vec![ok(LIST), ok("what?\n"), ok(&line("ADDED", "11"))],
            "restarted with 1, error: the answer of the server cannot be read; \
             is this a Kubernetes API?, applied \"11\"",
            "list, 10, 10",
        ),
        (
            "a failed list is made again",
            vec![(403, "no".into()), ok(LIST)],
            "error: the server answered 403 Forbidden: no, restarted with 1",
            "list, list",
        ),
    ];
    for (name, script, told, asked) in cases {
        let events = told.split(", ").count();
        let found = play(script, events).await;
        assert_eq!(
            (found.0.join(", "), found.1.join(", ")),
            (told.into(), asked.into()),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_server_will_ever_know_is_listed_again() {
    let servers = vec!["http://127.0.0.1:1".parse().unwrap()];
    let config = crate::ClientConfig::new(servers, crate::Trust::Anything);
    let client = Client::new(config).unwrap();
    let options = ListOptions::default();
    let mut watcher = Watcher::new(client, Kind::Pod, None, options).from_revision("10");
    let behind = || ClientError::Status(serde_json::from_str(BEHIND).unwrap());
    for _ in 0..2 {
        watcher.wait_for(behind()).unwrap_err();
        assert!(matches!(watcher.state, State::Listed { .. }));
    }
    tokio::time::advance(BEHIND_MAX).await;
    assert_eq!(watcher.wait_for(behind()).unwrap(), None);
    assert!(matches!(watcher.state, State::Empty));
}
