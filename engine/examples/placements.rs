//! How many pods a second the scheduler places, with no server around it: it decides, its writes
//! are applied, and its view of the cluster takes the changes in.
//!
//! Rates are per second of CPU of the one thread, as the kernel counts it: a busy machine does not
//! change them. Linux only.
//!
//! `cargo run --release -p skiff-engine --example placements [NODES] [PODS] [SETS]`

#![expect(
    clippy::print_stdout,
    reason = "a measurement for people, outside of the engine"
)]

use std::time::Duration;

use serde_json::json;
use skiff_api::{Malformed, Millis, Object};
use skiff_engine::schedule::Cluster;
use skiff_engine::{Command, Stamper, State, Write};

/// As many as the leader's loop places by one command.
const BATCH: usize = 1024;

fn main() -> Result<(), Malformed> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| {
        arguments
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (nodes, pods, sets) = (number(5000), number(50_000), number(50).max(1));
    let mut state = cluster(nodes, pods, sets)?;
    let mut stamper = Stamper::new(Millis(1_795_398_400_000), 1);
    let mut view = Cluster::read(&state);
    let (mut deciding, mut applying) = (Duration::ZERO, Duration::ZERO);
    let begun = cpu();
    let mut placed = 0;
    loop {
        let from = cpu();
        let due = view.due(&state, BATCH);
        if due.is_empty() {
            break;
        }
        let writes = view.schedule(&state, &due, &mut stamper);
        deciding += cpu().saturating_sub(from);
        let from = cpu();
        let applied = state.apply(&Command {
            term: 1,
            at: stamper.at(),
            writes,
        });
        for change in &applied.changes {
            view.observe(change);
        }
        applying += cpu().saturating_sub(from);
        placed += due.len();
    }
    let rate =
        |time: Duration| f64::from(u32::try_from(placed).unwrap_or(u32::MAX)) / time.as_secs_f64();
    println!("{nodes} nodes, {placed} pods of {sets} sets");
    println!("decided     {:>9.0} placements/s", rate(deciding));
    println!("applied     {:>9.0} placements/s", rate(applying));
    println!(
        "altogether  {:>9.0} placements/s",
        rate(cpu().saturating_sub(begun))
    );
    Ok(())
}

/// How long this thread has run.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text
        .split(' ')
        .next()
        .and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

fn cluster(nodes: usize, pods: usize, sets: usize) -> Result<State, Malformed> {
    let nodes = (0..nodes).map(|n| {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{n:05}"),
            "labels": {"zone": format!("z{}", n % 3), "kubernetes.io/hostname": format!("node-{n:05}")}},
            "status": {"allocatable": {"cpu": "32", "memory": "64Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}]}})
    });
    let pods = (0..pods).map(|n| {
        let set = format!("web-{}", n % sets);
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{set}-{n}"), "namespace": "shop", "uid": format!("{n:036}"),
                "creationTimestamp": "2026-11-23T00:00:00Z", "generateName": format!("{set}-"),
                "labels": {"app": set, "pod-template-hash": "cxksftdc58"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set,
                    "uid": set, "controller": true, "blockOwnerDeletion": true}]},
            "spec": {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst",
                "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30,
                "containers": [{"name": "web", "image": "shop:1", "imagePullPolicy": "IfNotPresent",
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"},
                        "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3, "successThreshold": 1},
                    "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "64Mi"}}}]},
            "status": {"phase": "Pending", "qosClass": "Burstable"}})
    });
    let objects: Vec<Object> = nodes
        .chain(pods)
        .map(Object::from_value)
        .collect::<Result<_, _>>()?;
    let mut state = State::default();
    let writes = objects.into_iter().map(Write::create).collect();
    state.apply(&Command {
        term: 1,
        at: Millis(0),
        writes,
    });
    Ok(state)
}
