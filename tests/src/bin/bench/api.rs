//! Throughput and latency of the API: durable creates, reads of one object, lists of many.

use std::time::{Duration, Instant};

use rustix::process::Pid;
use serde_json::json;
use skiff_tests::api::{Call, Identity};
use skiff_tests::cluster::{Cluster, items};
use skiff_tests::wait;

use crate::load::{self, Round, Until};
use crate::machine;
use crate::report::Row;

const ROUNDS: usize = 3;
const ROUND: Until = Until::Elapsed(Duration::from_secs(5));
/// Until caches, allocator and TLS sessions are what they will be.
const WARM_UP: Until = Until::Elapsed(Duration::from_secs(2));
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/bench/pods";
/// With its metadata the object is about 1.1 KB as stored.
const DATA_BYTES: usize = 1000;
const LISTED_PODS: u64 = 5000;
const PAGE: u64 = 500;

/// All figures of this benchmark.
pub(crate) fn rows() -> Vec<Row> {
    let cluster = Cluster::server();
    let identity = [cluster.identity_of(0)];
    let server = cluster.server.pid();
    load::drive(&identity, 16, WARM_UP, 201, create("warm"));

    let mut rows = Vec::new();
    for connections in [1, 16, 64] {
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|round| {
                let call = create(&format!("c{connections}-{round}"));
                measured(server, || {
                    load::drive(&identity, connections, ROUND, 201, call)
                })
            })
            .collect();
        let name = format!("create ConfigMap 1 KB, concurrency {connections}");
        let goals = (connections == 64).then_some((6000.0, 0.3));
        rows.extend(figures(&name, &rounds, goals));
    }
    for connections in [1, 64] {
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let call = |_| Call::get(&format!("{CONFIG_MAPS}/warm-0"));
                measured(server, || {
                    load::drive(&identity, connections, ROUND, 200, call)
                })
            })
            .collect();
        let name = format!("get ConfigMap, concurrency {connections}");
        let goals = (connections == 64).then_some((10_000.0, f64::INFINITY));
        rows.extend(figures(&name, &rounds, goals));
    }
    rows.extend(lists(&cluster, &identity));
    rows
}

/// Creates of ConfigMaps of 1 KB, with names that start with `prefix`.
pub(crate) fn create(prefix: &str) -> impl Fn(u64) -> Call + Send + Sync + 'static {
    let prefix = prefix.to_owned();
    let value = "x".repeat(DATA_BYTES);
    move |number| {
        let name = format!("{prefix}-{number}");
        let metadata = json!({"name": name, "namespace": "default"});
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value},
        });
        Call::post(CONFIG_MAPS, &object)
    }
}

/// A round and the server's CPU time in it.
fn measured(server: Pid, round: impl FnOnce() -> Round) -> (Round, Duration) {
    let before = machine::cpu(server);
    let round = round();
    (round, machine::cpu(server).saturating_sub(before))
}

/// Rate, latencies and CPU per request; `goals` are the least rate and the most CPU in ms.
fn figures(name: &str, rounds: &[(Round, Duration)], goals: Option<(f64, f64)>) -> Vec<Row> {
    let of = |figure: &dyn Fn(&Round) -> f64| -> Vec<f64> {
        rounds.iter().map(|(round, _)| figure(round)).collect()
    };
    let cpu: Vec<f64> = rounds
        .iter()
        .map(|(round, cpu)| {
            cpu.as_secs_f64() * 1000.0 / u32::try_from(round.count).map_or(f64::NAN, f64::from)
        })
        .collect();
    let mut rate = Row::new(name, "/s", &of(&|round| round.rate));
    let mut cost = Row::new(&format!("{name}: server CPU"), "ms", &cpu);
    if let Some((rate_least, cpu_most)) = goals {
        rate = rate.at_least(rate_least);
        if cpu_most.is_finite() {
            cost = cost.at_most(cpu_most);
        }
    }
    vec![
        rate,
        Row::new(&format!("{name}: p50"), "ms", &of(&|round| round.p50_ms)),
        Row::new(&format!("{name}: p99"), "ms", &of(&|round| round.p99_ms)),
        cost,
    ]
}

/// A list of many pods, whole and by its first page.
fn lists(cluster: &Cluster, identity: &[Identity]) -> Vec<Row> {
    let api = cluster.api();
    api.create(
        "/api/v1/namespaces",
        &json!({"metadata": {"name": "bench"}}),
    );
    load::drive(identity, 16, Until::Sent(LISTED_PODS), 201, |number| {
        Call::post(PODS, &pod(number))
    });

    quiet(cluster.server.pid());

    let mut rows = Vec::new();
    for (name, path, expected) in [
        ("list 5,000 pods", PODS.to_owned(), LISTED_PODS),
        (
            "first page of 500 pods",
            format!("{PODS}?limit={PAGE}"),
            PAGE,
        ),
    ] {
        let mut times = Vec::new();
        let before = machine::cpu(cluster.server.pid());
        for _ in 0..ROUNDS * 3 {
            let began = Instant::now();
            let answer = api.send(&Call::get(&path));
            times.push(began.elapsed().as_secs_f64() * 1000.0);
            let found = items(&answer.json()).count() as u64;
            assert_eq!(found, expected, "{path}");
        }
        let spent = machine::cpu(cluster.server.pid())
            .saturating_sub(before)
            .as_secs_f64();
        let rounds = u32::try_from(times.len()).map_or(f64::NAN, f64::from);
        rows.push(Row::new(name, "ms", &times));
        rows.push(Row::new(
            &format!("{name}: server CPU"),
            "ms",
            &[spent * 1000.0 / rounds],
        ));
    }
    rows
}

/// Waits until a server has done what the creates left behind, so that its CPU time is the lists'.
fn quiet(server: Pid) {
    wait::until("the server is quiet", Duration::from_secs(60), || {
        let before = machine::cpu(server);
        wait::pause(Duration::from_millis(500));
        let spent = machine::cpu(server).saturating_sub(before);
        if spent <= Duration::from_millis(10) {
            Ok(())
        } else {
            Err(format!("{spent:?} in 500 ms"))
        }
    });
}

/// A pod as a Deployment would make it. Its scheduler is none that runs, so that it stays as it is.
fn pod(number: u64) -> serde_json::Value {
    let probe = json!({"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 5});
    let resources = json!({
        "requests": {"cpu": "10m", "memory": "8Mi"}, "limits": {"memory": "64Mi"},
    });
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": format!("front-{number:04}"), "labels": {"app": "front"}},
        "spec": {
            "schedulerName": "nobody",
            "containers": [{
                "name": "front",
                "image": "skiff/shop:v1",
                "args": ["front"],
                "env": [{"name": "CART_ADDR", "value": "127.0.0.1:18082"}],
                "readinessProbe": probe,
                "livenessProbe": probe,
                "resources": resources,
            }],
        },
    })
}
