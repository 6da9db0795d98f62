//! What a connection is doing, seen from outside of HTTP: whether it is idle, late or stuck.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::HEAD_TIME_MAX;
use crate::proxy::Tunnel;

/// How long a client may leave what was sent to it unread.
const UNREAD_MAX: Duration = Duration::from_secs(60);

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
    tunnel: Mutex<Option<Tunnel>>,
}

/// What should become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It is busy.
    Busy,
    /// It has nothing to do.
    Idle,
    /// It must be closed, for this reason.
    Stuck(&'static str),
}

/// What was seen at earlier looks.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    /// For how long a head has been unfinished.
    head: Duration,
    /// For how long nothing could be written.
    blocked: Duration,
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

    /// Bytes in both directions.
    pub(crate) fn moved_bytes(&self) -> u64 {
        let read = self.read_bytes.load(Ordering::Relaxed);
        read.wrapping_add(self.written_bytes.load(Ordering::Relaxed))
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
        let written = self.written_bytes.load(Ordering::Relaxed);
        let moved = written != std::mem::replace(&mut earlier.written_bytes, written);
        if self.blocked.load(Ordering::Relaxed) {
            earlier.blocked = if moved {
                Duration::ZERO
            } else {
                earlier.blocked + since
            };
            if earlier.blocked >= UNREAD_MAX {
                return Look::Stuck("the client does not read");
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
            return Look::Stuck("the head of a request took too long");
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
}
