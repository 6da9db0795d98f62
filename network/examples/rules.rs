//! Measures what a change of endpoints costs: a thousand services of ten endpoints in a network
//! namespace of its own, the real `nft`, one endpoint changed again and again. Needs root.
//!
//! ```sh
//! cargo run --release -p skiff-network --example rules
//! ```

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement: it prints, and stops where something is not as it must be"
)]

use std::fs::File;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;
use skiff_api::{Kind, Revision};
use skiff_client::Event;
use skiff_network::Catalog;
use skiff_network::rules::{Keeper, NodeView, Policies};
use tokio::sync::watch;

const SERVICES: u32 = 1000;
const ENDPOINTS: u32 = 10;
const CHANGES: usize = 100;

fn main() {
    let space = format!("rules-bench-{:x}", std::process::id());
    ip(&["netns", "add", &space]);
    let path = format!("/run/netns/{space}");
    let work = std::thread::spawn(move || {
        let space = File::open(path).unwrap();
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap().block_on(measure());
    });
    let done = work.join();
    ip(&["netns", "del", &space]);
    assert!(done.is_ok(), "the measurement failed");
}

async fn measure() {
    let mut catalog = Catalog::default();
    for number in 0..SERVICES {
        catalog.apply(Kind::Service, Event::Applied(service(number)));
        catalog.apply(Kind::EndpointSlice, Event::Applied(slice(number, 1, 0)));
    }
    catalog.synced = true;
    let (show, seen) = watch::channel(Arc::new(Catalog::default()));
    let (_unchanged, policies) = watch::channel(Arc::new(Policies::default()));
    let (applied, mut done) = watch::channel(Revision(0));
    let (state, _told) = watch::channel(Ok(()));
    let keeper = Keeper {
        node: view(),
        catalog: seen,
        policies,
        applied,
        enforced: watch::Sender::new(None),
        state,
    };
    let keeping = tokio::spawn(keeper.run());

    let began = Instant::now();
    show.send_replace(Arc::new(catalog.clone()));
    done.wait_for(|now| *now == Revision(1)).await.unwrap();
    println!(
        "{SERVICES} services x {ENDPOINTS} endpoints, whole table: {:?}",
        began.elapsed()
    );

    let mut times = Vec::with_capacity(CHANGES);
    let before = cpu();
    for (change, revision) in (0..CHANGES).zip(2..) {
        let number = u32::try_from(change).unwrap() * 7 % SERVICES;
        let moved = u32::try_from(revision).unwrap();
        let slice = slice(number, revision, moved);
        let began = Instant::now();
        catalog.apply(Kind::EndpointSlice, Event::Applied(slice));
        show.send_replace(Arc::new(catalog.clone()));
        done.wait_for(|now| *now == Revision(revision))
            .await
            .unwrap();
        times.push(began.elapsed());
    }
    times.sort();
    let at = |part: usize| times.get(CHANGES * part / 100).copied().unwrap_or_default();
    println!("one endpoint changed: p50 {:?}, p99 {:?}", at(50), at(99));
    let each = (cpu() - before) / u32::try_from(CHANGES).unwrap();
    println!("CPU for each, with nft: {each:?}");
    keeping.abort();
}

/// What this process and those that it waited for have used.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.split(' ').collect();
    let ticks = fields.get(13..17).unwrap_or_default().iter();
    let ticks: u64 = ticks.map(|field| field.parse::<u64>().unwrap()).sum();
    // A tick is a hundredth of a second on every machine that Linux runs on today.
    Duration::from_millis(ticks * 10)
}

fn service(number: u32) -> serde_json::Value {
    let address = format!("10.43.{}.{}", number / 250, number % 250 + 1);
    json!({"metadata": {"name": format!("s{number}"), "namespace": "d"},
        "spec": {"clusterIP": address, "ports": [{"port": 80, "protocol": "TCP"}]}})
}

fn slice(number: u32, revision: u64, moved: u32) -> serde_json::Value {
    let name = format!("s{number}");
    let address = |one: u32| {
        let last = if one == 0 { moved % 200 } else { one } + 1;
        json!({"addresses": [format!("10.42.{}.{last}", number % 250)], "nodeName": "n2"})
    };
    let endpoints: Vec<_> = (0..ENDPOINTS).map(address).collect();
    json!({"metadata": {"name": name, "namespace": "d", "resourceVersion": revision.to_string(),
            "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"port": 8080, "protocol": "TCP"}]})
}

fn view() -> NodeView {
    NodeView {
        name: "n1".into(),
        table: "n1".into(),
        bridge: "pods0".into(),
        pod_cidr: "10.42.251.0/24".parse().unwrap(),
        cluster_cidr: "10.42.0.0/16".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        addresses: Vec::new(),
        same_bridge_masquerade: false,
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().unwrap();
    assert!(status.success(), "ip {arguments:?}: {status}");
}
