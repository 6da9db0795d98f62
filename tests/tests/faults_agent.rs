//! Faults on a node: images, programs and hooks that fail, agents and Engines that die, clocks that lie.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use skiff_tests::api::Call;
use skiff_tests::cluster::{Cluster, PODS_MAX, condition, items, summary, text};
use skiff_tests::dockerd::Dockerd;
use skiff_tests::given::{self, BUSYBOX, FOREVER, NO_IMAGE};
use skiff_tests::skiff::binary;
use skiff_tests::wait;

const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

#[test]
fn an_image_that_does_not_exist_is_reported_in_the_engines_words() {
    let cluster = one_node();
    let api = cluster.api();
    let mut pod = given::pod("absent", FOREVER);
    pod["spec"]["containers"][0]["image"] = json!(NO_IMAGE);
    api.create(PODS, &pod);
    for reason in ["ErrImagePull", "ImagePullBackOff"] {
        waiting_for(&cluster, "absent", reason);
    }
    let message = event(&cluster, "absent", "Failed");
    assert!(message.contains("Failed to pull image"), "{message}");
    assert!(
        message.contains("connection refused"),
        "the Engine's own words: {message}"
    );
}

#[test]
fn a_container_that_exits_at_once_backs_off_and_its_last_words_are_told() {
    let cluster = one_node();
    cluster
        .api()
        .create(PODS, &given::pod("hasty", "echo no more rum; exit 7"));
    waiting_for(&cluster, "hasty", "CrashLoopBackOff");
    let pod = cluster.api().get(&format!("{PODS}/hasty"));
    let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!(last["exitCode"], 7, "{last}");
    let message = event(&cluster, "hasty", "BackOff");
    assert!(
        message.contains("Back-off restarting failed container"),
        "{message}"
    );
    let told = wait::until("the last line is in an event", PODS_MAX, || {
        let events = events_of(&cluster, "hasty");
        events
            .iter()
            .find(|event| event.contains("no more rum"))
            .cloned()
            .ok_or(events.join("; "))
    });
    assert!(told.contains("no more rum"), "{told}");
}

