//! Linearizable reads: which index must be applied before a state may be shown.
//!
//! raft-rs drops a request without a word while there is no leader, or before a leader's first
//! commit, so each is asked again under a new context until it is answered or given up. It tells
//! contexts apart by their bytes alone, so those of all members and of all their lives must differ.

use std::time::{Duration, Instant};

use raft::ReadState;
use tokio::sync::oneshot;

/// Answered with the index to wait for; dropped if there was no answer in time.
pub(crate) type ReadRequest = oneshot::Sender<u64>;

/// An answer takes a round trip among peers; after this long it was lost.
const RETRY: Duration = Duration::from_millis(200);
/// An election is long over by then.
const GIVE_UP: Duration = Duration::from_secs(5);
/// Reads that wait for an answer; more are refused.
const WAITING_MAX: usize = 4096;

/// All requests that were handed in while one round is under way share the next one.
#[derive(Debug)]
pub(super) struct Reads {
    /// Of this member in this life.
    origin: [u64; 2],
    last_context: u64,
    asked: Option<Round>,
    next: Vec<(ReadRequest, Instant)>,
}

#[derive(Debug)]
struct Round {
    /// Every context under which it was asked; an answer to any is good.
    contexts: Vec<Vec<u8>>,
    asked_at: Instant,
    requests: Vec<(ReadRequest, Instant)>,
}

impl Reads {
    /// The reads of a `member`; `life` is another one after each start.
    pub(super) const fn new(member: u64, life: u64) -> Self {
        Self {
            origin: [member, life],
            last_context: 0,
            asked: None,
            next: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, requests: Vec<ReadRequest>, now: Instant) {
        let room = WAITING_MAX.saturating_sub(self.next.len());
        self.next.extend(
            requests
                .into_iter()
                .take(room)
                .map(|request| (request, now)),
        );
    }

    /// The context to ask raft for now, if it is time to.
    pub(super) fn ask(&mut self, now: Instant) -> Option<Vec<u8>> {
        let fresh = |since: &Instant| now.saturating_duration_since(*since) < GIVE_UP;
        let round = match &mut self.asked {
            Some(round) => {
                if now.saturating_duration_since(round.asked_at) < RETRY {
                    return None;
                }
                round.requests.retain(|(_, since)| fresh(since));
                round
            }
            None if self.next.is_empty() => return None,
            None => {
                let requests = std::mem::take(&mut self.next);
                self.asked.insert(Round {
                    contexts: Vec::new(),
                    asked_at: now,
                    requests,
                })
            }
        };
        if round.requests.is_empty() {
            self.asked = None;
            return None;
        }
        self.last_context += 1;
        round.asked_at = now;
        let [member, life] = self.origin;
        let context = [member, life, self.last_context].map(u64::to_be_bytes);
        let context = context.concat();
        round.contexts.push(context.clone());
        Some(context)
    }

    /// Takes raft's answers.
    pub(super) fn answer(&mut self, states: Vec<ReadState>) {
        for state in states {
            let answered = self
                .asked
                .take_if(|round| round.contexts.contains(&state.request_ctx));
            for (request, _) in answered.into_iter().flat_map(|round| round.requests) {
                // Whoever asked may have gone away.
                let _gone = request.send(state.index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(context: Vec<u8>, index: u64) -> Vec<ReadState> {
        vec![ReadState {
            index,
            request_ctx: context,
        }]
    }

    #[test]
    fn a_lost_answer_is_asked_for_again_and_given_up_at_last() {
        let (mut reads, start) = (Reads::new(1, 7), Instant::now());
        let (request, mut reply) = oneshot::channel();
        reads.add(vec![request], start);
        let first = reads.ask(start).unwrap();
        assert_eq!(reads.ask(start), None, "it is under way");
        let second = reads.ask(start + RETRY).unwrap();
        assert_ne!(first, second, "contexts are unique");
        assert!(reply.try_recv().is_err());
        assert_eq!(reads.ask(start + GIVE_UP), None);
        assert_eq!(reply.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }

    #[test]
    fn contexts_of_other_members_and_of_other_lives_are_others() {
        let start = Instant::now();
        let context = |member, life| {
            let mut reads = Reads::new(member, life);
            reads.add(vec![oneshot::channel().0], start);
            reads.ask(start).unwrap()
        };
        assert_ne!(context(1, 7), context(2, 7));
        assert_ne!(context(1, 7), context(1, 8));
    }

    #[test]
    fn a_late_answer_to_an_earlier_asking_counts_and_later_reads_need_a_new_one() {
        let (mut reads, start) = (Reads::new(1, 7), Instant::now());
        let (early, mut early_reply) = oneshot::channel();
        let (late, mut late_reply) = oneshot::channel();
        reads.add(vec![early], start);
        let context = reads.ask(start).unwrap();
        reads.ask(start + RETRY).unwrap();
        reads.add(vec![late], start);
        reads.answer(answer(context.clone(), 7));
        assert_eq!(early_reply.try_recv(), Ok(7));
        reads.answer(answer(context, 7));
        assert!(late_reply.try_recv().is_err(), "it came after the asking");
        let context = reads.ask(start + RETRY).unwrap();
        reads.answer(answer(context, 9));
        assert_eq!(late_reply.try_recv(), Ok(9));
    }
}
