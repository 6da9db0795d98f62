//! Load on the API: some connections, each sending its next request when the last is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use skiff_tests::api::{Call, Identity};

/// When a round ends.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// So much time has passed.
    Elapsed(Duration),
    /// So many requests were sent.
    Sent(u64),
}

/// What one round of load came to.
pub(crate) struct Round {
    /// Answers per second.
    pub(crate) rate: f64,
    /// Half of the answers came within this, in ms.
    pub(crate) p50_ms: f64,
    /// 99 of 100 answers came within this, in ms.
    pub(crate) p99_ms: f64,
    /// Answers in all.
    pub(crate) count: usize,
}

/// Asks over `connections`, spread evenly over `servers`, until a bound; `call` makes the request of
/// a running number.
///
/// # Panics
/// If any answer is not of status `expected`: a figure for failures would mean nothing.
pub(crate) fn drive(
    servers: &[Identity],
    connections: usize,
    until: Until,
    expected: u16,
    call: impl Fn(u64) -> Call + Send + Sync + 'static,
) -> Round {
    // One thread: the other cores belong to the server.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let call = Arc::new(call);
    let number = Arc::new(AtomicU64::new(0));
    let (latencies, elapsed) = runtime.block_on(async {
        let mut open = Vec::new();
        for server in servers.iter().cycle().take(connections) {
            open.push(server.connect().await.expect("the server accepts"));
        }
        let began = Instant::now();
        let tasks: Vec<_> = open
            .into_iter()
            .map(|mut connection| {
                let (call, number) = (Arc::clone(&call), Arc::clone(&number));
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    loop {
                        let number = number.fetch_add(1, Ordering::Relaxed);
                        let over = match until {
                            Until::Elapsed(time) => began.elapsed() >= time,
                            Until::Sent(count) => number >= count,
                        };
                        if over {
                            return latencies;
                        }
                        let call = call(number);
                        let sent = Instant::now();
                        let answer = connection.send(&call).await.expect("an answer");
                        latencies.push(sent.elapsed());
                        assert_eq!(answer.status, expected, "{}: {}", call.path, answer.text());
                    }
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await.expect("no request fails"));
        }
        (latencies, began.elapsed())
    });
    Round::of(latencies, elapsed)
}

impl Round {
    /// Counts answers up: how long each took, and how long all of them.
    pub(crate) fn of(mut latencies: Vec<Duration>, elapsed: Duration) -> Self {
        latencies.sort();
        let quantile = |share: usize| {
            let at = latencies.len() * share / 100;
            latencies.get(at).copied().unwrap_or_default().as_secs_f64() * 1000.0
        };
        let count = latencies.len();
        let answers = u32::try_from(count).map_or(f64::INFINITY, f64::from);
        Self {
            rate: answers / elapsed.as_secs_f64(),
            p50_ms: quantile(50),
            p99_ms: quantile(99),
            count,
        }
    }
}
