//! What a connection is doing, seen from outside of HTTP: whether it is idle, late or stuck.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::HEAD_TIME_MAX;
use crate::proxy::Tunnel;

/// How long a client may leave what was sent to it unread.
const UNREAD_MAX: Duration = Duration::from_secs(60);

/// Answers that wait for their client are counted by the turn in which they began to. Three turns are
/// the longest that one may wait; the fourth is the one that has just begun.
const TURN: Duration = Duration::from_secs(UNREAD_MAX.as_secs() / 3);

/// As many turns as are told apart.
const TURNS: usize = 4;

/// When an answer began to wait for its client.
#[derive(Debug)]
pub(crate) struct Turn(usize);

/// Counters of one connection. Its own task writes them; nothing orders them but that.
#[derive(Default)]
pub(crate) struct Activity {
    /// Requests whose answers have not ended.
    open: AtomicU32,
    begun: AtomicU64,
    read_bytes: AtomicU64,
    written_bytes: AtomicU64,
    /// What had been read when the last request began.
    read_at_begin: AtomicU64,
    /// The last write could not be done.
    blocked: AtomicBool,
    /// Answers of which the client takes no more for now, though the connection goes on: HTTP/2 lets
    /// it hold up each by itself.
    waiting: [AtomicU32; TURNS],
    turn: AtomicUsize,
    tunnel: Mutex<Option<Tunnel>>,
}

/// What should become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It is busy.
    Busy,
    /// It has nothing to do.
    Idle,
    /// It must be closed.
    Stuck(Stuck),
}

/// Why a connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stuck {
    /// The head of a request takes too long.
    Head,
    /// The client does not read.
    Unread,
}

/// What was seen at earlier looks.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// For how long a head has been unfinished.
    head: Duration,
    /// For how long nothing could be written.
    blocked: Duration,
    /// How old the turn is.
    turn: Duration,
    written_bytes: u64,
}

impl Activity {
    pub(crate) fn begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        let read = self.read_bytes.load(Ordering::Relaxed);
        self.read_at_begin.store(read, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        // What of a body came until now belongs to no next request.
        let read = self.read_bytes.load(Ordering::Relaxed);
        self.read_at_begin.store(read, Ordering::Relaxed);
    }

