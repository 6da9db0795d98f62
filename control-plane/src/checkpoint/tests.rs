//! Checkpoints on the real disk: what is written reads back, what is damaged is set aside.

use std::fs;

use bytes::Bytes;
use raft::eraftpb::ConfState;

use super::*;

fn mark(index: u64) -> Mark {
    let (voters, learners) = (vec![1, 4], vec![7]);
    let conf_state = ConfState {
        voters,
        learners,
        ..ConfState::default()
    };
    Mark {
        index,
        term: 3,
        conf_state,
        revision: index * 2,
    }
}

fn records(count: u64, len: usize) -> Vec<Record> {
    let body = |n: u64| {
        let byte = u8::try_from(n % 251).unwrap();
        Bytes::from(vec![byte; len + usize::from(byte) % 7])
    };
    (0..count)
        .map(|n| Record {
            revision: n + 1,
            body: body(n),
        })
        .collect()
}

fn write(checkpoints: &mut SledCheckpoints, index: u64, records: &[Record]) {
    checkpoints
        .write(&mark(index), &mut records.iter().cloned())
        .unwrap();
}

#[test]
fn what_is_written_reads_back() {
    let cases = [
        ("no object at all", records(0, 0)),
        ("empty bodies", records(3, 0)),
        ("many small objects", records(2000, 300)),
        ("bodies of exactly a chunk and around", records(14, 3980)),
        (
            "bodies far larger than sled bears in one value",
            records(3, 700_000),
        ),
    ];
    for (name, records) in cases {
        let dir = tempfile::tempdir().unwrap();
        write(&mut SledCheckpoints::new(dir.path()), 9, &records);
        let found = SledCheckpoints::new(dir.path()).load().unwrap();
        assert!(
            found
                == Some(Checkpoint {
                    mark: mark(9),
                    records
                }),
            "{name}"
        );
    }
}

#[test]
fn there_is_nothing_to_load_at_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoints = SledCheckpoints::new(&dir.path().join("not yet there"));
    assert_eq!(checkpoints.load().unwrap(), None);
}

#[test]
fn the_newest_two_generations_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoints = SledCheckpoints::new(dir.path());
    for index in 1..=4 {
        write(&mut checkpoints, index, &records(index, 10));
    }
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["gen-00000003", "gen-00000004"]);
    assert_eq!(checkpoints.load().unwrap().unwrap().mark.index, 4);
}

#[test]
fn a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoints = SledCheckpoints::new(dir.path());
    write(&mut checkpoints, 1, &records(50, 900));
    write(&mut checkpoints, 2, &records(50, 900));
    let database = dir.path().join("gen-00000002/db");
    let mut bytes = fs::read(&database).unwrap();
    for byte in bytes.iter_mut().skip(2000).step_by(97) {
        *byte ^= 0x55;
    }
    fs::write(&database, bytes).unwrap();

    let found = SledCheckpoints::new(dir.path()).load().unwrap().unwrap();
    assert_eq!(found.mark, mark(1));
    assert!(
        dir.path().join("gen-00000002.damaged").exists(),
        "kept for whoever wants to look"
    );
}

#[test]
fn an_unfinished_generation_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let mut checkpoints = SledCheckpoints::new(dir.path());
    write(&mut checkpoints, 1, &records(5, 10));
    fs::create_dir(dir.path().join("gen-00000002.new")).unwrap();
    assert_eq!(checkpoints.load().unwrap().unwrap().mark.index, 1);
    write(&mut checkpoints, 2, &records(5, 10));
    assert_eq!(checkpoints.load().unwrap().unwrap().mark.index, 2);
}
