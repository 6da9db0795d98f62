//! What waits for one member: bounded, and taken in batches by whoever writes to its connection.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use raft::eraftpb::{Message, MessageType};
use tokio::sync::Notify;

use super::message;

/// Messages that wait for one member; more are dropped, raft sends again.
const COUNT_MAX: usize = 4096;
/// Bytes of entries that wait for one member. A slow link must not eat the leader's memory, and
/// more than its inbox takes at once is of no use to anybody.
const BYTES_MAX: usize = 32 << 20;
/// Bytes written at once: what waits goes together, and a heartbeat is not kept behind more.
const BATCH_BYTES: usize = 1 << 20;

/// Messages for one member, and at most one snapshot.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    overflowed: Notify,
    announced: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Message>,
    bytes: usize,
    snapshot: Option<Message>,
}

impl Queue {
    /// Takes a message, or drops it if there is no room. Never waits.
    pub(super) fn push(&self, message: Message) {
        if message.get_msg_type() == MessageType::MsgSnapshot {
            // Raft waits for word of one snapshot per member: of two, the newer one counts.
            self.lock().snapshot = Some(message);
            self.announced.notify_one();
            return;
        }
        let taken = self.lock().push(message);
        if taken {
            self.arrived.notify_one();
        } else {
            self.overflowed.notify_one();
        }
    }

    /// Waits for messages and gives those that are there, encoded, up to about 1 MiB.
    pub(super) async fn batch(&self) -> Bytes {
        loop {
            let batch = self.lock().pop();
            if !batch.is_empty() {
                return encode(&batch);
            }
            self.arrived.notified().await;
        }
    }

    /// Waits until messages were dropped.
    pub(super) async fn overflowed(&self) {
        self.overflowed.notified().await;
    }

    /// Waits for the message that announces a snapshot.
    pub(super) async fn snapshot(&self) -> Message {
        loop {
            if let Some(message) = self.take_snapshot() {
                return message;
            }
            self.announced.notified().await;
        }
    }

    /// The announced snapshot, if there is one.
    pub(super) fn take_snapshot(&self) -> Option<Message> {
        self.lock().snapshot.take()
    }

    /// Whether a snapshot waits.
    pub(super) fn has_snapshot(&self) -> bool {
        self.lock().snapshot.is_some()
    }

    /// Forgets the messages: the member was not reached, and raft sends anew.
    pub(super) fn clear(&self) {
        let mut waiting = self.lock();
        let messages = std::mem::take(&mut waiting.messages);
        waiting.bytes = 0;
        drop(waiting);
        drop(messages);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, message: Message) -> bool {
        let bytes = entry_bytes(&message);
        // What carries no entries is small, and elections hang on it.
        let fits = bytes == 0 || self.bytes + bytes <= BYTES_MAX;
        if !fits || self.messages.len() >= COUNT_MAX {
            return false;
        }
        self.bytes += bytes;
        self.messages.push_back(message);
        true
    }

    fn pop(&mut self) -> Vec<Message> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(message) = self.messages.pop_front() {
            let len = entry_bytes(&message);
            if bytes > 0 && bytes + len > BATCH_BYTES {
                self.messages.push_front(message);
                break;
            }
            bytes += len;
            self.bytes -= len;
            batch.push(message);
        }
        batch
    }
}

fn encode(batch: &[Message]) -> Bytes {
    let bytes: usize = batch.iter().map(entry_bytes).sum();
    let mut out = Vec::with_capacity(bytes + 64 * batch.len());
    for message in batch {
        if let Err(err) = message::append(message, &mut out) {
            tracing::error!(error = %err, to = message.to, "a message was not sent");
        }
    }
    out.into()
}

/// The bytes of a message's entries; 0 if it has none.
fn entry_bytes(message: &Message) -> usize {
    /// What an entry takes beside its data.
    const HEAD: usize = 32;
    let entries = message.entries.iter();
    entries.map(|entry| entry.data.len() + HEAD).sum()
}

#[cfg(test)]
mod tests {
    use raft::eraftpb::Entry;

    use super::*;

    fn append(index: u64, len: usize) -> Message {
        let entry = Entry {
            data: vec![0; len].into(),
            ..Entry::default()
        };
        Message {
            index,
            entries: vec![entry].into(),
            ..Message::default()
        }
    }

    fn heartbeat() -> Message {
        Message {
            msg_type: MessageType::MsgHeartbeat,
            ..Message::default()
        }
    }

    #[test]
    fn what_waits_is_bounded_and_heartbeats_find_room() {
        let mut waiting = Waiting::default();
        let taken = (0..1000).take_while(|index| waiting.push(append(*index, 1 << 20)));
        assert_eq!(taken.count(), 31, "32 MiB with the heads of entries");
        assert!(waiting.push(heartbeat()));
        assert!(waiting.push(append(0, 1)), "what is small still fits");
        let more = (0..100_000).take_while(|_| waiting.push(heartbeat()));
        assert_eq!(more.count(), COUNT_MAX - 33);
    }

    #[test]
    fn a_batch_is_short_and_keeps_the_order() {
        let mut waiting = Waiting::default();
        let lens = [600_000, 600_000, 10, 10, 2 << 20, 10];
        for (index, len) in (0..).zip(lens) {
            assert!(waiting.push(append(index, len)));
        }
        let batches: Vec<Vec<u64>> = std::iter::from_fn(|| Some(waiting.pop()))
            .map(|batch| batch.iter().map(|message| message.index).collect())
            .take_while(|batch: &Vec<u64>| !batch.is_empty())
            .collect();
        assert_eq!(batches, [vec![0], vec![1, 2, 3], vec![4], vec![5]]);
        assert_eq!(waiting.bytes, 0);
    }

    #[tokio::test]
    async fn an_overflow_is_told_and_the_newest_snapshot_counts() {
        let queue = Queue::default();
        for index in 0..=COUNT_MAX as u64 {
            queue.push(append(index, 0));
        }
        queue.overflowed().await;
        for index in [1, 2] {
            queue.push(Message {
                msg_type: MessageType::MsgSnapshot,
                index,
                ..Message::default()
            });
        }
        assert_eq!(queue.snapshot().await.index, 2);
        assert!(!queue.has_snapshot());
        queue.clear();
        assert!(queue.lock().pop().is_empty());
    }
}
