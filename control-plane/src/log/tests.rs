//! The log over a disk that tears and loses: what was acknowledged is there, nothing half there.

use proptest::prelude::*;
use raft::{GetEntriesContext, Storage};

use super::*;
use crate::disk::MemoryDisk;

const DIR: &str = "/log";

fn entry(index: u64, term: u64, len: usize) -> Entry {
    let byte = u8::try_from((index + term) % 251).unwrap();
    Entry {
        index,
        term,
        data: vec![byte; len].into(),
        ..Entry::default()
    }
}

fn entries(indexes: std::ops::RangeInclusive<u64>, term: u64, len: usize) -> Vec<Entry> {
    indexes.map(|index| entry(index, term, len)).collect()
}

fn base(index: u64, term: u64) -> Base {
    let conf_state = ConfState {
        voters: vec![1],
        ..ConfState::default()
    };
    Base {
        index,
        term,
        conf_state,
    }
}

fn open(disk: &MemoryDisk) -> Result<Log, LogError> {
    Log::open(Arc::new(disk.clone()), Path::new(DIR), &base(0, 0))
}

/// Appends as the raft thread and the writer do together.
fn append(log: &mut Log, entries: Vec<Entry>) -> Result<(), LogError> {
    let term = entries.last().unwrap().term;
    let hard_state = HardState {
        term,
        vote: 1,
        ..HardState::default()
    };
    log.view().append(&entries);
    log.append(&mut Batch {
        hard_state: Some(hard_state),
        entries,
    })
}

/// Everything that raft can read, from the disk where the cache is empty.
fn all(log: &Log) -> Vec<Entry> {
    let view = log.view();
    let (mut low, end) = (view.first_index().unwrap(), view.last() + 1);
    let mut all = Vec::new();
    while low < end {
        let some = view
            .entries(low, end, 5000, GetEntriesContext::empty(false))
            .unwrap();
        low += some.len() as u64;
        all.extend(some);
    }
    for entry in &all {
        assert_eq!(
            view.term(entry.index).unwrap(),
            entry.term,
            "term of {}",
            entry.index
        );
    }
    all
}

fn prepare_all(log: &Log) {
    while log.view().pool().prepare().unwrap() {}
}

#[test]
fn what_was_appended_is_read_before_and_after_a_restart() {
    let disk = MemoryDisk::new(1);
    let mut log = open(&disk).unwrap();
    let (first, second) = (entries(1..=10, 1, 2000), entries(11..=12, 2, 0));
    append(&mut log, first.clone()).unwrap();
    append(&mut log, second.clone()).unwrap();
    let expected = [first, second].concat();
    assert!(all(&log) == expected);

    disk.crash();
    let log = open(&disk).unwrap();
    assert!(all(&log) == expected);
    let state = log.view().initial_state().unwrap();
    assert_eq!((state.hard_state.term, state.hard_state.vote), (2, 1));
    assert_eq!(state.conf_state.voters, [1]);
}

#[test]
fn entries_of_a_newer_term_replace_those_from_their_index_on() {
    let disk = MemoryDisk::new(1);
    let mut log = open(&disk).unwrap();
    append(&mut log, entries(1..=10, 1, 9)).unwrap();
    append(&mut log, entries(6..=7, 3, 9)).unwrap();
    let expected = [entries(1..=5, 1, 9), entries(6..=7, 3, 9)].concat();
    assert!(all(&log) == expected);
    drop(log);
    assert!(all(&open(&disk).unwrap()) == expected);
}

#[test]
fn a_batch_merges_what_came_later_over_what_it_holds() {
    let mut batch = Batch {
        hard_state: None,
        entries: entries(1..=5, 1, 1),
    };
    batch.merge(Batch {
        hard_state: None,
        entries: entries(4..=4, 2, 1),
    });
    assert_eq!(
        batch.entries,
        [entries(1..=3, 1, 1), entries(4..=4, 2, 1)].concat()
    );
}

#[test]
fn compaction_recycles_segments_and_the_log_goes_on_for_ever() {
    let disk = MemoryDisk::new(1);
    let mut log = open(&disk).unwrap();
    for round in 0..60 {
        prepare_all(&log);
        let first = round * 2 + 1;
        append(&mut log, entries(first..=first + 1, 1, 900_000)).unwrap();
        if round % 7 == 6 {
            log.rebase(base(first - 3, 1)).unwrap();
            prepare_all(&log);
            let last = log.view().last();
            assert!(
                all(&log) == entries(first - 2..=last, 1, 900_000),
                "round {round}"
            );
            log = open(&disk).unwrap();
            assert_eq!(log.view().base(), base(first - 3, 1));
            let found = all(&log);
            assert!(
                found == entries(first - 2..=last, 1, 900_000),
                "reopened in {round}"
            );
        }
    }
    let files = disk.list(Path::new(DIR)).unwrap().len();
    assert!(files <= 8, "108 MB went through {files} files of 8 MiB");
}

