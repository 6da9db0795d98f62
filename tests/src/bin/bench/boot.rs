//! From exec to the first good answer, and to the first running pod.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use skiff_tests::api::{Api, Call, Identity};
use skiff_tests::cluster::{forget, free_address, free_range};
use skiff_tests::docker::Engine;
use skiff_tests::skiff;
use skiff_tests::wait;

use crate::report::Row;

const ROUNDS: usize = 5;
const GIVE_UP: Duration = Duration::from_secs(30);
/// Between two looks: the resolution of these figures.
const LOOK: Duration = Duration::from_millis(2);
const IMAGE: &str = "skiff-bench/busybox:1";

/// All figures of this benchmark.
pub(crate) fn rows() -> Vec<Row> {
    Engine::default().busybox_image(IMAGE);
    // The first boot on a machine also makes the pause image.
    boot();
    let (mut api, mut pod) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (api_ms, pod_ms) = boot();
        api.push(api_ms);
        pod.push(pod_ms);
    }
    let binary = std::fs::metadata(skiff::binary())
        .expect("the binary is there")
        .len();
    let megabytes = u32::try_from(binary / 1000).map_or(f64::NAN, f64::from) / 1000.0;
    vec![
        Row::new("exec to first API answer", "ms", &api).at_most(500.0),
        Row::new("exec to first pod running, image present", "ms", &pod).at_most(1500.0),
        Row::new("size of the binary", "MB", &[megabytes]).at_most(30.0),
    ]
}

/// One `skiff dev` from nothing to its end: time to the API and to a pod, in ms.
fn boot() -> (f64, f64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("dev");
    let pods = free_range();
    let began = Instant::now();
    let mut dev = Command::new(skiff::binary())
        .args([
            "dev",
            "--nodes",
            "1",
            "--listen",
            &free_address(),
            "--pod-cidr",
            &pods,
            "--data-dir",
        ])
        .arg(&data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("skiff starts");

    let kubeconfig = data.join("admin.kubeconfig");
    let api = look("the API answers", || {
        let api = kubeconfig
            .is_file()
            .then(|| Api::new(Identity::of(&kubeconfig)))?;
        let answer = api
            .try_send(&Call::get("/api/v1/namespaces/default"))
            .ok()?;
        (answer.status == 200).then_some(api)
    });
    let api_ms = began.elapsed().as_secs_f64() * 1000.0;

    let container = json!({"name": "first", "image": IMAGE, "command": ["/bin/sleep", "3600"]});
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [container]});
    let first = json!({"metadata": {"name": "first"}, "spec": spec});
    api.create("/api/v1/namespaces/default/pods", &first);
    look("the pod runs", || {
        let pod = api.get("/api/v1/namespaces/default/pods/first");
        (pod["status"]["phase"] == "Running").then_some(())
    });
    let pod_ms = began.elapsed().as_secs_f64() * 1000.0;

    dev.kill().expect("end skiff");
    dev.wait().expect("skiff ends");
    forget(&Engine::default(), &data, &pods);
    (api_ms, pod_ms)
}

fn look<T>(fact: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < GIVE_UP, "{fact}: not within {GIVE_UP:?}");
        wait::pause(LOOK);
    }
}
