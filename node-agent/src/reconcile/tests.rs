//! The loop against simulated containers and servers, on a clock that only moves when all wait.

mod isolation;
mod rig;

use std::time::Duration;

use serde_json::json;

use crate::network::NetworkState;
use crate::runtime::simulated::{Fault, Images, Program};
use crate::runtime::{ExecOutcome, Runtime as _, Step};
use rig::{Rig, pod};

fn exit(code: i64, log: &str) -> Program {
    Program::Exit {
        after: Duration::from_millis(100),
        code,
        log: log.into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_runs_and_is_reported() {
    let rig = Rig::new(Images::All);
    rig.apply(pod("web", json!([{"name": "a", "image": "shop:1"}])));
    rig.until_status("web", "Running", |status| {
        status["containerStatuses"][0]["ready"] == true
    })
    .await;
    let status = rig.status("web");
    assert_eq!(status["conditions"][1]["type"], "Ready");
    assert_eq!(status["conditions"][1]["status"], "True");
    assert!(status["podIP"].is_string());
    rig.until_event("Started", "Started container a").await;
}

#[tokio::test(start_paused = true)]
async fn a_killed_container_is_started_again() {
    let rig = Rig::new(Images::All);
    rig.apply(pod("web", json!([{"name": "a", "image": "shop:1"}])));
    rig.until_status("web", "Running", |_| true).await;
    rig.kill("a", 137).await;
    rig.until_status("web", "Running", |status| {
        let container = &status["containerStatuses"][0];
        container["restartCount"] == 1 && container["state"]["running"].is_object()
    })
    .await;
    let last = rig.status("web")["containerStatuses"][0]["lastState"]["terminated"].clone();
    assert_eq!(last["exitCode"], 137);
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_is_slow_and_speaks() {
    let rig = Rig::new(Images::All);
    rig.sim.program("shop:1", exit(1, "no database\n"));
    rig.apply(pod("web", json!([{"name": "a", "image": "shop:1"}])));
    rig.until_status("web", "Running", |status| {
        let container = &status["containerStatuses"][0];
        container["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            && container["lastState"]["terminated"]["message"] == "no database"
    })
    .await;
    rig.until_event("BackOff", "no database").await;
    // The third start comes ten seconds after the second end, the fourth twenty after that.
    rig.after(Duration::from_secs(25)).await;
    assert_eq!(rig.sim.calls(Step::StartContainer), 3);
    // What the first one left went with it.
    assert_eq!(rig.message_files("web"), ["a-1", "a-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_named() {
    let rig = Rig::new(Images::remote(["shop:1"]));
    rig.apply(pod(
        "web",
        json!([{"name": "a", "image": "shop:2"}, {"name": "b", "image": "shop:1"}]),
    ));
    rig.until_status("web", "Pending", |status| {
        let waiting = &status["containerStatuses"][0]["state"]["waiting"];
        waiting["reason"] == "ImagePullBackOff"
            && waiting["message"]
                .as_str()
                .is_some_and(|words| words.contains("manifest unknown"))
            && status["containerStatuses"][1]["state"]["running"].is_object()
    })
    .await;
    rig.until_event("Failed", "manifest unknown").await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_object_holds_a_container_until_it_is_there() {
    let rig = Rig::new(Images::All);
    let env = json!([{"configMapRef": {"name": "settings"}}]);
    rig.apply(pod(
        "web",
        json!([{"name": "a", "image": "shop:1", "envFrom": env}]),
    ));
    rig.until_status("web", "Pending", |status| {
        let waiting = &status["containerStatuses"][0]["state"]["waiting"];
        waiting["reason"] == "CreateContainerConfigError"
            && waiting["message"] == "configmap \"settings\" not found"
    })
    .await;
    rig.servers
        .put("configmaps/shop/settings", json!({"data": {"a": "b"}}));
    rig.until_status("web", "Running", |_| true).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_supported_is_refused_by_name() {
    let rig = Rig::new(Images::All);
    let mut pod = pod("web", json!([{"name": "a", "image": "shop:1"}]));
    pod["spec"]["hostPID"] = json!(true);
    rig.apply(pod);
    rig.until_event("Unsupported", "spec.hostPID").await;
    rig.until_status("web", "Pending", |status| {
        status["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    })
    .await;
    assert_eq!(rig.sim.calls(Step::CreateSandbox), 0);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_ends_and_is_confirmed() {
    let rig = Rig::new(Images::All);
    rig.apply(pod("web", json!([{"name": "a", "image": "shop:1"}])));
    rig.until_status("web", "Running", |_| true).await;
    rig.delete("web");
    rig.until("the pod is gone", || !rig.servers.has("web"))
        .await;
    rig.until_nothing_exists().await;
    rig.until_event("Killing", "Stopping container a").await;
}

#[tokio::test(start_paused = true)]
async fn a_deletion_does_not_wait_for_a_pull() {
    let rig = Rig::new(Images::remote(["shop:1"]));
    rig.sim.hold(Step::PullImage);
    rig.apply(pod("web", json!([{"name": "a", "image": "shop:1"}])));
    rig.until("the pull is under way", || {
        rig.sim.calls(Step::PullImage) > 0
    })
    .await;
    rig.delete("web");
    rig.until("the pod is gone", || !rig.servers.has("web"))
        .await;
    rig.until_nothing_exists().await;
}

#[tokio::test(start_paused = true)]
async fn one_pods_pull_does_not_hold_up_another() {
    let rig = Rig::new(Images::Only {
        here: [("here:1".to_owned(), String::new())].into(),
        registry: ["far:1".to_owned()].into(),
    });
    rig.sim.hold(Step::PullImage);
    rig.apply(pod("slow", json!([{"name": "a", "image": "far:1"}])));
    rig.apply(pod("fast", json!([{"name": "a", "image": "here:1"}])));
    rig.until_status("fast", "Running", |_| true).await;
    rig.sim.release(Step::PullImage);
    rig.until_status("slow", "Running", |_| true).await;
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_adopts_what_runs() {
    let mut rig = Rig::new(Images::All);
    rig.apply(pod("web", json!([{"name": "a", "image": "shop:1"}])));
    rig.until_status("web", "Running", |_| true).await;
    let before = rig.status("web");
    rig.restart_agent();
    rig.after(Duration::from_secs(30)).await;
    assert_eq!(rig.sim.calls(Step::StartContainer), 1);
    assert_eq!(rig.status("web"), before);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_removed_before_the_servers_have_spoken() {
    let mut rig = Rig::new(Images::All);
    rig.apply(pod("web", json!([{"name": "a", "image": "shop:1"}])));
    rig.until_status("web", "Running", |_| true).await;
    rig.stop_agent();
    rig.servers.forget("web");
    rig.start_agent_unsynced();
    rig.after(Duration::from_secs(30)).await;
    assert_eq!(rig.sim.calls(Step::StopContainer), 0);
    rig.sync();
    rig.until_nothing_exists().await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stops_and_starts_forgets_nothing() {
    let rig = Rig::new(Images::All);
    rig.apply(pod("web", json!([{"name": "a", "image": "shop:1"}])));
    rig.until_status("web", "Running", |_| true).await;
    rig.sim.stop_engine();
    rig.until("the engine is known to be away", || {
        rig.engine_is_up() == Some(false)
    })
    .await;
    rig.apply(pod("new", json!([{"name": "a", "image": "shop:1"}])));
    rig.after(Duration::from_secs(20)).await;
    rig.sim.start_engine();
    rig.until("the engine is back", || rig.engine_is_up() == Some(true))
        .await;
    rig.until_status("new", "Running", |_| true).await;
    assert_eq!(rig.status("web")["containerStatuses"][0]["restartCount"], 0);
}

#[tokio::test(start_paused = true)]
async fn lost_servers_stop_no_work_and_hear_of_it_later() {
    let rig = Rig::new(Images::All);
    rig.apply(pod("web", json!([{"name": "a", "image": "shop:1"}])));
    rig.until_status("web", "Running", |_| true).await;
    rig.servers.go_away();
    rig.kill("a", 1).await;
    rig.until("it is started again", || {
        rig.sim.calls(Step::StartContainer) == 2
    })
    .await;
    rig.after(Duration::from_secs(10)).await;
    assert_eq!(rig.status("web")["containerStatuses"][0]["restartCount"], 0);
    rig.servers.come_back();
    rig.until_status("web", "Running", |status| {
        status["containerStatuses"][0]["restartCount"] == 1
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_sandbox_is_replaced() {
    let rig = Rig::new(Images::All);
    rig.apply(pod("web", json!([{"name": "a", "image": "shop:1"}])));
    rig.until_status("web", "Running", |_| true).await;
    rig.kill_sandbox().await;
    rig.until("a second sandbox", || {
        rig.sim.calls(Step::CreateSandbox) == 2
    })
    .await;
    rig.until_status("web", "Running", |status| {
        let container = &status["containerStatuses"][0];
        container["restartCount"] == 1 && container["state"]["running"].is_object()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_range_says_why_a_pod_waits() {
    let rig = Rig::new(Images::All);
    rig.network.send_replace(NetworkState::default());
    rig.resolver.send_replace(None);
    rig.apply(pod("web", json!([{"name": "a", "image": "shop:1"}])));
    rig.until_event("NetworkNotReady", "not yet given this node a range")
        .await;
    rig.network.send_replace(rig::network());
    rig.resolver.send_replace(Some(rig::resolver()));
    rig.until_status("web", "Running", |_| true).await;
}

#[tokio::test(start_paused = true)]
async fn sandboxes_that_fail_do_not_pile_up() {
    let rig = Rig::new(Images::All);
    let fault = || Fault::Refused("no space left on device".into());
    for _ in 0..3 {
        rig.sim.fail_next(Step::StartSandbox, fault());
    }
    rig.sim.fail_next(Step::RemoveSandbox, fault());
    rig.apply(pod("web", json!([{"name": "a", "image": "shop:1"}])));
    rig.until("the third try", || rig.sim.calls(Step::CreateSandbox) == 3)
        .await;
    rig.until("the first two are removed, one at the second try", || {
        rig.sim.calls(Step::RemoveSandbox) == 3
    })
    .await;
    assert_eq!(rig.sim.calls(Step::CreateSandbox), 3);
    rig.until_status("web", "Running", |_| true).await;
    rig.until("the third is removed", || {
        rig.sim.calls(Step::RemoveSandbox) == 4
    })
    .await;
    let left = rig.sim.list().await.unwrap().sandboxes;
    assert!(left.len() == 1 && left[0].attempt == 3, "{left:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_failing_liveness_probe_restarts_its_container() {
    let rig = Rig::new(Images::All);
    let failed = ExecOutcome::Exited {
        code: 1,
        output: "sick".into(),
    };
    rig.sim.answer_exec("a", failed);
    let probe = json!({"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 2});
    rig.apply(pod(
        "web",
        json!([{"name": "a", "image": "shop:1", "livenessProbe": probe}]),
    ));
    rig.until_event("Unhealthy", "Liveness probe failed: sick")
        .await;
    rig.until_event(
        "Killing",
        "Container a failed liveness probe, will be restarted",
    )
    .await;
    rig.until_status("web", "Running", |status| {
        status["containerStatuses"][0]["restartCount"] == 1
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_cannot_be_asked_fails_no_probe() {
    for fault in [Fault::Unreachable, Fault::TimedOut] {
        let rig = Rig::new(Images::All);
        for _ in 0..5 {
            rig.sim.fail_next(Step::Exec, fault.clone());
        }
        let probe = json!({
            "exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1,
        });
        let container = json!({
            "name": "a", "image": "shop:1", "livenessProbe": probe, "readinessProbe": probe,
        });
        rig.apply(pod("web", json!([container])));
        rig.until("probes go on", || rig.sim.calls(Step::Exec) > 10)
            .await;
        rig.until_status("web", "Running", |status| {
            let container = &status["containerStatuses"][0];
            container["restartCount"] == 0 && container["ready"] == true
        })
        .await;
        assert!(!rig.has_event("Unhealthy"), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_follows_its_probe() {
    let rig = Rig::new(Images::All);
    rig.sim.answer_exec("a", ExecOutcome::TimedOut);
    let probe = json!({"exec": {"command": ["check"]}, "periodSeconds": 1});
    rig.apply(pod(
        "web",
        json!([{"name": "a", "image": "shop:1", "readinessProbe": probe}]),
    ));
    rig.until_status("web", "Running", |status| {
        status["containerStatuses"][0]["ready"] == false
    })
    .await;
    rig.sim.answer_exec(
        "a",
        ExecOutcome::Exited {
            code: 0,
            output: "".into(),
        },
    );
    rig.until_status("web", "Running", |status| {
        status["containerStatuses"][0]["ready"] == true
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_is_tried_again() {
    let rig = Rig::new(Images::All);
    rig.sim.fail_next(
        Step::StartContainer,
        Fault::Refused("exec format error".into()),
    );
    rig.apply(pod("web", json!([{"name": "a", "image": "shop:1"}])));
    rig.until_event("Failed", "Error: exec format error").await;
    rig.until_status("web", "Running", |status| {
        status["containerStatuses"][0]["restartCount"] == 0
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_container_is_neither_ready_nor_probed_before_its_post_start_hook_has_ended() {
    let rig = Rig::new(Images::All);
    let failed = ExecOutcome::Exited {
        code: 1,
        output: "too early".into(),
    };
    rig.sim.answer_exec("a", failed);
    let probe = json!({"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1});
    rig.apply(pod(
        "web",
        json!([
            {"name": "a", "image": "shop:1", "livenessProbe": probe,
                "lifecycle": {"postStart": {"sleep": {"seconds": 60}}}},
        ]),
    ));
    rig.until_status("web", "Running", |status| {
        status["containerStatuses"][0]["state"]["running"].is_object()
    })
    .await;
    let one = |rig: &Rig| rig.status("web")["containerStatuses"][0].clone();
    assert_eq!(
        (&one(&rig)["ready"], &one(&rig)["started"]),
        (&json!(false), &json!(false))
    );
    rig.after(Duration::from_secs(30)).await;
    assert_eq!(one(&rig)["ready"], false);
    assert_eq!(rig.sim.calls(Step::Exec), 0);
    let well = ExecOutcome::Exited {
        code: 0,
        output: "".into(),
    };
    rig.sim.answer_exec("a", well);
    rig.until_status("web", "Running", |status| {
        status["containerStatuses"][0]["ready"] == true
    })
    .await;
    assert_eq!(one(&rig)["restartCount"], 0);
}
