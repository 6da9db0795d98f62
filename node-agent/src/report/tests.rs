//! Statuses as a table: what exists of a pod, and what the servers are told.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::memory::{Failure, FailureKind, LastWords};
use crate::runtime::{
    Container, ContainerId, ContainerState, ObservedContainer, ObservedSandbox, PodRef, SandboxId,
};

const NOW: Millis = Millis(1_000_000_000);

fn pod_ref() -> PodRef {
    PodRef {
        namespace: "shop".into(),
        name: "front".into(),
        uid: "u".into(),
    }
}

fn pod(spec: Value, status: Value) -> DesiredPod {
    let wire = json!({
        "metadata": {"namespace": "shop", "name": "front", "uid": "u"},
        "spec": spec,
        "status": status,
    });
    DesiredPod::read(serde_json::from_value(wire).expect("a pod")).expect("complete")
}

/// Containers as `web0+` (running for 50 s) and `web0=1` (ended a second ago, after one second).
fn sight(words: &str) -> Sight {
    let mut sight = Sight::empty(pod_ref());
    if words.is_empty() {
        return sight;
    }
    sight.sandboxes.push(ObservedSandbox {
        id: SandboxId("sb0".into()),
        pod: pod_ref(),
        attempt: 0,
        ip: Some([10, 0, 0, 7].into()),
        running: true,
        host_network: false,
        created_at: NOW,
    });
    for word in words.split_whitespace().filter(|word| *word != "sb0") {
        let (id, state) = word.split_at(word.find(['+', '=']).expect("a state"));
        let (name, attempt) = id.split_at(id.len() - 1);
        let ago = |seconds: i64| Millis(NOW.0 - seconds * 1000);
        let state = match state.strip_prefix('=') {
            None => ContainerState::Running {
                started_at: ago(50),
            },
            Some(code) => ContainerState::Exited {
                code: code.trim_end_matches('!').parse().expect("a code"),
                oom_killed: code.ends_with('!'),
                started_at: ago(2),
                finished_at: ago(1),
                error: "".into(),
            },
        };
        let container = ObservedContainer {
            id: ContainerId(id.into()),
            container: Container {
                pod: pod_ref(),
                name: name.into(),
                attempt: attempt.parse().expect("a number"),
            },
            sandbox: SandboxId("sb0".into()),
            image: "shop:1".into(),
            image_id: "sha256:1".into(),
            state,
            spec_hash: "".into(),
            created_at: ago(2),
        };
        sight
            .containers
            .entry(name.into())
            .or_default()
            .push(container);
    }
    sight
}

fn reported(pod: &DesiredPod, sight: &Sight, failures: &Failures) -> PodStatus {
    judged(pod, sight, failures, &Health::default())
}

fn judged(pod: &DesiredPod, sight: &Sight, failures: &Failures, health: &Health) -> PodStatus {
    let words = LastWords::from([(ContainerId("a1".into()), Arc::from("no database"))]);
    status(&Facts {
        pod,
        sight,
        failures,
        health,
        last_words: &words,
        node_ip: Some([192, 168, 0, 1].into()),
        scheme: "docker",
        now: NOW,
    })
}

/// A status in one line: phase, what is true, and each container.
fn show(status: &PodStatus) -> String {
    let conditions = status.conditions.iter().flatten();
    let holds: Vec<&str> = conditions
        .filter(|condition| condition.status == "True" && condition.type_ != "PodScheduled")
        .map(|condition| condition.type_.as_str())
        .collect();
    let containers = status
        .init_container_statuses
        .iter()
        .flatten()
        .chain(status.container_statuses.iter().flatten())
        .map(|container| {
            let state = container.state.clone().unwrap_or_default();
            let word = match (state.running, state.terminated, state.waiting) {
                (Some(_), ..) => "running".to_owned(),
                (_, Some(ended), _) => {
                    format!("{} {}", ended.reason.unwrap_or_default(), ended.exit_code)
                }
                (_, _, Some(waiting)) => waiting.reason.unwrap_or_default(),
                _ => "nothing".into(),
            };
            format!("{}#{} {word}", container.name, container.restart_count)
        });
    let containers: Vec<String> = containers.collect();
    format!(
        "{} [{}] {}",
        status.phase.as_deref().unwrap_or(""),
        holds.join(" "),
        containers.join(", ")
    )
}

