//! Clients that write as fast as they are answered and remember what was acknowledged: the oracle of
//! the crash tests. What they write can be checked from its name alone.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{Answer, Call, Connection, Identity};
use crate::cluster::{items, text};

/// Where they write.
pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Bodies of several sizes, so that records end at every place of a block.
const VALUE_BYTES_MAX: u64 = 3000;

/// A server that does not answer so soon is left for another one.
const CONNECT_MAX: Duration = Duration::from_secs(1);
const ANSWER_MAX: Duration = Duration::from_secs(5);
const ELSEWHERE_AFTER: Duration = Duration::from_millis(20);

/// Some writers at work.
pub struct Writers {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
}

impl Writers {
    /// Starts so many that end when their server does; `round` is part of every name, and a label.
    #[must_use]
    pub fn start(identity: &Identity, count: usize, round: &str) -> Self {
        Self::start_with(count, round, |run| {
            let identity = identity.clone();
            Box::pin(async move { writes(&identity, &run).await })
        })
    }

    /// Starts so many that go on at another server when theirs is gone or refuses.
    #[must_use]
    pub fn start_over(servers: &[Identity], count: usize, round: &str) -> Self {
        Self::start_with(count, round, |run| {
            let servers = servers.to_vec();
            Box::pin(async move { writes_over(&servers, &run).await })
        })
    }

    fn start_with(
        count: usize,
        round: &str,
        write: impl Fn(Run) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let run = Run {
            round: round.to_owned(),
            number: Arc::default(),
            stop: Arc::clone(&stop),
            acknowledged: Arc::clone(&acknowledged),
        };
        let threads = (0..count)
            .map(|_| {
                let write = write(run.clone());
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build();
                    runtime.expect("a runtime").block_on(write);
                })
            })
            .collect();
        Self {
            threads,
            stop,
            acknowledged,
        }
    }

    /// How many writes were acknowledged so far.
    #[must_use]
    pub fn count(&self) -> usize {
        locked(&self.acknowledged).len()
    }

    /// The names acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> BTreeSet<String> {
        locked(&self.acknowledged).clone()
    }

    /// Ends the writers, whose server may be gone already, and returns what was acknowledged.
    ///
    /// # Panics
    /// If a writer was answered something else than a success.
    pub fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a writer ends well");
        }
        locked(&self.acknowledged).clone()
    }
}

/// What the writers of one round share.
#[derive(Clone)]
struct Run {
    round: String,
    number: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
}

impl Run {
    fn next(&self) -> String {
        format!(
            "{}-{}",
            self.round,
            self.number.fetch_add(1, Ordering::Relaxed)
        )
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    async fn write(&self, connection: &mut Connection, name: &str) -> Result<Answer, String> {
        let call = Call::post(CONFIG_MAPS, &object(name, &self.round));
        let answer = connection.send(&call).await?;
        if answer.status == 201 {
            locked(&self.acknowledged).insert(name.to_owned());
        }
        Ok(answer)
    }
}

/// Writes until told to stop or until the server is gone.
async fn writes(identity: &Identity, run: &Run) {
    let Ok(mut connection) = identity.connect().await else {
        return;
    };
    while !run.is_over() {
        let name = run.next();
        let Ok(answer) = run.write(&mut connection, &name).await else {
            // Neither acknowledged nor refused: it may be there or not.
            return;
        };
        assert_eq!(answer.status, 201, "{name}: {}", answer.text());
    }
}

/// Writes until told to stop, at whatever server takes it. Without a leader servers refuse or say
/// that they don't know; anything else is a failure.
async fn writes_over(servers: &[Identity], run: &Run) {
    for server in servers.iter().cycle() {
        if run.is_over() {
            return;
        }
        let opened = tokio::time::timeout(CONNECT_MAX, server.connect()).await;
        let Ok(Ok(mut connection)) = opened else {
            tokio::time::sleep(ELSEWHERE_AFTER).await;
            continue;
        };
        while !run.is_over() {
            let name = run.next();
            let sent = run.write(&mut connection, &name);
            match tokio::time::timeout(ANSWER_MAX, sent).await {
                Ok(Ok(answer)) if answer.status == 201 => {}
                Ok(Ok(answer)) => {
                    let known = [429, 500, 503, 504].contains(&answer.status);
                    assert!(known, "{name}: {} {}", answer.status, answer.text());
                    break;
                }
                Ok(Err(_)) | Err(_) => break,
            }
        }
    }
}

fn object(name: &str, round: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"round": round}},
        "data": {"value": value(name)},
    })
}

/// What an object of that name must contain: its length and its text follow from the name.
fn value(name: &str) -> String {
    let number = name
        .rsplit('-')
        .next()
        .and_then(|digits| digits.parse::<u64>().ok());
    let length = number.unwrap_or_default().wrapping_mul(0x9E37_79B9) % VALUE_BYTES_MAX;
    name.chars()
        .cycle()
        .take(usize::try_from(length).unwrap_or_default())
        .collect()
}

/// What a list lacks of the acknowledged, or has in part.
///
/// # Errors
/// The first few names with what is wrong about them.
pub fn check(list: &Value, acknowledged: &BTreeSet<String>) -> Result<(), String> {
    let ours = || items(list).filter(|map| map["metadata"]["labels"]["round"].is_string());
    let found: BTreeSet<String> = ours().map(|map| text(&map["metadata"]["name"])).collect();
    let lost = acknowledged
        .difference(&found)
        .map(|name| format!("{name} is lost"));
    let torn = ours()
        .filter(|map| text(&map["data"]["value"]) != value(&text(&map["metadata"]["name"])))
        .map(|map| format!("{} is not whole", map["metadata"]["name"]));
    let wrong: Vec<String> = lost.chain(torn).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let first: Vec<&str> = wrong.iter().take(5).map(String::as_str).collect();
    let (all, many) = (acknowledged.len(), wrong.len());
    Err(format!(
        "{many} of {all} acknowledged: {}",
        first.join(", ")
    ))
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
