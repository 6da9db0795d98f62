//! What must hold when something is slow for long: no election because disks are slow, and no
//! memory that grows because a follower is away.

use std::time::{Duration, Instant};

use serde_json::json;
use skiff_tests::api::{Call, Identity};
use skiff_tests::cluster::Cluster;
use skiff_tests::slowdisk::SlowDisk;

use crate::load::{self, Until};
use crate::machine;
use crate::report::Row;
use crate::servers::{bring_back, term};

const SERVERS: usize = 3;
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MINUTE: Duration = Duration::from_secs(60);
/// How long each fdatasync takes.
const DELAY: Duration = Duration::from_millis(200);
/// Few writers: a disk that is slow, not one that is swamped.
const LIGHT: usize = 2;
/// Objects that they write: enough that no two write the same one at once.
const FEW: u64 = 32;
/// Writers while a follower is away.
const STEADY: usize = 8;
/// The same objects are written again and again, so that what grows is not the state.
const OBJECTS: u64 = 1000;
const VALUE_BYTES: usize = 1000;
/// Writes that fill the watch history, which is bounded by 64 MB, and every buffer.
const WARM_UP: Until = Until::Sent(100_000);
/// What a follower's absence may cost the leader.
const GROWTH_MOST_MB: f64 = 64.0;

/// All figures of this benchmark.
pub(crate) fn rows(minutes: u32) -> Vec<Row> {
    let mut rows = slow_disks(minutes);
    rows.extend(follower_away(minutes));
    rows
}

/// Light writes on three servers whose disks are slow.
fn slow_disks(minutes: u32) -> Vec<Row> {
    let disk = SlowDisk::new(DELAY);
    let cluster = Cluster::servers_on_slow_disk(disk, SERVERS);
    let leader = [cluster.identity_of(cluster.leader())];
    make_objects(&leader, FEW);
    let before = term(&cluster);
    let writes = load::drive(
        &leader,
        LIGHT,
        Until::Elapsed(MINUTE * minutes),
        200,
        |at| update(at % FEW, at),
    );
    let elections = term(&cluster).saturating_sub(before);
    let delay_ms = DELAY.as_secs_f64() * 1000.0;
    assert!(
        writes.p50_ms >= delay_ms,
        "a write took {} ms: the disks are not slow, is skiff linked statically?",
        writes.p50_ms
    );
    let number = |number: u64| u32::try_from(number).map_or(f64::NAN, f64::from);
    let name = format!("fdatasync of 200 ms, {minutes} min of writes");
    vec![
        Row::new(&format!("{name}: elections"), "", &[number(elections)]).at_most(0.0),
        Row::new(
            &format!("{name}: writes"),
            "",
            &[number(writes.count as u64)],
        ),
        Row::new(&format!("{name}: p50"), "ms", &[writes.p50_ms]),
        Row::new(&format!("{name}: p99"), "ms", &[writes.p99_ms]),
    ]
}

/// The leader's memory while one follower is down and writes go on.
fn follower_away(minutes: u32) -> Vec<Row> {
    let mut cluster = Cluster::servers(SERVERS);
    let leader = cluster.leader();
    let follower = (leader + 1) % SERVERS;
    let asked = [cluster.identity_of(leader)];
    let pid = cluster.process(leader).pid();
    make_objects(&asked, OBJECTS);
    load::drive(&asked, STEADY, WARM_UP, 200, |at| update(at % OBJECTS, at));
    let before = machine::resident_mb(pid);

    cluster.process(follower).kill();
    let (mut memory, mut rates) = (Vec::new(), Vec::new());
    for minute in 0..minutes {
        let round = load::drive(&asked, STEADY, Until::Elapsed(MINUTE), 200, move |at| {
            // Never the value that it has: that would be no write.
            update(at % OBJECTS, at + (u64::from(minute) + 1) * 1_000_000_000)
        });
        rates.push(round.rate);
        memory.push(machine::resident_mb(pid));
    }
    let after = memory.last().copied().unwrap_or(f64::NAN);
    let began = Instant::now();
    bring_back(&mut cluster, follower);
    let back = began.elapsed().as_secs_f64();
    let name = format!("follower down for {minutes} min");
    vec![
        Row::new("leader's memory, all well", "MB", &[before]),
        Row::new(&format!("{name}: writes"), "/s", &rates),
        Row::new(&format!("{name}: leader's memory"), "MB", &memory),
        Row::new(&format!("{name}: growth"), "MB", &[after - before]).at_most(GROWTH_MOST_MB),
        Row::new(&format!("{name}: start to caught up"), "s", &[back]),
    ]
}

fn make_objects(asked: &[Identity], count: u64) {
    load::drive(asked, 1, Until::Sent(count), 201, |at| {
        Call::post(CONFIG_MAPS, &object(at, u64::MAX))
    });
}

fn update(object_number: u64, version: u64) -> Call {
    let path = format!("{CONFIG_MAPS}/same-{object_number}");
    Call::put(&path, &object(object_number, version))
}

fn object(number: u64, version: u64) -> serde_json::Value {
    let metadata = json!({"name": format!("same-{number}"), "namespace": "default"});
    let data = json!({"version": version.to_string(), "value": "x".repeat(VALUE_BYTES)});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
}
