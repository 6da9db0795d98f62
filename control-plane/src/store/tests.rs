//! The whole store: what was acknowledged is there after any crash, full disks are survived,
//! checkpoints and the log make the same state, three members agree.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use skiff_api::{Key, Kind, Object};
use skiff_engine::Expect;

use super::*;
use crate::checkpoint::MemoryCheckpoints;
use crate::disk::MemoryDisk;

fn config_map(name: &str, len: usize) -> Object {
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"}, "data": {"k": "x".repeat(len)}});
    Object::from_value(value).unwrap()
}

fn key(name: &str) -> Key {
    Key::new(Kind::by_name("ConfigMap").unwrap(), "default", name)
}

fn create(name: &str, len: usize) -> Vec<Write> {
    vec![Write::create(config_map(name, len))]
}

fn ignore() -> OnApplied {
    Box::new(|_, _| ())
}

/// A world that a store can be opened in again and again.
#[derive(Clone)]
struct World {
    disk: MemoryDisk,
    checkpoints: MemoryCheckpoints,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            disk: MemoryDisk::new(seed),
            checkpoints: MemoryCheckpoints::default(),
        }
    }

    fn config(&self) -> StoreConfig {
        StoreConfig {
            disk: Arc::new(self.disk.clone()),
            checkpoints: Box::new(self.checkpoints.clone()),
            // A fault of the disk ends the store, not the test.
            on_fatal: Arc::new(|_| ()),
            ..StoreConfig::new(Path::new("/store"), 1)
        }
    }

    fn open(&self) -> Result<Store, OpenError> {
        Store::open(self.config(), ignore())
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), work)
            .await
            .unwrap()
    })
}

#[test]
fn a_restart_finds_everything_on_a_real_disk() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig::new(dir.path(), 7), ignore()).unwrap();
        assert!(store.is_leader());
        let outcomes = store.propose(create("a", 10)).await.unwrap();
        let [Outcome::Done(object)] = &outcomes[..] else {
            panic!("{outcomes:?}")
        };
        let conflict = store.propose(create("a", 10)).await.unwrap();
        assert!(matches!(
            conflict[..],
            [Outcome::Conflict { found: Some(_) }]
        ));
        let again = Store::open(StoreConfig::new(dir.path(), 7), ignore());
        assert!(matches!(again.err(), Some(OpenError::InUse { .. })));
        store.shutdown().await;
        assert_eq!(
            store.propose(create("b", 1)).await,
            Err(ProposeError::Stopped)
        );

        let store = Store::open(StoreConfig::new(dir.path(), 7), ignore()).unwrap();
        let state = store.read().await.unwrap();
        assert_eq!(state.get(&key("a")).unwrap().revision(), object.revision());
        assert_eq!(state.revision(), object.revision());
        store.shutdown().await;
    });
}

#[test]
fn watchers_are_told_before_proposers_and_after_the_state_changed() {
    run(async {
        let seen = Arc::new(AtomicUsize::new(0));
        let told = seen.clone();
        let on_applied: OnApplied = Box::new(move |state, news| {
            let News::Changes(changes) = news else {
                return;
            };
            assert!(
                changes
                    .iter()
                    .all(|change| change.revision <= state.revision())
            );
            told.fetch_add(changes.len(), Ordering::SeqCst);
        });
        let store = Store::open(World::new(1).config(), on_applied).unwrap();
        for n in 1..=50 {
            store.propose(create(&format!("c{n}"), 10)).await.unwrap();
            assert_eq!(seen.load(Ordering::SeqCst), n);
            assert_eq!(store.state().len(), n);
        }
    });
}

#[test]
fn a_large_batch_goes_in_parts_and_comes_back_whole() {
    run(async {
        let store = World::new(1).open().unwrap();
        let write = |n| Write::create(config_map(&format!("c{n}"), 300_000));
        let outcomes = store.propose((0..20).map(write).collect()).await.unwrap();
        assert_eq!(outcomes.len(), 20);
        let names: Vec<_> = outcomes
            .iter()
            .map(|outcome| match outcome {
                Outcome::Done(object) => object.key().name.to_string(),
                Outcome::Conflict { .. } => panic!("{outcome:?}"),
            })
            .collect();
        assert_eq!(names, (0..20).map(|n| format!("c{n}")).collect::<Vec<_>>());
        let huge = store.propose(create("huge", 6 << 20)).await;
        assert!(
            matches!(huge, Err(ProposeError::TooLarge { .. })),
            "{huge:?}"
        );
    });
}

