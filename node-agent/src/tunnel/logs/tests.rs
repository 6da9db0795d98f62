//! Which log is meant, as a table.

use serde_json::json;

use super::*;
use crate::runtime::{Container, ContainerState, ObservedContainer, PodRef, SandboxId};

#[test]
fn queries_are_read() {
    let asked = |query: &str| Asked::parse("front", "u", query);
    let all = asked(
        "container=web&follow=true&tailLines=5&sinceTime=2026-11-23T01%3A46%3A49Z&limitBytes=7",
    )
    .expect("all known");
    assert_eq!(all.container.as_deref(), Some("web"));
    assert_eq!(all.limit_bytes, Some(7));
    let options = all.options(Millis(0));
    assert!(options.follow && !options.timestamps);
    assert_eq!(options.tail, Some(5));
    assert_eq!(options.since, Some(Millis(1_795_398_409_000)));
    let ago = asked("sinceSeconds=60")
        .expect("seconds")
        .options(Millis(100_000));
    assert_eq!(ago.since, Some(Millis(40_000)));
    for wrong in [
        "tailLines=many",
        "follow=perhaps",
        "sinceTime=yesterday",
        "limitBytes=-1",
    ] {
        assert_eq!(asked(wrong).expect_err(wrong).code, 400, "{wrong}");
    }
}

/// Containers as `web0+` and `web0=1`.
fn sight(words: &str) -> Sight {
    let pod = PodRef {
        namespace: "shop".into(),
        name: "front".into(),
        uid: "u".into(),
    };
    let mut sight = Sight::empty(pod.clone());
    for word in words.split_whitespace() {
        let (id, state) = word.split_at(word.find(['+', '=', '.']).expect("a state"));
        let (name, attempt) = id.split_at(id.len() - 1);
        let ended = |code: &str| ContainerState::Exited {
            code: code.parse().expect("a code"),
            oom_killed: false,
            started_at: Millis(0),
            finished_at: Millis(0),
            error: "".into(),
        };
        let container = ObservedContainer {
            id: ContainerId(id.into()),
            container: Container {
                pod: pod.clone(),
                name: name.into(),
                attempt: attempt.parse().expect("a number"),
            },
            sandbox: SandboxId("sb".into()),
            image: "".into(),
            image_id: "".into(),
            state: match state {
                "+" => ContainerState::Running {
                    started_at: Millis(0),
                },
                "." => ContainerState::Created,
                code => ended(code.trim_start_matches('=')),
            },
            spec_hash: "".into(),
            created_at: Millis(0),
        };
        sight
            .containers
            .entry(name.into())
            .or_default()
            .push(container);
    }
    sight
}

#[test]
fn the_container_that_is_meant_is_found() {
    let cases = [
        ("the only one", "a", "", "a0+", Ok("a0")),
        ("one of two", "a b", "container=b", "a0+ b0+", Ok("b0")),
        (
            "neither of two",
            "a b",
            "",
            "a0+ b0+",
            Err("a container name must be specified for pod front, choose one of: [a b]"),
        ),
        (
            "an unknown one",
            "a",
            "container=x",
            "a0+",
            Err("container x is not valid for pod front"),
        ),
        (
            "one that has not started",
            "a",
            "",
            "",
            Err("container \"a\" in pod \"front\" is waiting to start: ContainerCreating"),
        ),
        ("the newest attempt", "a", "", "a0=1 a1+", Ok("a1")),
        ("the newest that was started", "a", "", "a0=1 a1.", Ok("a0")),
        ("the one before", "a", "previous=true", "a0=1 a1+", Ok("a0")),
        (
            "the newest while it waits for its restart",
            "a",
            "previous=true",
            "a0=1 a1=1",
            Ok("a1"),
        ),
        (
            "none before",
            "a",
            "previous=true",
            "a0+",
            Err("previous terminated container \"a\" in pod \"front\" not found"),
        ),
    ];
    for (case, containers, query, exists, expected) in cases {
        let containers: Vec<_> = containers
            .split(' ')
            .map(|name| json!({ "name": name }))
            .collect();
        let pod = json!({
            "metadata": {"namespace": "shop", "name": "front", "uid": "u"},
            "spec": {"containers": containers},
        });
        let pod = DesiredPod::read(serde_json::from_value(pod).expect("a pod")).expect("complete");
        let asked = Asked::parse("front", "u", query).expect("known");
        let found = asked.choose(&pod, &sight(exists));
        let found = found
            .map(|id| id.to_string())
            .map_err(|status| status.message);
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{case}");
    }
}
