//! Clients that write as fast as they are answered and remember what was acknowledged: the oracle of
//! the crash tests. What they write can be checked from its name alone.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::api::{Call, Identity};
use crate::cluster::{items, text};

/// Where they write.
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Bodies of several sizes, so that records end at every place of a block.
const VALUE_BYTES_MAX: u64 = 3000;

/// Some writers at work.
pub struct Writers {
    threads: Vec<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
}

impl Writers {
    /// Starts so many; `round` is part of every name, and a label.
    #[must_use]
    pub fn start(identity: &Identity, count: usize, round: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let number = Arc::new(AtomicU64::new(0));
        let threads = (0..count)
            .map(|_| {
                let (identity, round) = (identity.clone(), round.to_owned());
                let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
                let number = Arc::clone(&number);
                std::thread::spawn(move || {
                    let next = || number.fetch_add(1, Ordering::Relaxed);
                    let write = writes(&identity, &round, next, &stop, &acknowledged);
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

/// Writes until told to stop or until the server is gone.
async fn writes(
    identity: &Identity,
    round: &str,
    next: impl Fn() -> u64,
    stop: &AtomicBool,
    acknowledged: &Mutex<BTreeSet<String>>,
) {
    let Ok(mut connection) = identity.connect().await else {
        return;
    };
    while !stop.load(Ordering::Relaxed) {
        let name = format!("{round}-{}", next());
        let Ok(answer) = connection
            .send(&Call::post(CONFIG_MAPS, &object(&name, round)))
            .await
        else {
            // Neither acknowledged nor refused: it may be there or not.
            return;
        };
        assert_eq!(answer.status, 201, "{name}: {}", answer.text());
        locked(acknowledged).insert(name);
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
