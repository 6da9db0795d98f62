//! [`Keys`] that a task can wait for, on tokio's clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skiff_api::Key;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Keys;

/// Keys, and the one task that waits for them.
#[derive(Default)]
pub(super) struct Queue {
    keys: Mutex<Keys<Instant>>,
    changed: Notify,
}

impl Queue {
    /// Keys to look at now.
    pub(super) fn add(&self, keys: Vec<Key>) {
        if keys.is_empty() {
            return;
        }
        self.lock().add(keys);
        self.changed.notify_one();
    }

    /// A key to look at after `delay`, or earlier if that was asked for before.
    pub(super) fn add_in(&self, key: Key, delay: Duration) {
        self.lock().add_at(key, Instant::now() + delay);
        self.changed.notify_one();
    }

    /// Waits until there is a key and takes up to `most`.
    pub(super) async fn take(&self, most: usize) -> Vec<Key> {
        loop {
            let next = {
                let mut keys = self.lock();
                let taken = keys.take(Instant::now(), most);
                if !taken.is_empty() {
                    return taken;
                }
                keys.next_due()
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

    fn lock(&self) -> MutexGuard<'_, Keys<Instant>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
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
