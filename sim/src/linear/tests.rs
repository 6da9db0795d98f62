use proptest::prelude::*;

use super::*;

const fn at(invoked: u64, returned: u64, act: Act, outcome: Outcome) -> Operation {
    Operation {
        client: 0,
        key: String::new(),
        act,
        invoked: Time(invoked),
        returned: Some(Time(returned)),
        outcome,
    }
}

const fn ok(found: Option<u64>) -> Outcome {
    Outcome::Ok { found, revision: 0 }
}

fn wrote(invoked: u64, returned: u64, act: Act) -> Operation {
    at(invoked, returned, act, ok(None))
}

fn read(invoked: u64, returned: u64, found: Option<u64>) -> Operation {
    at(invoked, returned, Act::Read, ok(found))
}

fn unknown(invoked: u64, act: Act) -> Operation {
    Operation {
        returned: None,
        ..at(invoked, 0, act, Outcome::Unknown)
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn histories_are_told_apart() {
    use Act::{Create, Delete, Put, Swap};
    let cases: Vec<(&str, Vec<Operation>, bool)> = vec![
        ("nothing happened", vec![], true),
        (
            "a read before anything finds nothing",
            vec![read(1, 2, None)],
            true,
        ),
        (
            "a read of what nobody wrote",
            vec![read(1, 2, Some(7))],
            false,
        ),
        (
            "one after the other",
            vec![
                wrote(1, 2, Create(1)),
                read(3, 4, Some(1)),
                wrote(5, 6, Delete),
                read(7, 8, None),
            ],
            true,
        ),
        (
            "a stale read",
            vec![
                wrote(1, 2, Create(1)),
                wrote(3, 4, Put(2)),
                read(5, 6, Some(1)),
            ],
            false,
        ),
        (
            "a read beside a write may find either",
            vec![
                wrote(1, 2, Create(1)),
                wrote(3, 9, Put(2)),
                read(4, 5, Some(1)),
                read(6, 7, Some(2)),
            ],
            true,
        ),
        (
            "but never the new and then the old",
            vec![
                wrote(1, 2, Create(1)),
                wrote(3, 9, Put(2)),
                read(4, 5, Some(2)),
                read(6, 7, Some(1)),
            ],
            false,
        ),
        (
            "an acknowledged write is lost",
            vec![
                wrote(1, 2, Create(1)),
                wrote(3, 4, Put(2)),
                wrote(5, 6, Swap { from: 1, to: 3 }),
            ],
            false,
        ),
        (
            "a write without an answer may come to pass late",
            vec![
                wrote(1, 2, Create(1)),
                unknown(3, Put(2)),
                read(4, 5, Some(1)),
                read(6, 7, Some(2)),
            ],
            true,
        ),
        (
            "or never",
            vec![
                wrote(1, 2, Create(1)),
                unknown(3, Put(2)),
                read(4, 5, Some(1)),
                read(6, 7, Some(1)),
            ],
            true,
        ),
        (
            "but not twice",
            vec![
                wrote(1, 2, Create(1)),
                unknown(3, Put(2)),
                read(4, 5, Some(2)),
                wrote(6, 7, Put(3)),
                read(8, 9, Some(2)),
            ],
            false,
        ),
        (
            "a write that failed was seen",
            vec![
                wrote(1, 2, Create(1)),
                at(3, 4, Put(2), Outcome::Failed),
                read(5, 6, Some(2)),
            ],
            false,
        ),
        (
            "created twice",
            vec![wrote(1, 2, Create(1)), wrote(3, 4, Create(2))],
            false,
        ),
        (
            "deleted before it was created",
            vec![wrote(1, 2, Delete), wrote(3, 4, Create(1))],
            false,
        ),
        (
            "two swaps of the same value",
            vec![
                wrote(1, 2, Create(1)),
                wrote(3, 6, Swap { from: 1, to: 2 }),
                wrote(3, 6, Swap { from: 1, to: 3 }),
            ],
            false,
        ),
    ];
    for (name, history, expected) in cases {
        let verdict = check(&history);
        assert_eq!(
            verdict == Verdict::Linearizable,
            expected,
            "{name}: {verdict:?}"
        );
        assert_ne!(verdict, Verdict::Undecided, "{name}");
    }
}

#[test]
fn the_operation_that_fits_nowhere_is_named() {
    let history = [
        wrote(1, 2, Act::Create(1)),
        wrote(3, 4, Act::Put(2)),
        read(5, 6, Some(1)),
    ];
    assert_eq!(check(&history), Verdict::Broken { stuck: 2 });
}

proptest! {
    /// Runs operations against one real register, each at some point between its begin and its end.
    #[test]
    fn what_one_register_did_is_linearizable_and_with_one_read_spoilt_it_is_not(
        plan in prop::collection::vec((0..4_u8, 0..30_u64, 0..30_u64, any::<bool>()), 1..40),
        spoilt in any::<prop::sample::Index>(),
    ) {
        let mut value = None;
        let mut history = Vec::new();
        for (number, (kind, early, late, answered)) in plan.into_iter().enumerate() {
            let point = 100 + 10 * number as u64;
            let fresh = number as u64 + 1;
            let (act, found) = match (kind, value) {
                (0, None) => (Act::Create(fresh), None),
                (0 | 1, Some(from)) if kind == 0 => (Act::Swap { from, to: fresh }, None),
                (1, Some(_)) => (Act::Put(fresh), None),
                (2, Some(_)) => (Act::Delete, None),
                _ => (Act::Read, value),
            };
            value = if act == Act::Read { value } else { act.writes() };
            let mut operation = at(point - early, point + late, act, ok(found));
            if !answered && act != Act::Read {
                (operation.outcome, operation.returned) = (Outcome::Unknown, None);
            }
            history.push(operation);
        }
        prop_assert_eq!(check(&history), Verdict::Linearizable);
        let reads: Vec<usize> = (0..history.len()).filter(|at| history[*at].act == Act::Read).collect();
        if !reads.is_empty() {
            history[reads[spoilt.index(reads.len())]].outcome = ok(Some(9999));
            let verdict = check(&history);
            prop_assert!(matches!(verdict, Verdict::Broken { .. }), "{:?}", verdict);
        }
    }
}