#[test]
fn a_stuck_disk_holds_writes_back_and_neither_reads_nor_leadership() {
    run(async {
        let world = World::new(1);
        let store = world.open().unwrap();
        store.propose(create("before", 1)).await.unwrap();
        world.disk.hold_syncs();
        let stuck: Vec<_> = (0..5000)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move { store.propose(create(&format!("c{n}"), 10)).await })
            })
            .collect();
        // Longer than an election time-out: a leader whose clock waited for the disk steps down.
        let mut leads = store.leadership();
        let lost = leads.wait_for(|leads| !leads);
        assert!(
            tokio::time::timeout(Duration::from_millis(1200), lost)
                .await
                .is_err()
        );
        assert_eq!(store.read().await.unwrap().len(), 1);
        world.disk.release_syncs();
        let (mut done, mut refused) = (0, 0);
        for task in stuck {
            match task.await.unwrap() {
                Ok(_) => done += 1,
                Err(ProposeError::Overloaded) => refused += 1,
                Err(err) => panic!("{err}"),
            }
        }
        assert_eq!(store.state().len(), done + 1);
        assert_eq!(done + refused, 5000);
        assert!(refused > 0, "what waits is bounded");
    });
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    run(async {
        let world = World::new(1);
        world.disk.set_capacity_bytes(12 << 20);
        let store = world.open().unwrap();
        let mut done = 0;
        let refused = loop {
            match store.propose(create(&format!("c{done}"), 100_000)).await {
                Ok(_) => done += 1,
                Err(err) => break err,
            }
        };
        assert_eq!(refused, ProposeError::DiskFull);
        assert!(
            done > 20,
            "what was written in advance was used: {done} writes"
        );
        assert_eq!(store.read().await.unwrap().len(), done);
        world.disk.set_capacity_bytes(u64::MAX);
        while let Err(err) = store.propose(create("after", 100_000)).await {
            assert_eq!(err, ProposeError::DiskFull);
            tokio::task::yield_now().await;
        }
        drop(store);
        world.disk.crash();
        let store = world.open().unwrap();
        assert_eq!(store.state().len(), done + 1);
    });
}

/// A list of servers that understand these formats.
fn servers(store: &Store, formats: &[u16]) -> Vec<Write> {
    let members = (1_u64..).zip(formats).map(|(id, format)| {
        let member = members::Member {
            id,
            name: format!("s{id}"),
            address: format!("s{id}:1"),
            format: *format,
        };
        (id, member)
    });
    let mut stamper = skiff_engine::Stamper::new(Millis(0), 1);
    let list = members::List::read(&store.state());
    let write = list.replace_by(&members.collect(), &mut stamper);
    write.into_iter().collect()
}

#[test]
fn nothing_is_written_that_an_older_server_could_not_read() {
    run(async {
        let store = World::new(1).open().unwrap();
        let service = |name: &str| {
            let value = json!({"apiVersion": "v1", "kind": "Service",
                "metadata": {"name": name, "namespace": "default"}});
            let both = [Write::create(Object::from_value(value).unwrap())];
            [create(name, 1), both.into()].concat()
        };
        store.propose(servers(&store, &[2, 1, 2])).await.unwrap();
        store.propose(create("old", 1)).await.unwrap();
        let refused = store.propose(service("a")).await.unwrap_err();
        let expected = ProposeError::TooNew {
            kind: "Service",
            needed: 2,
            written: 1,
        };
        assert_eq!(refused, expected);
        assert!(store.state().get(&key("a")).is_none(), "not even in part");
        store.propose(servers(&store, &[2, 2, 2])).await.unwrap();
        let outcomes = store.propose(service("a")).await.unwrap();
        assert!(outcomes.iter().all(|one| matches!(one, Outcome::Done(_))));
    });
}

