use proptest::prelude::*;

use super::*;

/// A survivor of the group 1, 2, 3.
pub(in super::super) fn survivor(id: u64, last_term: u64, last_index: u64) -> Survivor {
    let names = [(1, "a"), (2, "b"), (3, "c")];
    Survivor {
        format: FORMAT,
        cluster: "ca".into(),
        id,
        name: String::new(),
        term: last_term + 1,
        last_index,
        last_term,
        commit: last_index - 2,
        checkpoint: 10,
        revision: last_index - 5,
        voters: vec![1, 2, 3],
        outgoing: Vec::new(),
        learners: Vec::new(),
        names: names.map(|(id, name)| (id, name.to_owned())).into(),
    }
}

fn of_group(voters: &[u64], outgoing: &[u64], survivor: Survivor) -> Survivor {
    Survivor {
        voters: voters.to_vec(),
        outgoing: outgoing.to_vec(),
        ..survivor
    }
}

#[test]
fn the_one_with_the_highest_term_and_then_the_highest_index_has_the_most() {
    type Case = (&'static str, &'static [(u64, u64)], usize);
    let cases: [Case; 5] = [
        ("alone", &[(3, 100)], 0),
        ("a longer log of the same term", &[(3, 100), (3, 101)], 1),
        ("a higher term and a shorter log", &[(3, 100), (4, 90)], 1),
        ("a lower term and a longer log", &[(4, 90), (3, 100)], 0),
        ("as much as the chosen one", &[(3, 100), (3, 100)], 0),
    ];
    for (name, logs, best) in cases {
        let survivors = logs.iter().zip(1..).map(|((term, index), id)| Survivor {
            commit: 80,
            ..of_group(&[1, 2, 3, 4, 5], &[], survivor(id, *term, *index))
        });
        let survivors: Vec<_> = survivors.collect();
        let verdict = judge(&survivors, 0).unwrap();
        assert_eq!(verdict.best, best, "{name}");
        assert_eq!(verdict.needs_force(), best != 0, "{name}");
    }
}

#[test]
fn what_may_be_lost_follows_from_who_is_missing() {
    type Case = (
        &'static str,
        &'static [u64],
        &'static [u64],
        &'static [u64],
        [bool; 2],
    );
    // Voters, those before a change under way, survivors; a quorum survives, may have lost.
    let cases: [Case; 7] = [
        ("one of three", &[1, 2, 3], &[], &[1], [false, true]),
        ("two of three", &[1, 2, 3], &[], &[1, 2], [true, false]),
        ("two of five", &[1, 2, 3, 4, 5], &[], &[1, 2], [false, true]),
        (
            "two of four: no quorum is missing",
            &[1, 2, 3, 4],
            &[],
            &[1, 2],
            [false, false],
        ),
        ("one of two", &[1, 2], &[], &[1], [false, false]),
        (
            "a change under way, one side lost",
            &[1, 4, 5],
            &[1, 2, 3],
            &[1, 2],
            [false, false],
        ),
        (
            "a change under way, both sides lost",
            &[1, 4, 5],
            &[1, 2, 3],
            &[1],
            [false, true],
        ),
    ];
    for (name, voters, outgoing, ids, [quorum, lost]) in cases {
        let survivors = ids
            .iter()
            .map(|id| of_group(voters, outgoing, survivor(*id, 3, 100)));
        let survivors: Vec<_> = survivors.collect();
        let verdict = judge(&survivors, 0).unwrap();
        assert_eq!(
            [verdict.quorum_survives, verdict.may_have_lost],
            [quorum, lost],
            "{name}"
        );
        assert!(verdict.missing.iter().all(|id| !ids.contains(id)), "{name}");
    }
}

#[test]
fn what_takes_force() {
    let alone = |id| of_group(&[id], &[], survivor(id, 3, 100));
    let behind = Survivor {
        commit: 100,
        ..survivor(2, 3, 99)
    };
    let cases = [
        ("a lone survivor", vec![survivor(1, 3, 100)], false),
        (
            "a quorum",
            vec![survivor(1, 3, 100), survivor(2, 3, 99)],
            true,
        ),
        (
            "one recovered before",
            vec![survivor(1, 3, 100), alone(2)],
            true,
        ),
        (
            "one that was removed",
            vec![of_group(&[2, 3, 4], &[], survivor(1, 3, 100))],
            true,
        ),
        (
            "a learner is a member",
            vec![Survivor {
                learners: vec![1],
                ..of_group(&[2, 3, 4], &[], survivor(1, 3, 100))
            }],
            false,
        ),
        ("what was committed is missing", vec![behind], true),
    ];
    for (name, survivors, force) in cases {
        let verdict = judge(&survivors, 0).unwrap();
        assert!(!verdict.done);
        assert_eq!(verdict.needs_force(), force, "{name}");
    }
    assert!(judge(&[alone(1)], 0).unwrap().done);
}

#[test]
fn reports_that_do_not_go_together_are_refused() {
    let one = survivor(1, 3, 100);
    let other = Survivor {
        cluster: "another".into(),
        ..survivor(2, 3, 100)
    };
    let newer = Survivor {
        format: FORMAT + 1,
        ..survivor(2, 3, 100)
    };
    let cases = [
        (vec![], JudgeError::Nobody),
        (vec![one.clone(), one.clone()], JudgeError::Twice { id: 1 }),
        (
            vec![one.clone(), other],
            JudgeError::Clusters { ids: (1, 2) },
        ),
        (vec![one, newer], JudgeError::Format { id: 2 }),
    ];
    for (survivors, expected) in cases {
        assert_eq!(judge(&survivors, 0), Err(expected));
    }
}

proptest! {
    #[test]
    fn a_quorum_cannot_be_there_and_missing(
        voters in prop::collection::btree_set(1..8_u64, 1..6),
        outgoing in prop::collection::btree_set(1..8_u64, 0..4),
        present in prop::collection::btree_set(1..8_u64, 1..8),
    ) {
        let (voters, outgoing): (Vec<_>, Vec<_>) =
            (voters.into_iter().collect(), outgoing.into_iter().collect());
        let survivors = present.iter().map(|id| of_group(&voters, &outgoing, survivor(*id, 3, 100)));
        let survivors: Vec<_> = survivors.collect();
        let verdict = judge(&survivors, 0).unwrap();
        prop_assert!(!(verdict.quorum_survives && verdict.may_have_lost));
        prop_assert_eq!(verdict.best, 0);
    }
}
