//! What upstream said, for as long as it said that it holds. Pure: time comes as an argument.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, Record, RecordType};

use super::answer::Answer;

/// Answers kept; with some hundred bytes each, a few megabytes at most.
const ENTRIES_MAX: usize = 4096;

/// Records of an answer that is kept: a bigger one is asked for again.
const RECORDS_MAX: usize = 64;

/// The longest that an answer is kept, whatever it says of itself, in seconds.
const TTL_MAX: u32 = 3600;

/// The longest that a "no" is kept, in seconds.
const NEGATIVE_MAX: u32 = 60;

/// What tells questions apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    name: String,
    kind: RecordType,
    class: DNSClass,
    dnssec: bool,
    unchecked: bool,
}

impl Question {
    pub(super) fn new(query: &Query, dnssec: bool, unchecked: bool) -> Self {
        Self {
            name: query.name().to_lowercase().to_ascii(),
            kind: query.query_type(),
            class: query.query_class(),
            dnssec,
            unchecked,
        }
    }
}

struct Kept {
    answer: Answer,
    since: Instant,
    until: Instant,
}

/// Answers by question.
#[derive(Default)]
pub(super) struct Cache {
    kept: HashMap<Question, Kept>,
}

impl Cache {
    /// What was kept, with its remaining time to live.
    pub(super) fn get(&self, question: &Question, now: Instant) -> Option<Answer> {
        let kept = self.kept.get(question).filter(|kept| now < kept.until)?;
        let age = now.saturating_duration_since(kept.since).as_secs();
        let age = u32::try_from(age).unwrap_or(u32::MAX);
        let mut answer = kept.answer.clone();
        for record in records_mut(&mut answer) {
            record.ttl = record.ttl.saturating_sub(age);
        }
        Some(answer)
    }

    /// Keeps an answer if it may be kept.
    pub(super) fn put(&mut self, question: Question, answer: &Answer, now: Instant) {
        let count = answer.answers.len() + answer.authorities.len() + answer.additionals.len();
        let seconds = lifetime(answer).unwrap_or(0);
        // What is not whole may be so the next time.
        if seconds == 0 || count > RECORDS_MAX || answer.truncated {
            return;
        }
        if self.kept.len() >= ENTRIES_MAX {
            self.make_room(now);
        }
        let until = now + Duration::from_secs(seconds.into());
        let (answer, since) = (answer.clone(), now);
        let kept = Kept {
            answer,
            since,
            until,
        };
        self.kept.insert(question, kept);
    }

    /// Forgets what has expired; if that is not much, half of the rest as well, so that this is not
    /// done again for each answer.
    fn make_room(&mut self, now: Instant) {
        self.kept.retain(|_, kept| now < kept.until);
        let mut keep = false;
        if self.kept.len() > ENTRIES_MAX / 2 {
            self.kept.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }
}

fn records_mut(answer: &mut Answer) -> impl Iterator<Item = &mut Record> {
    let more = answer.authorities.iter_mut().chain(&mut answer.additionals);
    answer.answers.iter_mut().chain(more)
}

/// How long an answer may be kept, in seconds; none if it does not say so.
fn lifetime(answer: &Answer) -> Option<u32> {
    let shortest = answer.answers.iter().map(|record| record.ttl).min();
    let of_soa = answer.authorities.iter().find_map(|record| {
        let RData::SOA(soa) = &record.data else {
            return None;
        };
        Some(record.ttl.min(soa.minimum).min(NEGATIVE_MAX))
    });
    if answer.code == ResponseCode::NXDomain {
        return Some(of_soa?.min(shortest.unwrap_or(u32::MAX)));
    }
    if answer.code != ResponseCode::NoError {
        return None;
    }
    // Without an SOA, answers are the data itself; with one, they only lead to a "no".
    match (shortest, of_soa) {
        (Some(ttl), None) => Some(ttl.min(TTL_MAX)),
        (Some(ttl), Some(no)) => Some(ttl.min(no)),
        (None, no) => no,
    }
}
