//! HTTP/2 on one connection, until it is over.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::activity::{Earlier, Look, Stuck};
use super::{Connection, HEAD_MAX, HEAD_TIME_MAX, IDLE_MAX, Io, LOOK, Tracked};
use crate::proxy;

/// Requests under way on one connection.
const STREAMS_MAX: u32 = 128;

/// Bytes of a body that may be on their way before an endpoint has taken them.
const WINDOW: u32 = 256 * 1024;

/// A client that says nothing is asked whether it is there after this, and given up after as long.
const PING: Duration = Duration::from_secs(20);

pub(super) async fn serve(connection: &Arc<Connection>, io: Io) {
    let activity = Arc::clone(&connection.activity);
    let io = TokioIo::new(Tracked::new(io, Bytes::new(), Arc::clone(&activity)));
    let shared = Arc::clone(connection);
    let service = service_fn(move |request| proxy::serve(Arc::clone(&shared), request));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(4 * WINDOW)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let mut served = pin!(builder.serve_connection(io, service));
    let mut looks = interval_at(Instant::now() + LOOK, LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut earlier, mut ending) = (Earlier::default(), false);
    let (mut idle, mut begun) = (Duration::ZERO, 0);
    loop {
        tokio::select! {
            biased;
            _ = served.as_mut() => return,
            _ = looks.tick() => {
                // Awaited, it would take a lock of all connections at each step of each.
                if !ending && connection.worker.stop.is_cancelled() {
                    ending = true;
                    served.as_mut().graceful_shutdown();
                }
                let now = activity.begun();
                let rests = match activity.look(&mut earlier, LOOK) {
                    Look::Busy => now == 0,
                    Look::Idle => now == begun,
                    // Frames that belong to no request come at any time here.
                    Look::Stuck(Stuck::Head) => true,
                    Look::Stuck(why @ Stuck::Unread) => {
                        tracing::debug!(client = %connection.client, ?why, "connection closed");
                        return;
                    }
                };
                idle = if rests { idle + LOOK } else { Duration::ZERO };
                let longest = if now == 0 { HEAD_TIME_MAX } else { IDLE_MAX };
                if idle >= 2 * longest {
                    return;
                }
                if idle >= longest && !ending {
                    ending = true;
                    Pin::as_mut(&mut served).graceful_shutdown();
                }
                begun = now;
            }
        }
    }
}
