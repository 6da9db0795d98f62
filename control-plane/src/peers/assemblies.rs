//! Receiving snapshots: frames are put together off the runtime's threads, and what a broken stream
//! left is kept for a while, so that its sender can go on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::snapshot::{Assembly, SnapshotError, StateAt};

/// Unfinished snapshots kept: each holds what it has of a state in memory.
const KEPT_MAX: usize = 1;
/// How long one is kept; its sender tries again within seconds.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(30);
/// Pieces between the connection and the assembly: while these wait, the sender does too.
const PIECES: usize = 16;

/// Which snapshot: two senders' of the same index may differ in form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Which {
    pub(super) from: u64,
    pub(super) index: u64,
    pub(super) term: u64,
}

/// Unfinished snapshots.
#[derive(Debug, Default)]
pub(super) struct Unfinished(Mutex<Vec<Kept>>);

#[derive(Debug)]
struct Kept {
    which: Which,
    assembly: Assembly,
    since: Instant,
}

impl Unfinished {
    /// How many frames of it are there.
    pub(super) fn frames(&self, which: Which, now: Instant) -> u64 {
        let mut kept = self.lock();
        forget_old(&mut kept, now);
        let found = kept.iter().find(|one| one.which == which);
        found.map_or(0, |one| one.assembly.frames())
    }

    /// What is there of it, to go on with; a new assembly if nothing is.
    pub(super) fn take(&self, which: Which, now: Instant) -> Assembly {
        let mut kept = self.lock();
        forget_old(&mut kept, now);
        let place = kept.iter().position(|one| one.which == which);
        place.map_or_else(Assembly::default, |place| kept.swap_remove(place).assembly)
    }

    /// Keeps what is there of it; the oldest make room.
    pub(super) fn keep(&self, which: Which, mut assembly: Assembly, now: Instant) {
        if assembly.frames() == 0 {
            return;
        }
        assembly.resume();
        let mut kept = self.lock();
        forget_old(&mut kept, now);
        kept.retain(|one| one.which != which);
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        kept.push(Kept {
            which,
            assembly,
            since: now,
        });
    }

    /// Forgets what was kept for too long.
    pub(super) fn forget_old(&self, now: Instant) {
        forget_old(&mut self.lock(), now);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_old(kept: &mut Vec<Kept>, now: Instant) {
    kept.retain(|one| now.saturating_duration_since(one.since) < KEPT_FOR);
}

/// A snapshot that is being put together on a thread of its own. Dropping it before the end keeps
/// what is there.
pub(super) struct Assembling {
    pieces: mpsc::Sender<Piece>,
    thread: JoinHandle<Result<StateAt, SnapshotError>>,
}

enum Piece {
    Bytes(Bytes),
    End,
}

impl Assembling {
    pub(super) fn start(which: Which, assembly: Assembly, unfinished: Arc<Unfinished>) -> Self {
        let (pieces, received) = mpsc::channel(PIECES);
        let thread =
            tokio::task::spawn_blocking(move || assemble(received, which, assembly, &unfinished));
        Self { pieces, thread }
    }

    /// Takes the next bytes; whether they are still wanted.
    pub(super) async fn push(&self, bytes: Bytes) -> bool {
        self.pieces.send(Piece::Bytes(bytes)).await.is_ok()
    }

    /// Makes the state of what came.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) async fn finish(self) -> Result<StateAt, String> {
        // If the thread wants nothing more it says why.
        drop(self.pieces.send(Piece::End).await);
        let finished = self.thread.await.map_err(|err| err.to_string())?;
        finished.map_err(|err| super::chain(&err))
    }
}

fn assemble(
    mut pieces: mpsc::Receiver<Piece>,
    which: Which,
    mut assembly: Assembly,
    unfinished: &Unfinished,
) -> Result<StateAt, SnapshotError> {
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Bytes(bytes)) => assembly.push(&bytes)?,
            Some(Piece::End) => return assembly.finish(),
            None => {
                unfinished.keep(which, assembly, Instant::now());
                return Err(SnapshotError::Incomplete);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::StateAt;

    fn which(index: u64) -> Which {
        Which {
            from: 1,
            index,
            term: 1,
        }
    }

    fn begun() -> Assembly {
        let mut assembly = Assembly::default();
        let frame = StateAt::default().frames().next().unwrap();
        assembly.push(&frame).unwrap();
        assembly
    }

    #[tokio::test(start_paused = true)]
    async fn few_are_kept_and_not_for_long() {
        let unfinished = Unfinished::default();
        let now = Instant::now();
        unfinished.keep(which(1), Assembly::default(), now);
        assert_eq!(unfinished.lock().len(), 0, "there is nothing to go on with");
        unfinished.keep(which(1), begun(), now);
        assert_eq!(unfinished.frames(which(1), now), 1);
        assert_eq!(unfinished.frames(which(2), now), 0);
        unfinished.keep(which(2), begun(), now);
        assert_eq!(unfinished.frames(which(1), now), 0, "it made room");
        assert_eq!(unfinished.take(which(2), now).frames(), 1);
        assert_eq!(unfinished.take(which(2), now).frames(), 0, "it is taken");
        unfinished.keep(which(3), begun(), now);
        unfinished.forget_old(now + KEPT_FOR);
        assert_eq!(unfinished.lock().len(), 0);
    }

    #[tokio::test]
    async fn a_broken_stream_goes_on_with_the_next_whole_frame() {
        let unfinished = Arc::new(Unfinished::default());
        let frames: Vec<Bytes> = StateAt::default().frames().collect();
        let first = Assembling::start(which(7), Assembly::default(), unfinished.clone());
        assert!(first.push(frames[0].clone()).await);
        assert!(first.push(frames[1].slice(..3)).await);
        drop(first.pieces);
        assert!(first.thread.await.unwrap().is_err());
        assert_eq!(unfinished.frames(which(7), Instant::now()), 1);
        let assembly = unfinished.take(which(7), Instant::now());
        let second = Assembling::start(which(7), assembly, unfinished);
        for frame in &frames[1..] {
            assert!(second.push(frame.clone()).await);
        }
        assert_eq!(second.finish().await.unwrap().state.len(), 0);
    }
}