#[test]
fn what_a_container_needs_and_is_not_there_is_named() {
    let cluster = one_node();
    let mut pod = given::pod("lacking", FOREVER);
    pod["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "colours"}}]);
    cluster.api().create(PODS, &pod);
    waiting_for(&cluster, "lacking", "CreateContainerConfigError");
    let pod = cluster.api().get(&format!("{PODS}/lacking"));
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    assert!(
        text(&waiting["message"]).contains("configmap \"colours\" not found"),
        "{waiting}"
    );

    let maps = "/api/v1/namespaces/default/configmaps";
    cluster
        .api()
        .create(maps, &given::config_map("colours", "SKY", "blue"));
    cluster.wait_for_pods("default", "app=lacking", 1);
}

#[test]
fn hooks_run_at_their_time_and_those_that_fail_are_told() {
    let cluster = one_node();
    let api = cluster.api();
    let marks = cluster.folder().join("marks");
    fs::create_dir(&marks).expect("make a folder for marks");
    let mark = |name: &str| fs::read_to_string(marks.join(name)).unwrap_or_default();
    let create = |name: &str, hooks: Value| {
        let script = format!(
            "trap 'echo told >> /marks/{name}; exit 0' TERM; while true; do sleep 0.1; done"
        );
        let mut pod = given::pod(name, &script);
        let spec = &mut pod["spec"];
        spec["terminationGracePeriodSeconds"] = json!(20);
        spec["volumes"] = json!([{"name": "marks", "hostPath": {"path": marks}}]);
        let container = &mut spec["containers"][0];
        container["volumeMounts"] = json!([{"name": "marks", "mountPath": "/marks"}]);
        container["lifecycle"] = hooks;
        api.create(PODS, &pod);
    };
    let shell = |script: &str| json!({"exec": {"command": ["/bin/sh", "-c", script]}});

    let failing = shell("echo cannot begin; exit 4");
    create("clumsy", json!({"postStart": failing}));
    waiting_for(&cluster, "clumsy", "PostStartHookError");
    let message = event(&cluster, "clumsy", "FailedPostStartHook");
    assert!(message.contains("cannot begin"), "{message}");

    create("rude", json!({"preStop": shell("echo no manners; exit 3")}));
    let patient = shell("until test -e /marks/go; do sleep 0.1; done");
    let asked = shell("echo asked >> /marks/polite");
    create("polite", json!({"postStart": patient, "preStop": asked}));
    wait::until("polite is seen to run", PODS_MAX, || {
        let pod = api.get(&format!("{PODS}/polite"));
        let status = &pod["status"]["containerStatuses"][0];
        if status["state"]["running"].is_null() {
            return Err(summary(&pod));
        }
        assert_eq!(status["ready"], false, "its hook has not ended: {status}");
        assert_eq!(condition(&pod, "Ready"), "False");
        Ok(())
    });
    fs::write(marks.join("go"), "").expect("let the hook end");
    for name in ["polite", "rude"] {
        cluster.wait_for_pods("default", &format!("app={name}"), 1);
        cluster.skiff(&format!("delete pod {name}")).ok();
        gone(&cluster, name);
    }
    assert_eq!(
        mark("polite"),
        "asked\ntold\n",
        "first the hook, then the signal"
    );
    assert_eq!(mark("rude"), "told\n", "a hook that fails changes nothing");
    let message = event(&cluster, "rude", "FailedPreStopHook");
    assert!(message.contains("no manners"), "{message}");
}

#[test]
fn a_killed_agent_leaves_its_containers_running_and_takes_them_up_again() {
    let mut cluster = one_node();
    let node = format!("{}-1", cluster.prefix);
    cluster
        .api()
        .create(DEPLOYMENTS, &given::deployment("web", 2, FOREVER));
    cluster.wait_for_pods("default", "app=web", 2);
    let before = cluster.containers_on(&node, false);
    assert_eq!(before.len(), 4, "two sandboxes, two containers");

    cluster.agent(&node).kill();
    assert_eq!(cluster.containers_on(&node, false), before);
    cluster.add_agent(&node);
    cluster.wait_for_nodes(1);
    wait::throughout(
        "the same containers run, never restarted",
        Duration::from_secs(4),
        || {
            let now = cluster.containers_on(&node, true);
            let pods = cluster.pods("default", "app=web");
            let restarts: Vec<&Value> = pods
                .iter()
                .map(|pod| &pod["status"]["containerStatuses"][0]["restartCount"])
                .collect();
            if now == before && restarts.iter().all(|count| **count == 0) && pods.len() == 2 {
                return Ok(());
            }
            Err(format!("{now:?}, restarts {restarts:?}"))
        },
    );
}

#[test]
fn what_died_while_the_agent_was_away_is_repaired_when_it_is_back() {
    let mut cluster = one_node();
    let node = format!("{}-1", cluster.prefix);
    cluster
        .api()
        .create(DEPLOYMENTS, &given::deployment("web", 1, FOREVER));
    let pod = cluster.wait_for_pods("default", "app=web", 1).remove(0);
    cluster.agent(&node).kill();
    cluster.engine.kill(&cluster.containers_of(&pod));
    cluster.add_agent(&node);
    wait::until("the container runs again", PODS_MAX, || {
        let pods = cluster.pods("default", "app=web");
        let ready = |pod: &&Value| condition(pod, "Ready") == "True";
        match pods.iter().find(ready) {
            Some(pod) if !cluster.containers_of(pod).is_empty() => Ok(()),
            _ => Err(pods.iter().map(summary).collect::<String>()),
        }
    });
}

#[test]
fn pods_survive_a_stop_and_start_of_the_engine() {
    let mut dockerd = Dockerd::start();
    let mut cluster = Cluster::server();
    cluster.engine = dockerd.engine();
    cluster.engine.busybox_image(BUSYBOX);
    let node = format!("{}-1", cluster.prefix);
    cluster.add_agent_with(&node, &["--docker-host", &dockerd.url()]);
    cluster.wait_for_nodes(1);
    cluster
        .api()
        .create(DEPLOYMENTS, &given::deployment("web", 2, FOREVER));
    cluster.wait_for_pods("default", "app=web", 2);

    dockerd.stop();
    wait::until("the node says that its Engine is gone", PODS_MAX, || {
        let node = cluster.api().get(&format!("/api/v1/nodes/{node}"));
        match condition(&node, "Ready").as_str() {
            "True" => Err(node["status"]["conditions"].to_string()),
            _ => Ok(()),
        }
    });
    dockerd.start_again();
    cluster.wait_for_nodes(1);
    let pods = cluster.wait_for_pods("default", "app=web", 2);
    let running: usize = pods
        .iter()
        .map(|pod| cluster.containers_of(pod).len())
        .sum();
    assert_eq!(running, 2, "one container for each pod");
    // The containers go before their Engine does.
    cluster.agent(&node).kill();
    cluster.engine.remove(&cluster.instance());
}

#[test]
fn a_second_agent_of_the_same_name_is_turned_away() {
    let mut cluster = one_node();
    let node = format!("{}-1", cluster.prefix);
    cluster
        .api()
        .create(DEPLOYMENTS, &given::deployment("web", 1, FOREVER));
    cluster.wait_for_pods("default", "app=web", 1);
    let before = cluster.containers_on(&node, false);

    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut second = Command::new(binary());
    let args = cluster.agent_args(&node).into_iter();
    let own = cluster.folder().join(&node).display().to_string();
    let other = folder.path().display().to_string();
    second.args(args.map(|arg| if arg == own { other.clone() } else { arg }));
    let second = skiff_tests::process::Process::start("second", &mut second, folder.path());
    wait::until("the second one is told", Duration::from_secs(30), || {
        let log = second.log();
        if log.contains("another") && log.contains(&node) {
            Ok(())
        } else {
            Err(log)
        }
    });
    assert_eq!(cluster.containers_on(&node, false), before);
    assert!(cluster.agent(&node).runs(), "the first one goes on");
    cluster.wait_for_nodes(1);
}

#[test]
fn a_clock_that_is_an_hour_off_does_not_matter() {
    for shift in ["+1h", "-1h"] {
        let mut cluster = Cluster::server();
        cluster.engine.busybox_image(BUSYBOX);
        let node = format!("{}-1", cluster.prefix);
        let mut agent = Command::new(binary());
        agent
            .env("LD_PRELOAD", libfaketime())
            .env("FAKETIME", shift);
        // Only the calendar is off: no fault of a clock makes monotonic time jump.
        agent.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        agent.args(cluster.agent_args(&node));
        cluster.start_agent(&node, &mut agent);
        cluster.wait_for_nodes(1);
        let [told, right] =
            [cluster.agent(&node).log(), cluster.server.log()].map(|log| hour(&log));
        assert_ne!(told, right, "the agent's own log shows the wrong hour");
        cluster
            .api()
            .create(DEPLOYMENTS, &given::deployment("web", 1, FOREVER));
        cluster.wait_for_pods("default", "app=web", 1);
        wait::throughout("the node stays Ready", Duration::from_secs(6), || {
            let node = cluster.api().get(&format!("/api/v1/nodes/{node}"));
            let ready = condition(&node, "Ready");
            if ready == "True" {
                Ok(())
            } else {
                Err(format!("{shift}: Ready is {ready}"))
            }
        });
    }
}

/// Day and hour of the first line of a log: `2026-11-23T04`.
fn hour(log: &str) -> String {
    let start = log.find("20").expect("a log line has a time");
    log.chars()
        .skip(log[..start].chars().count())
        .take("2026-11-23T04".len())
        .collect()
}

/// What the command `faketime` loads into a program. That command itself would stay in between, and
/// be killed in the agent's place.
fn libfaketime() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("a folder of libraries");
    folders
        .map(|entry| {
            entry
                .expect("an entry")
                .path()
                .join("faketime/libfaketimeMT.so.1")
        })
        .find(|path| path.is_file())
        .expect("libfaketime is installed")
}