    pub(super) fn read(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(0);
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn written(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(0);
        self.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }

    /// An answer begins to wait until its client takes more of it.
    pub(crate) fn wait(&self) -> Turn {
        let turn = self.turn.load(Ordering::Relaxed);
        if let Some(count) = self.waiting.get(turn) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Turn(turn)
    }

    /// It waits no longer.
    pub(crate) fn go_on(&self, Turn(turn): Turn) {
        if let Some(count) = self.waiting.get(turn) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Begins another turn when it is time; whether an answer has waited since that was the turn before.
    fn is_held_up(&self, earlier: &mut Earlier, since: Duration) -> bool {
        earlier.turn += since;
        if earlier.turn < TURN {
            return false;
        }
        let next = (self.turn.load(Ordering::Relaxed) + 1) % TURNS;
        let waiting = self.waiting.get(next);
        if waiting.is_some_and(|count| count.load(Ordering::Relaxed) > 0) {
            return true;
        }
        earlier.turn = Duration::ZERO;
        self.turn.store(next, Ordering::Relaxed);
        false
    }

    /// Bytes in both directions.
    pub(crate) fn moved_bytes(&self) -> u64 {
        let read = self.read_bytes.load(Ordering::Relaxed);
        read.wrapping_add(self.written_bytes())
    }

    /// Bytes that went to the client.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }

    /// Requests so far.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// The connection becomes a tunnel once the answer is out.
    pub(crate) fn switch(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
    }

    pub(super) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Judges the connection, `since` after the look before.
    pub(super) fn look(&self, earlier: &mut Earlier, since: Duration) -> Look {
        if self.is_held_up(earlier, since) {
            return Look::Stuck(Stuck::Unread);
        }
        let written = self.written_bytes();
        let moved = written != std::mem::replace(&mut earlier.written_bytes, written);
        if self.blocked.load(Ordering::Relaxed) {
            earlier.blocked = if moved {
                Duration::ZERO
            } else {
                earlier.blocked + since
            };
            if earlier.blocked >= UNREAD_MAX {
                return Look::Stuck(Stuck::Unread);
            }
            // Also if the request is over: the rest of its answer waits to be written.
            return Look::Busy;
        }
        earlier.blocked = Duration::ZERO;
        if self.open.load(Ordering::Relaxed) > 0 {
            earlier.head = Duration::ZERO;
            return Look::Busy;
        }
        let read = self.read_bytes.load(Ordering::Relaxed);
        if read == self.read_at_begin.load(Ordering::Relaxed) {
            earlier.head = Duration::ZERO;
            return Look::Idle;
        }
        earlier.head += since;
        if earlier.head >= HEAD_TIME_MAX {
            return Look::Stuck(Stuck::Head);
        }
        Look::Busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn looks(activity: &Activity, earlier: &mut Earlier, seconds: u64) -> Look {
        let looks = (0..seconds).map(|_| activity.look(earlier, SECOND));
        looks.last().unwrap()
    }

    #[test]
    fn a_connection_is_idle_busy_or_stuck() {
        let (activity, mut earlier) = (Activity::default(), Earlier::default());
        assert_eq!(
            looks(&activity, &mut earlier, 100),
            Look::Idle,
            "nothing came"
        );
        activity.read(3);
        assert_eq!(
            looks(&activity, &mut earlier, 14),
            Look::Busy,
            "a head began"
        );
        activity.read(3);
        let slow = looks(&activity, &mut earlier, 1);
        assert!(
            matches!(slow, Look::Stuck(_)),
            "it drips for too long: {slow:?}"
        );
    }

    #[test]
    fn a_request_may_take_its_time_and_its_end_is_idleness() {
        let (activity, mut earlier) = (Activity::default(), Earlier::default());
        activity.read(100);
        activity.begin();
        assert_eq!(looks(&activity, &mut earlier, 1000), Look::Busy);
        activity.read(100);
        activity.end();
        assert_eq!(looks(&activity, &mut earlier, 1), Look::Idle);
    }

    #[test]
    fn a_client_that_reads_nothing_is_stuck_and_a_slow_one_is_not() {
        let (activity, mut earlier) = (Activity::default(), Earlier::default());
        activity.begin();
        activity.set_blocked(true);
        activity.written(1);
        assert_eq!(looks(&activity, &mut earlier, 59), Look::Busy);
        activity.written(1);
        assert_eq!(looks(&activity, &mut earlier, 60), Look::Busy);
        activity.end();
        activity.written(1);
        let last = looks(&activity, &mut earlier, 1);
        assert_eq!(last, Look::Busy, "the end of the answer is on its way");
        assert!(matches!(looks(&activity, &mut earlier, 60), Look::Stuck(_)));
    }

    #[test]
    fn an_answer_that_its_client_holds_up_makes_the_connection_stuck_whatever_else_moves() {
        let (activity, mut earlier) = (Activity::default(), Earlier::default());
        activity.begin();
        for _ in 0..300 {
            // Each waits for a while, and another one begins to wait before it goes on.
            let one = activity.wait();
            assert_eq!(looks(&activity, &mut earlier, 30), Look::Busy);
            let other = activity.wait();
            activity.go_on(one);
            assert_eq!(looks(&activity, &mut earlier, 25), Look::Busy);
            activity.go_on(other);
        }
        let held_up = activity.wait();
        for second in 1..=UNREAD_MAX.as_secs() {
            activity.written(1);
            let moving = activity.wait();
            let look = looks(&activity, &mut earlier, 1);
            assert_eq!(look, Look::Busy, "after {second} seconds");
            activity.go_on(moving);
        }
        let last = looks(&activity, &mut earlier, TURN.as_secs());
        assert_eq!(last, Look::Stuck(Stuck::Unread));
        activity.go_on(held_up);
        assert_eq!(looks(&activity, &mut earlier, 1), Look::Busy);
    }
}
