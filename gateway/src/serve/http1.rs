//! HTTP/1.1 on one connection, until it is idle or over.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep};

use super::activity::{Earlier, Look};
use super::{Connection, HEAD_MAX, Io, LOOK, Served, Tracked, carry};
use crate::proxy;

/// The most that is read or written at once.
const BUFFER_MAX: usize = 64 * 1024;

/// When a connection is looked at for the first time; the next looks come later and later, up to
/// [`LOOK`]. Whoever has asked once and asks no more gives its buffers back before many others
/// have come, so that they can use the same memory.
const LOOK_FIRST: Duration = Duration::from_millis(50);

pub(super) async fn serve(connection: &Arc<Connection>, io: Io, early: Bytes) -> Served {
    let activity = Arc::clone(&connection.activity);
    let io = TokioIo::new(Tracked::new(io, early, Arc::clone(&activity)));
    let shared = Arc::clone(connection);
    let service = service_fn(move |request| proxy::serve(Arc::clone(&shared), request));
    // With a number of headers of our own, hyper would allocate room for them at each request.
    let mut builder = http1::Builder::new();
    builder
        .max_header_size(HEAD_MAX)
        .max_buf_size(BUFFER_MAX)
        .header_read_timeout(None);
    let mut served = builder.serve_connection(io, service);
    let mut pause = LOOK_FIRST;
    let mut next_look = pin!(sleep(pause));
    let (mut earlier, mut stopping) = (Earlier::default(), false);
    loop {
        tokio::select! {
            biased;
            ended = Pin::new(&mut served) => {
                if let (Ok(()), Some(tunnel)) = (&ended, activity.take_tunnel()) {
                    let parts = served.into_parts();
                    let client = parts.io.into_inner();
                    Box::pin(carry(client, parts.read_buf, tunnel)).await;
                }
                return Served::Over;
            }
            () = &mut next_look => {}
        }
        // Asked now and then instead of awaited: that takes a lock at each step of each connection,
        // and it is one lock for all.
        if !stopping && connection.worker.stop.is_cancelled() {
            stopping = true;
            Pin::new(&mut served).graceful_shutdown();
        }
        match activity.look(&mut earlier, pause) {
            Look::Busy => {
                pause = (pause * 2).min(LOOK);
                next_look.as_mut().reset(Instant::now() + pause);
            }
            Look::Idle if stopping => {
                next_look.as_mut().reset(Instant::now() + pause);
            }
            Look::Idle => {
                let parts = served.into_parts();
                let (io, early) = parts.io.into_inner().into_parts();
                let read = if parts.read_buf.is_empty() {
                    early
                } else {
                    parts.read_buf
                };
                return Served::Idle(io, read);
            }
            Look::Stuck(why) => {
                tracing::debug!(client = %connection.client, ?why, "connection closed");
                // It would hold its own connection, as the account of its request is in it.
                drop(activity.take_tunnel());
                return Served::Over;
            }
        }
    }
}