#[test]
fn a_large_state_is_written_less_often() {
    run(async {
        let world = World::new(1);
        let config = StoreConfig {
            checkpoint_bytes: 1000,
            ..world.config()
        };
        let store = Store::open(config, ignore()).unwrap();
        for number in 0..100 {
            let name = format!("c{number}");
            store.propose(create(&name, 5000)).await.unwrap();
        }
        store.shutdown().await;
        let [before, newest] = world.checkpoints.indexes()[..] else {
            panic!("there are two checkpoints");
        };
        assert!(newest < before * 6, "they go on: {before} {newest}");
        assert!(
            newest * 10 > before * 19,
            "each after as much again: {before} {newest}"
        );
    });
}

#[test]
fn checkpoints_cut_the_log_and_the_one_before_is_as_good() {
    run(async {
        let world = World::new(1);
        let config = || StoreConfig {
            checkpoint_bytes: 1 << 20,
            ..world.config()
        };
        let store = Store::open(config(), ignore()).unwrap();
        let mut written = BTreeMap::new();
        while world.checkpoints.indexes().len() < 2 || written.len() < 400 {
            let name = format!("c{}", written.len());
            store.propose(create(&name, 30_000)).await.unwrap();
            written.insert(
                name.clone(),
                store.state().get(&key(&name)).unwrap().revision(),
            );
        }
        store.shutdown().await;
        let files = world.disk.list(Path::new("/store/log")).unwrap().len();
        assert!(files <= 9, "12 MB of log stand in {files} files of 8 MiB");

        for turn in ["the newest", "the one before"] {
            let store = Store::open(config(), ignore()).unwrap();
            let state = store.state();
            assert_eq!(state.len(), written.len(), "with {turn}");
            for (name, revision) in &written {
                assert_eq!(
                    state.get(&key(name)).unwrap().revision(),
                    *revision,
                    "with {turn}"
                );
            }
            drop(store);
            world.checkpoints.spoil_newest();
        }
        world.checkpoints.spoil_newest();
        let err = Store::open(config(), ignore()).err().unwrap();
        assert!(matches!(err, OpenError::CheckpointMissing { .. }), "{err}");
        assert!(err.to_string().contains("skiff cluster restore"), "{err}");
    });
}

#[test]
fn a_lost_log_is_not_taken_for_a_new_server() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let config = || StoreConfig {
            checkpoint_bytes: 1000,
            ..StoreConfig::new(dir.path(), 1)
        };
        let store = Store::open(config(), ignore()).unwrap();
        store.propose(create("a", 5000)).await.unwrap();
        store.shutdown().await;
        std::fs::remove_dir_all(dir.path().join("log")).unwrap();
        let err = Store::open(config(), ignore()).err().unwrap();
        assert!(matches!(err, OpenError::LogMissing { .. }), "{err}");
    });
}

/// Proposes from several tasks until the disk fails; returns what was acknowledged.
async fn write_until_failure(store: &Store, life: usize) -> BTreeMap<String, usize> {
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for n in 0..40 {
                    let (name, len) = (format!("c{life}-{task}-{n}"), n * 37 % 3000);
                    match store.propose(create(&name, len)).await {
                        Ok(outcomes) => {
                            assert!(matches!(outcomes[..], [Outcome::Done(_)]));
                            acknowledged.push((name, len));
                        }
                        Err(_) => break,
                    }
                }
                acknowledged
            })
        })
        .collect();
    let mut all = BTreeMap::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn no_acknowledged_write_is_lost_whenever_the_power_fails(
        lives in prop::collection::vec(0..120_u64, 1..4),
        seed: u64,
    ) {
        let world = World::new(seed);
        let mut acknowledged = BTreeMap::new();
        for (life, operations) in lives.into_iter().enumerate() {
            world.disk.fail_after(operations);
            let opened = Store::open(
                StoreConfig { checkpoint_bytes: 40_000, ..world.config() },
                ignore(),
            );
            if let Ok(store) = opened {
                acknowledged.extend(run(write_until_failure(&store, life)));
            }
            world.disk.crash();
        }
        let store = world.open().unwrap();
        let state = store.state();
        for (name, len) in acknowledged {
            let found = state.get(&key(&name));
            prop_assert!(found.is_some(), "{name} was acknowledged and is gone");
            let expected = config_map(&name, len);
            prop_assert_eq!(found.unwrap().body(), expected.body());
        }
    }
}

mod group;
