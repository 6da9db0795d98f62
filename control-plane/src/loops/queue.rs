//! The keys that a loop has to look at, now or at some time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skiff_api::Key;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A set of keys, each at most once: a thousand wake-ups for a key are one pass.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    ready: BTreeSet<Key>,
    later: BTreeMap<Key, Instant>,
}

impl Queue {
    /// Keys to look at now.
    pub(super) fn add(&self, keys: Vec<Key>) {
        if keys.is_empty() {
            return;
        }
        self.lock().ready.extend(keys);
        self.changed.notify_one();
    }

    /// A key to look at after `delay`, or earlier if that was asked for before.
    pub(super) fn add_in(&self, key: Key, delay: Duration) {
        let due = Instant::now() + delay;
        let mut inner = self.lock();
        let at = inner.later.entry(key).or_insert(due);
        *at = due.min(*at);
        drop(inner);
        self.changed.notify_one();
    }

    /// Waits until there is a key and takes up to `most`.
    pub(super) async fn take(&self, most: usize) -> Vec<Key> {
        loop {
            let next = {
                let mut inner = self.lock();
                inner.ripen(Instant::now());
                if !inner.ready.is_empty() {
                    return inner.pop(most);
                }
                inner.later.values().min().copied()
            };
            match next {
                Some(due) => {
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn ripen(&mut self, now: Instant) {
        let due: Vec<Key> = self
            .later
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.later.remove(&key);
            self.ready.insert(key);
        }
    }

    fn pop(&mut self, most: usize) -> Vec<Key> {
        std::iter::from_fn(|| self.ready.pop_first())
            .take(most)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_api::Kind;

    fn key(name: &str) -> Key {
        Key::cluster(Kind::Node, name)
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_comes_once_and_the_earlier_time_wins() {
        let queue = Queue::default();
        let begun = Instant::now();
        queue.add(vec![key("a"), key("b"), key("a")]);
        queue.add_in(key("c"), Duration::from_secs(9));
        queue.add_in(key("c"), Duration::from_secs(5));
        queue.add_in(key("c"), Duration::from_secs(7));
        assert_eq!(queue.take(10).await, [key("a"), key("b")]);
        assert_eq!(queue.take(10).await, [key("c")]);
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_loop_is_woken_by_a_key() {
        let queue = std::sync::Arc::new(Queue::default());
        let waiting = tokio::spawn({
            let queue = queue.clone();
            async move { queue.take(1).await }
        });
        tokio::task::yield_now().await;
        queue.add(vec![key("a"), key("b")]);
        assert_eq!(waiting.await.unwrap(), [key("a")]);
        assert_eq!(queue.take(1).await, [key("b")]);
    }
}
