//! How fast the store is: `store_bench DIR`, by hand and on a quiet machine.
//!
//! Prints throughput, latency and CPU time of durable 1 KB proposals at several numbers of
//! proposers, then the same of the bare log at several group sizes.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use raft::eraftpb::Entry;
use serde_json::json;
use skiff_api::Object;
use skiff_control_plane::disk::RealDisk;
use skiff_control_plane::log::{Base, Batch, Log, LogError, Preparer};
use skiff_control_plane::store::{Store, StoreConfig};
use skiff_engine::Write;

/// (proposers, proposals of each)
const LOADS: [(usize, usize); 4] = [(1, 3000), (16, 1000), (64, 1000), (256, 300)];
const GROUPS: [u64; 4] = [1, 8, 64, 256];
const GROUP_ROUNDS: u64 = 400;
const ENTRY_BYTES: usize = 2048;
/// What a server has in reserve soon after its start.
const WARM_BYTES: u64 = 16 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).ok_or("usage: store_bench DIR")?;
    let dir = Path::new(&dir);
    for group in GROUPS {
        append(&dir.join(format!("log{group}")), group)?;
    }
    let begun = Instant::now();
    let store = Store::open(StoreConfig::new(&dir.join("store"), 1), Box::new(|_, _| ()))?;
    say(&format!(
        "open: {} ms, resident {}",
        begun.elapsed().as_millis(),
        resident()?
    ));
    for (proposers, each) in LOADS {
        propose(&store, proposers, each).await?;
    }
    say(&format!(
        "resident {} with {} objects",
        resident()?,
        store.state().len()
    ));
    let begun = Instant::now();
    store.shutdown().await;
    say(&format!("shutdown: {} ms", begun.elapsed().as_millis()));
    drop(store);
    let begun = Instant::now();
    let store = Store::open(StoreConfig::new(&dir.join("store"), 1), Box::new(|_, _| ()))?;
    say(&format!(
        "open again: {} ms, resident {}",
        begun.elapsed().as_millis(),
        resident()?
    ));
    store.shutdown().await;
    Ok(())
}

async fn propose(store: &Store, proposers: usize, each: usize) -> Result<(), Box<dyn Error>> {
    let mut batches = Vec::new();
    for proposer in 0..proposers {
        let objects: Result<Vec<_>, _> = (0..each)
            .map(|n| object(&format!("c{proposers}-{proposer}-{n}")))
            .collect();
        batches.push(objects?);
    }
    let (begun, cpu) = (Instant::now(), cpu_time()?);
    let mut tasks = tokio::task::JoinSet::new();
    for objects in batches {
        let store = store.clone();
        tasks.spawn(async move {
            let mut times = Vec::with_capacity(objects.len());
            for object in objects {
                let sent = Instant::now();
                store.propose(vec![Write::create(object)]).await?;
                times.push(sent.elapsed());
            }
            Ok::<_, skiff_control_plane::store::ProposeError>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    let (wall, cpu) = (begun.elapsed(), cpu_time()?.saturating_sub(cpu));
    report(&format!("{proposers} proposers"), &mut times, wall, cpu);
    Ok(())
}

fn append(dir: &Path, group: u64) -> Result<(), Box<dyn Error>> {
    let mut log = Log::open(Arc::new(RealDisk), dir, &Base::default())?;
    let preparer = Preparer::start(&log.view(), || ())?;
    while log.view().room().bytes < WARM_BYTES {
        log.wait_for_space(Duration::from_secs(1));
        std::thread::yield_now();
    }
    let (mut index, mut times) = (0, Vec::new());
    let (begun, cpu) = (Instant::now(), cpu_time()?);
    for _ in 0..GROUP_ROUNDS {
        let entries = (0..group).map(|_| {
            index += 1;
            let mut entry = Entry {
                index,
                term: 1,
                ..Entry::default()
            };
            entry.data = vec![7; ENTRY_BYTES].into();
            entry
        });
        let mut batch = Batch {
            hard_state: None,
            entries: entries.collect(),
        };
        log.view().append(&batch.entries);
        let sent = Instant::now();
        while let Err(err) = log.append(&mut batch) {
            let LogError::NoSpace = err else {
                return Err(err.into());
            };
            log.wait_for_space(Duration::from_secs(1));
        }
        times.push(sent.elapsed());
        log.view().applied(index);
        if index % 16384 < group {
            let base = Base {
                index: index.saturating_sub(8192),
                term: 1,
                ..Base::default()
            };
            log.rebase(base)?;
        }
    }
    let (wall, cpu) = (begun.elapsed(), cpu_time()?.saturating_sub(cpu));
    report(&format!("log, groups of {group}"), &mut times, wall, cpu);
    preparer.stop();
    Ok(())
}

fn object(name: &str) -> Result<Object, Box<dyn Error>> {
    Ok(Object::from_value(
        json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"}, "data": {"k": "x".repeat(900)}}),
    )?)
}

fn report(name: &str, times: &mut [Duration], wall: Duration, cpu: Duration) {
    times.sort_unstable();
    let at = |share: usize| {
        times
            .get(times.len() * share / 1000)
            .copied()
            .unwrap_or_default()
    };
    let count = times.len();
    say(&format!(
        "{name}: {:.0}/s, p50 {} µs, p99 {} µs, CPU {:.1} µs each",
        count as f64 / wall.as_secs_f64(),
        at(500).as_micros(),
        at(990).as_micros(),
        cpu.as_secs_f64() * 1e6 / count as f64,
    ));
}

#[expect(clippy::print_stdout, reason = "printing is what this program is for")]
fn say(line: &str) {
    println!("{line}");
}

/// User and system time of the process, in steps of 10 ms.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .skip(11)
        .take(2);
    let ticks: u64 = fields.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

fn resident() -> Result<String, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.unwrap_or_default().trim().to_owned())
}
