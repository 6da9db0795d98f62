//! The list against an Engine that is a table of answers.

use std::path::Path;

use bollard::API_DEFAULT_VERSION;
use serde_json::{Value, json};

use super::*;
use crate::fake;
use crate::runtime::PodRef;

/// The words of an Engine that has lost a container's files.
const LOST: &str = "RWLayer of container is unexpectedly nil";

/// The containers of one Engine by id: how they are listed, and the answer to an inspection.
type Answers = Arc<Mutex<HashMap<&'static str, (&'static str, (u16, Value))>>>;

fn owner() -> Owner {
    Owner {
        instance: "skiff".into(),
        node: "n1".into(),
    }
}

/// What the Engine answers to the first line of a request.
fn answer(answers: &Answers, line: &str) -> (u16, String) {
    let all = answers.lock().unwrap();
    let path = line.split(['?', ' ']).nth(1).unwrap();
    if path.ends_with("/containers/json") {
        let listed = all.iter().map(|(id, (phase, _))| summary(id, phase));
        return (200, Value::from_iter(listed).to_string());
    }
    let id = path.rsplit('/').nth(1).unwrap();
    let (_, (code, body)) = &all[id];
    (*code, body.to_string())
}

fn summary(id: &str, phase: &str) -> Value {
    let container = Container {
        pod: PodRef {
            namespace: "shop".into(),
            name: "front".into(),
            uid: "u".into(),
        },
        name: id.into(),
        attempt: 0,
    };
    let labels = owner().container_labels(&container, &SandboxId("sb".into()), "hash");
    json!({"Id": id, "Created": 1, "State": phase, "Labels": labels})
}

fn inspected(state: Value) -> (u16, Value) {
    (200, json!({"State": state}))
}

fn refused() -> (u16, Value) {
    (500, json!({"message": LOST}))
}

/// The states that a list shows, as `a running 1000, b exited 255 lost`.
async fn shown(docker: &Docker, details: &Details) -> String {
    let found = list(docker, &owner(), details).await.unwrap();
    let show = |one: &ObservedContainer| {
        let name = &one.container.name;
        match &one.state {
            ContainerState::Created => format!("{name} created"),
            ContainerState::Running { started_at } => format!("{name} running {}", started_at.0),
            ContainerState::Exited { code, error, .. } => format!("{name} exited {code} {error}"),
        }
    };
    let all: Vec<String> = found.containers.iter().map(show).collect();
    all.join(", ").trim_end().to_owned()
}

/// Lets the time pass after which the Engine is asked again.
async fn pause() {
    tokio::time::pause();
    tokio::time::advance(unread::PAUSE).await;
    tokio::time::resume();
}

async fn engine(dir: &Path, answers: &Answers) -> (Docker, impl Drop) {
    let path = dir.join("docker.sock");
    let answers = Arc::clone(answers);
    let engine = fake::unix(&path, move |line| answer(&answers, line));
    let path = path.to_str().unwrap();
    let docker = Docker::connect_with_unix(path, 60, API_DEFAULT_VERSION).unwrap();
    (docker, engine)
}

#[tokio::test]
async fn a_container_that_cannot_be_inspected_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let answers = Answers::default();
    let (docker, _engine) = engine(dir.path(), &answers).await;
    let details = Details::default();
    let started = "1970-01-01T00:00:02Z";
    let runs = inspected(json!({"Running": true, "StartedAt": started}));
    let ended = inspected(json!({"Running": false, "ExitCode": 3}));
    // name, listed as, inspected; and what is shown, at once and when it is asked again
    let cases = [
        (
            "all is well",
            [("running", runs.clone()), ("running", runs.clone())],
            "a running 2000, b running 2000",
            "a running 2000, b running 2000",
        ),
        (
            "the end of one cannot be read: it runs on, but not for ever",
            [("running", runs.clone()), ("exited", refused())],
            "a running 2000, b running 2000",
            "a running 2000, b exited 255 RWLayer of container is unexpectedly nil",
        ),
        (
            "what was said in its place is not kept",
            [("running", runs.clone()), ("exited", ended)],
            "a running 2000, b exited 255 RWLayer of container is unexpectedly nil",
            "a running 2000, b exited 3",
        ),
    ];
    for (name, [a, b], at_once, later) in cases {
        *answers.lock().unwrap() = HashMap::from([("a", a), ("b", b)]);
        assert_eq!(shown(&docker, &details).await, at_once, "{name}");
        pause().await;
        assert_eq!(shown(&docker, &details).await, later, "{name}");
    }
    // Of an agent that knows nothing yet.
    let lost = ("running", refused());
    *answers.lock().unwrap() = HashMap::from([("a", ("running", runs)), ("b", lost)]);
    let expected = "a running 2000, b running 1000";
    assert_eq!(shown(&docker, &Details::default()).await, expected);
}

#[test]
fn an_end_is_read_with_all_its_oddities() {
    let never = "0001-01-01T00:00:00Z";
    let cases = [
        // name, started, finished, read as
        (
            "plain",
            "1970-01-01T00:00:01Z",
            "1970-01-01T00:00:02.5Z",
            (1000, 2500),
        ),
        (
            "noticed late",
            "1970-01-01T00:00:01.007Z",
            "1970-01-01T00:00:01Z",
            (1000, 1000),
        ),
        ("never started", never, "1970-01-01T00:00:02Z", (2000, 2000)),
        ("never anything", never, never, (0, 0)),
    ];
    for (name, started, finished, (started_at, finished_at)) in cases {
        let engine = EngineState {
            running: Some(false),
            exit_code: Some(137),
            oom_killed: Some(true),
            started_at: Some(started.to_owned()),
            finished_at: Some(finished.to_owned()),
            ..EngineState::default()
        };
        let expected = ContainerState::Exited {
            code: 137,
            oom_killed: true,
            started_at: Millis(started_at),
            finished_at: Millis(finished_at),
            error: "".into(),
        };
        assert_eq!(state(engine), expected, "{name}");
    }
}