#[test]
fn a_base_ahead_of_the_log_starts_it_anew() {
    let disk = MemoryDisk::new(1);
    let mut log = open(&disk).unwrap();
    append(&mut log, entries(1..=3, 1, 9)).unwrap();
    log.rebase(base(50, 4)).unwrap();
    append(&mut log, entries(51..=52, 4, 9)).unwrap();
    drop(log);
    let log = open(&disk).unwrap();
    assert_eq!(log.view().first_index().unwrap(), 51);
    assert_eq!(log.view().term(50).unwrap(), 4);
    assert!(all(&log) == entries(51..=52, 4, 9));
}

#[test]
fn damage_in_the_middle_is_refused_with_the_way_out() {
    let disk = MemoryDisk::new(1);
    let mut log = open(&disk).unwrap();
    for index in 1..=5 {
        append(&mut log, entries(index..=index, 1, 100)).unwrap();
    }
    let segment = log.active.path.clone();
    drop(log);
    // The first frame says where the log begins; the entries follow, each in a sector.
    disk.damage(&segment, 512 * 3 + 60).unwrap();
    let err = open(&disk).unwrap_err();
    assert!(
        matches!(
            err,
            LogError::Damaged {
                offset: 1536,
                missing: 4,
                later: 5,
                ..
            }
        ),
        "{err:?}"
    );
    let text = err.to_string();
    assert!(
        text.contains("acknowledged writes may be missing"),
        "{text}"
    );
    assert!(text.contains("skiff cluster recover"), "{text}");
}

#[test]
fn damage_in_an_earlier_segment_is_refused() {
    let disk = MemoryDisk::new(1);
    let mut log = open(&disk).unwrap();
    prepare_all(&log);
    append(&mut log, entries(1..=1, 1, 400_000)).unwrap();
    let segment = log.active.path.clone();
    append(&mut log, entries(2..=2, 1, 900_000)).unwrap();
    assert_ne!(
        log.active.path, segment,
        "the second entry went to the next segment"
    );
    drop(log);
    disk.damage(&segment, 700).unwrap();
    assert!(matches!(open(&disk).unwrap_err(), LogError::Damaged { .. }));
}

#[test]
fn a_lost_format_file_is_refused() {
    let disk = MemoryDisk::new(1);
    drop(open(&disk).unwrap());
    disk.remove(&Path::new(DIR).join("FORMAT")).unwrap();
    assert!(matches!(open(&disk).unwrap_err(), LogError::Format { .. }));
}

#[test]
fn a_new_segment_begins_with_the_base_that_is_durable() {
    let disk = MemoryDisk::new(1);
    let mut log = open(&disk).unwrap();
    prepare_all(&log);
    append(&mut log, entries(1..=3, 1, 9)).unwrap();
    // Raft has taken a snapshot, whose base waits behind older entries for its turn to be written.
    log.view().rebase(base(100, 2));
    let left = log.active.path.clone();
    log.append(&mut Batch {
        hard_state: None,
        entries: entries(4..=5, 1, 900_000),
    })
    .unwrap();
    assert_ne!(log.active.path, left);
    disk.crash();
    let log = open(&disk).unwrap();
    assert_eq!(log.view().base(), base(0, 0));
    assert!(all(&log) == [entries(1..=3, 1, 9), entries(4..=5, 1, 900_000)].concat());
}

#[test]
fn a_directory_that_could_not_be_synced_is_synced_the_next_time() {
    let disk = MemoryDisk::new(1);
    let log = open(&disk).unwrap();
    let before = log.view().room().bytes;
    disk.fail_dir_syncs(1);
    let prepare = || log.view().pool().prepare();
    assert!(prepare().is_err());
    assert_eq!(log.view().room().bytes, before, "its name may be lost");
    assert!(prepare().unwrap());
    assert!(log.view().room().bytes > before);
    prepare_all(&log);
    let room = log.view().room().bytes;
    drop(log);
    assert_eq!(open(&disk).unwrap().view().room().bytes, room);
}

#[test]
fn a_full_disk_refuses_appends_and_recovers() {
    let disk = MemoryDisk::new(1);
    let mut log = open(&disk).unwrap();
    disk.set_capacity_bytes(1 << 21);
    assert!(log.view().pool().prepare().is_err());
    let mut last = 0;
    let refused = loop {
        match append(&mut log, entries(last + 1..=last + 1, 1, 300_000)) {
            Ok(()) => last += 1,
            Err(err) => break err,
        }
    };
    assert!(matches!(refused, LogError::NoSpace), "{refused:?}");
    assert_eq!(last, 3, "the segment written in advance was used up");

    disk.set_capacity_bytes(u64::MAX);
    prepare_all(&log);
    log.append(&mut Batch {
        hard_state: None,
        entries: entries(4..=4, 1, 300_000),
    })
    .unwrap();
    drop(log);
    assert!(all(&open(&disk).unwrap()) == entries(1..=4, 1, 300_000));
}

