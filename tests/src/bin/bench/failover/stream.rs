//! Clients that write at a steady pace, know all servers, and go to the next one when an attempt
//! fails. They remember what was acknowledged and when.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use skiff_tests::api::Connection;

use super::group::Endpoint;

const CLIENTS: usize = 4;
/// Between two writes of a client, also after one that failed: much less than an election takes.
const PACE: Duration = Duration::from_millis(10);
/// What a client grants an attempt before it tries the next server. A server without a leader may
/// hold a request for seconds, and a client that waits for it would measure that instead.
const ATTEMPT_MAX: Duration = Duration::from_millis(250);

/// An acknowledged write.
struct Ack {
    client: usize,
    name: String,
    sent: Instant,
    taken: Instant,
}

/// What the clients tell.
#[derive(Default)]
struct Log {
    acks: Vec<Ack>,
    last_failure: String,
}

/// The clients at work.
pub(super) struct Stream {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Log>>,
}

impl Stream {
    /// Starts them, each at another server.
    pub(super) fn start(endpoints: Vec<Endpoint>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let log = Arc::new(Mutex::new(Log::default()));
        let (told, kept) = (Arc::clone(&stop), Arc::clone(&log));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let clients: Vec<_> = (0..CLIENTS)
                    .map(|number| {
                        let client = Client::new(number, endpoints.clone());
                        tokio::spawn(client.write(Arc::clone(&told), Arc::clone(&kept)))
                    })
                    .collect();
                for client in clients {
                    client.await.expect("a client ends well");
                }
            });
        });
        Self { thread, stop, log }
    }

    /// For each client when its first write that was sent after `since` was acknowledged.
    pub(super) fn first_taken(&self, since: Instant) -> Vec<Option<Instant>> {
        let log = locked(&self.log);
        // The newest come last, and only some are younger than `since`.
        let young = log.acks.iter().rev().take_while(|ack| ack.taken > since);
        first_taken(young, since)
    }

    /// Why the last attempt that failed did.
    pub(super) fn last_failure(&self) -> String {
        locked(&self.log).last_failure.clone()
    }

    /// Ends the clients and returns the names of all writes that were acknowledged.
    pub(super) fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the clients end well");
        let mut log = locked(&self.log);
        log.acks.drain(..).map(|ack| ack.name).collect()
    }
}

fn first_taken<'a>(acks: impl Iterator<Item = &'a Ack>, since: Instant) -> Vec<Option<Instant>> {
    let mut first = vec![None; CLIENTS];
    for ack in acks.filter(|ack| ack.sent >= since) {
        if let Some(slot) = first.get_mut(ack.client) {
            let earlier = slot.is_none_or(|known| ack.taken < known);
            if earlier {
                *slot = Some(ack.taken);
            }
        }
    }
    first
}

/// One client: at one server at a time, over one connection.
struct Client {
    number: usize,
    endpoints: Vec<Endpoint>,
    at: usize,
    open: Option<Connection>,
}

impl Client {
    fn new(number: usize, endpoints: Vec<Endpoint>) -> Self {
        let at = number % endpoints.len().max(1);
        Self {
            number,
            endpoints,
            at,
            open: None,
        }
    }

    async fn write(mut self, stop: Arc<AtomicBool>, log: Arc<Mutex<Log>>) {
        let mut count = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            // A write whose fate is unknown is not tried again: each attempt has its own name.
            let name = format!("w{}-{count}", self.number);
            count += 1;
            let sent = Instant::now();
            let tried = tokio::time::timeout(ATTEMPT_MAX, self.attempt(&name)).await;
            match tried.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
                Ok(()) => locked(&log).acks.push(Ack {
                    client: self.number,
                    name,
                    sent,
                    taken: Instant::now(),
                }),
                Err(why) => {
                    locked(&log).last_failure = why;
                    self.open = None;
                    self.at = (self.at + 1) % self.endpoints.len().max(1);
                }
            }
            tokio::time::sleep(PACE).await;
        }
    }

    async fn attempt(&mut self, name: &str) -> Result<(), String> {
        let endpoint = self.endpoints.get(self.at).ok_or("there is no server")?;
        let mut connection = match self.open.take() {
            Some(connection) => connection,
            None => endpoint.connect().await?,
        };
        let answer = connection.send(&endpoint.write(name)).await?;
        if !endpoint.acknowledges(&answer) {
            return Err(format!("{}: {}", answer.status, answer.text()));
        }
        self.open = Some(connection);
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writes_sent_after_the_kill_count_and_the_earliest_of_each_client() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let ack = |client, sent, taken| Ack {
            client,
            name: String::new(),
            sent: at(sent),
            taken: at(taken),
        };
        let acks = [
            ack(0, 90, 130), // before the kill: the old leader may have answered it
            ack(0, 140, 150),
            ack(0, 160, 170),
            ack(1, 100, 900),
        ];
        for seen in [acks.iter().collect::<Vec<_>>(), acks.iter().rev().collect()] {
            let first = first_taken(seen.into_iter(), at(100));
            assert_eq!(first, [Some(at(150)), Some(at(900)), None, None]);
        }
    }
}
