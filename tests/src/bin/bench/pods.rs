//! How fast one agent starts pods, against the Docker Engine doing the same by itself: two creates
//! and two starts for each pod, at most twice as many in flight as there are cores.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig, NetworkCreateRequest};
use bollard::query_parameters::{CreateContainerOptions, StartContainerOptions};
use serde_json::json;
use skiff_tests::api::Call;
use skiff_tests::cluster::{Cluster, condition};
use skiff_tests::docker::{Engine, INSTANCE_LABEL};
use skiff_tests::wait;
use tokio::sync::Semaphore;

use crate::machine;
use crate::report::Row;

const ROUNDS: usize = 7;
/// From one pod to this many.
const PODS: usize = 50;
const GIVE_UP: Duration = Duration::from_secs(300);
const IMAGE: &str = "skiff-bench/busybox:1";
/// The "cluster" under whose label the Engine's own round is found and removed.
const RAW: &str = "skiff-bench-raw";

/// All figures of this benchmark.
pub(crate) fn rows() -> Vec<Row> {
    let engine = Engine::default();
    engine.busybox_image(IMAGE);
    // What a round that was interrupted left would be in the way.
    engine.remove(&format!("{INSTANCE_LABEL}={RAW}"));
    let (mut skiff, mut raw, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // Alternating, so that a noisy minute hits both.
        let ours = PODS_STARTED / by_skiff().as_secs_f64();
        let theirs = PODS_STARTED / by_engine().as_secs_f64();
        engine.remove(&format!("{INSTANCE_LABEL}={RAW}"));
        skiff.push(ours);
        raw.push(theirs);
        ratio.push(ours / theirs);
    }
    vec![
        Row::new("scale 1 to 50, one agent", "pods/s", &skiff),
        Row::new("the Engine alone, same creates and starts", "pods/s", &raw),
        Row::new("ratio", "", &ratio).at_least(0.85),
    ]
}

/// Those between the first and the last.
const PODS_STARTED: f64 = 49.0;

/// Scales a Deployment from 1 to 50 and waits until all are Ready.
fn by_skiff() -> Duration {
    let cluster = Cluster::with_agents(1);
    let api = cluster.api();
    let container = json!({"name": "main", "image": IMAGE, "command": ["/bin/sleep", "3600"]});
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [container]});
    let labels = json!({"app": "many"});
    let deployment = json!({
        "metadata": {"name": "many"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    });
    api.create("/apis/apps/v1/namespaces/default/deployments", &deployment);
    assert_eq!(cluster.wait_for_pods("default", "app=many", 1).len(), 1);

    let began = Instant::now();
    let scale = "/apis/apps/v1/namespaces/default/deployments/many/scale";
    let answer = api.send(&Call::merge(scale, &json!({"spec": {"replicas": PODS}})));
    assert_eq!(answer.status, 200, "{}", answer.text());
    wait::until("50 pods are Ready", GIVE_UP, || {
        let pods = cluster.pods("default", "app=many");
        let ready = pods
            .iter()
            .filter(|pod| condition(pod, "Ready") == "True")
            .count();
        if ready == PODS {
            Ok(())
        } else {
            Err(format!("{ready} are"))
        }
    });
    began.elapsed()
}

/// The same creates and starts with nobody in between.
fn by_engine() -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let docker = Docker::connect_with_local_defaults().expect("the Engine's socket");
        let network = NetworkCreateRequest {
            // A network of an earlier round may be stuck in the Engine.
            name: format!("{RAW}-{}", began_at()),
            labels: Some([(INSTANCE_LABEL.to_owned(), RAW.to_owned())].into()),
            ..NetworkCreateRequest::default()
        };
        let name: Arc<str> = network.name.as_str().into();
        docker
            .create_network(network)
            .await
            .expect("make a network");
        let began = Instant::now();
        let in_flight = Arc::new(Semaphore::new(machine::cores() * 2));
        let pods: Vec<_> = (1..PODS)
            .map(|_| {
                let (docker, in_flight) = (docker.clone(), Arc::clone(&in_flight));
                let network = Arc::clone(&name);
                tokio::spawn(async move {
                    let _permit = in_flight.acquire().await.expect("nobody closes it");
                    let sandbox = start(&docker, &network).await;
                    start(&docker, &format!("container:{sandbox}")).await;
                })
            })
            .collect();
        for pod in pods {
            pod.await.expect("the Engine starts it");
        }
        began.elapsed()
    })
}

/// Milliseconds of the calendar: no two rounds share one.
fn began_at() -> u128 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_millis()
}

async fn start(docker: &Docker, network: &str) -> String {
    let host_config = HostConfig {
        network_mode: Some(network.to_owned()),
        ..HostConfig::default()
    };
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(vec!["/bin/sleep".to_owned(), "3600".to_owned()]),
        labels: Some([(INSTANCE_LABEL.to_owned(), RAW.to_owned())].into()),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptions::default();
    let created = docker
        .create_container(Some(options), body)
        .await
        .expect("create");
    let options = StartContainerOptions::default();
    docker
        .start_container(&created.id, Some(options))
        .await
        .expect("start");
    created.id
}
