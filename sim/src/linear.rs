//! Whether a history of one key is linearizable: whether all operations can be put in one order in
//! which each took effect between its begin and its end, as if there was only one server.
//!
//! The search of Wing and Gong (1993) with the memory of Lowe (2017): states that were reached
//! before by other ways are not searched again.

use std::collections::BTreeSet;

use crate::history::{Act, Operation, Outcome};
use crate::time::Time;

/// Steps of one search. The keys of a simulation need some thousands; one that needs more says so
/// rather than hang.
const STEPS_MAX: usize = 2_000_000;

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none; the operation that could be put nowhere in the longest order found.
    Broken {
        /// Its index in the history given.
        stuck: usize,
    },
    /// The search was given up.
    Undecided,
}

/// An operation that may have had an effect.
struct Step {
    /// Its index in the history given.
    index: usize,
    act: Act,
    found: Option<u64>,
    invoked: Time,
    /// When it had surely happened; none if it need not have happened.
    returned: Option<Time>,
}

/// Judges the operations on one key; those on others must not be among them.
#[must_use]
pub fn check(history: &[Operation]) -> Verdict {
    let mut steps: Vec<Step> = history
        .iter()
        .enumerate()
        .filter_map(|(index, operation)| step(index, operation))
        .collect();
    steps.sort_by_key(|step| (step.invoked, step.index));
    Search {
        done: vec![false; steps.len()],
        steps,
        first: 0,
        seen: BTreeSet::new(),
        budget: STEPS_MAX,
        furthest: (0, 0),
    }
    .run()
}

fn step(index: usize, operation: &Operation) -> Option<Step> {
    let (found, returned) = match operation.outcome {
        Outcome::Ok { found, .. } => (found, operation.returned),
        // Nobody learnt anything of a read without an answer.
        Outcome::Unknown if operation.act == Act::Read => return None,
        Outcome::Unknown => (None, None),
        Outcome::Failed => return None,
    };
    Some(Step {
        index,
        act: operation.act,
        found,
        invoked: operation.invoked,
        returned,
    })
}

/// What the key holds after an operation; none if it could not have ended so on what was there.
fn apply(value: Option<u64>, step: &Step) -> Option<Option<u64>> {
    match step.act {
        Act::Create(new) => value.is_none().then_some(Some(new)),
        Act::Put(new) => value.is_some().then_some(Some(new)),
        Act::Swap { from, to } => (value == Some(from)).then_some(Some(to)),
        Act::Delete => value.is_some().then_some(None),
        Act::Read => (value == step.found).then_some(value),
    }
}

struct Search {
    steps: Vec<Step>,
    done: Vec<bool>,
    /// All before this one are done.
    first: usize,
    /// Where the search was: all before an index done, and of those behind it the ones whose bits are
    /// set, with this value.
    seen: BTreeSet<(usize, Vec<u64>, Option<u64>)>,
    budget: usize,
    /// How many were done at most, and who was stuck then.
    furthest: (usize, usize),
}

/// A choice that was made, to be taken back.
struct Choice {
    /// The candidates that are left to be tried, as indexes of steps, last one first.
    left: Vec<usize>,
    /// The one that is done now.
    chosen: Option<usize>,
    /// The value before it.
    before: Option<u64>,
}

impl Search {
    fn run(mut self) -> Verdict {
        let mut value = None;
        let mut path = vec![self.choice(value)];
        while let Some(top) = path.last_mut() {
            if let Some(chosen) = top.chosen.take() {
                value = top.before;
                self.undo(chosen);
            }
            let Some(next) = top.left.pop() else {
                path.pop();
                continue;
            };
            let Some(after) = self.steps.get(next).and_then(|step| apply(value, step)) else {
                continue;
            };
            self.budget = self.budget.saturating_sub(1);
            if self.budget == 0 {
                return Verdict::Undecided;
            }
            self.set(next, true);
            if !self.is_new(after) {
                self.undo(next);
                continue;
            }
            (top.chosen, top.before) = (Some(next), value);
            value = after;
            if self.is_complete() {
                return Verdict::Linearizable;
            }
            self.note_furthest();
            let choice = self.choice(value);
            path.push(choice);
        }
        if self.is_complete() {
            return Verdict::Linearizable;
        }
        Verdict::Broken {
            stuck: self.furthest.1,
        }
    }

    fn set(&mut self, step: usize, done: bool) {
        if let Some(slot) = self.done.get_mut(step) {
            *slot = done;
        }
        while self.done.get(self.first) == Some(&true) {
            self.first += 1;
        }
    }

    fn undo(&mut self, step: usize) {
        self.set(step, false);
        self.first = self.first.min(step);
    }

    fn is_new(&mut self, value: Option<u64>) -> bool {
        let behind = self.done.get(self.first..).unwrap_or_default();
        let bits = behind.chunks(64).map(|chunk| {
            let bits = chunk.iter().rev();
            bits.fold(0_u64, |bits, done| (bits << 1) | u64::from(*done))
        });
        let mut bits: Vec<u64> = bits.collect();
        while bits.last() == Some(&0) {
            bits.pop();
        }
        self.seen.insert((self.first, bits, value))
    }

    fn open(&self) -> impl Iterator<Item = (usize, &Step)> {
        let all = self.steps.iter().enumerate().skip(self.first);
        all.filter(|(index, _)| self.done.get(*index) == Some(&false))
    }

    /// Whether everything is done that surely happened.
    fn is_complete(&self) -> bool {
        self.open().all(|(_, step)| step.returned.is_none())
    }

    fn note_furthest(&mut self) {
        let done = self.done.iter().filter(|done| **done).count();
        if done > self.furthest.0 {
            let stuck = self.open().filter(|(_, step)| step.returned.is_some());
            let stuck = stuck.min_by_key(|(_, step)| step.returned);
            self.furthest = (done, stuck.map_or(0, |(_, step)| step.index));
        }
    }

    /// Who may be next: whoever began before all others had ended.
    fn choice(&self, value: Option<u64>) -> Choice {
        let ends = self.open().filter_map(|(_, step)| step.returned).min();
        let candidates = self
            .open()
            .take_while(|(_, step)| ends.is_none_or(|ends| step.invoked <= ends));
        let fitting = candidates.filter(|(_, step)| apply(value, step).is_some());
        let mut left: Vec<(bool, Option<Time>, usize)> = fitting
            .map(|(index, step)| (step.returned.is_none(), step.returned, index))
            .collect();
        // Those that surely happened are tried first, in the order in which they ended.
        left.sort_unstable_by(|a, b| b.cmp(a));
        Choice {
            left: left.into_iter().map(|(.., index)| index).collect(),
            chosen: None,
            before: value,
        }
    }
}

#[cfg(test)]
mod tests;
