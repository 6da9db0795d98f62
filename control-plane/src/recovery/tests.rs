//! Recovery and restore as a whole: nothing that a survivor has is lost, whenever the power fails;
//! what was restored goes on.

mod dirs;
mod worlds;

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType, HardState,
};
use serde_json::json;
use skiff_api::{Key, Kind, Millis, Object};
use skiff_engine::{Command, State, Write};

use super::*;
use crate::checkpoint::{Checkpoint, Checkpoints, Mark, MemoryCheckpoints, Record};
use crate::disk::MemoryDisk;
use crate::log::{self, Base, Batch, Log};
use crate::members;
use crate::store::{Store, StoreConfig};

const MARGIN: u64 = 1000;
/// Entries of commands in a survivor's log.
const WRITTEN: u64 = 12;
/// How far the survivor knows them to be committed: two entries are not.
const COMMIT: u64 = 11;

fn config_map(name: &str, len: usize) -> Write {
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"}, "data": {"k": "x".repeat(len)}});
    Write::create(Object::from_value(value).unwrap())
}

/// The list of servers, as it is kept.
fn server_list(ids: &[u64], next: u64) -> Write {
    let mut data = json!({"next-id": next.to_string()});
    for id in ids {
        let text = format!("{{\"id\":{id},\"name\":\"s{id}\",\"address\":\"10.0.0.{id}:6443\"}}");
        data[format!("server-{id}")] = text.into();
    }
    let key = members::key();
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": {"name": &*key.name, "namespace": &*key.namespace}});
    Write::create(Object::from_value(value).unwrap())
}

fn next_id(state: &State) -> String {
    let list = state.get(&members::key()).unwrap().to_value();
    list["data"]["next-id"].as_str().unwrap().to_owned()
}

fn has(state: &State, name: &str) -> bool {
    let key = Key::new(Kind::ConfigMap, "default", name);
    state.get(&key).is_some()
}

fn voters(ids: &[u64]) -> ConfState {
    ConfState {
        voters: ids.to_vec(),
        ..ConfState::default()
    }
}

fn entry(index: u64, term: u64, data: Vec<u8>) -> Entry {
    Entry {
        index,
        term,
        data: data.into(),
        ..Entry::default()
    }
}

/// An entry with one command.
fn writing(index: u64, term: u64, write: Write) -> Entry {
    let command = Command {
        term,
        at: Millis(0),
        writes: vec![write],
    };
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    let len = u32::try_from(bytes.len()).unwrap();
    entry(index, term, [&len.to_le_bytes(), &bytes[..]].concat())
}

fn changing(index: u64, term: u64, changes: &[(ConfChangeType, u64)]) -> Entry {
    let mut change = ConfChangeV2::default();
    for (kind, id) in changes {
        let mut single = ConfChangeSingle::default();
        single.set_change_type(*kind);
        single.node_id = *id;
        change.mut_changes().push(single);
    }
    let mut entry = entry(index, term, change.write_to_bytes().unwrap());
    entry.set_entry_type(EntryType::EntryConfChangeV2);
    entry
}

/// Checkpoints that fail from some write on, as a full disk makes them.
#[derive(Clone, Debug, Default)]
struct Failing {
    kept: MemoryCheckpoints,
    left: Arc<Mutex<Option<u64>>>,
}

impl Checkpoints for Failing {
    fn write(
        &mut self,
        mark: &Mark,
        records: &mut dyn Iterator<Item = Record>,
    ) -> Result<(), CheckpointError> {
        if let Some(left) = &mut *self.left.lock().unwrap_or_else(PoisonError::into_inner) {
            let spent = CheckpointError::Damaged("this one was to fail");
            *left = left.checked_sub(1).ok_or(spent)?;
        }
        self.kept.write(mark, records)
    }

    fn load(&mut self) -> Result<Option<Checkpoint>, CheckpointError> {
        self.kept.load()
    }
}

/// The disk of one member.
#[derive(Clone)]
struct World {
    member: u64,
    disk: MemoryDisk,
    checkpoints: Failing,
}

