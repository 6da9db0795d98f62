//! The machine against a server that does what servers do to watches.

use std::collections::VecDeque;

use serde_json::json;

use super::*;
use crate::fake::{Answer, Fake, Speak, ok};

const LIST: &str = r#"{"metadata":{"resourceVersion":"10"},"items":[{"n":1}]}"#;
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