#[test]
fn a_batch_larger_than_all_spares_goes_on_where_it_found_no_space() {
    let disk = MemoryDisk::new(1);
    let mut log = open(&disk).unwrap();
    prepare_all(&log);
    let expected = entries(1..=40, 1, 1 << 20);
    log.view().append(&expected);
    let mut batch = Batch {
        hard_state: None,
        entries: expected.clone(),
    };
    let mut prepared = 0;
    while let Err(err) = log.append(&mut batch) {
        assert!(matches!(err, LogError::NoSpace), "{err}");
        prepare(&log).unwrap();
        prepared += 1;
        assert!(
            prepared <= 6,
            "a spare takes seven of these: two were ready, four are missing"
        );
    }
    assert!(batch.is_empty());
    drop(log);
    assert!(all(&open(&disk).unwrap()) == expected);
}

/// One step of a writer's life.
#[derive(Clone, Debug)]
enum Step {
    Append { back: u64, count: u64, len: usize },
    Compact { keep: u64 },
    Prepare,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (
        0..3_u64,
        1..4_u64,
        prop_oneof![4 => 0..3000_usize, 1 => 100_000..800_000_usize],
    );
    let append = append.prop_map(|(back, count, len)| Step::Append { back, count, len });
    let step = prop_oneof![
        6 => append,
        1 => (0..6_u64).prop_map(|keep| Step::Compact { keep }),
        2 => Just(Step::Prepare),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..25)
}

/// What must be in the log: everything acknowledged, and what the step under way may leave.
#[derive(Default)]
struct Model {
    base: u64,
    entries: Vec<Entry>,
    /// A batch that was not acknowledged: any number of its entries may be there.
    open: Vec<Entry>,
    base_open: Option<u64>,
    term: u64,
}

impl Model {
    fn allows(&self, base: u64, found: &[Entry]) -> bool {
        let base_fits = base == self.base || Some(base) == self.base_open;
        let kept = |entries: &[Entry]| -> Vec<Entry> {
            entries
                .iter()
                .filter(|entry| entry.index > base)
                .cloned()
                .collect()
        };
        let from = self.open.first().map_or(u64::MAX, |first| first.index);
        let before: Vec<_> = self
            .entries
            .iter()
            .filter(|e| e.index < from)
            .cloned()
            .collect();
        let torn = |count| kept(&[before.clone(), self.open[..count].to_vec()].concat());
        let torn_fits = (1..=self.open.len()).any(|count| torn(count) == found);
        base_fits && (kept(&self.entries) == found || torn_fits)
    }

    fn settle(&mut self) {
        if let Some(first) = self.open.first().map(|first| first.index) {
            self.entries.retain(|entry| entry.index < first);
            self.entries.append(&mut self.open);
        }
        self.base = self.base_open.take().unwrap_or(self.base);
        self.entries.retain(|entry| entry.index > self.base);
    }

    fn run(&mut self, log: &mut Log, disk: &MemoryDisk, step: &Step) -> Result<(), LogError> {
        let last = self.base + self.entries.len() as u64;
        match step {
            Step::Append { back, count, len } => {
                self.term += 1;
                let first = last.saturating_sub(*back).max(self.base) + 1;
                self.open = entries(first..=first + count - 1, self.term, *len);
                log.view().append(&self.open);
                let mut batch = Batch {
                    hard_state: None,
                    entries: self.open.clone(),
                };
                while let Err(err) = log.append(&mut batch) {
                    let LogError::NoSpace = err else {
                        return Err(err);
                    };
                    prepare(log)?;
                }
            }
            Step::Compact { keep } => {
                let index = last.saturating_sub(*keep).max(self.base);
                let term = log.view().term(index).unwrap();
                self.base_open = Some(index);
                while let Err(err) = log.rebase(base(index, term)) {
                    let LogError::NoSpace = err else {
                        return Err(err);
                    };
                    prepare(log)?;
                }
            }
            Step::Prepare => prepare(log)?,
            Step::Restart => *log = open(disk)?,
        }
        self.settle();
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn power_may_fail_at_any_moment(steps in steps(), lives in prop::collection::vec(0..40_u64, 1..4), seed: u64) {
        let disk = MemoryDisk::new(seed);
        let mut model = Model::default();
        for operations in lives {
            disk.fail_after(operations);
            if let Ok(mut log) = open(&disk) {
                let found = all(&log);
                let base = log.view().base().index;
                prop_assert!(model.allows(base, &found), "opened with {} entries", found.len());
                // What was found counts from now on, whatever became of the step before.
                model = Model { base, entries: found, term: model.term, ..Model::default() };
                for step in &steps {
                    if model.run(&mut log, &disk, step).is_err() {
                        break;
                    }
                    prop_assert!(all(&log) == model.entries);
                }
            }
            disk.crash();
        }
        let log = open(&disk).unwrap();
        let (found, base) = (all(&log), log.view().base().index);
        prop_assert!(model.allows(base, &found), "{} entries behind {base}", found.len());
    }
}

fn prepare(log: &Log) -> Result<(), LogError> {
    let prepared = log.view().pool().prepare();
    prepared
        .map(|_| ())
        .map_err(|source| LogError::create(Path::new(DIR), source))
}