impl World {
    fn new(member: u64, seed: u64) -> Self {
        Self {
            member,
            disk: MemoryDisk::new(seed),
            checkpoints: Failing::default(),
        }
    }

    fn config(&self) -> StoreConfig {
        StoreConfig {
            disk: Arc::new(self.disk.clone()),
            checkpoints: Box::new(self.checkpoints.clone()),
            on_fatal: Arc::new(|_| ()),
            founders: vec![1, 2, 3],
            ..StoreConfig::new(Path::new("/store"), self.member)
        }
    }

    fn open(&self) -> Store {
        Store::open(self.config(), Box::new(|_, _| ())).unwrap()
    }

    fn write_log(&self, entries: Vec<Entry>, commit: u64) {
        let base = Base {
            conf_state: voters(&[1, 2, 3]),
            ..Base::default()
        };
        let config = self.config();
        let mut log = Log::open(config.disk, &log::dir_below(&config.dir), &base).unwrap();
        let hard_state = HardState {
            term: entries.last().unwrap().term,
            vote: 2,
            commit,
            ..HardState::default()
        };
        log.view().append(&entries);
        log.append(&mut Batch {
            hard_state: Some(hard_state),
            entries,
        })
        .unwrap();
    }

    fn survivor(&self) -> Survivor {
        examine(&mut self.config(), "ca").unwrap().survivor
    }

