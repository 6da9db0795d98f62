//! The replicated store: the one door through which everything else changes the state (step 5 of
//! the walk) and from which it reads it.

use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use skiff_api::Millis;
use skiff_engine::{Change, Command, Outcome, State, Write};
use tokio::sync::{oneshot, watch};

use crate::checkpoint::{Checkpoints, SledCheckpoints};
use crate::disk::{Disk, RealDisk};
use crate::log::ENTRY_BYTES_MAX;
use crate::members::{self, FORMAT_OLDEST, write_format};
use crate::raft::{
    Alone, ElectionSeed, Inbox, OnFatal, Outbound, PACK_OVERHEAD, Proposal, RaftStatus, Shared,
    Task, abort_on_fatal,
};

mod error;
mod freshness;
mod group;
pub(crate) mod open;

pub use error::{OpenError, ProposeError, ReadError};
pub use group::{ChangeError, MemberChange, TransferError};

/// Writes proposed together go as commands of about this size: an entry of the log stays short,
/// and each write succeeds or conflicts by itself anyway.
const COMMAND_BYTES: usize = 1 << 20;
/// Bytes of log after which a checkpoint is taken, or as many as the last one had if that is more. A
/// start replays at most about twice as much.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// How long a read waits until what it has to see is applied here: another server may be faster.
const APPLIED_MAX: Duration = Duration::from_secs(5);

/// Called on the apply thread, in order, after the new state can be read and before proposers are
/// answered. It must be quick: everything behind it waits. At start it is also called for what is
/// replayed from the log behind the newest checkpoint.
pub type OnApplied = Box<dyn FnMut(&State, News<'_>) + Send>;

/// How the state came to be what it is.
#[derive(Clone, Copy, Debug)]
pub enum News<'a> {
    /// By these changes, in order.
    Changes(&'a [Change]),
    /// A snapshot took its place: what changed in between is not known.
    Restored,
}

/// What a store needs to know.
pub struct StoreConfig {
    /// The directory that holds everything; one store at a time.
    pub dir: PathBuf,
    /// This member's id in its raft group; not 0, and never used again after the member was lost.
    pub member: u64,
    /// The voting members of a group that is founded; not looked at once there is a log.
    pub founders: Vec<u64>,
    /// Where the log lives.
    pub disk: Arc<dyn Disk>,
    /// Where checkpoints live.
    pub checkpoints: Box<dyn Checkpoints>,
    /// Bytes of log between checkpoints, at least: a large state is written less often.
    pub checkpoint_bytes: u64,
    /// The way to the other members.
    pub outbound: Arc<dyn Outbound>,
    /// What to do when the store cannot go on; by default the process is aborted.
    pub on_fatal: OnFatal,
    /// For simulations: what election time-outs are made from, instead of chance.
    pub elections: Option<ElectionSeed>,
}

impl StoreConfig {
    /// A group of one in `dir`.
    #[must_use]
    pub fn new(dir: &Path, member: u64) -> Self {
        Self {
            dir: dir.to_owned(),
            member,
            founders: vec![member],
            disk: Arc::new(RealDisk),
            checkpoints: Box::new(SledCheckpoints::new(&dir.join("checkpoints"))),
            checkpoint_bytes: CHECKPOINT_BYTES,
            outbound: Arc::new(Alone),
            on_fatal: abort_on_fatal(),
            elections: None,
        }
    }
}

/// A handle on the store. Cheap to clone; the store stops with [`Store::shutdown`] or when the last
/// handle is dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    threads: Mutex<Threads>,
}

/// What must be joined, in this order, before the store is closed.
#[derive(Default)]
struct Threads {
    handles: Vec<JoinHandle<()>>,
    preparer: Option<crate::log::Preparer>,
    /// The way to the keeper, while it runs.
    tasks: Option<SyncSender<Task>>,
    /// Keeps others out of the directory.
    lock: Option<Box<dyn Send + Sync>>,
}

impl Store {
    /// Opens the store: reads the newest good checkpoint, replays the log behind it and starts the
    /// threads. Blocks; a group of one is ready to write when this returns.
    ///
    /// # Errors
    /// [`OpenError`], worded for whoever runs the server.
    pub fn open(config: StoreConfig, on_applied: OnApplied) -> Result<Self, OpenError> {
        open::open(config, on_applied).map(|inner| Self {
            inner: Arc::new(inner),
        })
    }

