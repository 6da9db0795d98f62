//! What clients were told, against a single register per key.

use std::collections::BTreeMap;

use super::Judgement;
use crate::history::Operation;
use crate::linear::{self, Verdict};

/// The sentence.
pub const SENTENCE: &str = "what clients read and write is linearizable";

/// Judges every key by itself: linearizability is local.
pub(super) fn check(history: &[Operation]) -> Judgement {
    let mut keys: BTreeMap<&str, Vec<Operation>> = BTreeMap::new();
    for operation in history {
        let of_key = keys.entry(&operation.key).or_default();
        of_key.push(operation.clone());
    }
    for (key, operations) in keys {
        match linear::check(&operations) {
            Verdict::Linearizable => {}
            Verdict::Undecided => {
                return Err(format!("the history of {key} is too tangled to be judged"));
            }
            Verdict::Broken { stuck } => return Err(story(key, &operations, stuck)),
        }
    }
    Ok(())
}

/// The operations around the one that fits nowhere.
fn story(key: &str, operations: &[Operation], stuck: usize) -> String {
    const AROUND: usize = 8;
    let mut text = format!("the history of {key} has no order; this fits nowhere (>):");
    let first = stuck.saturating_sub(AROUND);
    let shown = operations.iter().enumerate().skip(first).take(2 * AROUND);
    for (index, one) in shown {
        let mark = if index == stuck { '>' } else { ' ' };
        let returned = one.returned.map_or_else(String::new, |at| at.to_string());
        text.push_str(&format!(
            "\n {mark} {} .. {returned} c{} {:?} -> {:?}",
            one.invoked,
            one.client + 1,
            one.act,
            one.outcome
        ));
    }
    text
}