    /// What `skiff cluster recover --yes` does.
    fn recover(&self) -> Result<Option<Rebuilt>, RecoveryError> {
        let mut config = self.config();
        let found = examine(&mut config, "ca")?;
        if judge(std::slice::from_ref(&found.survivor), 0)
            .unwrap()
            .done
        {
            return Ok(None);
        }
        rebuild(&mut config, found, MARGIN).map(Some)
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

/// Member 1 of three, with entries that it does not know to be committed.
fn lone_survivor(seed: u64) -> World {
    let world = World::new(1, seed);
    let mut entries = vec![entry(1, 1, Vec::new())];
    entries.push(writing(2, 1, server_list(&[1, 2, 3], 6)));
    for index in 3..=WRITTEN {
        let term = if index < 8 { 1 } else { 4 };
        entries.push(writing(index, term, config_map(&format!("c{index}"), 900)));
    }
    world.write_log(entries, COMMIT);
    world
}

/// Checks that the member leads a group of one that has everything and takes writes.
fn assert_goes_on(world: &World, context: &str) {
    run(async {
        let store = world.open();
        assert!(store.is_leader(), "{context}");
        let state = store.read().await.unwrap();
        for index in 3..=WRITTEN {
            assert!(
                has(&state, &format!("c{index}")),
                "{context}: c{index} is gone"
            );
        }
        assert!(state.revision().0 >= WRITTEN - 1 + MARGIN, "{context}");
        let listed: Vec<u64> = members::of(&state).into_keys().collect();
        assert_eq!(listed, [1], "{context}");
        assert_eq!(next_id(&state), "6", "{context}: ids are not given again");
        store.propose(vec![config_map("later", 5)]).await.unwrap();
        let revision = store.state().revision().0;
        assert!(revision > WRITTEN - 1 + MARGIN, "{context}");
        assert_eq!(store.status().voters, [1], "{context}");
        store.shutdown().await;
    });
    run(async {
        let store = world.open();
        assert!(has(&store.state(), "later"), "{context}");
        store.shutdown().await;
    });
}

#[test]
fn a_survivor_becomes_the_only_member_and_keeps_all_that_it_has() {
    let world = lone_survivor(1);
    let before = world.survivor();
    assert_eq!((before.last_index, before.last_term), (WRITTEN, 4));
    assert_eq!((before.commit, before.checkpoint), (COMMIT, 0));
    assert_eq!(before.voters, [1, 2, 3]);
    assert_eq!(before.name, "s1");

    let rebuilt = world.recover().unwrap().unwrap();
    assert_eq!(rebuilt.mark.index, WRITTEN);
    assert_eq!(rebuilt.mark.revision, WRITTEN - 1 + MARGIN);
    assert!(
        world.recover().unwrap().is_none(),
        "the second time there is nothing to do"
    );
    let after = world.survivor();
    assert_eq!((after.term, after.commit), (5, WRITTEN));
    assert_eq!((after.voters, after.last_index), (vec![1], WRITTEN));
    assert_goes_on(&world, "recovered");
}

#[test]
fn a_power_loss_at_any_write_leaves_the_old_group_or_the_new_one() {
    let clean = lone_survivor(7);
    let before = clean.disk.operations();
    clean.recover().unwrap();
    let total = clean.disk.operations() - before;
    assert!(total >= 2, "the log is written to and synced");
    for operations in 0..=total {
        for seed in 0..3 {
            let world = lone_survivor(seed);
            world.disk.fail_after(operations);
            let outcome = world.recover();
            world.disk.crash();
            let context = format!("power lost after {operations}, seed {seed}: {outcome:?}");
            let left = world.survivor();
            assert_eq!(left.last_index, WRITTEN, "{context}");
            assert!(
                [&[1][..], &[1, 2, 3]].contains(&&left.voters[..]),
                "{context}"
            );
            world.recover().unwrap();
            assert_goes_on(&world, &context);
        }
    }
}

#[test]
fn a_checkpoint_that_cannot_be_written_leaves_the_old_group_or_the_new_one() {
    for (written, expected) in [(0, vec![1, 2, 3]), (1, vec![1])] {
        let world = lone_survivor(3);
        *world.checkpoints.left.lock().unwrap() = Some(written);
        assert!(world.recover().is_err());
        *world.checkpoints.left.lock().unwrap() = None;
        assert_eq!(world.survivor().voters, expected);
        world.recover().unwrap();
        assert_goes_on(&world, &format!("{written} checkpoints written"));
    }
}

#[test]
fn a_damaged_checkpoint_does_not_bring_the_old_group_back() {
    let world = lone_survivor(5);
    world.recover().unwrap();
    world.checkpoints.kept.spoil_newest();
    assert_goes_on(&world, "the newest checkpoint is gone");
}

#[test]
fn changes_of_members_count_whether_committed_or_not() {
    use ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
    type Case = (&'static str, Vec<(ConfChangeType, u64)>, [Vec<u64>; 3]);
    let cases: [Case; 4] = [
        (
            "a learner",
            vec![(AddLearnerNode, 4)],
            [vec![1, 2, 3], vec![], vec![4]],
        ),
        (
            "a voter",
            vec![(AddNode, 4)],
            [vec![1, 2, 3, 4], vec![], vec![]],
        ),
        (
            "one less",
            vec![(RemoveNode, 3)],
            [vec![1, 2], vec![], vec![]],
        ),
        (
            "a swap, under way",
            vec![(AddNode, 4), (RemoveNode, 3)],
            [vec![1, 2, 4], vec![1, 2, 3], vec![]],
        ),
    ];
    for (name, changes, [expected, outgoing, learners]) in cases {
        let world = World::new(1, 1);
        world.write_log(vec![entry(1, 1, Vec::new()), changing(2, 1, &changes)], 1);
        let mut found = world.survivor();
        found.voters.sort_unstable();
        found.outgoing.sort_unstable();
        assert_eq!(
            (found.voters, found.outgoing),
            (expected, outgoing),
            "{name}"
        );
        assert_eq!(found.learners, learners, "{name}");
        world.recover().unwrap();
        assert_eq!(world.survivor().voters, [1], "{name}");
    }
}

#[test]
fn an_entry_that_nobody_can_read_stops_the_recovery() {
    let world = World::new(1, 1);
    world.write_log(vec![entry(1, 1, vec![9])], 1);
    let err = world.recover().unwrap_err();
    assert_eq!(
        err.to_string(),
        "entry 1 cannot be applied: it is not commands"
    );
}

#[test]
fn a_directory_without_a_log_stays_as_it_is() {
    let world = World::new(1, 1);
    let err = world.recover().unwrap_err();
    assert!(matches!(err, RecoveryError::NoStore { .. }), "{err}");
    assert_eq!(world.disk.operations(), 0);
}
