//! The net has no holes: each mistake that servers, agents or clients could make is noticed within
//! two hundred seeds, by a sentence that it violates.

use skiff_sim::invariants::{
    acknowledged, agreement, alive, healed, leaders, linearizable, placement, revisions, watches,
};
use skiff_sim::{Fault, Mutation, Options, simulate};

/// Seeds that a mistake may hide in.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=200;

/// Makes a mistake in one seed after the other until it is noticed.
fn is_noticed(mutation: Mutation, by: &[&str]) {
    is_noticed_among(&Fault::ALL, mutation, by);
}

/// The same where only some faults happen.
fn is_noticed_among(faults: &[Fault], mutation: Mutation, by: &[&str]) {
    let found = SEEDS.into_iter().find_map(|seed| {
        let options = Options {
            mutation: Some(mutation),
            faults: faults.to_vec(),
            ..Options::short(seed)
        };
        simulate(&options).violation
    });
    let sentence = found.as_ref().map(|violation| violation.sentence);
    assert!(
        sentence.is_some(),
        "{mutation} was not noticed in {SEEDS:?}"
    );
    let expected = sentence.is_some_and(|sentence| by.contains(&sentence));
    assert!(
        expected,
        "{mutation} was noticed by another sentence: {found:?}"
    );
}

#[test]
fn what_is_not_synced_is_lost_by_a_crash() {
    let by = [alive::SENTENCE, agreement::SENTENCE, acknowledged::SENTENCE];
    is_noticed(Mutation::AcknowledgeBeforeSync, &by);
}

#[test]
fn a_vote_must_not_be_forgotten() {
    // The log notices that a frame is missing before the vote is given twice.
    let by = [alive::SENTENCE, leaders::SENTENCE];
    is_noticed_among(&[Fault::Crash, Fault::TornWrite], Mutation::ForgetVote, &by);
}

#[test]
fn an_empty_disk_must_not_come_back_under_an_old_id() {
    let by = [
        alive::SENTENCE,
        agreement::SENTENCE,
        leaders::SENTENCE,
        acknowledged::SENTENCE,
    ];
    is_noticed(Mutation::ForgetDisk, &by);
}

#[test]
fn a_write_that_was_only_proposed_is_not_acknowledged() {
    let by = [
        acknowledged::SENTENCE,
        linearizable::SENTENCE,
        // Agents believe what they are told as well.
        healed::SENTENCE,
    ];
    is_noticed(Mutation::AcknowledgeBeforeCommit, &by);
}

#[test]
fn a_write_that_may_have_happened_has_not_failed() {
    let faults = [Fault::Partition, Fault::Transfer];
    is_noticed_among(
        &faults,
        Mutation::CallUnknownFailed,
        &[linearizable::SENTENCE],
    );
}

#[test]
fn every_entry_is_applied_everywhere() {
    let by = [agreement::SENTENCE, revisions::SENTENCE];
    is_noticed(Mutation::SkipEntry, &by);
}

#[test]
fn a_servers_own_state_is_not_the_latest() {
    let by = [linearizable::SENTENCE, watches::SENTENCE];
    is_noticed(Mutation::StaleRead, &by);
}

#[test]
fn a_server_that_was_paused_must_not_refuse_what_it_sees_in_its_old_state() {
    // An agent was told that its pod is gone, and never asked again.
    let by = [healed::SENTENCE, acknowledged::SENTENCE];
    is_noticed_among(&[Fault::Pause], Mutation::RefuseUnsure, &by);
}

#[test]
fn a_watch_without_a_change_has_a_gap() {
    is_noticed(Mutation::DropWatchEvent, &[watches::SENTENCE]);
}

#[test]
fn a_watch_goes_on_from_where_it_was() {
    is_noticed(Mutation::ResumeFromNow, &[watches::SENTENCE]);
}

#[test]
fn a_binding_needs_its_guard() {
    is_noticed(Mutation::BindUnguarded, &[placement::SENTENCE]);
}

#[test]
fn a_loop_at_work_hears_wake_ups() {
    is_noticed(Mutation::ForgetWakeUp, &[healed::SENTENCE]);
}
