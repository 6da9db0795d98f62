//! Connections of clients: each is a task on one worker for its whole life. An idle one keeps
//! nothing but its socket.

mod accept;
mod activity;
mod http1;
mod http2;
mod tracked;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::access_log::AccessLog;
use crate::clock::Clock;
use crate::live::Live;
use crate::proxy::{Connection, carry};
use crate::report::Totals;

pub(crate) use accept::{Front, Workers, listen};
pub(crate) use activity::{Activity, Turn};
use tracked::Io;
pub(crate) use tracked::Tracked;

/// The longest that a head of a request may take, and a handshake.
const HEAD_TIME_MAX: Duration = Duration::from_secs(15);

/// How long a connection may wait for its next request.
const IDLE_MAX: Duration = Duration::from_secs(120);

/// How often a busy connection is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The largest head of a request, in bytes; more is answered with 431.
const HEAD_MAX: usize = 32 * 1024;

/// What HTTP/2 begins with when no TLS has agreed on it.
const PREFACE: &[u8] = b"PRI";

/// What all workers share.
pub(crate) struct Shared {
    live: RwLock<Arc<Live>>,
    /// How often that has changed.
    changes: AtomicU64,
    pub(crate) clock: Clock,
    pub(crate) log: Option<AccessLog>,
    pub(crate) totals: Totals,
    /// Requests that belong to no route.
    pub(crate) unrouted: AtomicU64,
    /// Open connections of clients.
    pub(crate) connections: AtomicUsize,
}

impl Shared {
    pub(crate) fn new(log: Option<AccessLog>) -> Self {
        Self {
            live: RwLock::default(),
            changes: AtomicU64::new(0),
            clock: Clock::start(),
            log,
            totals: Totals::default(),
            unrouted: AtomicU64::new(0),
            connections: AtomicUsize::new(0),
        }
    }

    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_live(&self, live: Arc<Live>) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = live;
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}

/// A thread that serves connections.
pub(crate) struct Worker {
    pub(crate) id: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: CancellationToken,
    pub(crate) tls: TlsAcceptor,
    seen: Mutex<Seen>,
}

/// The table as a worker saw it last. The worker looks at it alone: what all look at for each request
/// would go from one processor's cache to the other's and back.
#[derive(Default)]
pub(crate) struct Seen {
    changes: u64,
    live: Arc<Live>,
}

impl Seen {
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }
}

impl Worker {
    /// The table of this moment.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Read first: a change in between is only taken over once more.
        let changes = self.shared.changes.load(Ordering::SeqCst);
        if changes != seen.changes {
            *seen = Seen {
                changes,
                live: self.shared.live(),
            };
        }
        seen
    }
}

/// How serving a protocol ended.
enum Served {
    /// The connection is over.
    Over,
    /// It waits for its next request; these bytes of it are here already.
    Idle(Io, Bytes),
}

/// Serves one connection to its end.
pub(crate) async fn connection(worker: Arc<Worker>, stream: TcpStream, client: IpAddr, tls: bool) {
    worker.shared.connections.fetch_add(1, Ordering::Relaxed);
    let connection = Arc::new(Connection::new(Arc::clone(&worker), client, tls));
    let stop = worker.stop.clone();
    let served = async {
        if tls {
            secure(&connection, stream).await;
        } else {
            plain(&connection, stream).await;
        }
    };
    // Boxed by and by inside: what waits for a request must stay small.
    served.await;
    drop(stop);
    worker.shared.connections.fetch_sub(1, Ordering::Relaxed);
}

async fn plain(connection: &Arc<Connection>, stream: TcpStream) {
    let waited = timeout(IDLE_MAX, first_bytes(&stream));
    let is_http2 = tokio::select! {
        waited = waited => match waited {
            Ok(Ok(is_http2)) => is_http2,
            Ok(Err(_)) | Err(_) => return,
        },
        () = connection.worker.stop.cancelled() => return,
    };
    if is_http2 {
        Box::pin(http2::serve(connection, Io::Plain(stream))).await;
    } else {
        http1_with_pauses(connection, Io::Plain(stream)).await;
    }
}

/// Waits for a connection's first bytes: whether they are HTTP/2's. Takes none of them.
async fn first_bytes(stream: &TcpStream) -> std::io::Result<bool> {
    /// Between two looks at a beginning that could be either.
    const PAUSE: Duration = Duration::from_millis(5);
    let mut buffer = [0; PREFACE.len()];
    let mut looks = HEAD_TIME_MAX.as_millis() / PAUSE.as_millis();
    loop {
        let count = stream.peek(&mut buffer).await?;
        let seen = buffer.get(..count).unwrap_or_default();
        if seen == PREFACE {
            return Ok(true);
        }
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if !PREFACE.starts_with(seen) {
            return Ok(false);
        }
        looks = looks.checked_sub(1).ok_or(std::io::ErrorKind::TimedOut)?;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn secure(connection: &Arc<Connection>, stream: TcpStream) {
    // The handshake has its memory for itself: what it works with is larger than all that a waiting
    // connection keeps, also of those without TLS.
    let Some((io, is_http2)) = Box::pin(handshake(connection, stream)).await else {
        return;
    };
    if is_http2 {
        Box::pin(http2::serve(connection, io)).await;
    } else {
        http1_with_pauses(connection, io).await;
    }
}

/// Agrees on TLS, and whether on HTTP/2 as well; `None` if the connection is over.
async fn handshake(connection: &Arc<Connection>, stream: TcpStream) -> Option<(Io, bool)> {
    let worker = &connection.worker;
    let accepted = timeout(HEAD_TIME_MAX, worker.tls.accept(stream));
    let stream = tokio::select! {
        done = accepted => match done {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(client = %connection.client, %error, "no TLS with a client");
                return None;
            }
            Err(_) => return None,
        },
        () = worker.stop.cancelled() => return None,
    };
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Some((Io::Tls(Box::new(stream)), is_http2))
}

/// HTTP/1.1 with all its buffers only while there are requests.
async fn http1_with_pauses(connection: &Arc<Connection>, mut io: Io) {
    let mut early = Bytes::new();
    loop {
        match Box::pin(http1::serve(connection, io, early)).await {
            Served::Over => return,
            Served::Idle(back, bytes) => (io, early) = (back, bytes),
        }
        if !early.is_empty() {
            continue;
        }
        let more = timeout(IDLE_MAX, io.readable());
        tokio::select! {
            more = more => if !matches!(more, Ok(Ok(()))) { return },
            () = connection.worker.stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a function returns; nothing is called.
    fn size<A, B, C, D, R>(_: fn(A, B, C, D) -> R) -> usize {
        size_of::<R>()
    }

    #[test]
    fn a_connection_that_waits_is_small() {
        let bytes = size(connection);
        assert!(bytes <= 1024, "{bytes} bytes, and there may be thousands");
    }
}
