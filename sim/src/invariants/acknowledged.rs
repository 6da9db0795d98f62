//! Writes that clients were told of, against what the servers applied.

use super::{Judgement, Log};
use crate::history::{Act, Operation, Outcome};
use crate::workload::value_of;
use skiff_api::Revision;

/// The sentence.
pub const SENTENCE: &str = "no acknowledged write is lost or reordered";

/// Looks each acknowledged write up in the log, and compares their order with that of time.
pub(super) fn check(log: &Log, history: &[Operation]) -> Judgement {
    let mut writes = Vec::new();
    for operation in history.iter().filter(|one| one.act != Act::Read) {
        let (Outcome::Ok { revision, .. }, Some(returned)) =
            (operation.outcome, operation.returned)
        else {
            continue;
        };
        stands(log, operation, revision)?;
        writes.push((returned, operation.invoked, revision));
    }
    in_order(writes)
}

fn stands(log: &Log, operation: &Operation, revision: u64) -> Judgement {
    let Operation {
        key, act, client, ..
    } = operation;
    let told = format!("client {client} was told that {act:?} of {key} made revision {revision}");
    let Some(change) = log.at(Revision(revision)) else {
        return Err(format!("{told}, but there is no such revision"));
    };
    let found = change.now.as_ref().map(value_of);
    if *change.key().name != **key || found != act.writes() {
        let name = &change.key().name;
        return Err(format!("{told}, but that holds {found:?} of {name}"));
    }
    Ok(())
}

/// Whatever was asked for after another write had been acknowledged has the later revision.
fn in_order(mut writes: Vec<(crate::time::Time, crate::time::Time, u64)>) -> Judgement {
    writes.sort_unstable();
    let mut begun: Vec<_> = writes.clone();
    begun.sort_unstable_by_key(|(_, invoked, _)| *invoked);
    let mut ended = writes.into_iter().peekable();
    let mut latest = 0;
    for (_, invoked, revision) in begun {
        while let Some((_, _, acknowledged)) = ended.next_if(|(returned, ..)| *returned < invoked) {
            latest = latest.max(acknowledged);
        }
        if revision <= latest {
            return Err(format!(
                "revision {revision} was asked for when {latest} had been acknowledged"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Time;

    #[test]
    fn the_order_of_revisions_is_that_of_time() {
        let at = |returned, invoked, revision| (Time(returned), Time(invoked), revision);
        let cases = [
            ("one after the other", vec![at(2, 1, 1), at(4, 3, 2)], true),
            ("side by side", vec![at(4, 1, 2), at(3, 2, 1)], true),
            (
                "the later one came before",
                vec![at(2, 1, 2), at(4, 3, 1)],
                false,
            ),
        ];
        for (name, writes, expected) in cases {
            assert_eq!(in_order(writes).is_ok(), expected, "{name}");
        }
    }
}
