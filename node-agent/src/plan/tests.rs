//! The plan as a table, and its law: doing what was planned comes to rest where it should.

mod laws;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use skiff_api::Millis;

use super::*;
use crate::memory::{Failure, FailureKind, Verdict};
use crate::runtime::{Container, ObservedSandbox, PodRef, SandboxId};

/// The time at which the tables are read.
const NOW: Millis = Millis(1_000_000_000);

fn at(seconds_ago: i64) -> Millis {
    Millis(NOW.0 - seconds_ago * 1000)
}

fn pod_ref() -> PodRef {
    PodRef {
        namespace: "shop".into(),
        name: "front".into(),
        uid: "u".into(),
    }
}

/// A pod of containers such as `i:init s:sidecar web`, under a restart policy.
fn pod(policy: &str, parts: &str) -> DesiredPod {
    let (mut inits, mut mains) = (Vec::new(), Vec::new());
    for part in parts.split_whitespace() {
        match part.split_once(':') {
            Some((name, "init")) => inits.push(json!({"name": name})),
            Some((name, _)) => inits.push(json!({"name": name, "restartPolicy": "Always"})),
            None => mains.push(json!({"name": part})),
        }
    }
    let wire = json!({
        "metadata": {"namespace": "shop", "name": "front", "uid": "u"},
        "spec": {"restartPolicy": policy, "initContainers": inits, "containers": mains},
    });
    DesiredPod::read(serde_json::from_value(wire).expect("a pod")).expect("complete")
}

/// What exists, in words: `sb0` a sandbox that runs, `sb0!` a dead one; `web0+` runs in the sandbox
/// before it, `web0.` was created, `web0=1` ended with 1 a second ago, after one second. `web0=1@30`
/// ended thirty seconds ago.
fn sight(words: &str) -> Sight {
    let mut sight = Sight::empty(pod_ref());
    let mut sandbox = SandboxId("none".into());
    for word in words.split_whitespace() {
        if let Some(attempt) = word.strip_prefix("sb") {
            sandbox = SandboxId(word.trim_end_matches('!').into());
            sight.sandboxes.push(ObservedSandbox {
                id: sandbox.clone(),
                pod: pod_ref(),
                attempt: attempt.trim_end_matches('!').parse().expect("a number"),
                ip: None,
                running: !word.ends_with('!'),
                host_network: false,
                created_at: at(100),
            });
            continue;
        }
        let end = word.find(|c: char| "+.=".contains(c)).expect("a state");
        let (id, state) = word.split_at(end);
        let (name, attempt) = id.split_at(id.find(|c: char| c.is_ascii_digit()).expect("attempt"));
        let (state, created_at) = read_state(state);
        let container = ObservedContainer {
            id: ContainerId(id.into()),
            container: Container {
                pod: pod_ref(),
                name: name.into(),
                attempt: attempt.parse().expect("a number"),
            },
            sandbox: sandbox.clone(),
            image: "".into(),
            image_id: "".into(),
            state,
            spec_hash: pod("Always", "x").parts[0].hash.clone(),
            created_at,
        };
        sight
            .containers
            .entry(name.into())
            .or_default()
            .push(container);
    }
    sight
}

fn read_state(text: &str) -> (ContainerState, Millis) {
    if text == "+" {
        return (ContainerState::Running { started_at: at(50) }, at(50));
    }
    let Some(code) = text.strip_prefix('=') else {
        return (ContainerState::Created, at(50));
    };
    let (code, ago) = code.split_once('@').unwrap_or((code, "1"));
    let ago: i64 = ago.parse().expect("seconds");
    let state = ContainerState::Exited {
        code: code.parse().expect("a code"),
        oom_killed: false,
        started_at: at(ago + 1),
        finished_at: at(ago),
        error: "".into(),
    };
    (state, at(ago + 1))
}

