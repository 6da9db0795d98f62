use snapbox::{assert_data_eq, str};

use super::super::decide::tests::survivor;
use super::super::judge;
use super::*;

fn told(survivors: &[Survivor]) -> String {
    let verdict = judge(survivors, 0).unwrap();
    let mut text = explain(survivors, &verdict).join("\n");
    text.push('\n');
    text
}

#[test]
fn a_lone_survivor() {
    assert_data_eq!(
        told(&[survivor(2, 7, 1234)]),
        str![[r#"
server "b" (member 2): last entry 1234 of term 7, 1232 known to be committed, checkpoint at 10, term 8, revision 1229
The group at entry 1234: server "a" (member 1), server "b" (member 2), server "c" (member 3); it takes 2 of them to go on
Nothing is known of server "a" (member 1), server "c" (member 3): if a data directory of theirs can still be read, name it too, with --data-dir or --survivor
Everything up to entry 1234 would be kept, as server "b" (member 2) has it
Entries 1233 to 1234 may have been acknowledged or not; they would be kept, too
Writes behind entry 1234 that only the missing members acknowledged would be lost, and nobody can tell whether there were any

"#]]
    );
}

#[test]
fn a_worse_one_beside_a_better_one() {
    let group = |survivor| Survivor {
        voters: vec![1, 2, 3, 4, 5],
        ..survivor
    };
    let worse = Survivor {
        commit: 1000,
        ..survivor(1, 7, 1000)
    };
    assert_data_eq!(
        told(&[group(worse), group(survivor(2, 8, 1234))]),
        str![[r#"
server "a" (member 1): last entry 1000 of term 7, 1000 known to be committed, checkpoint at 10, term 8, revision 995
server "b" (member 2): last entry 1234 of term 8, 1232 known to be committed, checkpoint at 10, term 9, revision 1229
The group at entry 1234: server "a" (member 1), server "b" (member 2), server "c" (member 3), member 4, member 5; it takes 3 of them to go on
Nothing is known of server "c" (member 3), member 4, member 5: if a data directory of theirs can still be read, name it too, with --data-dir or --survivor
STOP: server "b" (member 2) has more: up to entry 1234 of term 8, and server "a" (member 1) only up to entry 1000 of term 7. Recover that one
STOP: entries 1001 to 1232 were acknowledged, server "a" (member 1) does not have them, and they would be lost
Everything up to entry 1000 would be kept, as server "a" (member 1) has it
Writes behind entry 1000 that only the missing members acknowledged would be lost, and nobody can tell whether there were any

"#]]
    );
}

#[test]
fn a_quorum() {
    assert_data_eq!(
        told(&[survivor(1, 7, 1234), survivor(2, 7, 1234)]),
        str![[r#"
server "a" (member 1): last entry 1234 of term 7, 1232 known to be committed, checkpoint at 10, term 8, revision 1229
server "b" (member 2): last entry 1234 of term 7, 1232 known to be committed, checkpoint at 10, term 8, revision 1229
The group at entry 1234: server "a" (member 1), server "b" (member 2), server "c" (member 3); it takes 2 of them to go on
Nothing is known of server "c" (member 3): if a data directory of theirs can still be read, name it too, with --data-dir or --survivor
STOP: these are enough to go on. Start their servers instead: nothing is lost, and nothing needs to be recovered
Everything up to entry 1234 would be kept, as server "a" (member 1) has it
Entries 1233 to 1234 may have been acknowledged or not; they would be kept, too
Nothing that was acknowledged would be lost

"#]]
    );
}

#[test]
fn a_change_of_members_under_way() {
    let changing = Survivor {
        voters: vec![1, 4, 5],
        outgoing: vec![1, 2, 3],
        learners: vec![6],
        ..survivor(1, 7, 1234)
    };
    assert_data_eq!(
        told(&[changing]),
        str![[r#"
server "a" (member 1): last entry 1234 of term 7, 1232 known to be committed, checkpoint at 10, term 8, revision 1229
The group at entry 1234: server "a" (member 1), member 4, member 5; it takes 2 of them to go on, and, since a change of members is under way, a majority of server "a" (member 1), server "b" (member 2), server "c" (member 3); without a vote: member 6
Nothing is known of server "b" (member 2), server "c" (member 3), member 4, member 5: if a data directory of theirs can still be read, name it too, with --data-dir or --survivor
Everything up to entry 1234 would be kept, as server "a" (member 1) has it
Entries 1233 to 1234 may have been acknowledged or not; they would be kept, too
Writes behind entry 1234 that only the missing members acknowledged would be lost, and nobody can tell whether there were any

"#]]
    );
}

#[test]
fn one_that_is_alone_already() {
    let alone = Survivor {
        voters: vec![1],
        ..survivor(1, 7, 1234)
    };
    assert_data_eq!(
        told(&[alone]),
        str![[r#"
server "a" (member 1): last entry 1234 of term 7, 1232 known to be committed, checkpoint at 10, term 8, revision 1229
server "a" (member 1) is the only member of its group already: there is nothing to do but to start it

"#]]
    );
}