    /// Makes writes durable on a quorum, applies them and tells what became of each, in order. The
    /// writes are applied in order, but those of others may come between them; a batch of more than
    /// 1 MiB may become visible in parts.
    ///
    /// # Errors
    /// [`ProposeError`] says for each kind whether the writes may have happened. A batch of more
    /// than 1 MiB may have happened in part whatever the error, except for
    /// [`ProposeError::TooLarge`].
    pub async fn propose(&self, writes: Vec<Write>) -> Result<Vec<Outcome>, ProposeError> {
        self.propose_if(writes, None).await
    }

    /// As [`Store::propose`], but only if this member leads in this term when the writes come into
    /// the log: nobody else can have written since it began to.
    ///
    /// # Errors
    /// As for [`Store::propose`]; `NotLeader` in another term.
    pub async fn propose_in(
        &self,
        term: u64,
        writes: Vec<Write>,
    ) -> Result<Vec<Outcome>, ProposeError> {
        self.propose_if(writes, Some(term)).await
    }

    async fn propose_if(
        &self,
        writes: Vec<Write>,
        only_in: Option<u64>,
    ) -> Result<Vec<Outcome>, ProposeError> {
        if !self.is_leader() {
            return Err(self.not_leader());
        }
        self.check_format(&writes)?;
        let shared = &self.inner.shared;
        let replies = propose(shared, &self.inner.inbox, writes, now(), only_in)?;
        let mut outcomes = Vec::new();
        for reply in replies {
            outcomes.extend(reply.await.unwrap_or(Err(ProposeError::Stopped))?);
        }
        Ok(outcomes)
    }

    /// Whether all servers understand the writes. One that joins is in the list before it gets
    /// anything, and comes in only if it understands what is written already.
    fn check_format(&self, writes: &[Write]) -> Result<(), ProposeError> {
        let Some(newest) = writes.iter().max_by_key(|write| write.format()) else {
            return Ok(());
        };
        let needed = newest.format();
        // The list is read only for what not every version knows.
        if needed <= FORMAT_OLDEST {
            return Ok(());
        }
        let written = write_format(&members::of(&self.state()));
        if needed > written {
            let kind = newest.key().kind.info().name;
            return Err(ProposeError::TooNew {
                kind,
                needed,
                written,
            });
        }
        Ok(())
    }

    /// The latest applied state, which may lag behind the leader's on a follower.
    #[must_use]
    pub fn state(&self) -> State {
        self.inner.shared.state()
    }

    /// A state that holds every write acknowledged before the call, by any member.
    ///
    /// For a leader that is the only voter this costs nothing: nobody else can acknowledge a write,
    /// and it acknowledges none before it is in the state. Otherwise a quorum is asked who leads.
    ///
    /// # Errors
    /// [`ReadError`]; the caller may try again, here or elsewhere.
    pub async fn read(&self) -> Result<State, ReadError> {
        let shared = &self.inner.shared;
        if shared.is_leading_alone() {
            return Ok(shared.state());
        }
        let (request, index) = oneshot::channel();
        self.inner.inbox.read(request);
        let index = index.await.map_err(|_| ReadError::NoLeader)?;
        let mut applied = shared.watch_applied();
        let reached = applied.wait_for(|applied| *applied >= index);
        let reached = tokio::time::timeout(APPLIED_MAX, reached).await;
        reached
            .map_err(|_| ReadError::Behind)?
            .map_err(|_| ReadError::Stopped)?;
        Ok(shared.state())
    }

    /// Whether this member has known no leader for some seconds: its state grows old, and whoever
    /// follows it should ask elsewhere.
    #[must_use]
    pub fn cut_off(&self) -> watch::Receiver<bool> {
        self.inner.shared.cut_off()
    }

