//! Opening the store: checkpoint, log, replay, threads.

use std::sync::mpsc::{SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use raft::eraftpb::{ConfState, EntryType};
use raft::{GetEntriesContext, Storage};
use skiff_api::{Object, Revision};
use skiff_engine::State;

use super::{Inner, OnApplied, OpenError, StoreConfig, Threads};
use crate::checkpoint::{Checkpoint, Mark};
use crate::log::{self, Base, Log, LogView, Preparer};
use crate::raft::{Applier, Driver, Inbox, Keeper, Kept, Node, Shared, Task, Unfinished, Writer};
use crate::snapshot::StateAt;

/// A group of one replays its log within this, or something is wrong with it.
const READY_LIMIT: Duration = Duration::from_secs(120);
/// A killed server lets go of its directory only when its last write to the disk is done.
const LOCK_LIMIT: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(20);
/// Entries that are looked through at once when a log is opened.
const SCAN_BYTES: u64 = 4 << 20;
/// Tasks that wait for the keeper; one more state would only be older when its turn comes.
const TASKS_QUEUED: usize = 1;

pub(super) fn open(config: StoreConfig, on_applied: OnApplied) -> Result<Inner, OpenError> {
    let (parts, alone) = recover(config, on_applied)?;
    let inner = start(parts)?;
    if alone && !inner.shared.wait_until_leading(READY_LIMIT) {
        return Err(OpenError::NotReady);
    }
    Ok(inner)
}

/// Reads what the directory holds and connects the parts of a store; whether the group has this
/// member only.
pub(crate) fn recover(
    mut config: StoreConfig,
    on_applied: OnApplied,
) -> Result<(Parts, bool), OpenError> {
    let stopped = read(&mut config)?;
    let alone = stopped.alone;
    Ok((connect(config, stopped, on_applied)?, alone))
}

/// What the directory of a stopped member holds.
pub(crate) struct Stopped {
    pub(crate) log: Log,
    /// The state to go on from.
    pub(crate) at: StateAt,
    /// The newest checkpoint.
    newest: Option<Mark>,
    /// The group has this member only.
    alone: bool,
    /// Keeps others out of the directory.
    pub(crate) lock: Box<dyn Send + Sync>,
}

/// Reads what the directory of a stopped member holds.
pub(crate) fn read(config: &mut StoreConfig) -> Result<Stopped, OpenError> {
    let lock = lock(config)?;
    let checkpoint = config.checkpoints.load().map_err(OpenError::Checkpoint)?;
    let (state, newest) = restore(checkpoint)?;
    let log = open_log(config, newest.as_ref())?;
    let alone = start_at(&log, newest.as_ref(), config.member)?;
    let mark = newest.clone();
    let mark = mark.unwrap_or_else(|| beginning(&log.view().base()));
    Ok(Stopped {
        log,
        at: StateAt { mark, state },
        newest,
        alone,
        lock,
    })
}

fn lock(config: &StoreConfig) -> Result<Box<dyn Send + Sync>, OpenError> {
    let dir = config.dir.clone();
    let limit = Instant::now() + LOCK_LIMIT;
    if let Err(source) = config.disk.create_dir(&dir) {
        return Err(OpenError::Dir { dir, source });
    }
    loop {
        let source = match config.disk.lock(&dir.join("LOCK")) {
            Ok(guard) => return Ok(guard),
            Err(source) => source,
        };
        if source.kind() != std::io::ErrorKind::WouldBlock {
            return Err(OpenError::Dir { dir, source });
        }
        if Instant::now() >= limit {
            return Err(OpenError::InUse { dir });
        }
        std::thread::park_timeout(LOCK_RETRY);
    }
}

fn restore(checkpoint: Option<Checkpoint>) -> Result<(State, Option<Mark>), OpenError> {
    let Some(Checkpoint { mark, records }) = checkpoint else {
        return Ok((State::default(), None));
    };
    let mut objects = Vec::with_capacity(records.len());
    for record in records {
        let object = Object::from_body(&record.body).map_err(OpenError::Object)?;
        objects.push(object.with_revision(Revision(record.revision)));
    }
    Ok((State::restore(Revision(mark.revision), objects), Some(mark)))
}

/// Opens the log and sees to it that it continues the checkpoint.
fn open_log(config: &StoreConfig, mark: Option<&Mark>) -> Result<Log, OpenError> {
    let mut conf_state = ConfState::default();
    conf_state.voters.clone_from(&config.founders);
    let fresh = Base {
        index: 0,
        term: 0,
        conf_state,
    };
    let dir = log::dir_below(&config.dir);
    let mut log = Log::open(config.disk.clone(), &dir, &fresh).map_err(OpenError::Log)?;
    let view = log.view();
    let (base, last) = (view.base().index, view.last());
    let Some(mark) = mark else {
        return if base == 0 {
            Ok(log)
        } else {
            Err(OpenError::CheckpointMissing { base })
        };
    };
    if last == 0 && view.hard_state().term == 0 {
        return Err(OpenError::LogMissing { index: mark.index });
    }
    if mark.index < base {
        return Err(OpenError::CheckpointMissing { base });
    }
    let replaced =
        mark.index <= last && view.term(mark.index).map_err(OpenError::Raft)? != mark.term;
    if mark.index > last || replaced {
        // A snapshot from the leader was stored, and the power failed before the log was told. What
        // it holds was committed, so whatever the log has instead never was.
        tracing::warn!(
            index = mark.index,
            last,
            "the raft log continues behind the checkpoint"
        );
        let mut hard_state = view.hard_state();
        if hard_state.term < mark.term {
            (hard_state.term, hard_state.vote) = (mark.term, 0);
        }
        hard_state.commit = mark.index;
        log.replace(Base::at(mark), Some(&hard_state))
            .map_err(OpenError::Log)?;
    }
    Ok(log)
}

/// Tells raft where to start; returns whether the group has this member only.
fn start_at(log: &Log, mark: Option<&Mark>, member: u64) -> Result<bool, OpenError> {
    let view = log.view();
    if let Some(mark) = mark {
        view.start_at(mark.index, mark.conf_state.clone());
    }
    let conf_state = view.initial_state().map_err(OpenError::Raft)?.conf_state;
    if conf_state.voters != [member] || !conf_state.voters_outgoing.is_empty() {
        return Ok(false);
    }
    // Others may have been let in since the checkpoint.
    let from = mark.map_or(view.base().index, |mark| mark.index) + 1;
    Ok(!changes_members(&view, from).map_err(OpenError::Raft)?)
}

/// Whether the log changes the members from an index on.
fn changes_members(view: &LogView, mut from: u64) -> raft::Result<bool> {
    let end = view.last() + 1;
    while from < end {
        let context = GetEntriesContext::empty(false);
        let entries = view.entries(from, end, SCAN_BYTES, context)?;
        let Some(last) = entries.last() else {
            break;
        };
        if entries
            .iter()
            .any(|entry| entry.entry_type != EntryType::EntryNormal)
        {
            return Ok(true);
        }
        from = last.index + 1;
    }
    Ok(false)
}

/// The parts of a store, connected but not started.
pub(crate) struct Parts {
    pub(crate) driver: Driver,
    pub(crate) applier: Applier,
    pub(crate) keeper: Keeper,
    pub(crate) writer: Writer,
    pub(crate) view: LogView,
    pub(crate) tasks: SyncSender<Task>,
    lock: Box<dyn Send + Sync>,
}

fn start(parts: Parts) -> Result<Inner, OpenError> {
    let (shared, inbox) = (parts.driver.shared.clone(), parts.driver.inbox.clone());
    let nudged = inbox.clone();
    let preparer =
        Preparer::start(&parts.view, move || nudged.nudge()).map_err(OpenError::Thread)?;
    let threads = Threads {
        preparer: Some(preparer),
        lock: Some(parts.lock),
        tasks: Some(parts.tasks),
        ..Threads::default()
    };
    let inner = Inner {
        shared,
        inbox,
        threads: Mutex::new(threads),
    };
    // In the order in which they end.
    let handles = [
        parts.driver.start(),
        parts.applier.start(),
        parts.keeper.start(),
        parts.writer.start(),
    ];
    for handle in handles {
        inner
            .threads()
            .handles
            .push(handle.map_err(OpenError::Thread)?);
    }
    Ok(inner)
}

fn connect(
    config: StoreConfig,
    stopped: Stopped,
    on_applied: OnApplied,
) -> Result<Parts, OpenError> {
    let (view, fatal) = (stopped.log.view(), config.on_fatal);
    let applied = stopped.at.mark.index;
    let shared = Arc::new(Shared::new(stopped.at.clone()));
    view.set_snapshots(shared.clone());
    let node = Node::new(config.member, view.clone(), applied, config.elections)
        .map_err(OpenError::Raft)?;
    // Who this member is can be asked before its thread has done anything.
    node.fill_status(&mut shared.status_mut());
    let inbox = Arc::new(Inbox::default());
    let (writer_jobs, jobs) = channel();
    let (applier_entries, decided) = channel();
    let (keeper, tasks) = sync_channel(TASKS_QUEUED);
    let kept = Arc::new(Kept::of(&stopped.at.state));
    let keeper_part = Keeper {
        checkpoints: config.checkpoints,
        tasks,
        writer: writer_jobs.clone(),
        inbox: inbox.clone(),
        newest: stopped.newest,
        kept: kept.clone(),
    };
    let applier = Applier {
        at: stopped.at,
        decided,
        shared: shared.clone(),
        inbox: inbox.clone(),
        keeper: keeper.clone(),
        checkpoint_bytes: config.checkpoint_bytes,
        kept,
        bytes: 0,
        on_applied,
        fatal: fatal.clone(),
    };
    let writer = Writer {
        log: stopped.log,
        jobs,
        inbox: inbox.clone(),
        outbound: config.outbound.clone(),
        fatal: fatal.clone(),
        unfinished: Unfinished::default(),
    };
    let driver = Driver {
        node,
        view: view.clone(),
        inbox,
        shared,
        outbound: config.outbound,
        writer: writer_jobs,
        applier: applier_entries,
        fatal,
        life: config.elections.map_or_else(rand::random, |seed| seed.0),
    };
    Ok(Parts {
        driver,
        applier,
        keeper: keeper_part,
        writer,
        view,
        tasks: keeper,
        lock: stopped.lock,
    })
}

/// Where a state without a checkpoint stands.
fn beginning(base: &Base) -> Mark {
    let (index, term, conf_state) = (base.index, base.term, base.conf_state.clone());
    Mark {
        index,
        term,
        conf_state,
        revision: 0,
    }
}
