//! The keys that a loop has to look at, now or at some time. Pure: whoever asks brings the time.

use std::collections::{BTreeMap, BTreeSet};

use skiff_api::Key;

/// A set of keys, each at most once: a thousand wake-ups for a key are one pass. `T` is a point in
/// time of whatever clock the loop lives by.
#[derive(Clone, Debug)]
pub struct Keys<T> {
    ready: BTreeSet<Key>,
    later: BTreeMap<Key, T>,
}

impl<T> Default for Keys<T> {
    fn default() -> Self {
        Self {
            ready: BTreeSet::new(),
            later: BTreeMap::new(),
        }
    }
}

impl<T: Copy + Ord> Keys<T> {
    /// Keys to look at now.
    pub fn add(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.ready.extend(keys);
    }

    /// A key to look at from `due` on, or earlier if that was asked for before.
    pub fn add_at(&mut self, key: Key, due: T) {
        let at = self.later.entry(key).or_insert(due);
        *at = due.min(*at);
    }

    /// Takes up to `most` of the keys whose time has come.
    pub fn take(&mut self, now: T, most: usize) -> Vec<Key> {
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
        std::iter::from_fn(|| self.ready.pop_first())
            .take(most)
            .collect()
    }

    /// Whether a key is to be looked at as soon as possible.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When the next of the other keys is due.
    #[must_use]
    pub fn next_due(&self) -> Option<T> {
        self.later.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_api::Kind;

    #[test]
    fn a_key_comes_once_and_not_before_its_time() {
        let key = |name| Key::cluster(Kind::Node, name);
        let mut keys = Keys::default();
        keys.add([key("b"), key("a"), key("b")]);
        keys.add_at(key("c"), 9);
        keys.add_at(key("c"), 5);
        keys.add_at(key("c"), 7);
        assert!(keys.is_ready());
        assert_eq!(keys.take(4, 1), [key("a")]);
        assert_eq!(keys.take(4, 9), [key("b")]);
        assert_eq!((keys.is_ready(), keys.next_due()), (false, Some(5)));
        assert_eq!(keys.take(5, 9), [key("c")]);
        assert_eq!(keys.next_due(), None);
    }
}