    /// Whether this member leads and its state holds everything that was acknowledged before.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.inner.shared.is_leading()
    }

    /// The term in which this member leads, once its state holds everything that was acknowledged
    /// before that term.
    #[must_use]
    pub fn leads_in(&self) -> Option<u64> {
        self.inner.shared.leads_in()
    }

    /// How this member sees its group.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        self.inner.shared.status()
    }

    /// The newest term that this server knows of.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.inner.shared.status_term()
    }

    /// Follows [`Store::is_leader`].
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<bool> {
        self.inner.shared.leading()
    }

    /// Finishes what was proposed, takes a checkpoint if it saves the next start much work, and
    /// closes the directory. Later calls on any handle fail with `Stopped`.
    pub async fn shutdown(&self) {
        let inner = self.inner.clone();
        let joined = tokio::task::spawn_blocking(move || inner.stop_and_join()).await;
        if let Err(err) = joined {
            tracing::error!(%err, "the store did not stop in order");
        }
    }

    fn not_leader(&self) -> ProposeError {
        if self.inner.inbox.is_closed() {
            return ProposeError::Stopped;
        }
        let RaftStatus { member, leader, .. } = self.status();
        ProposeError::NotLeader {
            leader: leader.filter(|leader| *leader != member),
        }
    }
}

impl Inner {
    fn stop_and_join(&self) {
        self.inbox.stop();
        let mut threads = std::mem::take(&mut *self.threads());
        // The keeper ends when nobody can ask it for anything.
        threads.tasks = None;
        // If what one of the threads calls drops the last handle, the threads end by themselves.
        let this = std::thread::current().id();
        if threads
            .handles
            .iter()
            .any(|handle| handle.thread().id() == this)
        {
            return;
        }
        for handle in threads.handles {
            if handle.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
        if let Some(preparer) = threads.preparer {
            preparer.stop();
        }
        drop(threads.lock);
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop_and_join();
    }
}

/// What a proposal is answered with.
pub(crate) type Reply = oneshot::Receiver<Result<Vec<Outcome>, ProposeError>>;

/// Hands writes, stamped with the time `at`, to raft, for one term only if one is given; they are
/// answered in parts.
pub(crate) fn propose(
    shared: &Shared,
    inbox: &Inbox,
    writes: Vec<Write>,
    at: Millis,
    only_in: Option<u64>,
) -> Result<Vec<Reply>, ProposeError> {
    let mut replies = Vec::with_capacity(1);
    let mut proposals = Vec::with_capacity(1);
    for command in commands(writes, shared.status_term(), at)? {
        let (reply, answer) = oneshot::channel();
        proposals.push(Proposal {
            only_in,
            ..admit(shared, command, reply)?
        });
        replies.push(answer);
    }
    inbox.propose(proposals);
    Ok(replies)
}

/// Cuts a batch into commands and stamps them.
fn commands(writes: Vec<Write>, term: u64, at: Millis) -> Result<Vec<Command>, ProposeError> {
    let mut commands = Vec::with_capacity(1);
    let mut command = Command {
        term,
        at,
        writes: Vec::with_capacity(writes.len()),
    };
    let (mut size, mut total) = (0, 0_usize);
    for write in writes {
        let bytes = size_of_write(&write);
        if bytes > ENTRY_BYTES_MAX - COMMAND_BYTES {
            return Err(ProposeError::TooLarge { bytes });
        }
        if size + bytes > COMMAND_BYTES && !command.writes.is_empty() {
            commands.push(Command {
                writes: std::mem::take(&mut command.writes),
                ..command
            });
            size = 0;
        }
        size += bytes;
        total += bytes;
        command.writes.push(write);
    }
    commands.push(command);
    if total > crate::raft::PROPOSAL_BYTES_MAX {
        return Err(ProposeError::TooLarge { bytes: total });
    }
    Ok(commands)
}

fn admit(
    shared: &Shared,
    command: Command,
    reply: oneshot::Sender<Result<Vec<Outcome>, ProposeError>>,
) -> Result<Proposal, ProposeError> {
    let size = command.size() + PACK_OVERHEAD;
    let permit = shared
        .admission
        .admit(size)
        .ok_or(ProposeError::Overloaded)?;
    // The encoding is made here, on the caller's thread, since the raft thread is the one that
    // everybody shares.
    let mut bytes = Vec::with_capacity(size);
    command.encode(&mut bytes);
    Ok(Proposal {
        command,
        bytes,
        only_in: None,
        reply,
        permit,
    })
}

fn size_of_write(write: &Write) -> usize {
    match write {
        Write::Put { object, .. } => 16 + object.body().len(),
        Write::Delete { key, .. } => 64 + key.namespace.len() + key.name.len(),
    }
}

/// The one reading of the clock: the time that is stamped on commands.
fn now() -> Millis {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