#[test]
fn what_has_ended_is_not_ready_though_the_list_shows_it_still() {
    let plain = json!({"containers": [{"name": "a", "image": "shop:1"}]});
    let health = Health {
        ended: [ContainerId("a0".into())].into(),
        ..Health::default()
    };
    let (pod, failures) = (pod(plain, json!({})), Failures::default());
    for (exists, expected) in [
        ("sb0 a0+", "Running [Initialized] a#0 running"),
        (
            "sb0 a0=1 a1+",
            "Running [Initialized Ready ContainersReady] a#1 running",
        ),
    ] {
        let status = judged(&pod, &sight(exists), &failures, &health);
        assert_eq!(show(&status), expected);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn what_exists_becomes_a_status() {
    let plain = || json!({"containers": [{"name": "a", "image": "shop:1"}]});
    let never = || json!({"restartPolicy": "Never", "containers": [{"name": "a"}, {"name": "b"}]});
    let init = || json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    let probed =
        || json!({"containers": [{"name": "a", "readinessProbe": {"tcpSocket": {"port": 1}}}]});
    let all = "Initialized Ready ContainersReady";
    let cases = [
        (
            "nothing yet",
            plain(),
            "",
            "Pending [Initialized] a#0 ContainerCreating".to_owned(),
        ),
        (
            "it runs",
            plain(),
            "sb0 a0+",
            format!("Running [{all}] a#0 running"),
        ),
        (
            "it runs, and is not ready",
            probed(),
            "sb0 a0+",
            "Running [Initialized] a#0 running".into(),
        ),
        (
            "the first crash",
            plain(),
            "sb0 a0=1",
            "Running [Initialized] a#0 Error 1".into(),
        ),
        (
            "the second crash",
            plain(),
            "sb0 a0=1 a1=1",
            "Running [Initialized] a#1 CrashLoopBackOff".into(),
        ),
        (
            "started again",
            plain(),
            "sb0 a0=1 a1+",
            format!("Running [{all}] a#1 running"),
        ),
        (
            "out of memory",
            plain(),
            "sb0 a0=137!",
            "Running [Initialized] a#0 OOMKilled 137".into(),
        ),
        (
            "one of two is done",
            never(),
            "sb0 a0=0 b0+",
            "Running [Initialized] a#0 Completed 0, b#0 running".into(),
        ),
        (
            "both are done",
            never(),
            "sb0 a0=0 b0=0",
            "Succeeded [Initialized] a#0 Completed 0, b#0 Completed 0".into(),
        ),
        (
            "one failed",
            never(),
            "sb0 a0=0 b0=3",
            "Failed [Initialized] a#0 Completed 0, b#0 Error 3".into(),
        ),
        (
            "an init container runs",
            init(),
            "sb0 i0+",
            "Pending [] i#0 running, a#0 PodInitializing".into(),
        ),
        (
            "an init container is done",
            init(),
            "sb0 i0=0",
            "Pending [Initialized] i#0 Completed 0, a#0 ContainerCreating".into(),
        ),
        (
            "an init container failed",
            init(),
            "sb0 i0=1",
            "Failed [] i#0 Error 1, a#0 PodInitializing".into(),
        ),
    ];
    for (name, spec, exists, expected) in cases {
        let status = reported(&pod(spec, json!({})), &sight(exists), &Failures::default());
        assert_eq!(show(&status), expected, "{name}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn failures_are_shown_in_kubernetes_words() {
    let cases = [
        ("just failed to pull", FailureKind::Image, 1, "ErrImagePull"),
        (
            "waits to pull again",
            FailureKind::Image,
            5,
            "ImagePullBackOff",
        ),
        (
            "no such name",
            FailureKind::ImageName,
            5,
            "InvalidImageName",
        ),
        (
            "may not be pulled",
            FailureKind::ImageNever,
            5,
            "ErrImageNeverPull",
        ),
        (
            "a missing object",
            FailureKind::Config,
            5,
            "CreateContainerConfigError",
        ),
        (
            "cannot be created",
            FailureKind::Create,
            5,
            "CreateContainerError",
        ),
        (
            "cannot be started",
            FailureKind::Run,
            1,
            "RunContainerError",
        ),
        (
            "cannot be started, again",
            FailureKind::Run,
            5,
            "CrashLoopBackOff",
        ),
        (
            "the whole pod",
            FailureKind::Unsupported,
            5,
            "CreateContainerConfigError",
        ),
    ];
    for (name, kind, seconds_ago, expected) in cases {
        let at = Millis(NOW.0 - seconds_ago * 1000);
        let whose = if kind == FailureKind::Unsupported {
            ""
        } else {
            "a"
        };
        let mut failures = Failures::default();
        let failure = Failure {
            kind,
            message: "because".into(),
            at,
            count: 1,
        };
        failures.note(&"u".into(), &whose.into(), failure);
        let pod = pod(json!({"containers": [{"name": "a"}]}), json!({}));
        let status = reported(&pod, &sight("sb0"), &failures);
        assert_eq!(
            show(&status),
            format!("Pending [Initialized] a#0 {expected}"),
            "{name}"
        );
        let shown = json!(status)["containerStatuses"][0]["state"]["waiting"]["message"].clone();
        assert_eq!(shown, "because", "{name}");
    }
}

#[test]
fn details_are_complete() {
    let pod = pod(
        json!({"containers": [{"name": "a", "image": "shop:1"}]}),
        json!({}),
    );
    let status = json!(reported(
        &pod,
        &sight("sb0 a0=1 a1=1"),
        &Failures::default()
    ));
    let container = &status["containerStatuses"][0];
    assert_eq!(container["containerID"], "docker://a1");
    assert_eq!(container["imageID"], "sha256:1");
    assert_eq!(
        container["lastState"]["terminated"]["message"],
        "no database"
    );
    assert_eq!(
        container["state"]["waiting"]["message"],
        "back-off 10s restarting failed container=a pod=front_shop(u)"
    );
    assert_eq!(status["podIP"], "10.0.0.7");
    assert_eq!(status["podIPs"][0]["ip"], "10.0.0.7");
    assert_eq!(status["hostIP"], "192.168.0.1");
    assert_eq!(status["startTime"], "1970-01-12T13:46:40Z");
    assert_eq!(status["qosClass"], "BestEffort");
}

#[test]
fn a_status_that_was_sent_comes_back_as_the_same() {
    let spec = || json!({"containers": [{"name": "a", "image": "shop:1"}]});
    for exists in ["", "sb0", "sb0 a0+", "sb0 a0=1 a1=1", "sb0 a0=1 a1+"] {
        let first = reported(
            &pod(spec(), json!({})),
            &sight(exists),
            &Failures::default(),
        );
        let sent = json!(first);
        let second = reported(&pod(spec(), sent), &sight(exists), &Failures::default());
        assert_eq!(first, second, "{exists}");
    }
}

#[test]
fn what_others_wrote_stays_and_an_end_is_final() {
    let old = json!({
        "phase": "Failed",
        "reason": "Evicted",
        "message": "low on memory",
        "conditions": [{"type": "Custom", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    });
    let pod = pod(json!({"containers": [{"name": "a"}]}), old);
    let status = reported(&pod, &sight("sb0 a0+"), &Failures::default());
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert_eq!(status.reason.as_deref(), Some("Evicted"));
    let custom = status
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == "Custom");
    assert!(custom.is_some_and(|condition| condition.status == "True"));
}

#[test]
fn a_patch_names_the_pod_and_nulls_what_is_gone() {
    let patch = patch(
        "u",
        &PodStatus {
            phase: Some("Running".into()),
            ..PodStatus::default()
        },
    );
    let expected = json!({
        "metadata": {"uid": "u"},
        "status": {"phase": "Running", "reason": null, "message": null},
    });
    assert_eq!(patch, expected);
}

#[test]
fn the_quality_of_service_follows_requests_and_limits() {
    let both = json!({"cpu": "1", "memory": "1Gi"});
    let cases = [
        ("nothing asked", json!({}), "BestEffort"),
        ("a request", json!({"requests": {"cpu": "1"}}), "Burstable"),
        ("limits only", json!({"limits": both}), "Guaranteed"),
        (
            "limits as requests",
            json!({"limits": both, "requests": both}),
            "Guaranteed",
        ),
        (
            "limits above",
            json!({"limits": both, "requests": {"cpu": "500m"}}),
            "Burstable",
        ),
    ];
    for (name, resources, expected) in cases {
        let spec = json!({"containers": [{"name": "a", "resources": resources}]});
        let spec = serde_json::from_value(spec).expect("a spec");
        assert_eq!(qos::class(&spec), expected, "{name}");
    }
}