fn show(actions: &[Action]) -> String {
    let show = |action: &Action| match action {
        Action::StartSandbox { attempt } => format!("+sb{attempt}"),
        Action::StartContainer { name, attempt } => format!("+{name}{attempt}"),
        Action::Stop(stops) => {
            let ids: Vec<&str> = stops.iter().map(|stop| &*stop.id.0).collect();
            format!("-{}", ids.join(","))
        }
        Action::RemoveContainer(id) => format!("~{id}"),
        Action::RemoveSandbox(id) => format!("~{id}"),
        Action::RemoveVolumes => "volumes".into(),
        Action::ConfirmDeletion => "gone".into(),
    };
    actions.iter().map(show).collect::<Vec<_>>().join(" ")
}

/// Plans for one pod, with nothing remembered.
fn planned(pod: &DesiredPod, sight: &Sight) -> PodPlan {
    let (desired, sights) = (Pods::new(), Sights::new());
    let (failures, health) = (Failures::default(), Health::default());
    let world = World {
        desired: &desired,
        sights: &sights,
        failures: &failures,
        health: &health,
        now: NOW,
    };
    plan_pod(&world, pod, sight)
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn pods_are_brought_to_running() {
    let cases = [
        // name, policy, containers, what exists, what is to be done
        (
            "a new pod gets its sandbox and its containers",
            "Always",
            "a b",
            "",
            "+sb0 +a0 +b0",
        ),
        (
            "init containers go first",
            "Always",
            "i:init a",
            "",
            "+sb0 +i0",
        ),
        (
            "and one by one",
            "Always",
            "i:init j:init a",
            "sb0 i0=0",
            "+j0",
        ),
        (
            "what comes after waits for them",
            "Always",
            "i:init a",
            "sb0 i0+",
            "",
        ),
        (
            "and starts after the last",
            "Always",
            "i:init a",
            "sb0 i0=0",
            "+a0",
        ),
        (
            "a sidecar starts and stays",
            "Always",
            "s:sidecar i:init a",
            "",
            "+sb0 +s0 +i0",
        ),
        (
            "with the main containers after it",
            "Always",
            "s:sidecar a",
            "sb0 s0+",
            "+a0",
        ),
        (
            "what runs is left alone",
            "Always",
            "a b",
            "sb0 a0+ b0+",
            "",
        ),
        (
            "a missing container is started",
            "Always",
            "a b",
            "sb0 a0+",
            "+b0",
        ),
        (
            "one that was only created is made anew",
            "Always",
            "a",
            "sb0 a0.",
            "~a0 +a0",
        ),
        (
            "one that ended is started again",
            "Always",
            "a",
            "sb0 a0=0",
            "+a1",
        ),
        ("but not too often", "Always", "a", "sb0 a0=1@3 a1=1", ""),
        (
            "only until the wait is over",
            "Always",
            "a",
            "sb0 a0=1@30 a1=1@11",
            "+a2",
        ),
        (
            "an end in the future is a clock set back",
            "Always",
            "a",
            "sb0 a0=1 a1=1@-3600",
            "+a2",
        ),
        (
            "a failure is tried again",
            "OnFailure",
            "a",
            "sb0 a0=1",
            "+a1",
        ),
        ("a success is not", "OnFailure", "a b", "sb0 a0=0 b0+", ""),
        ("never means never", "Never", "a b", "sb0 a0=1 b0+", ""),
        (
            "a failed init container is tried again",
            "Always",
            "i:init a",
            "sb0 i0=1",
            "+i1",
        ),
        (
            "old attempts are removed, two are kept",
            "Always",
            "a",
            "sb0 a0=1 a1=1 a2+",
            "~a0",
        ),
        (
            "init containers are not run again behind the main ones",
            "Always",
            "i:init a",
            "sb0 a0+",
            "",
        ),
        (
            "a sidecar that ended is started again",
            "Always",
            "s:sidecar a",
            "sb0 s0=0 a0+",
            "+s1",
        ),
    ];
    for (name, policy, parts, exists, expected) in cases {
        let plan = planned(&pod(policy, parts), &sight(exists));
        assert_eq!(show(&plan.actions), expected, "{name}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn lost_sandboxes_are_replaced() {
    let cases = [
        (
            "all containers start anew",
            "Always",
            "a",
            "sb0! a0=137",
            "+sb1 +a1 ~sb0",
        ),
        (
            "what still runs is stopped first",
            "Always",
            "a",
            "sb0! a0+",
            "-a0 +sb1 +a1 ~sb0",
        ),
        (
            "init containers run again",
            "Always",
            "i:init a",
            "sb0! i0=0 a0=137",
            "+sb1 +i1 ~sb0",
        ),
        (
            "what is done is not done again",
            "OnFailure",
            "a b",
            "sb0! a0=0 b0=137",
            "+sb1 +b1 ~sb0",
        ),
        (
            "a pod that never restarts is over",
            "Never",
            "a",
            "sb0! a0=137",
            "~sb0",
        ),
        (
            "a sandbox that went without a trace",
            "Always",
            "a",
            "a0=137",
            "+sb0 +a1",
        ),
        (
            "only the newest sandbox counts",
            "Always",
            "a",
            "sb0 sb1 a0+",
            "~sb0",
        ),
        (
            "what failed starts left goes first, but for the newest",
            "Always",
            "a",
            "sb0! a0=137 sb1! sb2!",
            "~sb0 ~sb1 +sb3 +a1 ~sb2",
        ),
        (
            "and only when nothing runs in it",
            "Always",
            "a",
            "sb0! a0+ sb1!",
            "-a0 ~sb0 +sb2 +a1 ~sb1",
        ),
        (
            "one that runs is older than one that failed",
            "Always",
            "a",
            "sb0 a0+ sb1!",
            "~sb1",
        ),
    ];
    for (name, policy, parts, exists, expected) in cases {
        let plan = planned(&pod(policy, parts), &sight(exists));
        assert_eq!(show(&plan.actions), expected, "{name}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn pods_that_are_over_are_put_to_rest() {
    let terminal = |pod: &mut DesiredPod| pod.terminal = true;
    let late = |pod: &mut DesiredPod| pod.deadline = Some(at(1));
    let nothing = |_: &mut DesiredPod| {};
    type Change = fn(&mut DesiredPod);
    let cases: [(&str, &str, &str, &str, Change, &str); 7] = [
        (
            "its containers stay for their logs",
            "Never",
            "a",
            "sb0 a0=0",
            nothing,
            "~sb0",
        ),
        (
            "then nothing is left to do",
            "Never",
            "a",
            "a0=0",
            nothing,
            "",
        ),
        (
            "sidecars end after the rest",
            "Never",
            "s:sidecar a",
            "sb0 s0+ a0=0",
            nothing,
            "-s0 ~sb0",
        ),
        (
            "a failed init container is the end",
            "Never",
            "i:init a",
            "sb0 i0=1",
            nothing,
            "~sb0",
        ),
        (
            "what the servers call over is over",
            "Always",
            "a",
            "sb0 a0+",
            terminal,
            "-a0 ~sb0",
        ),
        ("and is not started", "Always", "a", "", terminal, ""),
        (
            "a deadline ends it",
            "Always",
            "a b",
            "sb0 a0+ b0+",
            late,
            "-a0,b0 ~sb0",
        ),
    ];
    for (name, policy, parts, exists, change, expected) in cases {
        let mut pod = pod(policy, parts);
        change(&mut pod);
        assert_eq!(
            show(&planned(&pod, &sight(exists)).actions),
            expected,
            "{name}"
        );
    }
}

#[test]
fn deleted_pods_are_ended_then_removed() {
    let cases = [
        (
            "what runs is stopped, sidecars last",
            "s:sidecar r:sidecar a b",
            "sb0 s0+ r0+ a0+ b0+",
            "-a0,b0 -r0 -s0",
        ),
        (
            "then all is removed and confirmed",
            "a",
            "sb0 a0=0",
            "~a0 ~sb0 volumes gone",
        ),
        (
            "one that never ran is confirmed at once",
            "a",
            "",
            "volumes gone",
        ),
    ];
    for (name, parts, exists, expected) in cases {
        let mut pod = pod("Always", parts);
        pod.deletion = Some(Duration::from_secs(5));
        assert_eq!(
            show(&planned(&pod, &sight(exists)).actions),
            expected,
            "{name}"
        );
    }
}

#[test]
fn what_belongs_to_nobody_is_removed() {
    let sights = Sights::from([(Arc::from("u"), sight("sb0 a0+ b0=1"))]);
    let (desired, failures, health) = (Pods::new(), Failures::default(), Health::default());
    let world = World {
        desired: &desired,
        sights: &sights,
        failures: &failures,
        health: &health,
        now: NOW,
    };
    let plans = plan(&world);
    assert_eq!(show(&plans["u"].actions), "-a0 ~a0 ~b0 ~sb0 volumes");
}

#[test]
fn probes_and_new_images_end_containers() {
    let condemned = Verdict {
        started: true,
        ready: false,
        condemned: Some("liveness".into()),
    };
    let unstarted = Verdict {
        started: false,
        ready: false,
        condemned: None,
    };
    let cases = [
        (
            "a condemned container is stopped",
            "a",
            "sb0 a0+",
            condemned.clone(),
            "-a0",
        ),
        (
            "a condemned sidecar as well",
            "a:sidecar b",
            "sb0 a0+ b0+",
            condemned,
            "-a0",
        ),
        (
            "a sidecar that has not started holds up",
            "a:sidecar b",
            "sb0 a0+",
            unstarted,
            "",
        ),
    ];
    for (name, parts, exists, verdict, expected) in cases {
        let (desired, sights, failures) = (Pods::new(), Sights::new(), Failures::default());
        let health = Health {
            verdicts: [(ContainerId("a0".into()), verdict)].into(),
            ..Health::default()
        };
        let world = World {
            desired: &desired,
            sights: &sights,
            failures: &failures,
            health: &health,
            now: NOW,
        };
        let plan = plan_pod(&world, &pod("Always", parts), &sight(exists));
        assert_eq!(show(&plan.actions), expected, "{name}");
    }
    let mut changed = sight("sb0 a0+");
    changed.containers.get_mut("a").expect("there")[0].spec_hash = "another".into();
    assert_eq!(show(&planned(&pod("Always", "a"), &changed).actions), "-a0");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn failed_starts_wait_their_turn() {
    let failures = |container: &str, seconds_ago| {
        let mut failures = Failures::default();
        let failure = Failure {
            kind: FailureKind::Image,
            message: "no".into(),
            at: at(seconds_ago),
            count: 1,
        };
        failures.note(&"u".into(), &container.into(), failure);
        failures
    };
    let cases = [
        (
            "a fresh failure holds its container only",
            failures("a", 1),
            "sb0",
            "+b0",
        ),
        (
            "after ten seconds it is tried again",
            failures("a", 10),
            "sb0",
            "+a0 +b0",
        ),
        ("a failed sandbox holds all", failures("", 1), "", ""),
        (
            "the newest that failed keeps the count meanwhile",
            failures("", 1),
            "sb0!",
            "",
        ),
        (
            "those before it go",
            failures("", 1),
            "sb0! a0=137 sb1! sb2!",
            "~sb0 ~sb1",
        ),
        (
            "then the count goes on",
            failures("", 10),
            "sb2!",
            "+sb3 +a0 +b0 ~sb2",
        ),
        (
            "a failure in the future is a clock set back",
            failures("a", -3600),
            "sb0",
            "+a0 +b0",
        ),
    ];
    for (name, failures, exists, expected) in cases {
        let (desired, sights, health) = (Pods::new(), Sights::new(), Health::default());
        let world = World {
            desired: &desired,
            sights: &sights,
            failures: &failures,
            health: &health,
            now: NOW,
        };
        let plan = plan_pod(&world, &pod("Always", "a b"), &sight(exists));
        assert_eq!(show(&plan.actions), expected, "{name}");
    }
}

#[test]
fn the_plan_says_when_to_look_again() {
    let waits = planned(&pod("Always", "a"), &sight("sb0 a0=1@3 a1=1"));
    assert_eq!(waits.wake_at, Some(at(1 - 10)));
    let runs = planned(&pod("Always", "a"), &sight("sb0 a0+"));
    assert_eq!(runs.wake_at, None);
}

#[test]
fn attempts_that_the_servers_know_are_not_counted_twice() {
    let mut pod = pod("Always", "a");
    pod.parts[0].attempts_known = 5;
    assert_eq!(show(&planned(&pod, &sight("sb0")).actions), "+a5");
    assert_eq!(show(&planned(&pod, &sight("sb0 a7=1@700")).actions), "+a8");
}