fn one_node() -> Cluster {
    let cluster = Cluster::with_agents(1);
    cluster.engine.busybox_image(BUSYBOX);
    cluster
}

fn waiting_for(cluster: &Cluster, pod: &str, reason: &str) {
    wait::until(&format!("{pod} waits for {reason}"), PODS_MAX, || {
        let pod = cluster.api().get(&format!("{PODS}/{pod}"));
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        if waiting["reason"] == reason {
            Ok(())
        } else {
            Err(summary(&pod))
        }
    });
}

fn gone(cluster: &Cluster, pod: &str) {
    wait::until(&format!("{pod} is gone"), PODS_MAX, || {
        let answer = cluster.api().send(&Call::get(&format!("{PODS}/{pod}")));
        match answer.status {
            404 => Ok(()),
            _ => Err(summary(&answer.json())),
        }
    });
}

/// The message of the first event of that reason about a pod.
fn event(cluster: &Cluster, pod: &str, reason: &str) -> String {
    let path = format!(
        "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name={pod},reason={reason}"
    );
    wait::until(&format!("an event {reason} about {pod}"), PODS_MAX, || {
        let answer = cluster.api().send(&Call::get(&path)).json();
        let mut messages = items(&answer).map(|event| text(&event["message"]));
        messages.next().ok_or_else(|| answer.to_string())
    })
}

fn events_of(cluster: &Cluster, pod: &str) -> Vec<String> {
    let path = format!("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name={pod}");
    items(&cluster.api().get(&path))
        .map(|event| text(&event["message"]))
        .collect()
}
